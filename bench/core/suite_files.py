"""Suites from TOML files: found by name or path, validated, and where one is wrong the file, the key and what is allowed are named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bench.core import registry
from bench.core.spec import KINDS, ChainsProfile, ImagesProfile, Profile, Suite, SuiteError
from bench.data import sources
from gebm.components import ComponentKind

__all__ = ["explain", "find_suite", "load_suite"]


def find_suite(name: str) -> Path:
    """The file of a suite given by name or by path.

    Raises:
        SuiteError: if there is none, with the nearest name.
    """
    shipped = registry.suite_files()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.suffix == ".toml" or "/" in name:
        if path.is_file():
            return path
        raise SuiteError(f"no suite file '{name}'")
    raise SuiteError(f"no suite '{name}'; {registry.closest(name, shipped)}")


def load_suite(name: str) -> Suite:
    """Read and validate a suite, its component names included.

    Raises:
        SuiteError: naming the file, the key and what is allowed.
    """
    path = find_suite(name)
    kind: type[Suite] = Suite
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        named = str(content.get("kind", "images"))
        if named not in KINDS:
            raise SuiteError(f"{path}: kind: no kind of suite '{named}'; {registry.closest(named, KINDS)}")
        kind = KINDS[named]
        suite = kind.model_validate(content)
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise SuiteError(explain(path, error, kind)) from error
    for profile_name, profile in suite.profiles.items():
        check_names(path, f"profiles.{profile_name}", profile)
    return suite


def check_names(path: Path, where: str, profile: Profile) -> None:
    """Raise SuiteError for a component that does not exist, or a sampler's setting that it does not have."""
    named: list[tuple[str, ComponentKind, str]] = [
        *((f"{where}.datasets", "datasets", name) for name in profile.datasets),
        *((f"{where}.models", "models", name) for name in profile.models),
    ]
    used: list[tuple[str, str, Iterable[str]]] = []
    if isinstance(profile, ImagesProfile):
        chains = enumerate(profile.evaluation.chains)
        used = [(f"{where}.evaluation.chains.{i}", c.sampler, ["step_size", *c.settings]) for i, c in chains]
    elif isinstance(profile, ChainsProfile):
        used = [
            (f"{where}.evaluation.samplers.{i}", s.sampler, s.settings)
            for i, s in enumerate(profile.evaluation.samplers)
        ]
        if profile.trained_as is not None:
            try:
                find_suite(profile.trained_as)
            except SuiteError as error:
                raise SuiteError(f"{path}: {where}.trained_as: {error}") from error
    named += [(f"{key}.sampler", "samplers", name) for key, name, _ in used]
    for key, kind, name in named:
        try:
            sources.parse(name) if kind == "datasets" else registry.get(kind, name)
        except registry.UnknownNameError as error:
            raise SuiteError(f"{path}: {key}: {error}") from error
    for key, name, settings in used:
        known = registry.get("samplers", name).settings
        for setting in settings:
            if setting not in known and registry.is_built_in("samplers", name):
                hint = registry.closest(setting, known) if known else "it has none"
                raise SuiteError(f"{path}: {key}: sampler '{name}' has no setting '{setting}'; {hint}")


def explain(path: Path, error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first problem of a file that should hold a `model`, and how many more there are."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")  # a typo explains a gap
    first = problems[0]
    keys, allowed = walk(first["loc"], model)
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "extra_forbidden":
        message = f"unknown key; {registry.closest(keys[-1], allowed)}" if allowed else "it is not allowed here"
    elif first["type"] == "missing":
        message = "required key is missing"
    elif first["type"] == "value_error":  # worded here, and naming what it was given
        message = str(first["ctx"]["error"])
    elif first["type"].startswith("union_tag"):
        keys.append("family")
        found = first.get("ctx", {})
        message = (
            f"must be {found['expected_tags']}, got '{found['tag']}'" if found.get("tag") else "required key is missing"
        )
    else:
        message += f", got {first['input']!r}"
    key = ".".join(keys) or "the file"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {key}: {message}{more}"


def walk(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[list[str], set[str]]:
    """The keys of a file on the way to a problem, without pydantic's own marks, and what could stand where the last one does."""
    models, keys = [root], []
    for part in location:
        inside = [model for model in models if part in model.model_fields]
        named = [model for model in models if part in families(model)]
        if (
            len(models) > 1 and named and not inside and part != location[-1]
        ):  # the tag that says which of several models is meant
            models = named
            continue
        if part != "[key]":
            keys.append(str(part))
        if inside and part != location[-1]:
            models = [found for model in inside for found in inner_models(model.model_fields[str(part)].annotation)]
    return keys, {field for model in models for field in model.model_fields}


def families(model: type[BaseModel]) -> tuple[str, ...]:
    """The values of `family` that mean this model."""
    return get_args(model.model_fields["family"].annotation) if "family" in model.model_fields else ()


def inner_models(annotation: Any) -> list[type[BaseModel]]:
    """The model classes inside an annotation such as tuple[ChainSpec, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in inner_models(part)]
