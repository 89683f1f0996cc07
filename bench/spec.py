"""What to run, as data: suites, and the runs and evaluations they resolve to; files of suites are read in `bench.suite_files`.

A `RunSpec` is fully resolved: its identity, a hash of its canonical JSON without the seed, says what was run, so that repeats group.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_serializer, model_validator

from bench import registry

__all__ = [
    "ChainSpec",
    "ChainsProfile",
    "DensityNetwork",
    "DensityProfile",
    "DensityReadout",
    "EnergyNetwork",
    "EvaluationSpec",
    "FlowNetwork",
    "ImageReadout",
    "ImagesProfile",
    "LawReadout",
    "Likelihood",
    "MLPNetwork",
    "Network",
    "Profile",
    "Readout",
    "Refit",
    "RunSpec",
    "SNGANNetwork",
    "Suite",
    "SuiteError",
    "TraceReadout",
    "Training",
    "content_hash",
]

SCHEMA_VERSION = 1
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0)]
Moment = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=2, strict=True)]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("nothing may be listed twice")
    return values


Distinct = AfterValidator(_distinct)
Lengths = Annotated[tuple[Positive, ...], Field(min_length=1), Distinct]


class SuiteError(ValueError):
    """A suite that cannot be found or does not say what a suite must say."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MLPNetwork(Frozen):
    """Fully connected generator and discriminator; see `gebm.networks.mlp`."""

    family: Literal["mlp"]
    latent: Positive
    generator_widths: tuple[Positive, ...] = Field(min_length=1)
    discriminator_widths: tuple[Positive, ...] = Field(min_length=1)


class SNGANNetwork(Frozen):
    """The SNGAN ConvNet or ResNet; see `gebm.networks.sngan` and `gebm.networks.sngan_resnet`, published with width 64."""

    family: Literal["sngan", "sngan-resnet"]
    latent: Positive
    width: Positive = 64

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether there are such networks for images of this shape."""
        square = len(shape) == 3 and shape[1] == shape[2]
        return square and (shape[1] in (32, 64) if self.family == "sngan-resnet" else shape[1] % 8 == 0)


Network = Annotated[MLPNetwork | SNGANNetwork, Field(discriminator="family")]
"""The one architecture that all models of a comparison share."""


class EnergyNetwork(Frozen):
    """A fully connected energy, for toys whose base is given."""

    family: Literal["energy-mlp"] = "energy-mlp"
    widths: tuple[Positive, ...] = Field(min_length=1)


class FlowNetwork(Frozen):
    """A flow; see `baselines.flows.FlowSettings` for each."""

    family: Literal["gaussian", "realnvp", "maf", "iaf", "nsf-coupling", "nsf-ar"]
    backend: Literal["nflows", "zuko"] = "nflows"
    layers: Positive = 5
    hidden: Positive = 100
    blocks: Positive = 1
    residual: bool = False
    activation: Literal["relu", "tanh", "elu", "silu"] = "relu"
    dropout: Moment = 0.0
    normalisation: Literal["none", "batch", "act"] = "none"
    linear: Literal["none", "reverse", "permutation", "lu"] = "none"
    log_scale_bound: Rate = 3.0
    bins: Annotated[int, Field(ge=2, strict=True)] = 8
    tail_bound: Rate = 3.0


class DensityNetwork(Frozen):
    """The networks of a model of tables: a flow, and a fully connected energy or a second flow that makes one (a critic)."""

    flow: FlowNetwork | None = None
    energy: EnergyNetwork | None = None
    critic: FlowNetwork | None = None


class Training(Frozen):
    """Settings of the alternating phase; see `gebm.training.TrainingSettings` for each."""

    base_steps: Positive
    batch_size: BatchSize = 64
    n_critic: Positive = 1
    burst: Count = 0
    burst_every: Positive = 500
    learning_rate: Rate = 1e-4
    energy_learning_rate: Rate = 1e-4
    log_partition_learning_rate: Rate = 1e-2
    betas: tuple[Moment, Moment] = (0.5, 0.999)
    decay: Literal["constant", "linear", "cosine"] = "constant"
    clip_norm: Weight = 0.0
    penalty: Weight = 1.0
    penalty_every: Positive = 1
    penalty_points: Literal["interpolates", "data", "both"] = "interpolates"
    penalty_norm: Weight = 0.0
    energy_l2: Weight = 0.0
    ema: Moment = 0.0
    weight_decay: Weight = 0.0


class Refit(Frozen):
    """Settings of the energy's refit; see `gebm.training.RefitSettings` for each."""

    steps: Count
    batch_size: BatchSize = 128
    learning_rate: Rate = 1e-4
    log_partition_learning_rate: Rate = 1e-2
    penalty: Weight = 1.0
    penalty_every: Positive = 1
    penalty_points: Literal["interpolates", "data", "both"] = "interpolates"
    penalty_norm: Weight = 0.0
    energy_l2: Weight = 0.0
    check_every: Positive = 100
    partition_samples: Positive = 2048
    patience: Count = 0
    betas: tuple[Moment, Moment] = (0.5, 0.999)
    decay: Literal["constant", "linear", "cosine"] = "linear"
    clip_norm: Weight = 0.0
    weight_decay: Weight = 0.0


class Likelihood(Frozen):
    """Settings of training by maximum likelihood; see `baselines.flows.MaximumLikelihoodSettings` for each."""

    steps: Positive
    batch_size: BatchSize = 256
    learning_rate: Rate = 1e-3
    betas: tuple[Moment, Moment] = (0.9, 0.999)
    weight_decay: Weight = 0.0
    decay: Literal["constant", "linear", "cosine", "plateau"] = "cosine"
    plateau_patience: Positive = 5
    clip_norm: Weight = 5.0
    noise: Weight = 0.0
    check_every: Positive = 100
    patience: Count = 0
    ema: Moment = 0.0
    most_skipped: Count = 20


class ChainSpec(Frozen):
    """One latent chain at one inverse temperature, scored at several lengths; other `settings` left out are as the registry has them."""

    sampler: str
    beta: Beta
    step_size: Rate
    settings: dict[str, int | float | tuple[float, ...]] = {}
    lengths: Lengths
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Positive = 200


class EvaluationSpec(Frozen):
    """How trained models of images are scored."""

    samples: Annotated[int, Field(ge=10, strict=True)]
    reference: Literal["train", "test"] = "train"
    extractor: Literal["auto", "in-domain"] = "auto"
    chains: tuple[ChainSpec, ...] = ()
    partition_samples: Annotated[int, Field(ge=4, strict=True)] = 20000

    @model_validator(mode="after")
    def _chains_can_be_told_apart(self) -> EvaluationSpec:
        if len({(chain.sampler, chain.beta, chain.step_size) for chain in self.chains}) < len(self.chains):
            raise ValueError("two chains have the same sampler, beta and step_size; rows could not be told apart")
        if named := [chain.sampler for chain in self.chains if "step_size" in chain.settings]:
            raise ValueError(f"the step_size of {named[0]} stands beside its settings, not among them")
        return self

    def readouts(self, has_energy: bool, extractor: str) -> tuple[Readout, ...]:
        """What is read out of a model: the base for all, chains and likelihood gain where there is an energy."""
        common: dict[str, Any] = {"extractor": extractor, "reference": self.reference}
        found = [ImageReadout(kind="base", samples=self.samples, **common)]
        if has_energy:
            found += [ImageReadout(kind="chain", samples=self.samples, chain=chain, **common) for chain in self.chains]
            found.append(ImageReadout(kind="likelihood", samples=self.partition_samples, **common))
        return tuple(found)


class TracedSampler(Frozen):
    """A sampler as a suite of chains names it: what `settings` leave out is as the registry has it.

    `adapt`: tune the step size during warm-up, where the sampler has a target acceptance, then freeze it.
    """

    sampler: str
    settings: dict[str, int | float | tuple[float, ...]] = {}
    adapt: bool = True


class ChainsSpec(Frozen):
    """How latent chains are judged against the truth: at each β every sampler, with one warm-up and one budget for all.

    Costs are in gradient evaluations a chain; `bench.chains.FORWARD_COST` says what a forward evaluation counts.
    """

    samplers: tuple[TracedSampler, ...] = Field(min_length=1)
    betas: tuple[Beta, ...] = Field(default=(1.0,), min_length=1)
    chains: Annotated[int, Field(ge=2)]
    warmup: Positive
    budgets: tuple[Positive, ...] = Field(min_length=1)
    reference_samples: Positive = 200000
    law_samples: Count = 0

    def readouts(self, has_energy: bool, known_base: bool) -> tuple[Readout, ...]:
        """A trace for each sampler; for a known base its samples and the learned density, else the reference's own error."""
        if not has_energy:
            return ()
        found: list[Readout] = []
        if known_base and self.law_samples:
            found.append(LawReadout(law="base", beta=0.0, samples=self.law_samples))
        for beta in self.betas:
            if not known_base:
                found.append(LawReadout(law="reference", beta=beta, samples=self.reference_samples))
            elif self.law_samples:
                found.append(LawReadout(law="resampled", beta=beta, samples=self.law_samples))
            found += [self.trace(each, beta, known_base) for each in self.samplers]
        return tuple(found)

    def trace(self, chosen: TracedSampler, beta: float, known_base: bool) -> TraceReadout:
        """One sampler at one β, with all its settings."""
        return TraceReadout(
            sampler=chosen.sampler,
            settings=registry.get("samplers", chosen.sampler).settings | chosen.settings,
            adapt=chosen.adapt,
            beta=beta,
            chains=self.chains,
            warmup=self.warmup,
            budgets=self.budgets,
            reference_samples=self.reference_samples,
            law_samples=self.law_samples if known_base else 0,
        )


class Identified(Frozen):
    """Something to read out of a trained model; its identity adds the checkpoint's hash to all that its values depend on."""

    def identity(self, checkpoint: str) -> str:
        """Short sha256 of checkpoint and readout; the name of the evaluation's file."""
        return content_hash({"checkpoint": checkpoint} | self.model_dump(mode="json"))[:16]


class ImageReadout(Identified):
    """Images scored: the base's, a chain's at several lengths; or the likelihood gain."""

    kind: Literal["base", "chain", "likelihood"]
    extractor: str
    samples: Positive
    reference: Literal["train", "test"]
    chain: ChainSpec | None = None

    @field_serializer("chain")
    def _settings_count_where_there_are_any(self, chain: ChainSpec | None) -> dict[str, Any] | None:
        """Readouts from before chains had settings keep their identity."""
        return (
            None if chain is None else chain.model_dump(mode="json", exclude=None if chain.settings else {"settings"})
        )


class TraceReadout(Identified):
    """One sampler's chains, with resolved settings, judged against the truth at several budgets."""

    kind: Literal["trace"] = "trace"
    sampler: str
    settings: dict[str, int | float | tuple[float, ...]]
    adapt: bool
    beta: Beta
    chains: Positive
    warmup: Positive
    budgets: tuple[Positive, ...]
    reference_samples: Positive
    law_samples: Count


class LawReadout(Identified):
    """A law without a chain: the base, the learned density resampled from the base, or the truth's own error."""

    kind: Literal["law"] = "law"
    law: Literal["base", "resampled", "reference"]
    beta: Beta
    samples: Positive


class DensityReadout(Identified):
    """The log-likelihood of held-out rows, exact or with an estimated log-partition, and samples for the eye."""

    kind: Literal["density"] = "density"
    partition_samples: Count
    shown_samples: Count


Readout = ImageReadout | TraceReadout | LawReadout | DensityReadout


class RunSpec(Frozen):
    """One training run, resolved. `seed` stays outside the identity, so that repeats group."""

    schema_version: int = SCHEMA_VERSION
    dataset: str
    dataset_digest: str
    model: str
    settings: dict[str, Any]
    base_seed: int
    network: Network | EnergyNetwork | DensityNetwork | None
    likelihood: Likelihood | None = None
    training: Training | None
    refit: Refit | None
    precision: Literal["float32", "bf16"] = "float32"
    threads: Positive
    seed: Count

    @property
    def identity(self) -> str:
        """Hex sha256 of the canonical JSON of everything but the seed; what is younger than the schema counts where it is used."""
        facts = self.model_dump(mode="json", exclude={"seed"})
        if not self.likelihood:
            del facts["likelihood"]
        for phase in ("training", "refit"):
            if facts[phase] and not facts[phase]["penalty_norm"]:
                del facts[phase]["penalty_norm"]
        return content_hash(facts)

    @property
    def run_id(self) -> str:
        """A readable, unique name: dataset, model, identity, seed."""
        return f"{self.dataset}/{self.model}/{self.identity[:12]}-s{self.seed}"


class Profile(Frozen):
    """One size of a suite: what every kind of suite says.

    Datasets that are `optional` are left out, with a word, where their files are not at hand.
    """

    datasets: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    optional: tuple[str, ...] = ()
    models: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    seeds: Annotated[tuple[Count, ...], Field(min_length=1), Distinct]
    threads: Positive = 1
    minutes_per_run: Rate

    @model_validator(mode="after")
    def _optional_datasets_are_datasets(self) -> Profile:
        if strange := [name for name in self.optional if name not in self.datasets]:
            raise ValueError(f"optional names {strange[0]}, which is not among datasets")
        return self


class ImagesProfile(Profile):
    """Models of images of one architecture, scored by their samples; `precision` is of training, see `gebm.precision`."""

    precision: Literal["float32", "bf16"] = "float32"
    network: Network
    training: Training
    refit: Refit
    evaluation: EvaluationSpec


class ChainsProfile(Profile):
    """Latent chains judged against the truth, on toys and on models that another suite trains.

    `trained_as` names the suite whose profile of the same name trains the models of images: theirs are the very same runs.
    """

    trained_as: str | None = None
    network: EnergyNetwork | None = None
    refit: Refit | None = None
    evaluation: ChainsSpec


class DensityEvaluation(Frozen):
    """How densities are read out: draws for log Z, and samples kept for the eye."""

    partition_samples: Annotated[int, Field(ge=100, strict=True)] = 100000
    shown_samples: Count = 2000

    def readouts(self, has_energy: bool) -> tuple[Readout, ...]:
        """One likelihood; without an energy it is exact and takes no draws."""
        draws = self.partition_samples if has_energy else 0
        return (DensityReadout(partition_samples=draws, shown_samples=self.shown_samples),)


class DensityProfile(Profile):
    """Flows by maximum likelihood and GEBMs on the very same flows, scored by the log-likelihood of held-out rows.

    `flows` are named as models name them. With a `warm_up` joint training starts from a flow that had that much maximum likelihood.
    `overrides` hold, by dataset (without its split), what differs there: any of the tables below,
    key by key.
    """

    flows: Mapping[str, FlowNetwork] = Field(min_length=1)
    energy: EnergyNetwork
    likelihood: Likelihood
    warm_up: Likelihood | None = None
    training: Training
    refit: Refit
    evaluation: DensityEvaluation = DensityEvaluation()
    overrides: Mapping[str, Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _overrides_are_valid(self) -> DensityProfile:
        for dataset in self.overrides:
            self.on(dataset)
        return self

    def on(self, dataset: str) -> DensityProfile:
        """The profile as it is for a dataset."""
        changes = self.overrides.get(dataset.partition("@")[0], {})
        return (
            DensityProfile.model_validate(_merged(self.model_dump(exclude={"overrides"}), changes)) if changes else self
        )


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes, table by table."""
    both = dict(settings)
    for key, value in changes.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


class Suite(Frozen):
    """A named set of comparisons, in one or more profiles."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    summary: str
    base_seed: Annotated[int, Field(strict=True)] = 0
    kind: Literal["images", "chains", "density"] = "images"
    profiles: Mapping[Literal["quick", "paper"], Profile] = Field(min_length=1)


class ImagesSuite(Suite):
    """A suite of `ImagesProfile`s, the kind of a suite that does not say one."""

    kind: Literal["images"] = "images"
    profiles: Mapping[Literal["quick", "paper"], ImagesProfile] = Field(min_length=1)


class ChainsSuite(Suite):
    """A suite of `ChainsProfile`s."""

    kind: Literal["chains"]
    profiles: Mapping[Literal["quick", "paper"], ChainsProfile] = Field(min_length=1)


class DensitySuite(Suite):
    """A suite of `DensityProfile`s."""

    kind: Literal["density"]
    profiles: Mapping[Literal["quick", "paper"], DensityProfile] = Field(min_length=1)


KINDS: dict[str, type[Suite]] = {"images": ImagesSuite, "chains": ChainsSuite, "density": DensitySuite}


def content_hash(value: Any) -> str:
    """Hex sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
