"""How a suite of images resolves to runs, and what is read out of their models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from baselines.settings import ShortRunSettings
from bench.components import registry
from bench.components.settings import make
from bench.core.fields import Beta, Distinct, Frozen, Lengths, Positive, Rate
from bench.core.spec import Readout
from bench.core.suite import Component, Profile, Suite, SuiteError
from bench.data import Dataset
from bench.inception import INCEPTION, INCEPTION_FILES
from bench.metrics import DEFAULT_METRICS, extractor_entry
from gebm.settings import RefitSettings, TrainingSettings

__all__ = ["PROFILE", "BaseReadout", "Chain", "ChainReadout", "GainReadout", "ScoredReadout", "readouts", "resolve"]


class Chain(Frozen):
    """One latent chain at one inverse temperature, scored at several lengths; settings left out are the sampler's own."""

    sampler: str
    beta: Beta
    step_size: Rate
    settings: dict[str, int | float | tuple[float, ...]] = Field(default={})
    lengths: Lengths
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Positive = 200

    @model_validator(mode="after")
    def _step_size_stands_alone(self) -> Chain:
        if "step_size" in self.settings:
            raise ValueError(f"the step_size of {self.sampler} stands beside its settings, not among them")
        return self


class Evaluation(Frozen):
    """How trained models of images are scored: by which metrics, in the features of which extractor.

    "auto" is Inception where its weights are available, else the in-domain classifier.
    """

    samples: Annotated[int, Field(ge=10, le=10**7)]
    reference: Literal["train", "test"] = "train"
    extractor: str = "auto"
    metrics: Annotated[tuple[str, ...], Field(min_length=1), Distinct] = DEFAULT_METRICS
    chains: tuple[Chain, ...] = ()
    partition_samples: Annotated[int, Field(ge=4, le=10**9)] = 20000

    @model_validator(mode="after")
    def _chains_can_be_told_apart(self) -> Evaluation:
        if len({(chain.sampler, chain.beta, chain.step_size) for chain in self.chains}) < len(self.chains):
            raise ValueError("two chains have the same sampler, beta and step_size; rows could not be told apart")
        return self


class ImagesProfile(Profile):
    """Models of images of one architecture, scored by their samples; `precision` is of training, see `gebm.precision`."""

    precision: Literal["float32", "bf16"] = "float32"
    network: dict[str, Any]
    training: TrainingSettings
    refit: RefitSettings
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
            settings = {"step_size": chain.step_size} | chain.settings
            yield Component(f"evaluation.chains.{i}.sampler", "samplers", chain.sampler, settings)
        if asked.extractor != "auto":
            yield Component("evaluation.extractor", "extractors", asked.extractor)


PROFILE = ImagesProfile


class ScoredReadout(Readout):
    """Images scored by registered metrics: how many, compared with what, in whose features."""

    extractor: str
    samples: Positive
    reference: Literal["train", "test"]
    metrics: tuple[str, ...] = DEFAULT_METRICS

    def roots(self, model: str) -> list[str]:
        metrics = (registry.get("metrics", each).target for each in self.metrics)
        return [*super().roots(model), extractor_entry(self.extractor).target, *metrics]


class BaseReadout(ScoredReadout):
    """Samples without a chain, scored."""

    reader: ClassVar[str] = "bench.images.evaluation:read_base"
    methods: ClassVar[tuple[str, ...]] = ("sample",)
    kind: Literal["base"] = "base"


class ChainReadout(ScoredReadout):
    """A latent chain's images, scored at several lengths."""

    reader: ClassVar[str] = "bench.images.evaluation:read_chain"
    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    slow: ClassVar[bool] = True
    kind: Literal["chain"] = "chain"
    chain: Chain

    def roots(self, model: str) -> list[str]:
        return [*super().roots(model), registry.get("samplers", self.chain.sampler).target]


class GainReadout(Readout):
    """What the energy adds to the base on held-out images, in nats; `samples` are draws for log Z."""

    reader: ClassVar[str] = "bench.images.evaluation:read_gain"
    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    kind: Literal["likelihood"] = "likelihood"
    samples: Positive


def resolve(suite: Suite[ImagesProfile], profile_name: str, dataset: Dataset, entry: registry.Entry) -> dict[str, Any]:
    """Return the settings of one model of images: what it was registered with, and what of the profile it uses.

    A model with an `objective` is trained adversarially on the suite's networks; one with `has_energy` has its energy refitted; one that
    is `trained_by` short-run chains has the discriminator alone.

    Raises:
        SuiteError: if the dataset is too small for the batches, or of a shape that the networks do not take, or the profile lacks the
            settings that the model is trained by.
    """
    profile, config = suite.profile(profile_name), dict(entry.settings)
    by_chains = config.get("trained_by") == "short-run"
    short_run = profile.short_run if by_chains else None
    if "objective" not in config and not by_chains:
        return config
    if by_chains and short_run is None:
        raise SuiteError(f"suite '{suite.name}': {entry.name} needs [profiles.{profile_name}.short_run]")
    refit = profile.refit if config.get("has_energy") and profile.refit.steps else None
    phases = [profile.training, profile.refit] if short_run is None else [short_run]
    rows, largest = len(dataset.splits["train"]), max(phase.batch_size for phase in phases)
    if largest > rows:
        raise SuiteError(f"suite '{suite.name}': batch_size {largest} is more than the {rows} images of {dataset.name}")
    try:
        network = dict(profile.network)
        family = make("networks", network.pop("family"), network)
        family.check(dataset.shape)
    except ValueError as error:
        shape = "×".join(map(str, dataset.shape))
        raise SuiteError(f"suite '{suite.name}': {error}; {dataset.name} is {shape}") from error
    if refit is not None and "validation" not in dataset.splits:
        why = f"{dataset.name} has no validation split, which picks the energy of {entry.name}"
        raise SuiteError(f"{why}; leave that model out")
    network = {"family": profile.network["family"]} | asdict(family)
    if short_run is not None:
        return config | {"network": network, "short_run": asdict(short_run)}
    training = asdict(profile.training) | {"precision": profile.precision} | config.pop("training", {})
    return config | {
        "network": network,
        "training": asdict(TrainingSettings(**training)),
        "refit": refit and asdict(refit) | {"precision": profile.precision},
    }


def readouts(
    profile: ImagesProfile, dataset: Dataset, entry: registry.Entry, weights: Path | None
) -> tuple[Readout, ...]:
    """Return the base readout of every model, and chains and the likelihood gain where there is an energy."""
    asked = profile.evaluation
    scored = asked.model_dump(include={"samples", "reference", "metrics"})
    scored["extractor"] = choose_extractor(dataset, weights, asked.extractor)
    found: list[Readout] = [BaseReadout(**scored)]
    if entry.facts.get("has_energy"):
        found += [ChainReadout(chain=chain, **scored) for chain in asked.chains]
        found.append(GainReadout(samples=asked.partition_samples))
    return tuple(found)


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
    if wanted not in ("auto", "in-domain"):
        return wanted
    if dataset.kind == "image" and "train" not in dataset.labels:
        remedy = "set extractor to auto; " if wanted == "in-domain" else ""
        raise SuiteError(f"{dataset.name} has no classes to train an in-domain extractor on; {remedy}{fetch}")
    return f"{dataset.name}-cnn"
