"""What code a stage of a run uses, as digests: a result is stale when the code that made it, or a library under it, has changed.

A stage (training, or one readout) names its *roots*, functions and classes as `module:name`. From them all definitions that they refer to
are followed through gebm, baselines, bench and the packages of the roots themselves, name by name, so that a definition that nothing
reached counts for nothing. Docstrings, comments, formatting, annotations of functions and registrations are left out. Libraries that the
reached code imports count by their version. Nothing is imported: the source is read.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.components.registry import BUILT_IN, source_file

__all__ = ["Stage", "changes", "stage"]

DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "arviz_stats": "arviz-stats",
    "torch_fidelity": "torch-fidelity",
}
LIBRARIES = frozenset(
    {"torch", "numpy", "scipy", "pandas", "nflows", "zuko", "torchvision", *DISTRIBUTIONS}
)  # others cannot change a number
STORAGE = frozenset(
    {
        "gebm.components",
        "bench.components.digests",
        "bench.components.registry",
        "bench.components.settings",
        "bench.files",
        "bench.core.readout",
        "bench.core.session",
    }
)  # look up, keep and hand on, and cannot change a number
Definition = tuple[str, str]  # module, name; '' is the module's statements that define nothing


@dataclass(frozen=True)
class Stage:
    """The code that a result rests on.

    Arguments:
        roots: where the search began, as `module:name`.
        code: digest of what is reached in each module.
        versions: version of each library that is reached.
    """

    roots: tuple[str, ...]
    code: Mapping[str, str]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The stage as it is stored."""
        return {"roots": list(self.roots), "code": dict(self.code), "versions": dict(self.versions)}

    @property
    def digest(self) -> str:
        """One short digest of everything."""
        return hashlib.sha256(repr((sorted(self.code.items()), sorted(self.versions.items()))).encode()).hexdigest()[
            :16
        ]


def stage(roots: Iterable[str]) -> Stage:
    """The code under `roots` as it is on disk when this process first looks at it."""
    return _stage(tuple(sorted(set(roots))))


def changes(recorded: Mapping[str, Any] | Stage) -> str:
    """What has changed since a stage was recorded, in words; '' if nothing has.

    Example:
        >>> changes(stage(["gebm.objectives:Kale"]))
        ''
    """
    before = recorded.to_json() if isinstance(recorded, Stage) else recorded
    return difference(before, stage(before["roots"]))


def difference(before: Mapping[str, Any], now: Stage) -> str:
    """Modules and libraries in which a recorded stage and the present one differ."""
    old_code, old_versions = before["code"], before["versions"]
    modules = [name for name in sorted({*old_code, *now.code}) if old_code.get(name) != now.code.get(name)]
    named = ", ".join(modules[:3]) + (f" and {len(modules) - 3} more" if len(modules) > 3 else "")
    words = [f"{named} changed"] if modules else []
    for library in sorted({*old_versions, *now.versions}):
        was, is_ = old_versions.get(library, "not used"), now.versions.get(library, "not used")
        if was != is_:
            words.append(f"{library} {was} → {is_}")
    return "; ".join(words)


@functools.cache
def _stage(roots: tuple[str, ...]) -> Stage:
    packages = frozenset({*BUILT_IN, *(root.partition(".")[0].partition(":")[0] for root in roots)})
    todo: list[Definition] = [(module, name) for module, _, name in (root.partition(":") for root in roots)]
    reached: set[Definition] = set()
    libraries: set[str] = set()
    while todo:
        module, name = todo.pop()
        if module in STORAGE:
            continue
        if module.partition(".")[0] not in packages:
            libraries.add(module.partition(".")[0])
        elif (module, name) not in reached and (source := read(module)) is not None:
            found = source.resolve(name)
            reached.add((module, name))
            todo += source.references(name) if (module, name) == found else [found, *source.overrides(name, found)]
    code: dict[str, str] = {}
    for module in sorted({module for module, _ in reached}):
        source = read(module)
        parts = sorted(
            name for each, name in reached if each == module and source and source.resolve(name) == (each, name)
        )
        if source is not None and (text := "\n".join(source.text(name) for name in parts)):
            code[module] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Stage(roots, code, {name: library_version(name) for name in sorted(libraries & LIBRARIES)})


@functools.cache
def library_version(name: str) -> str:
    """A library's version, or "not installed"."""
    try:
        return version(DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:
        return "not installed"


@functools.cache
def read(module: str) -> Source | None:
    """A module's source, parsed once; None if there is no such module."""
    path = source_file(module)
    return Source(module, path) if path is not None else None


class Source:
    """One module: what it defines under which name, and what it imports under which name."""

    def __init__(self, module: str, path: Path) -> None:
        self.module = module
        self.package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        self.definitions: dict[str, list[ast.stmt]] = {"": []}
        self.imports: dict[str, Definition] = {}
        self._references: dict[str, list[Definition]] = {}
        for node in stripped(ast.parse(path.read_text(encoding="utf-8"))).body:
            self._take(node)

    def _take(self, node: ast.stmt) -> None:
        """File a statement of the module under the names that it binds."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports |= self.imported(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Try) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            for each in node.body:
                self._take(each)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            for name in bound:
                if name != "__all__":
                    self.definitions.setdefault(name, []).append(node)
        else:
            self.definitions[""].append(node)

    def imported(self, node: ast.Import | ast.ImportFrom) -> dict[str, Definition]:
        """What an import statement binds: name → where it is defined, as far as this statement tells."""
        if isinstance(node, ast.Import):
            return {(each.asname or each.name.partition(".")[0]): (each.name, "*") for each in node.names}
        parents = self.package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        module = ".".join(filter(None, (base, node.module)))
        return {each.asname or each.name: (module, each.name) for each in node.names}

    def resolve(self, name: str) -> Definition:
        """Where a name is defined: here, or where this module has it from."""
        if name in ("", "*") or name in self.definitions:
            return self.module, name
        if "." in name:
            return self.method(*name.split(".", 1))
        if name in self.imports:
            return self.imports[name]
        inner = f"{self.module}.{name}"
        return (inner, "*") if source_file(inner) is not None else (self.module, "*")

    def method(self, owner: str, name: str) -> Definition:
        """Where a class has a method from: itself, or the first of its bases that has it; the whole class if none has."""
        for node in self.definitions.get(owner, ()):
            for each in node.body if isinstance(node, ast.ClassDef) else ():
                if name in bound_names(each):
                    self.definitions[f"{owner}.{name}"] = [each]
                    return self.module, f"{owner}.{name}"
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                module, found = self.resolve(base.id) if isinstance(base, ast.Name) else (self.module, "*")
                source = self if module == self.module else read(module)
                if source is not None and found != "*" and (inherited := source.method(found, name))[1] != found:
                    return inherited
        return self.module, owner

    def overrides(self, name: str, inherited: Definition) -> list[Definition]:
        """What an inherited method uses of its own object, looked up from the class that inherits it; nothing of other names."""
        source = read(inherited[0])
        if "." not in name or "." not in inherited[1] or source is None:
            return []
        owner = name.partition(".")[0]
        return [
            (self.module, f"{owner}.{each}") for each in source.own(inherited[1]) if "." in self.method(owner, each)[1]
        ]

    def own(self, name: str) -> list[str]:
        """What a method uses of its own object, and how that object is made."""
        nodes = (each for node in self.definitions[name] for each in ast.walk(node))
        return sorted({each.attr for each in nodes if is_own(each)} | {"__init__"})  # type: ignore[attr-defined]

    def references(self, name: str) -> list[Definition]:
        """What a definition refers to; `*` stands for everything that a module defines."""
        if name == "*":
            return [(self.module, each) for each in self.definitions if "." not in each]
        if name not in self._references:
            found = {(self.module, "")} if name else set()
            for node in self.definitions[name]:
                found |= self._referred(node)
            if "." in name:  # a method: what it uses of its own object, and what that object is made of
                owner = name.partition(".")[0]
                found |= {there for each in self.own(name) if "." in (there := self.method(owner, each))[1]}
            self._references[name] = sorted(found - {(self.module, name)})
        return self._references[name]

    def _referred(self, node: ast.AST) -> set[Definition]:
        """Names of this module, imported definitions and attributes of imported modules that a statement mentions."""
        known = dict(self.imports)
        for each in ast.walk(node):
            if isinstance(each, ast.Import | ast.ImportFrom):
                known |= self.imported(each)
        found, qualified = set(), set()
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id in known:
                module, name = known[each.value.id]
                inner = module if name == "*" else f"{module}.{name}"
                if inner.partition(".")[0] == module.partition(".")[0] and source_is_ours(inner):
                    found.add((inner, each.attr))
                    qualified.add(id(each.value))
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and id(each) not in qualified:
                if each.id in known:
                    found.add(known[each.id])
                elif each.id in self.definitions:
                    found.add((self.module, each.id))
        return found

    def text(self, name: str) -> str:
        """A definition's code, without what cannot change a number."""
        return "" if name == "*" else "\n".join(ast.dump(node) for node in self.definitions[name])


@functools.cache
def source_is_ours(module: str) -> bool:
    """Whether a module's source is followed rather than counted by a library's version."""
    return module.partition(".")[0] not in LIBRARIES and source_file(module) is not None


def stripped(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, registrations and the annotations of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            documented = [i for i, each in enumerate(node.body) if is_text(each)]
            node.body = [each for i, each in enumerate(node.body) if i not in documented] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            for each in ast.walk(node):
                if isinstance(each, ast.AnnAssign):
                    each.annotation = ast.Constant(None)
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            node.decorator_list = [each for each in node.decorator_list if not is_registration(each)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and is_registration(node.value.func):
            node.value = node.value.args[0]
    return tree


def bound_names(node: ast.stmt) -> list[str]:
    """The names that a statement in the body of a class gives to methods and attributes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for each in targets if isinstance(each, ast.Name)]


def is_own(node: ast.AST) -> bool:
    """Whether an expression is `self.something`."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def is_text(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, of whatever it follows."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_registration(node: ast.expr) -> bool:
    """Whether an expression is a call of `component`."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "component"
