"""Settings that check themselves: frozen dataclasses whose annotations say the range of every field.

Nothing here or in `gebm.settings` needs torch, so that a harness can validate a whole suite without loading it. Through pydantic's
`TypeAdapter` the same dataclasses are a schema: unknown keys are refused, and a number is not read out of a string or a boolean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["Count", "Flag", "Moment", "Positive", "Range", "Rate", "Settings", "StepSize", "Strict", "Weight", "check"]


@dataclass(frozen=True)
class Strict:
    """Metadata of an annotation: pydantic takes a value of this very type only, not one that could be converted to it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> dict[str, Any]:
        return {**handler(source), "strict": True}


@dataclass(frozen=True)
class Range(Strict):
    """Metadata of a number's annotation: its bounds, both allowed but for the `excluded` one."""

    low: int | float
    high: int | float
    excluded: Literal["", "low", "high"] = ""

    def __contains__(self, value: int | float) -> bool:
        above = self.low < value if self.excluded == "low" else self.low <= value
        return above and (value < self.high if self.excluded == "high" else value <= self.high)

    def __str__(self) -> str:
        if not self.excluded:
            return f"from {self.low:,} to {self.high:,}"
        return f"in ({self.low}, {self.high}]" if self.excluded == "low" else f"in [{self.low}, {self.high})"


Count = Annotated[int, Range(0, 10**9)]
Positive = Annotated[int, Range(1, 10**9)]
Rate = Annotated[float, Range(0, 1000, "low")]
"""A learning rate."""
StepSize = Annotated[float, Range(0, 100, "low")]
"""The step size of a sampler."""
Weight = Annotated[float, Range(0, 10**6)]
"""The weight of a term; 0 leaves it out."""
Moment = Annotated[float, Range(0, 1, "high")]
"""The decay of a moving average."""
Flag = Annotated[bool, Strict()]


class Settings:
    """Base of dataclasses that check their fields when they are made.

    Raises:
        ValueError: in one line, with the field, its range and the value, if a value is out of range, not finite or of another type.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check(self)


def check(settings: Any) -> None:
    """Compare every field of a dataclass with its annotation.

    Raises:
        ValueError: as `Settings`.
    """
    kind: Any = type(settings)
    for name, hint in _annotations(kind).items():
        value = getattr(settings, name)
        if not _fits(hint, value):
            raise ValueError(f"{name} must be {_words(hint)}, got {value!r}")


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(arguments[0], value) and all(value in each for each in arguments[1:] if isinstance(each, Range))
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(_fits(each, value) for each in arguments)
    if origin is tuple:
        items = [arguments[0]] * len(value) if isinstance(value, tuple) and arguments[-1] is ... else arguments
        return isinstance(value, tuple) and 0 < len(value) == len(items) and all(map(_fits, items, value))
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([_words(arguments[0]), *(str(each) for each in arguments[1:] if isinstance(each, Range))])
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin in (Union, UnionType):
        return " or ".join(map(_words, arguments))
    if origin is tuple:
        count = "one or more" if arguments[-1] is ... else str(len(arguments))
        return f"a tuple of {count}, each {_words(arguments[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", type(None): "None"}
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")
