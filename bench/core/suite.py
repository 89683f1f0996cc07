"""Suites: what every kind of suite says, read from TOML files by name or path; where one is wrong, the file, the key and what is allowed
are named.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bench.components import registry
from bench.components.settings import make, problem
from bench.core.fields import Count, Distinct, Frozen, Rate
from bench.data import sources
from bench.data.hygiene import check_concern
from bench.files import read_toml
from gebm.components import ComponentKind

__all__ = [
    "KINDS",
    "Choice",
    "Component",
    "Profile",
    "Suite",
    "SuiteError",
    "alternatives",
    "explain",
    "find_suite",
    "kind_of",
    "load_suite",
]

KINDS = {"images": "bench.images.suite", "chains": "bench.chains.suite", "density": "bench.densities.suite"}
"""Kinds of suites, and the module of each that has `PROFILE`, `resolve` and `readouts` (see `bench.core.plan`)."""


class SuiteError(ValueError):
    """A suite that cannot be found, or lacks what it needs or has what it cannot use."""


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Choice = str | Annotated[tuple[str, ...], Field(min_length=1), Distinct]
"""A dataset, or several of which the first at hand is used."""


class Component(NamedTuple):
    """A component that a profile names at a key, and the settings that it is given in the table around that key, if any are."""

    key: str
    kind: ComponentKind
    name: str
    settings: Mapping[str, Any] | None = None


class Profile(Frozen):
    """One size of a suite: what every kind of suite says.

    Of several datasets in one place, such as ["mnist", "mnist-10k"], the first at hand is used; a dataset that is not at hand is left out,
    with a warning, where another one is. `allow` names concerns about users' own tables, such as "discrete" or "discrete:quality", that
    are no reason to refuse them.
    """

    datasets: Annotated[tuple[Choice, ...], Field(min_length=1), Distinct]
    models: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    seeds: Annotated[tuple[Count, ...], Field(min_length=1), Distinct]
    allow: tuple[Annotated[str, AfterValidator(check_concern)], ...] = ()
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    minutes_per_run: Rate

    def components(self) -> Iterator[Component]:
        """Yield the components that a kind's profile names besides datasets and models."""
        yield from ()


P = TypeVar("P", bound=Profile)


class Suite(Frozen, Generic[P]):
    """A named set of comparisons, in one or more profiles of one kind."""

    name: Name
    summary: str
    base_seed: int = 0
    kind: str = "images"
    profiles: Mapping[Name, P] = Field(min_length=1)

    def profile(self, name: str) -> P:
        """The profile of that name.

        Raises:
            SuiteError: if there is none.
        """
        if name not in self.profiles:
            raise SuiteError(f"suite '{self.name}' has no profile '{name}'; it has: {', '.join(self.profiles)}")
        return self.profiles[name]


def kind_of(name: str) -> Any:
    """The module that says how suites of a kind resolve to runs and readouts."""
    return importlib.import_module(KINDS[name])


def find_suite(name: str) -> Path:
    """The file of a suite given by name or by path.

    Raises:
        SuiteError: if there is none, with the nearest name.
    """
    shipped, path = registry.suite_files(), Path(name)
    if name in shipped:
        return shipped[name]
    if path.suffix != ".toml" and "/" not in name:
        raise SuiteError(f"no suite '{name}'; {registry.closest(name, shipped)}")
    if not path.is_file():
        raise SuiteError(f"no suite file '{name}'")
    return path


def load_suite(name: str) -> Suite[Any]:
    """Read and validate a suite, its components' names and settings included.

    Raises:
        SuiteError: naming the file, the key and what is allowed.
    """
    path = find_suite(name)
    model: Any = Suite
    try:
        content = read_toml(path)
    except ValueError as error:
        raise SuiteError(f"{path}: {error}") from error
    try:
        kind = str(content.get("kind", "images"))
        if kind not in KINDS:
            raise SuiteError(f"{path}: kind: no kind of suite '{kind}'; {registry.closest(kind, KINDS)}")
        model = Suite[kind_of(kind).PROFILE]  # type: ignore[misc]
        text = json.dumps(content, default=str)
        suite = model.model_validate_json(text, strict=True)  # in JSON a list may be a tuple
    except ValidationError as error:
        raise SuiteError(explain(path, error, model)) from error
    for profile_name, profile in suite.profiles.items():
        check_components(f"{path}: profiles.{profile_name}", profile)
    return suite  # type: ignore[no-any-return]


def alternatives(choice: Choice) -> tuple[str, ...]:
    """The datasets among which there is a choice."""
    return (choice,) if isinstance(choice, str) else choice


def check_components(where: str, profile: Profile) -> None:
    """Raise SuiteError for a component that does not exist, or settings that it does not take."""
    named = [Component("datasets", "datasets", name) for choice in profile.datasets for name in alternatives(choice)]
    named += [*(Component("models", "models", name) for name in profile.models), *profile.components()]
    for key, kind, name, settings in named:
        try:
            if settings is not None:
                make(kind, name, settings)
            elif kind == "datasets":
                sources.parse(name)
            elif (entry := registry.get(kind, name)).origin and kind != "models":  # a model is loaded if it is selected
                entry.load()
        except (registry.UnknownNameError, ValueError) as error:
            table = key.rpartition(".")[0] or key  # settings are in the table around the key
            raise SuiteError(f"{where}.{key if isinstance(error, LookupError) else table}: {error}") from error


def explain(path: Path, error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first problem of a file that should hold a `model`, and how many more there are."""
    keys, message = problem(error, model)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{path}: {'.'.join(keys) or 'the file'}: {message}{more}"
