"""How the models of a suite are evaluated, and the readouts that this comes to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bench.core import registry
from bench.core.spec.fields import Beta, Count, Frozen, Positive
from bench.core.spec.readouts import ChainSpec, DensityReadout, ImageReadout, LawReadout, Readout, TraceReadout

__all__ = ["ChainsSpec", "DensityEvaluation", "EvaluationSpec", "TracedSampler"]


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
    settings: dict[str, int | float | tuple[float, ...]] = Field(default={})
    adapt: bool = True


class ChainsSpec(Frozen):
    """How latent chains are judged against the truth: at each β every sampler, with one warm-up and one budget for all.

    Costs are in gradient evaluations a chain; `bench.chains.samplers.FORWARD_COST` says what a forward evaluation counts.
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


class DensityEvaluation(Frozen):
    """How densities are read out: draws for log Z, and samples kept for the eye."""

    partition_samples: Annotated[int, Field(ge=100, strict=True)] = 100000
    shown_samples: Count = 2000

    def readouts(self, has_energy: bool) -> tuple[Readout, ...]:
        """One likelihood; without an energy it is exact and takes no draws."""
        draws = self.partition_samples if has_energy else 0
        return (DensityReadout(partition_samples=draws, shown_samples=self.shown_samples),)
