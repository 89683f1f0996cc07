"""What the records of a store hold, by the names of their files; each is held against its layout as it is read.

A checksum tells a damaged file from a sound one, and nothing of whoever computed it: a record of another version, or of somebody who
means harm, matches its own too. Readers rely on the types here and on no others. Keys that are not listed may stand beside these.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.core.fields import MOST
from bench.core.spec import RunSpec

__all__ = ["problem"]

Number = Annotated[float, Field(allow_inf_nan=True)]
Steps = Annotated[int, Field(ge=0, le=MOST)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Numbers = dict[str, Number]
Words = dict[str, str]
Listed = Words | list[str]
"""Files with their hashes; by name alone once those were compared."""


class Record(BaseModel):
    """A JSON object of these types, read strictly."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Stage(Record):
    """The code behind something, see `bench.components.digests`."""

    roots: list[str]
    code: Words
    versions: Words


class StoreRecord(Record):
    schema_version: int


class ListedRun(Record):
    """See `bench.core.campaign.listed`."""

    dataset: str
    model: str
    run: str
    identity: str
    seed: Annotated[int, Field(ge=0, le=MOST)]
    readouts: list[dict[str, Any]]
    asked: str = ""
    set: dict[str, Any] = {}
    changes: dict[str, Any] = {}


class Manifest(Record):
    suite: str
    profile: str
    kind: str
    runs: list[ListedRun]


class Environment(Record):
    device: str | None = None
    versions: Words = {}
    threads: int | None = None
    cores: int | None = None
    platform: str = ""
    cpu_capability: str = ""


class DataFacts(Record):
    """See `bench.core.rebuild.data_facts`."""

    kind: str
    shape: list[Annotated[int, Field(ge=1, le=MOST)]]
    levels: int | None
    protocol: str
    provenance: str


class Facts(Record):
    """What is certified of a model's networks, by their names."""

    architecture: Words = {}
    initial_weights: Words = {}
    flops: dict[str, Number | None] = {}
    parameters: dict[str, Number | None] = {}


class Progress(Record):
    steps_asked: Steps
    steps_done: Steps


class Training(Progress):
    checkpoint: str
    device: str
    facts: Facts
    files: Listed
    phase: str
    seconds: Number
    stage: Stage
    capabilities: list[str] = []
    data: DataFacts | None = None
    peak_memory: dict[str, int] | None = None


class Status(Progress):
    state: Literal["done", "failed", "unfinished"]
    reason: str
    identity: str = ""
    seed: int = 0
    device: str
    files: Words
    seconds: Numbers
    stage: Stage


class LogPartition(Record):
    """An estimate of log Z, see `gebm.samplers.importance`."""

    estimate: Number | None = None
    reportable: bool
    method: str = ""
    standard_error: Number | None = None
    admission: str | None = None
    bracket: Pair | None = None
    draws: int | None = None
    horizon: Number | None = None
    known: Number | None = None
    mass_beyond: Number | None = None
    pareto_k: Number | None = None
    warnings: list[str] = []


class WarmStart(Record):
    restarts: int
    step: int
    test: Number
    validation: Number
    selected_validation: Number


class Likelihood(Record):
    exact: bool
    features: list[str]
    remarks: list[str]
    rows: int
    points_error: Number
    gain_points_error: Number
    log_det: Number
    warm_start: WarmStart | None = None


class Temperature(Record):
    at_edge: bool
    beta: Number
    text: str
    error: Number | None
    validation_gain: Number


class Chain(Record):
    base_energy: Number | None
    energy: Number | None
    invalid: int
    rhat: Number | None
    covered: Number | None = None
    target_energy: Number | None = None
    target_error: Number | None = None
    why: str = ""


class Exact(Record):
    method: str
    pool: int
    ess: Number | None
    distinct: int


class Calibration(Record):
    method: str
    z: Number


class Row(Record):
    """One row of a readout."""

    collapsed: str
    key: str
    scores: dict[str, Number | None]
    steps: Steps
    forward_evaluations: Number
    gradient_evaluations: Number
    beta: Number | None = None
    budget: int | None = None
    beta_rule: Literal["fixed", "calibrated"] | None = None
    target: Literal["at its target", "on its way", "cannot tell"] | None = None
    why_not: str = ""
    calibration: Calibration | None = None
    chain: Chain | None = None
    exact: Exact | None = None
    frechet_curve: list[Pair] = []
    gain_error: Number | None = None
    train_gain: Number | None = None
    likelihood: Likelihood | None = None
    log_partition: LogPartition | None = None
    temperature: Temperature | None = None


class ChainSettings(Record):
    sampler: str
    beta: Number | str | None = None
    step_size: Number | None = None
    decay_factor: Number = 1.0
    decay_every: int = 200


class Asked(Record):
    """What was to be read out."""

    kind: str
    chain: ChainSettings | None = None


class Evaluation(Record):
    identity: str
    files: Listed
    readout: Asked
    rows: list[Row]
    sampler: str | None
    beta: Number | None
    step_size: Number | None
    seconds: Numbers
    stage: Stage


class PublishedModel(Record):
    """See `bench.results.models.Trained`."""

    spec: RunSpec
    data: DataFacts | None
    weights: str
    stage: Stage
    capabilities: list[str]
    unfinished: str
    temperature: Number | None
    chains: list[ChainSettings]


class Published(Record):
    model: PublishedModel


class WeightsIndex(Record):
    about: dict[str, Any]
    files: Words
    weight_map: Words


LAYOUTS: dict[str, type[BaseModel]] = {
    "store.json": StoreRecord,
    "spec.json": RunSpec,
    "env.json": Environment,
    "training.json": Training,
    "status.json": Status,
    "progress": Progress,
    "config.json": Published,
    "weights.index.json": WeightsIndex,
    "manifest": Manifest,
}


def problem(name: str, record: Any) -> str:
    """Return what is wrong with the layout of a run's or a store's record of that name, in words; '' if nothing, or if it has none here."""
    layout = Evaluation if name.startswith("evals/") else LAYOUTS.get(name)
    if layout is None:
        return ""
    try:
        layout.__pydantic_validator__.validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = f"lacks {where}" if first["type"] == "missing" else f"is not laid out as expected at {where}"
        return f"{said}: written by another version"
    return ""
