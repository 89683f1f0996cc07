"""How a suite of chains resolves to runs, and which chains are judged on them.

Models of images are trained by another suite, which `trained_as` names: theirs are the very same runs, with more readouts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from bench.components import registry
from bench.components.settings import make
from bench.core.fields import Beta, Count, Frozen, Positive
from bench.core.spec import Readout
from bench.core.suite import Component, Profile, Suite, SuiteError, find_suite
from bench.data import Dataset
from gebm.settings import RefitSettings

__all__ = ["PROFILE", "LawReadout", "TraceReadout", "readouts", "resolve"]

ENERGY = "energy-mlp"


class TracedSampler(Frozen):
    """A sampler as a suite of chains names it.

    Attributes:
        sampler: as `bench list samplers` names them.
        settings: what is left out is the sampler's own.
        adapt: tune the step size during warm-up, where the sampler has a target acceptance, then freeze it.
    """

    sampler: str
    settings: dict[str, int | float | tuple[float, ...]] = Field(default={})
    adapt: bool = True


class Evaluation(Frozen):
    """How latent chains are judged against the truth: at each β every sampler, with one warm-up and one budget for all.

    Costs are in gradient evaluations per chain; `bench.chains.cost.FORWARD_COST` says what a forward evaluation counts.

    Attributes:
        samplers: what is compared.
        betas: inverse temperatures.
        chains: chains side by side.
        warmup: cost of what is thrown away at the beginning.
        budgets: costs at which chains are judged.
        reference_samples: draws that stand for the truth where it is not known in closed form.
        law_samples: samples of the base and of the learned density that are judged beside the chains, on toys; 0 for none.
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

    Attributes:
        trained_as: the suite whose profile of the same name trains the models of images.
        network: what the energies of toys are built from: settings of energy-mlp.
        refit: how they are trained.
        evaluation: how chains are judged.
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

    def components(self) -> Iterator[Component]:
        if self.network is not None:
            yield Component("network.family", "networks", ENERGY, self.network)
        for i, each in enumerate(self.evaluation.samplers):
            yield Component(f"evaluation.samplers.{i}.sampler", "samplers", each.sampler, each.settings)


PROFILE = ChainsProfile


class TraceReadout(Readout):
    """One sampler's chains, with resolved settings, judged against the truth at several budgets."""

    reader: ClassVar[str] = "bench.chains.judge:read_trace"
    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    turn: ClassVar[int] = 1
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
        return [*super().roots(model), registry.get("samplers", self.sampler).target]


class LawReadout(Readout):
    """A law without a chain: the base, the learned density resampled from the base, or the truth's own error."""

    reader: ClassVar[str] = "bench.chains.judge:read_law"
    methods: ClassVar[tuple[str, ...]] = ("gebm",)
    kind: Literal["law"] = "law"
    law: Literal["base", "resampled", "reference"]
    beta: Beta
    samples: Positive


def resolve(suite: Suite[ChainsProfile], profile_name: str, dataset: Dataset, entry: registry.Entry) -> dict[str, Any]:
    """Return the settings of one model on a toy's base: the known energy, or one that is learned.

    Raises:
        SuiteError: if the suite does not say how the energy is trained.
    """
    profile, config = suite.profile(profile_name), dict(entry.settings)
    where = f"suite '{suite.name}'"
    if dataset.kind != "toy":
        raise SuiteError(f"{where}: trained_as must name the suite that trains {entry.name} on {dataset.name}")
    if "objective" not in config:
        return config
    if profile.network is None or profile.refit is None:
        raise SuiteError(f"{where}: network and refit must say how {entry.name}'s energy is trained")
    energy = asdict(make("networks", ENERGY, profile.network))
    return config | {"network": {"family": ENERGY} | energy, "refit": asdict(profile.refit)}


def readouts(
    profile: ChainsProfile, dataset: Dataset, entry: registry.Entry, _weights: Path | None
) -> tuple[Readout, ...]:
    """Return a trace per sampler and β; on a toy its base and the learned density, elsewhere the reference's own error."""
    if not entry.facts.get("has_energy"):
        return ()
    asked, known_base = profile.evaluation, dataset.kind == "toy"
    law_samples = asked.law_samples if known_base else 0
    common = asked.model_dump(include={"chains", "warmup", "budgets", "reference_samples"})
    found: list[Readout] = []
    if law_samples:
        found.append(LawReadout(law="base", beta=0.0, samples=law_samples))
    for beta in asked.betas:
        if not known_base:
            found.append(LawReadout(law="reference", beta=beta, samples=asked.reference_samples))
        elif law_samples:
            found.append(LawReadout(law="resampled", beta=beta, samples=law_samples))
        for each in asked.samplers:
            parameters = inspect.signature(registry.get("samplers", each.sampler).load()).parameters
            own = {
                name: setting.default for name, setting in parameters.items() if setting.default is not setting.empty
            }
            chosen = each.model_dump() | {"settings": own | each.settings}
            found.append(TraceReadout(**chosen, beta=beta, law_samples=law_samples, **common))
    return tuple(found)
