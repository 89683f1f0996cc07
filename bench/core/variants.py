"""Other settings than a profile's: given with a command, or to a variant of one model that a suite names."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bench.components.settings import problems
from bench.core.fields import Frozen

__all__ = ["Changes", "Name", "SettingError", "Variant", "changed", "flat", "label_of", "points"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Changes = Mapping[str, Any]
"""Settings of a profile by dotted keys, such as `training.penalty`."""
CHOSEN = {"datasets": "--dataset", "models": "--model", "seeds": "--seeds", "allow": "--allow"}
"""Keys of a profile that say what is done rather than how, and the options for them."""
SHARED = ("evaluation", "minutes_per_run")
"""Keys of a profile that no single model has to itself."""

P = TypeVar("P", bound=BaseModel)


class SettingError(ValueError):
    """A setting that a profile does not have, or cannot have."""


def flat(settings: Mapping[str, Any]) -> Changes:
    """Return settings by dotted keys, of tables and dotted keys alike; a table that names a family stays whole, to replace another's."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inside = flat(value) if isinstance(value, Mapping) and value and "family" not in value else {"": value}
        found |= {f"{key}.{below}".rstrip("."): each for below, each in inside.items()}
    return found


def own(settings: Mapping[str, Any]) -> Changes:
    """Return the settings of one model by dotted keys.

    Raises:
        ValueError: for none, and for a key that no model can have to itself.
    """
    found = flat(settings)
    if not found:
        raise ValueError("nothing is set")
    for key in found:
        if (top := key.partition(".")[0]) in (*CHOSEN, *SHARED, "variants"):
            raise ValueError(f"{top} is the same for all models of a profile")
    return found


class Variant(Frozen):
    """A model with settings of its own, which stands in tables beside the model that it is a variant of.

    Attributes:
        name: what tables call it; by default the model with what differs, such as gebm[penalty=1].
        model: the model that it is a variant of.
        set: settings of the profile that differ, such as { training.penalty = 1 }.
    """

    name: Name | None = None
    model: str
    set: Annotated[Mapping[str, Any], AfterValidator(own)]

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name or label_of(self.model, self.set)


def label_of(model: str, changes: Changes) -> str:
    """Return the name of a model with what differs, in whatever order it was asked for, keys as short as they can be told apart.

    Example:
        >>> label_of("gebm", {"training.penalty": 0.1, "refit.penalty": 1, "refit.steps": 5})
        'gebm[refit.penalty=1,steps=5,training.penalty=0.1]'
    """
    changes = dict(sorted(changes.items()))
    lasts = [key.rpartition(".")[2] for key in changes]
    names = [last if lasts.count(last) == 1 else key for key, last in zip(changes, lasts, strict=True)]
    values = (each if isinstance(each, str) else json.dumps(each, separators=(",", ":")) for each in changes.values())
    return f"{model}[{','.join(map('='.join, zip(names, values, strict=True)))}]" if changes else model


def points(settings: Changes, sweeps: Mapping[str, Sequence[Any]]) -> Iterator[Changes]:
    """Yield the settings with each combination of the values that keys are swept over.

    Raises:
        SettingError: for a key that is set and swept over, or that cannot be set or swept over.
    """
    for key in (*settings, *sweeps):
        top = key.partition(".")[0]
        if option := CHOSEN.get(top):
            raise SettingError(f"{key} is chosen with {option}, not set")
        if key in sweeps and (key in settings or top in SHARED):
            raise SettingError(
                f"{key} is both set and swept over" if key in settings else f"{key} makes no other run; set it"
            )
    for values in itertools.product(*sweeps.values()):
        yield {**settings, **dict(zip(sweeps, values, strict=True))}


def changed(profile: P, changes: Changes) -> P:
    """Return a profile with other settings, checked as one from a file is.

    Raises:
        SettingError: for a key that it does not have, with the nearest one, or a value that it cannot have.
    """
    content = profile.model_dump(mode="json")
    for key, value in changes.items():
        _place(content, key, value)
    try:
        return type(profile).model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        wrong = problems(error, type(profile), content)[0]
        raise SettingError(f"cannot set {wrong}") from error


def _place(content: Any, key: str, value: Any) -> None:
    """Put a value at a dotted key of nested tables and lists, or raise a SettingError where there is no place for it."""
    *way, last = key.split(".")
    for part in way:
        if isinstance(content, list):
            content = content[_index(content, part, key)]
        else:
            if content.get(part) is None:
                content[part] = {}
            content = content[part]
        if not isinstance(content, dict | list):
            raise SettingError(f"cannot set {key}: {part} is no table")
    content[_index(content, last, key) if isinstance(content, list) else last] = value


def _index(content: Sequence[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(content):
        raise SettingError(f"cannot set {key}: '{part}' is none of the numbers 0 to {len(content) - 1} of that list")
    return int(part)
