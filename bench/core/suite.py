"""Suites: what every kind of suite says, read from TOML files by name or path; where one is wrong, the file, the key and what is allowed
are named.
"""

from __future__ import annotations

import copy
import importlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from bench.components import registry
from bench.components.settings import Problem, follows_from, make, problems
from bench.core.fields import Distinct, Frozen, Rate, Seeds
from bench.core.lines import line_of
from bench.core.variants import Name, SettingError, Variant, changed
from bench.data import sources
from bench.data.hygiene import check_concern
from bench.files import read_toml
from gebm.components import ComponentKind

__all__ = [
    "EXAMPLES",
    "KINDS",
    "Choice",
    "Component",
    "Profile",
    "Suite",
    "SuiteError",
    "alternatives",
    "check_suite",
    "explain",
    "find_suite",
    "kind_of",
    "load_suite",
    "suite_with",
]

KINDS = {"images": "bench.images.suite", "chains": "bench.chains.suite", "density": "bench.densities.suite"}
"""Kinds of suites, and the module of each that has `PROFILE`, `resolve` and `readouts` (see `bench.core.plan`)."""
EXAMPLES = {"images": "images", "chains": "toy", "density": "density"}
"""The shipped suite of each kind whose first profile shows what one may look like."""


class SuiteError(ValueError):
    """A suite that cannot be found, or lacks what it needs or has what it cannot use."""


class NoSuiteError(SuiteError):
    """A file that is no TOML, or of no kind of suite: on which line, and why."""

    def __init__(self, path: Path, line: int, problem: Problem) -> None:
        super().__init__(f"{path}: {problem} (line {line})")
        self.line, self.problem = line, problem


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

    Attributes:
        datasets: what is modelled. Of several in one place, such as ["mnist", "mnist-10k"], the first at hand is used; one that is not
            at hand is left out, with a warning, where another one is.
        models: what is trained and compared, as `bench list models` names them.
        variants: models with settings of their own beside these.
        seeds: repeats, as a list or as --seeds takes them, such as "0-4". All models share them, and differences are taken seed by seed.
        allow: concerns about users' own tables, such as "discrete" or "discrete:quality", that are no reason to refuse them.
        threads: of the CPU, for each run.
        minutes_per_run: about how long a run takes, for `bench plan`; without it two steps of training are measured.
    """

    datasets: Annotated[tuple[Choice, ...], Field(min_length=1), Distinct]
    models: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    variants: tuple[Variant, ...] = ()
    seeds: Seeds
    allow: tuple[Annotated[str, AfterValidator(check_concern)], ...] = ()
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    minutes_per_run: Rate | None = None

    def components(self) -> Iterator[Component]:
        """Yield the components that a kind's profile names besides datasets and models."""
        yield from ()


P = TypeVar("P", bound=Profile)


class Suite(Frozen, Generic[P]):
    """A named set of comparisons, in one or more profiles of one kind.

    Attributes:
        name: what reports call it.
        summary: one line for `bench list suites`.
        base_seed: what the random streams of all seeds start from.
        kind: "images", "chains" or "density".
        executor: settings for executors, by name.
        variants: models with settings of their own, in every profile.
        profiles: sizes of the suite, by any names; `quick` is the one that is run by default.
    """

    name: Name
    summary: str
    base_seed: int = 0
    kind: str = "images"
    executor: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    profiles: Mapping[Name, P] = Field(min_length=1)

    def profile(self, name: str) -> P:
        """The profile of that name.

        Raises:
            SuiteError: if there is none.
        """
        if name not in self.profiles:
            raise SuiteError(f"suite '{self.name}' has no profile '{name}'; it has: {', '.join(self.profiles)}")
        return self.profiles[name]

    def variants_of(self, name: str) -> tuple[Variant, ...]:
        """The variants of models in the profile of that name."""
        return (*self.variants, *self.profile(name).variants)


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
        SuiteError: naming the file, the key, what is allowed, and the line.
    """
    path = find_suite(name)
    text, content, model = _read(path)
    try:
        suite = _validated(model, content)
    except ValidationError as error:
        raise SuiteError(explain(path, text, problems(error, model, content))) from error
    if wrong := [*component_problems(suite)]:
        raise SuiteError(explain(path, text, wrong))
    return suite


def check_suite(name: str) -> list[tuple[int, Problem]]:
    """Return everything that is wrong with a suite's file, and on which line, in their order.

    What is wrong is put right as the shipped suite of its kind has it, or left out, so that what lies behind it is seen too.

    Raises:
        SuiteError: if there is no such file, or it cannot be read.
    """
    path = find_suite(name)
    try:
        text, content, model = _read(path)
    except NoSuiteError as error:
        return [(error.line, error.problem)]
    example = tomllib.loads(find_suite(EXAMPLES[_kind(content)]).read_text(encoding="utf-8"))
    found: dict[tuple[str, ...], Problem] = {}
    while True:
        before = copy.deepcopy(content)
        try:
            wrong = [*component_problems(_validated(model, content))]
        except ValidationError as error:
            wrong = problems(error, model, content)
            for each in wrong:
                culprit = _culprit(before, each)
                mended = any(
                    culprit == keys[: len(culprit)] for keys in found
                )  # inside: what it is about is not the user's
                if culprit not in found and not mended and not follows_from(each, found.values()):
                    found[culprit] = each
                _mend(content, culprit, example)
        if content == before:
            for each in wrong:
                if each.keys not in found:
                    found.setdefault(_culprit(content, each), each)
            return sorted((line_of(text, keys), each) for keys, each in found.items())


def explain(path: Path, text: str, wrong: Sequence[Problem]) -> str:
    """One line for the first problem of a file, and how many more there are."""
    first, more = wrong[0], f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    line = line_of(text, _culprit(tomllib.loads(text), first))
    return f"{path}: {first if first.keys else f'the file: {first}'} (line {line}{more})"


def suite_with(suite: Suite[P], profile_name: str, changes: Mapping[str, Any]) -> Suite[P]:
    """A suite whose profile has other settings.

    Raises:
        SettingError: for settings that the profile, or a component that it names, does not have.
    """
    profile = changed(suite.profile(profile_name), changes)
    if wrong := next(_unknown_components(profile), None):
        raise SettingError(f"cannot set {', '.join(changes)}: {wrong}")
    return suite.model_copy(update={"profiles": {**suite.profiles, profile_name: profile}})


def alternatives(choice: Choice) -> tuple[str, ...]:
    """The datasets among which there is a choice."""
    return (choice,) if isinstance(choice, str) else choice


def component_problems(suite: Suite[Any]) -> Iterator[Problem]:
    """Yield the components that do not exist, settings that they do not take, and variants that cannot be."""
    for name, profile in suite.profiles.items():
        known = [*_unknown_components(profile)]
        yield from (Problem(("profiles", name, *each.keys), each.message) for each in known)
        places: list[tuple[str, ...]] = [("variants", str(i)) for i in range(len(suite.variants))]
        places += [("profiles", name, "variants", str(i)) for i in range(len(profile.variants))]
        labels = set(registry.entries("models"))
        for place, variant in zip(places, suite.variants_of(name), strict=True):
            if variant.label in labels:
                yield Problem(place, f"'{variant.label}' is taken; give the variant a name of its own")
            labels.add(variant.label)
            try:
                registry.get("models", variant.model)
                other = [*_unknown_components(changed(profile, variant.set))]
            except (registry.UnknownNameError, SettingError) as error:
                yield Problem(place, str(error.args[0]))
            else:
                yield from (Problem(place, f"cannot set {each}") for each in other if each not in known)


def _unknown_components(profile: Profile) -> Iterator[Problem]:
    """Yield components of a profile that do not exist, and settings that one does not take."""
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
            where = key if isinstance(error, LookupError) else table
            yield Problem(tuple(where.split(".")), str(error.args[0]))


def _read(path: Path) -> tuple[str, dict[str, Any], Any]:
    """Return a suite's text, its content, and the model that it must fit."""
    try:
        text, content = read_toml(path)
    except ValueError as error:
        if place := re.search(r" \(at (line (\d+), column \d+|end of document)\)$", str(error)):
            line = int(place[2] or len(path.read_text(encoding="utf-8").splitlines()))
            why = str(error)[: place.start()]
            why += "; tables of one name are a list, each under [[...]] with two brackets" * why.endswith("twice")
            raise NoSuiteError(path, line, Problem((), why)) from error
        raise SuiteError(f"{path}: {error}") from error
    if (kind := _kind(content)) not in KINDS:
        unknown = Problem(("kind",), f"no kind of suite '{kind}'; {registry.closest(kind, KINDS)}")
        raise NoSuiteError(path, line_of(text, unknown.keys), unknown)
    return text, content, Suite[kind_of(kind).PROFILE]  # type: ignore[misc]


def _kind(content: Mapping[str, Any]) -> str:
    return str(content.get("kind", "images"))


def _validated(model: Any, content: Mapping[str, Any]) -> Suite[Any]:
    """Return the content as a suite; in JSON a list may be a tuple."""
    suite: Suite[Any] = model.model_validate_json(json.dumps(content, default=str), strict=True)
    return suite


def _culprit(content: Any, problem: Problem) -> tuple[str, ...]:
    """Return the keys to what a problem is about: a message about a whole table is about the first of its keys that it mentions, if any."""
    for key in problem.keys:
        content = content[int(key)] if isinstance(content, list) else (content or {}).get(key)
    mentioned = re.findall(r"[\w-]+", problem.message) if isinstance(content, Mapping) else ()
    return (*problem.keys, *[word for word in mentioned if word in content][:1])


def _mend(content: Any, keys: Sequence[str], example: Any) -> None:
    """Put what is at some keys, or the whole list around it, as an example has it, or leave it out."""
    while keys and keys[-1].isdecimal():
        keys = keys[:-1]
    for key in keys[:-1]:
        content = content[int(key)] if isinstance(content, list) else content[key]
        inside = dict(enumerate(example)) if isinstance(example, list) else example if isinstance(example, dict) else {}
        example = inside.get(key, next(iter(inside.values()), {}))
    for key in keys[-1:]:
        content.pop(key, None)
        if isinstance(example, dict) and key in example:
            content[key] = copy.deepcopy(example[key])
