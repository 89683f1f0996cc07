"""How a suite of chains resolves to runs, and which chains are judged on them.

Models of images are trained by another suite, which `trained_as` names: theirs are the very same runs, with more readouts.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from bench.components import registry
from bench.components.settings import make
from bench.core.fields import Beta, Count, Frozen, Positive
from bench.core.spec import Readout
from bench.core.suite import Profile, Suite, SuiteError, find_suite
from bench.data import Dataset
from gebm.components import ComponentKind
from gebm.settings import RefitSettings

__all__ = ["PROFILE", "ChainsProfile", "LawReadout", "TraceReadout", "readouts", "resolve"]

ENERGY = "energy-mlp"


class TracedSampler(Frozen):
    """A sampler as a suite of chains names it; what `settings` leave out is the sampler's own.

    `adapt`: tune the step size during warm-up, where the sampler has a target acceptance, then freeze it.
    """

    sampler: str
    settings: dict[str, int | float | tuple[float, ...]] = Field(default={})
    adapt: bool = True


class Evaluation(Frozen):
    """How latent chains are judged against the truth: at each β every sampler, with one warm-up and one budget for all.

    Costs are in gradient evaluations per chain; `bench.chains.cost.FORWARD_COST` says what a forward evaluation counts.
    """

    samplers: tuple[TracedSampler, ...] = Field(min_length=1)
    betas: tuple[Beta, ...] = Field(default=(1.0,), min_length=1)
    chains: Annotated[int, Field(ge=2, le=10**6)]
    warmup: Positive
    budgets: tuple[Positive, ...] = Field(min_length=1)
    reference_samples: Positive = 200000
    law_samples: Count = 0


class ChainsProfile(Profile):
    """Latent chains judged against the truth, on toys and on models that another suite trains.

    `trained_as` names the suite whose profile of the same name trains the models of images.
    """

    trained_as: str | None = None
    network: dict[str, Any] | None = None
    refit: RefitSettings | None = None
    evaluation: Evaluation

    @field_validator("trained_as")
    @classmethod
    def _the_training_suite_is_there(cls, name: str | None) -> str | None:
        if name is not None:
            find_suite(name)
        return name

    def components(self) -> list[tuple[str, ComponentKind, str]]:
        return [
            (f"evaluation.samplers.{i}.sampler", "samplers", s.sampler) for i, s in enumerate(self.evaluation.samplers)
        ]

    def check(self) -> None:
        if self.network is not None:
            try:
                make("networks", ENERGY, self.network)
            except ValueError as error:
                raise ValueError(f"network: {error}") from error
        for i, each in enumerate(self.evaluation.samplers):
            try:
                make("samplers", each.sampler, each.settings)
            except ValueError as error:
                raise ValueError(f"evaluation.samplers.{i}: {error}") from error


PROFILE = ChainsProfile


class TraceReadout(Readout):
    """One sampler's chains, with resolved settings, judged against the truth at several budgets."""

    reader: ClassVar[str] = "bench.chains.judge:read_trace"
    kind: Literal["trace"] = "trace"
    sampler: str
    settings: dict[str, Any]
    adapt: bool
    beta: Beta
    chains: Positive
    warmup: Positive
    budgets: tuple[Positive, ...]
    reference_samples: Positive
    law_samples: Count

    def roots(self, model: str) -> list[str]:
        return [self.reader, f"{model}.gebm", registry.get("samplers", self.sampler).target]

    @property
    def slow(self) -> bool:
        return True


class LawReadout(Readout):
    """A law without a chain: the base, the learned density resampled from the base, or the truth's own error."""

    reader: ClassVar[str] = "bench.chains.judge:read_law"
    kind: Literal["law"] = "law"
    law: Literal["base", "resampled", "reference"]
    beta: Beta
    samples: Positive

    def roots(self, model: str) -> list[str]:
        return [self.reader, f"{model}.gebm"]


def resolve(suite: Suite[ChainsProfile], profile_name: str, dataset: Dataset, entry: registry.Entry) -> dict[str, Any]:
    """The settings of one model on a toy's base: the known energy, or one that is learned.

    Raises:
        SuiteError: if the suite does not say how the energy is trained.
    """
    profile, config = suite.profile(profile_name), dict(entry.settings)
    if dataset.kind != "toy":
        raise SuiteError(
            f"suite '{suite.name}': trained_as must name the suite that trains {entry.name} on {dataset.name}"
        )
    if "objective" not in config:
        return config
    if profile.network is None or profile.refit is None:
        raise SuiteError(f"suite '{suite.name}': network and refit must say how {entry.name}'s energy is trained")
    energy = asdict(make("networks", ENERGY, profile.network))
    return config | {"network": {"family": ENERGY} | energy, "refit": asdict(profile.refit)}


def readouts(
    profile: ChainsProfile, dataset: Dataset, entry: registry.Entry, _weights: Path | None
) -> tuple[Readout, ...]:
    """A trace for each sampler; on a toy its base and the learned density, elsewhere the reference's own error."""
    if not entry.facts.get("has_energy"):
        return ()
    asked, known_base = profile.evaluation, dataset.kind == "toy"
    found: list[Readout] = []
    if known_base and asked.law_samples:
        found.append(LawReadout(law="base", beta=0.0, samples=asked.law_samples))
    for beta in asked.betas:
        if not known_base:
            found.append(LawReadout(law="reference", beta=beta, samples=asked.reference_samples))
        elif asked.law_samples:
            found.append(LawReadout(law="resampled", beta=beta, samples=asked.law_samples))
        found += [trace(asked, each, beta, known_base) for each in asked.samplers]
    return tuple(found)


def trace(asked: Evaluation, chosen: TracedSampler, beta: float, known_base: bool) -> TraceReadout:
    """One sampler at one β, with all its settings."""
    parameters = inspect.signature(registry.get("samplers", chosen.sampler).load()).parameters.values()
    own = {each.name: each.default for each in parameters if each.default is not each.empty}
    return TraceReadout(
        sampler=chosen.sampler,
        settings=own | chosen.settings,
        adapt=chosen.adapt,
        beta=beta,
        chains=asked.chains,
        warmup=asked.warmup,
        budgets=asked.budgets,
        reference_samples=asked.reference_samples,
        law_samples=asked.law_samples if known_base else 0,
    )
