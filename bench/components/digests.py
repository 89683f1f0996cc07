"""What code a stage of a run uses, as digests: a result is stale when the code that made it, or a library under it, has changed.

A stage (training, or one readout) names its *roots*, functions and classes as `module:name`. From them all definitions that they refer to
are followed through gebm, baselines, bench and the packages of the roots themselves, name by name, so that a definition that nothing
reached counts for nothing. Docstrings, comments, formatting, annotations of functions and registrations are left out. Libraries that the
reached code imports count by their version. The source is read, and imported by `replaced` alone.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from bench.components.registry import BUILT_IN, source_file

__all__ = ["Stage", "changes", "difference", "replaced", "stage", "started_from"]

LIBRARIES = {name: name for name in ("torch", "numpy", "scipy", "pandas", "nflows", "zuko", "torchvision")} | {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "arviz_stats": "arviz-stats",
    "torch_fidelity": "torch-fidelity",
}
"""Libraries that can change a number, and the distribution that each comes in."""

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
)
"""Modules that look up, keep and hand on, and cannot change a number."""

Definition = tuple[str, str]
"""A module and a name in it: of a function, class or variable, `Class.attribute`, '' for statements that define nothing, '*' for all."""


@dataclass(frozen=True)
class Stage:
    """The code that a result rests on.

    Arguments:
        roots: where the search began, as `module:name`.
        code: digest of what is reached in each module.
        versions: version of each library that is reached.
        texts: sha256 of the whole source of each module, by which others tell that theirs is the same; not stored.
    """

    roots: tuple[str, ...]
    code: Mapping[str, str]
    versions: Mapping[str, str]
    texts: Mapping[str, str] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The stage as it is stored."""
        return {"roots": list(self.roots), "code": dict(self.code), "versions": dict(self.versions)}

    @property
    def digest(self) -> str:
        """One short digest of everything."""
        everything = repr((sorted(self.code.items()), sorted(self.versions.items())))
        return hashlib.sha256(everything.encode()).hexdigest()[:16]


def stage(roots: Iterable[str]) -> Stage:
    """The code under `roots` as it is on disk when this process first looks at it."""
    return _stage(tuple(sorted(set(roots))))


def changes(recorded: Mapping[str, Any]) -> str:
    """What has changed since a stage was recorded, in words; '' if nothing has.

    Example:
        >>> changes(stage(["gebm.objectives:Kale"]).to_json())
        ''
    """
    return difference(recorded, stage(recorded["roots"]))


def difference(before: Mapping[str, Any], now: Stage) -> str:
    """Modules and libraries in which a recorded stage and the present one differ."""
    code, versions = before["code"], before["versions"]
    if code == now.code and versions == now.versions:
        return ""
    modules = [name for name in sorted({*code, *now.code}) if code.get(name) != now.code.get(name)]
    named = ", ".join(modules[:3]) + (f" and {len(modules) - 3} more" if len(modules) > 3 else "")
    words = [f"{named} changed"] if modules else []
    for library in sorted({*versions, *now.versions}):
        then, today = (each.get(library, "not used") for each in (versions, now.versions))
        if then != today:
            words.append(f"{library} {then} → {today}")
    return "; ".join(words)


def replaced(planned: Stage) -> str:
    """In what this process differs from where a stage was taken, in words; '' if in nothing.

    Its modules are imported: whoever edits them from now on changes nothing here.
    """
    for module in planned.texts:
        with suppress(ImportError):  # of what need not be installed
            importlib.import_module(module)
    if any(text_digest(module) != digest for module, digest in planned.texts.items()):
        here = stage(planned.roots)
    else:
        here = replace(planned, versions={name: library_version(name) for name in planned.versions})
    return difference(planned.to_json(), here)


@functools.cache
def text(module: str) -> bytes:
    """A module's source as this process, or the one that it was forked from, has first seen it; nothing if there is none."""
    path = source_file(module)
    return b"" if path is None else path.read_bytes()


@functools.cache
def text_digest(module: str) -> str:
    """Hex sha256 of that."""
    return hashlib.sha256(text(module)).hexdigest()


def started_from(own: Stage, base: Mapping[str, Any], base_now: Stage) -> Stage:
    """The code behind a training that starts from a base, recorded earlier: where that was made by other code or libraries than it would
    be now, so was all that rests on it.
    """

    def older(own: Mapping[str, str], then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
        changed = {name for name in {*then, *now} if then.get(name) != now.get(name)}
        return {**own, **{name: then.get(name, "not used") for name in changed}}

    return Stage(
        own.roots,
        older(own.code, base["code"], base_now.code),
        older(own.versions, base["versions"], base_now.versions),
    )


@functools.cache
def _stage(roots: tuple[str, ...]) -> Stage:
    todo: list[Definition] = [(module, name) for module, _, name in (root.partition(":") for root in roots)]
    packages = {*BUILT_IN, *(top(module) for module, _ in todo)}
    reached: set[Definition] = set()
    libraries: set[str] = set()
    while todo:
        module, name = todo.pop()
        if top(module) not in packages:
            libraries.add(top(module))
        elif (module, name) not in reached and module not in STORAGE and (source := read(module)):
            reached.add((module, name))
            todo += source.uses(name)
    code: dict[str, str] = defaultdict(str)
    for module, name in sorted(reached):
        code[module] += source.text(name) if (source := read(module)) else ""
    digests = {module: hashlib.sha256(used.encode()).hexdigest()[:12] for module, used in code.items() if used}
    texts = {module: text_digest(module) for module in digests}
    return Stage(roots, digests, {name: library_version(name) for name in sorted(libraries & LIBRARIES.keys())}, texts)


def top(module: str) -> str:
    """The package that a module belongs to."""
    return module.partition(".")[0]


@functools.cache
def library_version(name: str) -> str:
    """A library's version, or "not installed"; of what its package says of itself, which may be long, no more is parsed than that line."""
    try:
        found = distribution(LIBRARIES[name])
    except PackageNotFoundError:
        return "not installed"
    line = re.search(r"^Version: (\S+)$", found.read_text("METADATA") or "", re.MULTILINE)
    return line[1] if line else found.version


@functools.cache
def read(module: str) -> Source | None:
    """A module's source, parsed once; None if there is no such module."""
    path = source_file(module)
    return Source(module, path) if path is not None else None


class Source:
    """One module: the statements that define each of its names, attributes of classes included, and where it has imported names from."""

    def __init__(self, module: str, path: Path) -> None:
        self.module = module
        self.package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        self.definitions: dict[str, list[ast.stmt]] = defaultdict(list, {"": []})
        self.imports: dict[str, Definition] = {}
        for node in stripped(ast.parse(text(module))).body:
            self.file(node)

    def file(self, node: ast.stmt) -> None:
        """File a statement of the module under the names that it binds."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports |= self.imported(node)
        elif isinstance(node, ast.Try) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            for each in node.body:
                self.file(each)
        else:
            for name in bound_names(node):
                self.definitions[name].append(node)
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                for name in filter(None, bound_names(each)):
                    self.definitions[f"{node.name}.{name}"].append(each)

    def imported(self, node: ast.Import | ast.ImportFrom) -> dict[str, Definition]:
        """What an import statement binds: name → where it is defined, as far as this statement tells."""
        if isinstance(node, ast.Import):
            return {(each.asname or top(each.name)): (each.name, "*") for each in node.names}
        parents = self.package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        module = ".".join(filter(None, (base, node.module)))
        return {each.asname or each.name: (module, each.name) for each in node.names}

    def resolve(self, name: str) -> Definition:
        """Where a name is defined: here, or where this module, or the class, has it from."""
        if name in self.definitions or name == "*":
            return self.module, name
        if "." in name:
            owner, _, attribute = name.partition(".")
            return self.attribute(owner, attribute) or (self.module, owner)
        if name in self.imports:
            return self.imports[name]
        inner = f"{self.module}.{name}"
        return (inner if read(inner) else self.module), "*"

    def attribute(self, owner: str, name: str) -> Definition | None:
        """Where a class has a method or attribute from: itself, or the first of its bases that has it; None if none has."""
        if f"{owner}.{name}" in self.definitions:
            return self.module, f"{owner}.{name}"
        bases = [base for node in self.definitions.get(owner, ()) for base in getattr(node, "bases", ())]
        for module, base in (self.resolve(each.id) for each in bases if isinstance(each, ast.Name)):
            if (source := read(module)) and (found := source.attribute(base, name)):
                return found
        return None

    def uses(self, name: str) -> Iterator[Definition]:
        """What a name stands for or refers to; of a method, also what it uses of its own object, and how that object is made."""
        module, found = self.resolve(name)
        if (module, found) != (self.module, name):
            yield module, found
        elif name == "*":
            yield from ((self.module, each) for each in self.definitions if "." not in each)
        else:
            yield self.module, ""
            for node in self.definitions[name]:
                yield from self.referred(node)
        if "." in found and (source := read(module)):
            nodes = (each for node in source.definitions[found] for each in ast.walk(node))
            owner = name.partition(".")[0]
            own = {
                each.attr
                for each in nodes
                if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self"
            }
            for each in own | {"__init__"}:
                if self.attribute(owner, each):
                    yield self.module, f"{owner}.{each}"

    def referred(self, node: ast.AST) -> Iterator[Definition]:
        """Names of this module, imported definitions and attributes of imported modules that a statement mentions."""
        known = dict(self.imports)
        for each in ast.walk(node):
            if isinstance(each, ast.Import | ast.ImportFrom):
                known |= self.imported(each)
        qualified = set()
        for each in ast.walk(node):  # breadth first: an attribute comes before the name that it is of
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id in known:
                module, name = known[each.value.id]
                inner = module if name == "*" else f"{module}.{name}"
                if top(inner) in (top(self.module), *BUILT_IN) and read(inner):
                    qualified.add(each.value)
                    yield inner, each.attr
            elif isinstance(each, ast.Name) and each not in qualified:
                if each.id in known:
                    yield known[each.id]
                elif each.id in self.definitions:
                    yield self.module, each.id

    def text(self, name: str) -> str:
        """A definition's code, without what cannot change a number; nothing for a name that is defined elsewhere."""
        return "\n".join(dumped(node) for node in self.definitions.get(name, ()))


def dumped(node: ast.AST) -> str:
    """A tree as text, the same under every version of Python: that of 3.11, before `type_params` came and empty lists went."""
    if sys.version_info >= (3, 13):
        text = ast.dump(node, show_empty=True)
    else:
        text = ast.dump(node)
    return text.replace(", type_params=[]", "")


def stripped(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, registrations and the annotations of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not is_text(each)] or [ast.Pass()]
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            node.decorator_list = [each for each in node.decorator_list if not is_registration(each)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            for each in ast.walk(node):
                if isinstance(each, ast.AnnAssign):
                    each.annotation = ast.Constant(None)
        elif isinstance(node, ast.arg):
            node.annotation = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and is_registration(node.value.func):
            node.value = node.value.args[0]
    return tree


def bound_names(node: ast.stmt) -> list[str]:
    """The names that a statement defines; '' for one that defines nothing."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return [""]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    found = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    return [name for name in found if name != "__all__"]


def is_text(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, of whatever it follows."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_registration(node: ast.expr) -> bool:
    """Whether an expression is a call of `component`."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "component"
