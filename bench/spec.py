"""What to run, as data: suites (TOML), and the runs and evaluations they resolve to.

A suite file is validated here, and an error names the file, the key and what is allowed. A `RunSpec` is fully resolved: its identity,
a hash of its canonical JSON without the seed, says what was run, so that repeats group.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench import registry

__all__ = [
    "ChainSpec",
    "EvaluationSpec",
    "Network",
    "Profile",
    "Readout",
    "Refit",
    "RunSpec",
    "Suite",
    "SuiteError",
    "Training",
    "content_hash",
    "find_suite",
    "load_suite",
]

SCHEMA_VERSION = 1
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class SuiteError(ValueError):
    """A suite that cannot be found or does not say what a suite must say."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(Frozen):
    """The one architecture that all models of a comparison share."""

    family: Literal["mlp"]
    latent: Positive
    generator_widths: tuple[Positive, ...] = Field(min_length=1)
    discriminator_widths: tuple[Positive, ...] = Field(min_length=1)


class Training(Frozen):
    """Settings of the alternating phase; see `gebm.training.TrainingSettings` for each."""

    base_steps: Positive
    batch_size: Positive = 64
    n_critic: Positive = 1
    burst: Count = 0
    burst_every: Positive = 500
    learning_rate: Rate = 1e-4
    energy_learning_rate: Rate = 1e-4
    log_partition_learning_rate: Rate = 1e-2
    betas: tuple[float, float] = (0.5, 0.999)
    decay: Literal["constant", "linear", "cosine"] = "constant"
    clip_norm: Weight = 0.0
    penalty: Weight = 1.0
    penalty_every: Positive = 1
    penalty_points: Literal["interpolates", "data", "both"] = "interpolates"
    energy_l2: Weight = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Weight = 0.0


class Refit(Frozen):
    """Settings of the energy's refit; see `gebm.training.RefitSettings` for each."""

    steps: Count
    batch_size: Positive = 128
    learning_rate: Rate = 1e-4
    log_partition_learning_rate: Rate = 1e-2
    penalty: Weight = 1.0
    penalty_every: Positive = 1
    penalty_points: Literal["interpolates", "data", "both"] = "interpolates"
    energy_l2: Weight = 0.0
    check_every: Positive = 100
    partition_samples: Positive = 2048
    patience: Count = 0
    betas: tuple[float, float] = (0.5, 0.999)
    decay: Literal["constant", "linear", "cosine"] = "linear"
    clip_norm: Weight = 0.0
    weight_decay: Weight = 0.0


class ChainSpec(Frozen):
    """One latent chain at one inverse temperature, scored at several lengths."""

    sampler: str
    beta: Annotated[float, Field(ge=0)]
    step_size: Rate
    lengths: tuple[Positive, ...] = Field(min_length=1)
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Positive = 200


class EvaluationSpec(Frozen):
    """How trained models are scored."""

    samples: Positive
    reference: Literal["train", "test"] = "train"
    chains: tuple[ChainSpec, ...] = ()
    partition_samples: Positive = 20000

    def readouts(self, has_energy: bool, extractor: str) -> tuple[Readout, ...]:
        """What is read out of a model: the base for all, chains and likelihood gain where there is an energy."""
        common: dict[str, Any] = {"extractor": extractor, "reference": self.reference}
        found = [Readout(kind="base", samples=self.samples, **common)]
        if has_energy:
            found += [Readout(kind="chain", samples=self.samples, chain=chain, **common) for chain in self.chains]
            found.append(Readout(kind="likelihood", samples=self.partition_samples, **common))
        return tuple(found)


class Readout(Frozen):
    """One thing to read out of a trained model: its base's samples, a chain's, or the likelihood gain.

    Its identity adds the checkpoint's hash to everything that the values depend on.
    """

    kind: Literal["base", "chain", "likelihood"]
    extractor: str
    samples: Positive
    reference: Literal["train", "test"]
    chain: ChainSpec | None = None

    def identity(self, checkpoint: str) -> str:
        """Short sha256 of checkpoint and readout; the name of the evaluation's file."""
        return content_hash({"checkpoint": checkpoint} | self.model_dump(mode="json"))[:16]


class RunSpec(Frozen):
    """One training run, resolved. `seed` stays outside the identity, so that repeats group."""

    schema_version: int = SCHEMA_VERSION
    dataset: str
    dataset_digest: str
    model: str
    settings: dict[str, Any]
    base_seed: int
    network: Network
    training: Training
    refit: Refit | None
    precision: Literal["float32"] = "float32"
    threads: Positive
    seed: Count

    @property
    def identity(self) -> str:
        """Hex sha256 of the canonical JSON of everything but the seed."""
        return content_hash(self.model_dump(mode="json", exclude={"seed"}))

    @property
    def run_id(self) -> str:
        """A readable, unique name: dataset, model, identity, seed."""
        return f"{self.dataset}/{self.model}/{self.identity[:12]}-s{self.seed}"


class Profile(Frozen):
    """One size of a suite."""

    datasets: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Count, ...] = Field(min_length=1)
    threads: Positive = 1
    minutes_per_run: Rate
    network: Network
    training: Training
    refit: Refit
    evaluation: EvaluationSpec


class Suite(Frozen):
    """A named set of comparisons, in one or more profiles."""

    name: str
    summary: str
    base_seed: int = 0
    profiles: dict[Literal["quick", "paper"], Profile] = Field(min_length=1)


def content_hash(value: Any) -> str:
    """Hex sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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
    try:
        suite = Suite.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise SuiteError(explain(path, error)) from error
    for profile_name, profile in suite.profiles.items():
        check_names(path, f"profiles.{profile_name}", profile)
    return suite


def check_names(path: Path, where: str, profile: Profile) -> None:
    """Raise SuiteError for a component that does not exist."""
    named: list[tuple[str, registry.Kind, str]] = [
        *((f"{where}.datasets", "datasets", name) for name in profile.datasets),
        *((f"{where}.models", "models", name) for name in profile.models),
        *(
            (f"{where}.evaluation.chains.{i}.sampler", "samplers", c.sampler)
            for i, c in enumerate(profile.evaluation.chains)
        ),
    ]
    for key, kind, name in named:
        try:
            registry.get(kind, name)
        except registry.UnknownNameError as error:
            raise SuiteError(f"{path}: {key}: {error}") from error


def explain(path: Path, error: ValidationError) -> str:
    """One line for the first problem of a suite file, and how many more there are."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")  # a typo explains a gap
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "extra_forbidden":
        message = f"unknown key; {allowed_keys(first['loc'])}"
    elif first["type"] == "missing":
        message = "required key is missing"
    else:
        message += f", got {first['input']!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}: {key}: {message}{more}"


def allowed_keys(location: tuple[int | str, ...]) -> str:
    """What could stand where an unknown key does: the nearest key, or all of them."""
    model: Any = Suite
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
