"""What a table of settings may hold, read from the pydantic model or dataclass behind it: keys, what each may be in words, its default, its
meaning.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gebm.checks import Range

__all__ = ["REQUIRED", "Key", "at", "fields", "inner", "is_table", "paths", "shown", "words"]

REQUIRED: Any = PydanticUndefined
"""In the place of a default: there is none."""
BOUNDS = ("ge", "gt", "le", "min_length", "pattern")
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes", Any: "any value"}


class Key(NamedTuple):
    """A key of a table: the annotation of what it holds, its default, and what it means."""

    annotation: Any
    default: Any
    meaning: str


def is_table(kind: Any) -> bool:
    """Whether a type is one whose values are tables with known keys."""
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))


def fields(kind: Any) -> dict[str, Key]:
    """Return the keys of a table, of its type or of the function that is called with them; none for anything else."""
    meanings = meanings_of(kind) if is_table(kind) or inspect.isfunction(kind) else {}
    if is_table(kind) and issubclass(kind, BaseModel):
        return {
            name: Key(_annotation(each), each.get_default(call_default_factory=True), meanings.get(name, ""))
            for name, each in kind.model_fields.items()
        }
    if not is_table(kind) and not inspect.isfunction(kind):
        return {}
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: Key(
            hints.get(name, Any), REQUIRED if each.default is each.empty else each.default, meanings.get(name, "")
        )
        for name, each in inspect.signature(kind).parameters.items()
    }


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def meanings_of(kind: Any) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say under `Arguments:` or `Attributes:`, in one line for each name."""
    found: dict[str, str] = {}
    for each in getattr(kind, "__mro__", [kind]):
        _, _, section = re.sub(r"(?m)^(Arguments|Attributes):$", "\0", inspect.cleandoc(each.__doc__ or "")).partition(
            "\0"
        )
        section = re.split(r"\n(?=\S)", section)[0]
        for entry in re.split(r"\n {4}(?=\S)", section)[1:]:
            names, _, meaning = entry.partition(":")
            found = dict.fromkeys(names.split(", "), " ".join(meaning.split())) | found
    return found


def paths(kind: Any, before: str = "") -> Iterator[str]:
    """Yield the dotted keys below a table, those of tables in it included."""
    for name, key in fields(kind).items():
        yield before + name
        for table in (each for each in inner(key.annotation) if is_table(each)):
            yield from paths(table, f"{before}{name}.")


def inner(annotation: Any) -> list[Any]:
    """Return what a value may be, without the wrappings of `Annotated` and unions."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return inner(arguments[0])
    if origin in (Union, UnionType):
        return [each for argument in arguments for each in inner(argument)]
    return [annotation]


def at(kind: Any, key: str) -> list[Any]:
    """Return the annotations of what may stand under a key, or at a number, of a value of such a type."""
    found = []
    for each in inner(kind):
        origin, arguments = get_origin(each), get_args(each)
        if key in (known := fields(each)):
            found.append(known[key].annotation)
        elif origin in (tuple, list) and key.isdecimal():
            found += [arguments[0]] if arguments[-1] is ... else arguments[int(key) : int(key) + 1]
        elif arguments and isinstance(origin, type) and issubclass(origin, Mapping):
            found.append(arguments[1])
    return found


def words(annotation: Any) -> str:
    """Return what a value must be.

    Example:
        >>> words(Annotated[int, Range(1, 10)] | None)
        'a whole number from 1 to 10'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(words(arguments[0]), arguments[1:])
    if origin is Literal:
        return f"one of {', '.join(map(shown, arguments))}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(words(each) for each in arguments if each is not type(None)))
    if origin in (tuple, list):
        each = words(arguments[0])
        return f"a list, each {each}" if arguments[-1] is ... else f"a list of {len(arguments)}, each {each}"
    return NAMES.get(annotation, "a table")


def _bounded(what: str, metadata: tuple[Any, ...]) -> str:
    """Return words with the bounds that metadata sets."""
    flat = [part for each in metadata for part in (each.metadata if isinstance(each, FieldInfo) else [each])]
    bounds = {name: getattr(each, name) for each in flat for name in BOUNDS if getattr(each, name, None) is not None}
    if "min_length" in bounds:
        what = what.replace("a list", "a list of one or more", 1)
    if "pattern" in bounds:
        what = "a name of letters, digits, dots, dashes and underscores"
    ranges = [each for each in flat if isinstance(each, Range)]
    if "le" in bounds:
        ranges.append(Range(bounds.get("gt", bounds.get("ge", 0)), int(bounds["le"]), "low" if "gt" in bounds else ""))
    return " ".join([what, *map(str, ranges)])


def shown(value: Any) -> str:
    """Return a value as TOML has it, as far as that is one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_bare(str(key))} = {shown(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return f"{value:.1f}"
    return f"{value!r}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
