"""Suites from TOML files: found by name or path, validated, and where one is wrong the file, the key and what is allowed are named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench import registry, sources
from bench.spec import KINDS, ChainsProfile, ImagesProfile, Profile, Suite, SuiteError

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
    named: list[tuple[str, registry.Kind, str]] = [
        *((f"{where}.datasets", "datasets", name) for name in profile.datasets),
        *((f"{where}.models", "models", name) for name in profile.models),
    ]
    used: list[tuple[str, str, Iterable[str]]] = []
    if isinstance(profile, ImagesProfile):
        chains = enumerate(profile.evaluation.chains)
        used = [(f"{where}.evaluation.chains.{i}", c.sampler, ["step_size"]) for i, c in chains]
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
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "extra_forbidden":
        message = f"unknown key; {allowed_keys(first['loc'], model)}"
    elif first["type"] == "missing":
        message = "required key is missing"
    elif first["type"] == "value_error":  # worded here, and naming what it was given
        message = str(first["ctx"]["error"])
    else:
        message += f", got {first['input']!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {key}: {message}{more}"


def allowed_keys(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """What could stand where an unknown key does: the nearest key, or all of them."""
    model: Any = root
    for part in location[:-1]:
        if isinstance(part, int) or model is None:
            continue
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = inner_model(model.model_fields[str(part)].annotation)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return "it is not allowed here"
    return registry.closest(str(location[-1]), model.model_fields)


def inner_model(annotation: Any) -> Any:
    """The model class inside an annotation such as tuple[ChainSpec, ...], or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := inner_model(part))), None)
