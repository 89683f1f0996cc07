"""Components made from settings, as a suite gives them; errors in settings are reported in one line."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from bench.components import registry
from gebm.components import ComponentKind

__all__ = ["make", "problem", "settings_of"]

T = TypeVar("T")

CONTRACTS = {"samplers": "gebm.samplers:Sampler", "networks": "gebm.networks.family:EnergyFamily"}
"""What components made from settings are, by kind."""


def make(kind: ComponentKind, name: str, settings: Mapping[str, Any]) -> Any:
    """Construct a component from its settings, as JSON has them.

    Raises:
        UnknownNameError: if there is no such component.
        ValueError: for settings that it does not take, or another package's component that is no such thing, in one line.
    """
    entry, what = registry.get(kind, name), f"{kind.removesuffix('s')} '{name}'"
    target = entry.load()
    known = inspect.signature(target).parameters
    if unknown := next((key for key in settings if key not in known), None):
        hint = registry.closest(unknown, known) if known else "it has none"
        raise ValueError(f"{what} has no setting '{unknown}'; {hint}")
    resolved = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    try:
        if dataclasses.is_dataclass(target) and isinstance(target, type):
            made = TypeAdapter(target).validate_json(json.dumps(resolved), strict=True)
        else:
            made = target(**resolved)
    except ValidationError as error:
        keys, message = problem(error, target)
        where = [what, *([".".join(keys)] if keys else [])]
        raise ValueError(": ".join([*where, message])) from error
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


def problem(error: ValidationError, model: type[Any]) -> tuple[list[str], str]:
    """The keys on the way to the first problem, and what is wrong there."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    first = min(error.errors(), key=lambda each: each["type"] not in unknown)  # a typo explains a gap
    keys, allowed = walk(first["loc"], model)
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] in unknown:
        message = f"unknown key; {registry.closest(keys[-1], allowed)}" if allowed else "it is not allowed here"
    elif first["type"] == "missing":
        message = "required key is missing"
    elif first["type"] == "value_error":  # worded here, and naming what it was given
        message = str(first["ctx"]["error"])
    else:
        message += f", got {first['input']!r}"
    return keys, message


def walk(location: tuple[int | str, ...], root: type[Any]) -> tuple[list[str], set[str]]:
    """The keys of a file on the way to a problem, without pydantic's own marks, and what could stand where the last one does."""
    models, keys = [root], []
    for part in location:
        if part != "[key]":
            keys.append(str(part))
        if part != location[-1]:
            inner = [found for model in models for found in inner_models(field_types(model).get(str(part)))]
            models = inner or models
    return keys, {name for model in models for name in field_types(model)}


def field_types(model: type[Any]) -> dict[str, Any]:
    """The fields of a pydantic model or a dataclass with their annotations."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return {each.name: each.type for each in dataclasses.fields(model)} if dataclasses.is_dataclass(model) else {}


def inner_models(annotation: Any) -> list[type[Any]]:
    """The classes with fields inside an annotation such as tuple[ChainSettings, ...]."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return [annotation]
    return [found for part in get_args(annotation) for found in inner_models(part)]
