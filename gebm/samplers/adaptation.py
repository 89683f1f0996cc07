"""Step-size adaptation: a wrapper that tunes a sampler during warm-up and then freezes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.checks import Positive, Range
from gebm.model import LatentPotential
from gebm.samplers.kernel import DualAverages, Info, Sampler, State

__all__ = ["StepSizeAdaptation"]

GAIN, DELAY, FORGETTING = 0.1, 10, 0.75
"""γ, t₀ and κ of Hoffman & Gelman (2014), with γ twice theirs: a mean over chains needs no bolder steps."""


@dataclass(frozen=True)
class StepSizeAdaptation(Sampler):
    """Tune `step_size` by dual averaging (Nesterov, 2009; Hoffman & Gelman, 2014) for `warmup` steps, then keep
    the average.

    One step size for all chains, driven by their mean acceptance. A chain is aimed at its target only from the step
    after warm-up on: record nothing before. During warm-up each step waits for the device to read the acceptance;
    after it none does.

    Arguments:
        sampler: one with a `step_size` that can reject.
        warmup: steps that adapt, >= 1.
        target: wanted mean acceptance, from 0.001 to 0.999; None takes the sampler's own.

    Raises:
        ValueError: if the sampler has no step size, or never rejects and so cannot be tuned by acceptance.

    Example:
        >>> from gebm.samplers import MALA
        >>> StepSizeAdaptation(MALA(0.1), warmup=200).goal
        0.574
    """

    sampler: Sampler
    warmup: Positive
    target: Annotated[float, Range(0.001, 0.999)] | None = None
    temperable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self.sampler).__name__
        if not hasattr(self.sampler, "step_size"):
            raise ValueError(f"sampler must have a step_size to adapt, {name} has none")
        if self.sampler.target_acceptance is None:
            raise ValueError(
                f"sampler must be able to reject, {name} cannot: its acceptance says nothing about the step size"
            )

    @property
    def goal(self) -> float:
        """The mean acceptance aimed at."""
        return (
            self.target or self.sampler.target_acceptance or 0.0
        )  # one is positive, or construction would have failed

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        initial = math.log(_step_size(self.sampler))
        return self.sampler.init(potential, z)._replace(adaptation=DualAverages(0, 0.0, initial, initial))

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        averages = _averages(state)
        after, info = self.current(state).step(potential, state._replace(adaptation=None), generator)
        if averages.steps < self.warmup:
            averages = self._learn(averages, float(info.acceptance.mean()))
        return after._replace(adaptation=averages), info

    def current(self, state: State) -> Sampler:
        """Return the sampler that makes the next step from `state`; after warm-up the frozen one, usable on its own."""
        averages = _averages(state)
        log_size = averages.log_step if averages.steps < self.warmup else averages.log_average
        sampler: Any = self.sampler
        tuned: Sampler = replace(sampler, step_size=min(math.exp(log_size), self.sampler.largest_step))
        return tuned

    def _learn(self, averages: DualAverages, acceptance: float) -> DualAverages:
        steps = averages.steps + 1
        shortfall = averages.shortfall + self.goal - acceptance
        anchor = math.log(10 * _step_size(self.sampler))
        ceiling = math.log(self.sampler.largest_step)
        log_step = min(anchor - math.sqrt(steps) / GAIN * shortfall / (steps + DELAY), ceiling)
        weight = steps**-FORGETTING
        return DualAverages(steps, shortfall, log_step, weight * log_step + (1 - weight) * averages.log_average)


def _step_size(sampler: Any) -> float:
    return float(sampler.step_size)


def _averages(state: State) -> DualAverages:
    if state.adaptation is None:
        raise ValueError("this state has no adaptation; start it with StepSizeAdaptation's own init")
    return state.adaptation
