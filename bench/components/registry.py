"""Components by name: datasets, models, samplers, metrics, extractors, objectives, networks; and the suites that ship with the harness.

A component is registered beside its code by `gebm.components.component`. The registry reads those registrations from the source of gebm,
baselines and bench without importing it. Another package names its components in entry points of the groups `gebm_bench.<kind>`, such as
`gebm_bench.datasets`; what they point to may carry the same decorator, which then supplies the summary and the facts.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gebm.components import ComponentKind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

__all__ = [
    "KINDS",
    "Entry",
    "PluginError",
    "UnknownNameError",
    "closest",
    "entries",
    "get",
    "in_one_line",
    "source_file",
    "suite_files",
]

KINDS: tuple[ComponentKind, ...] = get_args(ComponentKind)
BUILT_IN = ("gebm", "baselines", "bench")
HEAD = re.compile(r"^@component\(.*?^(?:class|def) \w+", re.MULTILINE | re.DOTALL)
"""A registration of ours, up to the name of what it registers: to list components no body is parsed, which takes most of the time."""


class UnknownNameError(LookupError):
    """No component of this name."""


class PluginError(UnknownNameError):
    """A component of another package that cannot be used as it is registered."""


@dataclass(frozen=True)
class Entry:
    """A component: its name, a one-line summary, `module:attribute` where it is defined, and the facts it was registered with.

    `origin` is the package that registers it, empty for a built-in component; `problem` says why it cannot be used, if so.
    """

    name: str
    summary: str
    target: str
    facts: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    problem: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The facts that are settings of the component rather than of the registration."""
        return {key: value for key, value in self.facts.items() if key not in ("fits", "kind", "seeded", "one_seed")}

    @property
    def seeded(self) -> bool:
        """Whether a dataset has a split for every seed."""
        return bool(self.facts.get("seeded"))

    def load(self) -> Any:
        """Import and return what the entry names.

        Raises:
            PluginError: if another package's component cannot be imported, or is neither a class nor a function.
        """
        module, _, attribute = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            if not self.origin:
                raise
            message = f"'{self.name}' of package {self.origin} cannot be imported: {in_one_line(error)}"
            raise PluginError(message) from error
        if self.origin and not callable(found):
            raise PluginError(f"'{self.name}' of package {self.origin} is {found!r}; it must be a class or a function")
        return found


@cache
def entries(kind: ComponentKind) -> dict[str, Entry]:
    """All components of a kind by name, built-in ones first.

    Raises:
        PluginError: if another package uses a built-in component's name, or registers with arguments that are no literals.
    """
    found = dict(built_in()[kind])
    for point in entry_points(f"gebm_bench.{kind}"):
        entry = foreign(kind, point)
        if point.name in found:
            rival = found[point.name].origin or "the harness"
            raise PluginError(
                f"package {entry.origin} registers '{point.name}' among {kind}, a name that {rival} has; rename its entry point"
            )
        found[point.name] = entry
    return found


def get(kind: ComponentKind, name: str) -> Entry:
    """The component of that name.

    Raises:
        UnknownNameError: naming the nearest valid choice.
        PluginError: if its package does not have the module that it names, or that is no Python.
    """
    known = entries(kind)
    if name not in known:
        raise UnknownNameError(f"no {kind.removesuffix('s')} '{name}'; {closest(name, known)}")
    entry = known[name]
    if entry.problem:
        raise PluginError(f"'{name}' of package {entry.origin} {entry.problem}")
    return entry


@cache
def built_in() -> dict[ComponentKind, dict[str, Entry]]:
    """What this checkout registers, read from its source."""
    root = Path(__file__).parents[2]
    found: dict[ComponentKind, dict[str, Entry]] = {kind: {} for kind in KINDS}
    for path in (path for package in BUILT_IN for path in sorted((root / package).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        if "@component(" in text:
            heads = ast.parse("\n".join(f"{head}(): ..." for head in HEAD.findall(text)))
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            for kind, entry in registrations(heads, module):
                found[kind][entry.name] = entry
    return found


def entry_points(group: str) -> EntryPoints:
    """What the installed packages name in a group of entry points."""
    found: EntryPoints = installed().select(group=group)
    return found


@cache
def installed() -> Any:
    """Every entry point there is, read once, since a look at them opens a file per installed package; their type differs before 3.12."""
    import importlib.metadata

    return importlib.metadata.entry_points()


def foreign(kind: ComponentKind, point: EntryPoint) -> Entry:
    """A component that another package names in its entry points; nothing of it is imported.

    Where it is not registered by the decorator, its summary is the first line of its docstring.
    """
    origin = point.dist.name if point.dist else point.value
    plain = Entry(point.name, f"from {origin}", point.value, {}, origin)
    module, _, name = point.value.partition(":")
    if source_file(module) is None:
        return replace(plain, problem=f"cannot be found: there is no module {point.value}")
    try:
        module, name, tree = defined_in(module, name)
    except (OSError, ValueError, SyntaxError) as error:
        return replace(plain, problem=f"cannot be imported: {in_one_line(error)}")
    try:
        registered = list(registrations(tree, module))
    except (ValueError, TypeError) as error:
        reason = f"cannot be listed: arguments of component must be literals ({in_one_line(error)})"
        raise PluginError(f"'{point.name}' of package {origin} {reason}") from error
    for its_kind, entry in registered:
        if (its_kind, entry.target) == (kind, f"{module}:{name}"):
            return replace(entry, name=point.name, origin=origin, target=point.value)
    nodes = (node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name)
    told = next(filter(None, map(ast.get_docstring, nodes)), "").partition("\n")[0].rstrip(".")
    return replace(plain, summary=told or plain.summary)


def defined_in(module: str, name: str) -> tuple[str, str, ast.Module]:
    """Return the module that defines a name, the name there, and that module's tree: what a package hands on is followed to its source."""
    tree = ast.Module([], [])
    for _ in range(10):  # a package may go in circles
        if (path := source_file(module)) is None:
            break
        tree = ast.parse(path.read_text(encoding="utf-8"))
        handed_on = [
            (node, alias)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if (alias.asname or alias.name) == name
        ]
        if not handed_on:
            break
        node, alias = handed_on[-1]
        parents = (module if path.name == "__init__.py" else module.rpartition(".")[0]).split(".")
        base = parents[: len(parents) - node.level + 1] if node.level else []
        module, name = ".".join([*base, *filter(None, [node.module])]), alias.name
    return module, name, tree


def in_one_line(error: Exception) -> str:
    """Return an exception's type and message without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def registrations(tree: ast.Module, module: str) -> Iterator[tuple[ComponentKind, Entry]]:
    """The components that a module registers."""
    for node in tree.body:
        calls: list[ast.expr] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            name, calls = node.name, list(reversed(node.decorator_list))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            name, calls = ast.unparse(node.targets[0]), [node.value.func]
        for call in calls:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "component":
                kind, registered, summary = (ast.literal_eval(each) for each in call.args)
                facts = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
                yield kind, Entry(registered, summary, f"{module}:{name}", facts)


def source_file(module: str) -> Path | None:
    """Where a module's source is, found without importing the module or its parents; None if there is none."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec and not rest and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)
    folders = spec.submodule_search_locations if spec else None
    stems = [Path(folder, *rest) for folder in folders or ()]
    paths = (path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py"))
    return next((path for path in paths if path.is_file()), None)


def suite_files() -> dict[str, Path]:
    """The suites that ship with the harness, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "suites").glob("*.toml"))}


def closest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for a name, whatever its case, or the list of what there is."""
    known = sorted(known)
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), [*folded], n=1)
    return f"did you mean '{folded[near[0]]}'?" if near else f"there are: {', '.join(known) or 'none'}"
