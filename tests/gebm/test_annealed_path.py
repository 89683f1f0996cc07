"""One annealed run for several temperatures: its law and log Z at each, and when its particles are not to be trusted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.model import LatentPotential
from gebm.partition import annealed_path
from gebm.samplers import MALA


def quadratic(dimension: int) -> LatentPotential:
    """E = 4‖z − 1.5‖² on N(0, I): at β the law is N(12β/(1 + 8β), 1/(1 + 8β)) in each coordinate."""

    class Quadratic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 4 * (x - 1.5).square().sum(1)

    return LatentPotential(Base(nn.Identity(), GaussianPrior(dimension)), Quadratic())


def test_the_annealed_path_has_the_law_and_log_z_of_every_level() -> None:
    """Six standard errors of log Z and of the islands' means of E; the schedule is found by a pilot."""
    dimension = 8
    levels = annealed_path(quadratic(dimension), MALA(0.1), [5.0, 0.1, 1.0], 128, torch.Generator().manual_seed(0))
    assert [level.beta for level in levels] == [0.1, 1.0, 5.0]
    for level in levels:
        precision = 1 + 8 * level.beta
        mean, variance = 12 * level.beta / precision, 1 / precision
        log_z = dimension * 0.5 * (math.log(variance) - 18 * level.beta + mean**2 / variance)
        energy = dimension * 4 * (variance + (mean - 1.5) ** 2)
        found, error = level.mean_energy()
        assert level.trustworthy
        assert abs(level.log_partition.estimate - log_z) < 6 * level.log_partition.standard_error
        assert abs(found - energy) < 6 * error
        assert 64 <= level.ancestors <= len(level.z) == 32 * 128


def test_a_path_that_ends_early_leaves_out_what_it_did_not_reach() -> None:
    levels = annealed_path(
        quadratic(8), MALA(0.1), [0.01, 50.0], 16, torch.Generator().manual_seed(0), most_levels=2, moves=1
    )
    assert [level.beta for level in levels] == [0.01]


def test_islands_that_disagree_are_not_to_be_trusted() -> None:
    """Two narrow wells, far apart, with unequal depth: without moves between them each population keeps the share it drew."""

    class Wells(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 20 * torch.minimum((x - 1.2).square().sum(1), (x + 1.2).square().sum(1) + 0.05)

    potential = LatentPotential(Base(nn.Identity(), GaussianPrior(6)), Wells())
    levels = annealed_path(potential, MALA(1e-3), [1e-3, 20.0, 30.0], 4, torch.Generator().manual_seed(0), moves=1)
    assert [level.beta for level in levels] == [
        1e-3,
        20.0,
    ]  # what comes after would begin with particles that are wrong
    assert levels[0].rough
    assert levels[1].rhat > 1.5
    assert not levels[1].trustworthy


@pytest.mark.parametrize("betas", [[], [0.0, 1.0], [-1.0]])
def test_a_path_needs_temperatures(betas: list[float]) -> None:
    with pytest.raises(ValueError, match="betas must be positive"):
        annealed_path(quadratic(2), MALA(0.1), betas, 16, torch.Generator())
