"""Components made from settings, as a suite gives them; errors in settings are reported in one line."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from bench.components import registry, schema
from gebm.components import ComponentKind

__all__ = ["Problem", "follows_from", "make", "problems", "settings_of"]

T = TypeVar("T")

CONTRACTS = {"samplers": "gebm.samplers:Sampler", "networks": "gebm.networks.family:EnergyFamily"}
"""What components made from settings are, by kind."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
MISSING = "required key is missing"


def make(kind: ComponentKind, name: str, settings: Mapping[str, Any]) -> Any:
    """Construct a component from its settings, as JSON has them.

    Raises:
        UnknownNameError: if there is no such component.
        ValueError: for settings that it does not take, or another package's component that is no such thing, in one line.
    """
    entry, what = registry.get(kind, name), f"{kind.removesuffix('s')} '{name}'"
    target = entry.load()
    known = inspect.signature(target).parameters
    if unknown := [key for key in settings if key not in known]:
        hints = [registry.closest(key, known) if known else "it has none" for key in unknown]
        each = "; ".join(f"no setting '{key}'; {hint}" for key, hint in zip(unknown, hints, strict=True))
        raise ValueError(f"{what} has {each}")
    resolved = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    try:
        if dataclasses.is_dataclass(target) and isinstance(target, type):
            made = TypeAdapter(target).validate_json(json.dumps(resolved), strict=True)
        else:
            made = target(**resolved)
    except ValidationError as error:
        wrong = "; ".join(map(str, problems(error, target, resolved)))
        raise ValueError(f"{what}: {wrong}") from error
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from error
    except Exception as error:
        if not entry.origin:
            raise
        raise ValueError(f"{what} of package {entry.origin}: {registry.in_one_line(error)}") from error
    if kind in CONTRACTS and not isinstance(made, contract := registry.Entry(kind, "", CONTRACTS[kind]).load()):
        raise ValueError(
            f"{what} makes a {type(made).__name__}; it must make a {contract.__module__}.{contract.__name__}"
        )
    return made


def settings_of(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return settings of a dataclass from JSON, where its tuples are lists."""
    return TypeAdapter(cls).validate_json(json.dumps(values), strict=True)


class Problem(NamedTuple):
    """What is wrong with settings: the keys on the way there, and in plain words what would be right."""

    keys: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(self.keys), self.message)))


def problems(error: ValidationError, kind: Any, content: Any) -> list[Problem]:
    """Return everything that a validation found wrong with a table of such a type; unknown keys first, as a typo explains a gap."""
    found: dict[tuple[str, ...], str] = {}
    for each in sorted(error.errors(), key=lambda each: each["type"] not in UNKNOWN):
        keys, value = followed(each["loc"], content)
        if each["type"] == "value_error":  # worded where it was raised, and naming what it was given
            found[keys] = str(each["ctx"]["error"])
        else:
            found.setdefault(keys, message(each["type"], keys, value, kind))
    longest = [keys for keys in found if not any(other[: len(keys)] == keys != other for other in found)]
    every = [
        Problem(keys, words) for keys, words in found.items() if keys in longest or not words.startswith("must be")
    ]
    return [each for each in every if not follows_from(each, every)]


def follows_from(problem: Problem, others: Iterable[Problem]) -> bool:
    """Whether a key is missing because it stands misspelt beside the gap."""
    meant = f"did you mean '{problem.keys[-1]}'?" if problem.keys else ""
    return problem.message == MISSING and any(
        each.keys[:-1] == problem.keys[:-1] and each.message.endswith(meant) for each in others
    )


def message(what: str, keys: tuple[str, ...], value: Any, kind: Any) -> str:
    """Return what is wrong at some keys of a table of such a type, in words."""
    around = [kind]
    for key in keys[:-1]:
        around = [found for each in around for found in schema.at(each, key)]
    if what in UNKNOWN:
        return unknown_key(keys[-1], [table for each in around for table in schema.inner(each)])
    if what == "missing" and value is None:
        return MISSING
    here = [found for each in around for found in schema.at(each, keys[-1])] if keys else [kind]
    if (
        isinstance(value, Mapping)
        and (several := schema.words(here[0])).startswith("a list")
        and several.endswith("a table")
    ):
        return f"must be a list of tables, each under a line [[{'.'.join(keys)}]] of its own, with two brackets on each side"
    return f"must be {' or '.join(dict.fromkeys(map(schema.words, here)))}, got {schema.shown(value)}"


def unknown_key(key: str, tables: Sequence[Any]) -> str:
    """Return what an unknown key of a table may have been meant to be; one that belongs into a table below is named with its way there."""
    known = {name for table in tables for name in schema.fields(table)}
    below = [path for table in tables for path in schema.paths(table) if path.casefold().endswith(f".{key.casefold()}")]
    if not known:
        return "it is not allowed here"
    return f"unknown key; did you mean '{below[0]}'?" if below else f"unknown key; {registry.closest(key, known)}"


def followed(location: tuple[int | str, ...], content: Any) -> tuple[tuple[str, ...], Any]:
    """Return the keys of some content on the way to a problem, without pydantic's own marks, and what is there; None for nothing."""
    keys: list[str] = []
    for part in location:
        if isinstance(content, Mapping) and part != "[key]" and isinstance(part, str):
            content = content.get(part)
        elif isinstance(content, list | tuple) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            continue
        keys.append(str(part))
    return tuple(keys), content
