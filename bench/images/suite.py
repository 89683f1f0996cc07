"""How a suite of images resolves to runs, and what is read out of their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, field_validator, model_validator

from baselines.settings import ShortRunSettings
from bench.components import registry
from bench.components.settings import make
from bench.core.fields import Beta, Count, Distinct, Frozen, Lengths, Positive, Rate
from bench.core.spec import Readout
from bench.core.suite import Component, Profile, Suite, SuiteError
from bench.data import Dataset
from bench.inception import INCEPTION, INCEPTION_FILES
from bench.metrics import DEFAULT_METRICS, extractor_entry
from gebm.settings import RefitSettings, TrainingSettings

__all__ = [
    "CALIBRATED",
    "PROFILE",
    "BaseReadout",
    "Chain",
    "ChainReadout",
    "EnergyReadout",
    "ExactReadout",
    "ScoredReadout",
    "TemperatureReadout",
    "TrainingCurveReadout",
    "network_settings",
    "on_base",
    "readouts",
    "remarks",
    "resolve",
]


CALIBRATED = "calibrated"
"""In the place of a β: the one at which the energy gains most likelihood on the validation split."""


def _temperature(value: Any) -> float | str:
    if value == CALIBRATED:
        return CALIBRATED
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**6:
        raise ValueError(f'a temperature is a number from 0 to 1,000,000 or "{CALIBRATED}", got {value!r}')
    return float(value)


Temperature = Annotated[float | str, PlainValidator(_temperature)]
RealImages = Literal["train", "half", "test"]
"""The real images that samples are compared with; `half`: every other training image, which the extractor in-domain-half has not seen."""
PARTS = (8, 4, 2)
"""Where a base is kept for its training curve: after an eighth, a quarter and half of its steps."""
GRID = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


class Chain(Frozen):
    """One latent chain at one inverse temperature, scored at several lengths.

    Attributes:
        sampler: what moves it, as `bench list samplers` names them.
        beta: the inverse temperature: a number from 0 to 1,000,000, or "calibrated" for each run's own. A guided sampler with a
            calibration of its own is aimed at the calibrated logit, so its `beta` is "calibrated".
        step_size: the sampler's; its own default where it is left out.
        settings: others of the sampler's settings; what is left out is the sampler's own.
        lengths: steps after which the chain is scored.
        decay_factor: what the step size is multiplied by after every `decay_every` steps.
        decay_every: see `decay_factor`.
    """

    sampler: str
    beta: Temperature
    step_size: Rate | None = None
    settings: dict[str, int | float | tuple[float, ...]] = Field(default={})
    lengths: Lengths
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Positive = 200

    @property
    def all_settings(self) -> dict[str, Any]:
        """The sampler's settings, its step size among them."""
        return self.settings | ({} if self.step_size is None else {"step_size": self.step_size})

    @model_validator(mode="after")
    def _step_size_stands_alone(self) -> Chain:
        if "step_size" in self.settings:
            raise ValueError(f"the step_size of {self.sampler} stands beside its settings, not among them")
        return self


class Evaluation(Frozen):
    """How trained models of images are scored: by which metrics, in the features of which extractor.

    Attributes:
        samples: images that are scored, of every model and chain.
        reference: the real images that they are compared with; `half`: every other training image.
        extractor: whose features: "auto" is Inception where its weights are available, else the "in-domain" classifier; "in-domain-half"
            is one that has seen half of the training images.
        metrics: as `bench list metrics` names them.
        chains: latent chains of models with an energy.
        exact: temperatures, numbers or "calibrated", at which models with an energy are sampled without a chain.
        pool: base draws at most that exact samples are accepted or resampled from.
        betas: the grid of temperatures on which the likelihood gain is read out.
        annealing: particles in each of 32 annealed populations, for exact samples that resampling cannot give; 0 for none.
        partition_samples: base draws for log Z.
        training_curve: keep and score bases after an eighth, a quarter and half of their training, too.
    """

    samples: Annotated[int, Field(ge=10, le=10**7)]
    reference: RealImages = "train"
    extractor: str = "auto"
    metrics: Annotated[tuple[str, ...], Field(min_length=1), Distinct] = DEFAULT_METRICS
    chains: tuple[Chain, ...] = ()
    exact: Annotated[tuple[Temperature, ...], Distinct] = ()
    pool: Annotated[int, Field(ge=4, le=10**8)] = 1_000_000
    betas: Annotated[tuple[Beta, ...], Field(min_length=1), Distinct] = GRID
    annealing: Annotated[int, Field(ge=0, le=10**6)] = 0
    partition_samples: Annotated[int, Field(ge=4, le=10**9)] = 20000
    training_curve: bool = False

    @model_validator(mode="after")
    def _chains_can_be_told_apart(self) -> Evaluation:
        if len({(chain.sampler, chain.beta, chain.step_size) for chain in self.chains}) < len(self.chains):
            raise ValueError("two chains have the same sampler, beta and step_size; rows could not be told apart")
        return self


class ImagesProfile(Profile):
    """Models of images of one architecture, scored by their samples.

    Attributes:
        precision: of training, see `gebm.precision`.
        network: what both networks are built from: a `family`, as `bench list networks` names them, and its settings.
        training: how base and energy, or generator and discriminator, are trained together.
        refit: how energies that were trained with their base are trained further on it.
        post_hoc: how energies are fitted on a trained base afterwards, by default as in `refit`.
        longer_base_steps: base steps of a GAN that gets the seconds of an energy instead, such as gan-ns+time.
        short_run: how a model without a base is trained (ebm-short-run).
        evaluation: how they are scored.
    """

    precision: Literal["float32", "bf16"] = "float32"
    network: dict[str, Any]
    training: TrainingSettings
    refit: RefitSettings
    post_hoc: RefitSettings | None = None
    longer_base_steps: Positive | None = None
    short_run: ShortRunSettings | None = None
    evaluation: Evaluation

    @field_validator("network")
    @classmethod
    def _network_has_a_family(cls, network: dict[str, Any]) -> dict[str, Any]:
        if "family" not in network:
            raise ValueError("family: required key is missing")
        return network

    def components(self) -> Iterator[Component]:
        asked, network = self.evaluation, dict(self.network)
        yield Component("network.family", "networks", str(network.pop("family")), network)
        yield from (Component("evaluation.metrics", "metrics", name) for name in asked.metrics)
        for i, chain in enumerate(asked.chains):
            yield Component(f"evaluation.chains.{i}.sampler", "samplers", chain.sampler, chain.all_settings)
        if asked.extractor != "auto":
            yield Component("evaluation.extractor", "extractors", asked.extractor)


PROFILE = ImagesProfile


class ScoredReadout(Readout):
    """Images scored by registered metrics: how many, compared with what, in whose features."""

    extractor: str
    samples: Positive
    reference: RealImages
    metrics: tuple[str, ...] = DEFAULT_METRICS

    def roots(self, model: str) -> list[str]:
        metrics = (registry.get("metrics", each).target for each in self.metrics)
        return [*super().roots(model), extractor_entry(self.extractor).target, *metrics]


class BaseReadout(ScoredReadout):
    """Samples without a chain, scored."""

    reader: ClassVar[str] = "bench.images.evaluation:read_base"
    methods: ClassVar[tuple[str, ...]] = ("sample",)
    kind: Literal["base"] = "base"


class TrainingCurveReadout(ScoredReadout):
    """Samples of the base at earlier steps of its training, scored as the `BaseReadout` scores those of the trained one.

    Where learning rates fall on the way, such a base is not what a run of so many steps would have ended at.
    """

    reader: ClassVar[str] = "bench.images.evaluation:read_training_curve"
    methods: ClassVar[tuple[str, ...]] = ("sample",)
    turn: ClassVar[int] = 3
    kind: Literal["training-curve"] = "training-curve"


class EnergyReadout(Readout):
    """What rests on a trained energy's values: base draws for log Z, particles per annealed population, the β of interest."""

    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    partition_samples: Positive
    annealing: Count
    betas: tuple[Beta, ...]


class ChainReadout(ScoredReadout, EnergyReadout):
    """A latent chain's images, scored at several lengths, and whether it has reached its target."""

    reader: ClassVar[str] = "bench.images.evaluation:read_chain"
    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    turn: ClassVar[int] = 1
    kind: Literal["chain"] = "chain"
    chain: Chain

    def roots(self, model: str) -> list[str]:
        return [*super().roots(model), registry.get("samplers", self.chain.sampler).target]


class ExactReadout(ScoredReadout, EnergyReadout):
    """Samples of the density at one β itself, scored: from at most `pool` base draws, or annealed."""

    reader: ClassVar[str] = "bench.images.evaluation:read_exact"
    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    turn: ClassVar[int] = 2
    kind: Literal["exact"] = "exact"
    beta: Temperature
    pool: Positive


class TemperatureReadout(EnergyReadout):
    """What the energy adds to the base on held-out images, in nats, at every β of the grid and at the calibrated one."""

    reader: ClassVar[str] = "bench.images.evaluation:read_temperature"
    turn: ClassVar[int] = 4
    kind: Literal["temperature"] = "temperature"


def resolve(suite: Suite[ImagesProfile], profile_name: str, dataset: Dataset, entry: registry.Entry) -> dict[str, Any]:
    """Return the settings of one model of images: what it was registered with, and what of the profile it uses.

    A model with an `objective` is trained adversarially on the suite's networks; one with `has_energy` has its energy refitted; one with a
    `base` starts from that model's run, whose settings are part of its own; one that is `trained_by` short-run chains has the
    discriminator alone.

    Raises:
        SuiteError: if the dataset is too small for the batches, or of a shape that the networks do not take, or the profile lacks the
            settings that the model is trained by.
    """
    profile, config = suite.profile(profile_name), dict(entry.settings)
    by_chains = config.get("trained_by") == "short-run"
    if config.get("trained_by") == "elsewhere":
        raise SuiteError(f"{entry.name} is trained elsewhere; `bench refit` takes such a generator, a suite cannot")
    if "objective" not in config and not by_chains:
        return config
    if base := config.get("base"):
        own = resolve(suite, profile_name, dataset, registry.get("models", base))
        return on_base(suite, profile, dataset, entry, {"model": base, "config": own})
    lacking = "short_run" * (by_chains and profile.short_run is None)
    longer = config.pop("longer", False)
    if lacking or (longer and profile.longer_base_steps is None):
        key = lacking or "longer_base_steps"
        raise SuiteError(f"suite '{suite.name}': {entry.name} needs {key} in the profile {profile_name}")
    network = network_settings(suite, profile, dataset)
    if profile.short_run is not None and by_chains:
        _check_batches(suite, dataset, profile.short_run.batch_size, "short_run")
        return config | {"network": network, "short_run": asdict(profile.short_run)}
    _check_batches(suite, dataset, profile.training.batch_size, "training")
    refit = _refit(suite, profile, dataset, entry, profile.refit)
    kept = _snapshots(profile, entry)
    training = {"training": asdict(_training(profile, entry))} | ({"snapshots": kept} if kept else {})
    return config | {"network": network, "refit": refit} | training


def _training(profile: ImagesProfile, entry: registry.Entry) -> TrainingSettings:
    """Return the settings of a model's alternating phase: the profile's, but for those that it was registered with."""
    settings = asdict(profile.training) | {"precision": profile.precision} | entry.settings.get("training", {})
    if entry.settings.get("longer") and profile.longer_base_steps is not None:
        settings["base_steps"] = profile.longer_base_steps
    return TrainingSettings(**settings)


def _snapshots(profile: ImagesProfile, entry: registry.Entry) -> list[int]:
    """Return after which steps a model's base is kept for its training curve; none without one, or for a base that it does not train."""
    alternating = "objective" in entry.settings and not entry.settings.keys() & {"base", "trained_by"}
    if not profile.evaluation.training_curve or not alternating:
        return []
    training = _training(profile, entry)
    return sorted({training.base_steps // part for part in PARTS} - {0}) if training.train_base else []


def on_base(
    suite: Suite[ImagesProfile],
    profile: ImagesProfile,
    dataset: Dataset,
    entry: registry.Entry,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the settings of a model that starts from another one's run: of that run's networks, fitted as the profile's `post_hoc` says.

    `base` is that other model, with its settings under `config`.

    Raises:
        SuiteError: if the dataset is too small for the batches, or has no validation split.
    """
    refit = _refit(suite, profile, dataset, entry, profile.post_hoc or profile.refit)
    network = base["config"]["network"]
    return entry.settings | {"base": dict(base), "training": None, "network": network, "refit": refit}


def _refit(
    suite: Suite[ImagesProfile], profile: ImagesProfile, dataset: Dataset, entry: registry.Entry, refit: RefitSettings
) -> dict[str, Any] | None:
    """Return the settings of a model's refit, None if it has none, or raise a SuiteError where the dataset does not allow it."""
    _check_batches(suite, dataset, refit.batch_size, "post_hoc" if refit is profile.post_hoc else "refit")
    if not entry.facts.get("has_energy"):
        return None
    if "validation" not in dataset.splits:
        why = f"{dataset.name} has no validation split, which picks the energy of {entry.name} and its temperature"
        raise SuiteError(f"{why}; leave that model out")
    if not refit.steps or entry.facts.get("energy") == "own":
        return None
    return asdict(refit) | {"precision": profile.precision}


def network_settings(suite: Suite[ImagesProfile], profile: ImagesProfile, dataset: Dataset) -> dict[str, Any]:
    """Return the settings of the suite's networks.

    Raises:
        SuiteError: if they do not take the dataset's shape.
    """
    try:
        network = dict(profile.network)
        family = make("networks", network.pop("family"), network)
        family.check(dataset.shape)
    except ValueError as error:
        shape = "×".join(map(str, dataset.shape))
        raise SuiteError(f"suite '{suite.name}': {error}; {dataset.name} is {shape}") from error
    return {"family": profile.network["family"]} | asdict(family)


def _check_batches(suite: Suite[ImagesProfile], dataset: Dataset, largest: int, table: str) -> None:
    """Raise a SuiteError where the dataset is smaller than a batch of the settings in that table."""
    rows = len(dataset.splits["train"])
    if largest > rows:
        why = f"batch_size {largest} is more than the {rows} images of {dataset.name} to train on"
        raise SuiteError(f"suite '{suite.name}': {why}; --set {table}.batch_size={rows} or less")


def readouts(
    profile: ImagesProfile, dataset: Dataset, entry: registry.Entry, weights: Path | None
) -> tuple[Readout, ...]:
    """Return the base readout of every model; temperature, exact samples and chains where there is an energy; the training curve last."""
    asked = profile.evaluation
    scored = asked.model_dump(include={"samples", "reference", "metrics"})
    scored["extractor"] = choose_extractor(dataset, weights, asked.extractor)
    found: list[Readout] = [BaseReadout(**scored)]
    if entry.facts.get("has_energy"):
        energy = asked.model_dump(include={"partition_samples", "annealing", "betas"})
        found.append(TemperatureReadout(**energy))
        found += [ExactReadout(beta=beta, pool=asked.pool, **scored, **energy) for beta in asked.exact]
        found += [ChainReadout(chain=_aimed(chain), **scored, **energy) for chain in asked.chains]
    if _snapshots(profile, entry):
        found.append(TrainingCurveReadout(**scored))
    return tuple(found)


def remarks(profile: ImagesProfile, dataset: Dataset, entry: registry.Entry) -> Iterator[str]:
    """Yield that held-out images are too few to be scored as the models are; the distance of fewer images would be another score."""
    held_out = len(dataset.splits.get("validation" if profile.evaluation.reference == "test" else "test", ()))
    if entry.name == "data" and held_out < (wanted := profile.evaluation.samples):
        yield (
            f"{dataset.name} has {held_out:,} held-out images and {wanted:,} are scored of each model: data gets no scores; "
            f"--set evaluation.samples={held_out} scores as many of every model, or leave data out"
        )


def _aimed(chain: Chain) -> Chain:
    """Return the chain, or raise a SuiteError where a sampler that calibrates the logit itself is given a β."""
    own = getattr(registry.get("samplers", chain.sampler).load(), "calibration", "none")
    if own in ("isotonic", "logistic") and chain.beta != CALIBRATED:
        raise SuiteError(f'{chain.sampler} calibrates the logit by itself ({own}); write beta = "calibrated" for it')
    return chain


def choose_extractor(dataset: Dataset, weights: Path | None, wanted: str) -> str:
    """Return an extractor by name; for "auto" Inception where its weights are available, else the dataset's own classifier.

    Raises:
        SuiteError: if what is wanted, or all there is, needs weights that are not at hand, or classes that the dataset does not have.
    """
    at_hand = weights is not None and any((weights / name).is_file() for name in INCEPTION_FILES)
    fetch = f"bench data fetch {INCEPTION}, or BENCH_WEIGHTS=folder that has {INCEPTION_FILES[0]}"
    if wanted == "auto" and at_hand:
        return INCEPTION
    if wanted == INCEPTION and not at_hand:
        raise SuiteError(f"the weights of {INCEPTION} are not at hand; {fetch}")
    if wanted not in ("auto", "in-domain", "in-domain-half"):
        return wanted
    labels = dataset.labels.get("train")
    if dataset.kind == "image" and (labels is None or (labels == labels[0]).all()):
        remedy = "set extractor to auto; " if wanted != "auto" else ""
        none = "no classes" if labels is None else "one class only in its training split"
        raise SuiteError(f"{dataset.name} has {none} to train an in-domain extractor on; {remedy}{fetch}")
    return f"{dataset.name}-half-cnn" if wanted == "in-domain-half" else f"{dataset.name}-cnn"
