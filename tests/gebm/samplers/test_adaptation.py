"""Step-size adaptation finds its target and then holds still."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from gebm.base import GaussianPrior
from gebm.samplers import HMC, MALA, PreconditionedCrankNicolson, RandomWalk, Sampler, StepSizeAdaptation, chain


@pytest.mark.parametrize("guess", [1e-4, 3.0])
@pytest.mark.parametrize("build", [MALA, partial(HMC, leapfrog_steps=3), RandomWalk])
def test_acceptance_after_warm_up_is_the_one_wanted(build, guess: float, targets) -> None:
    """From a step size a thousand times too small or far too large, to within 0.04 of the sampler's own target."""
    posterior = targets.gaussian(50, spread=0.5)
    adaptive = StepSizeAdaptation(build(guess), warmup=300)
    acceptance: list[float] = []
    generator = torch.Generator().manual_seed(0)
    start = posterior.sample(100, generator)
    for _ in chain(
        adaptive,
        posterior.potential,
        start,
        [400],
        generator,
        on_step=lambda _, info: acceptance.append(float(info.acceptance.mean())),
    ):
        pass
    assert sum(acceptance[300:]) / 100 == pytest.approx(adaptive.goal, abs=0.04)


def test_it_freezes(targets) -> None:
    potential = targets.potential(targets.double_well, GaussianPrior(2))
    adaptive = StepSizeAdaptation(MALA(0.01), warmup=10)
    generator = torch.Generator().manual_seed(0)
    state = adaptive.init(potential, torch.zeros(50, 2))
    used: list[Sampler] = []
    for _ in range(20):
        used.append(adaptive.current(state))
        state, _ = adaptive.step(potential, state, generator)
    assert len(set(used[:10])) == 10
    assert len(set(used[10:])) == 1
    assert isinstance(used[-1], MALA)
    assert used[-1].step_size == pytest.approx(math.exp(state.adaptation.log_average))


def test_a_bounded_step_stays_in_bounds(targets) -> None:
    """At β = 0 pCN accepts everything; its ρ goes to 1 and no further."""
    potential = targets.potential(targets.double_well, GaussianPrior(2), beta=0.0)
    adaptive = StepSizeAdaptation(PreconditionedCrankNicolson(0.5), warmup=50)
    generator = torch.Generator().manual_seed(0)
    state = adaptive.init(potential, torch.zeros(20, 2))
    for _ in range(60):
        state, _ = adaptive.step(potential, state, generator)
    assert 0.9 < adaptive.current(state).step_size <= 1.0


def test_an_unreachable_start_is_survived(targets) -> None:
    """Every proposal is refused at a step this large; adaptation still comes back."""
    potential = targets.potential(targets.double_well, GaussianPrior(2))
    adaptive = StepSizeAdaptation(RandomWalk(100.0), warmup=200)
    generator = torch.Generator().manual_seed(0)
    state = adaptive.init(potential, torch.zeros(50, 2))
    for _ in range(250):
        state, info = adaptive.step(potential, state, generator)
    assert float(info.acceptance.mean()) > 0.1
