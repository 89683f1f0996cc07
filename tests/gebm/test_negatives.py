"""Negatives: base samples, or samples of the model by latent chains."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.negatives import LatentChains, Negatives
from gebm.networks.mlp import MLPGenerator
from gebm.samplers import MALA, ULA, KineticLangevin, ParallelTempering, StepSizeAdaptation


class Tilt(nn.Module):
    """E = −x: on N(0, 1) the model is N(1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return -x.sum(1)


def normal() -> Base:
    return Base(nn.Identity(), GaussianPrior(1))


def test_without_chains_they_are_base_samples() -> None:
    base = Base(MLPGenerator(3, (2,), [8]), GaussianPrior(3)).train()
    drawn = Negatives(base, Tilt(), None, torch.Generator().manual_seed(0)).draw(6)
    torch.testing.assert_close(drawn, base.sample(6, torch.Generator().manual_seed(0)).detach(), rtol=0, atol=0)
    assert not drawn.requires_grad


def test_long_exact_chains_sample_the_model() -> None:
    """2,000 independent chains of 40 MALA steps: mean 1 and variance 1 within 4.5 standard errors, a false alarm in 70,000 fresh seeds."""
    x = Negatives(normal(), Tilt(), LatentChains(MALA(0.5), 40), torch.Generator().manual_seed(0)).draw(2000)
    assert abs(x.mean().item() - 1) < 4.5 / math.sqrt(2000)
    assert abs(x.var().item() - 1) < 4.5 * math.sqrt(2 / 2000)


def test_persistent_chains_go_on() -> None:
    """Draws of one step each are one chain: ULA without randomness in the energy is an AR(1) whose draws repeat exactly."""
    negatives = Negatives(normal(), Tilt(), LatentChains(ULA(0.1), 1, True), torch.Generator().manual_seed(0))
    draws = [negatives.draw(5) for _ in range(4)]
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(5, 1, generator=generator)
    for drawn in draws:
        z = z - 0.1 * (z - 1) + math.sqrt(0.2) * torch.randn(5, 1, generator=generator)
        torch.testing.assert_close(drawn, z)


def test_restarts_happen_as_often_as_they_should() -> None:
    """Chains are parked at 50, restarts are near 0: 300 of 1,000 within 4 standard deviations (58), a false alarm in 16,000 seeds."""
    chains = LatentChains(ULA(1e-4), 1, True, restart=0.3)
    negatives = Negatives(normal(), Tilt(), chains, torch.Generator().manual_seed(0))
    negatives.latents = torch.full((1000, 1), 50.0)
    assert abs(int((negatives.draw(1000) < 25).sum()) - 300) < 58


def test_velocities_persist() -> None:
    """At a friction of 0.01 and a step of 0.2 the velocity after a draw is nearly the one before it; a fresh one has no correlation."""
    chains = LatentChains(KineticLangevin(0.01, friction=0.01), 1, True)
    negatives = Negatives(normal(), Tilt(), chains, torch.Generator().manual_seed(0))
    negatives.draw(400)
    before = negatives.velocity
    assert before is not None
    negatives.draw(400)
    assert torch.corrcoef(torch.cat([before, negatives.velocity], 1).T)[0, 1] > 0.9


def test_modes_and_flags_are_as_before_and_chains_ran_in_evaluation_mode() -> None:
    seen = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, self.weight.requires_grad))
            return self.weight * x.sum(1)

    base, energy = Base(MLPGenerator(3, (2,), [8]), GaussianPrior(3)), Spy()
    statistics = base.network.body[1].running_mean.clone()
    Negatives(base, energy, LatentChains(ULA(0.1), 2), torch.Generator().manual_seed(0)).draw(4)
    assert set(seen) == {(False, False)}
    assert base.training
    assert energy.training
    assert all(parameter.requires_grad for parameter in base.parameters())
    assert torch.equal(base.network.body[1].running_mean, statistics)


@pytest.mark.parametrize("sampler", [ParallelTempering(MALA(0.1), (0.0, 0.5, 1.0)), StepSizeAdaptation(MALA(0.1), 5)])
def test_persistent_chains_refuse_samplers_that_keep_more(sampler: ParallelTempering | StepSizeAdaptation) -> None:
    assert Negatives(normal(), Tilt(), LatentChains(sampler, 2), torch.Generator()).draw(4).shape == (4, 1)
    with pytest.raises(ValueError, match="no more than latents and velocities: no tempering"):
        Negatives(normal(), Tilt(), LatentChains(sampler, 2, True), torch.Generator()).draw(4)
