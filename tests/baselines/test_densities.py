"""Kernel density and Gaussian mixture: what they choose, and that log_prob and sample speak of one density."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from baselines.densities import Density, gaussian_mixture, kernel_density


def two_clusters(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randint(2, (count, 1), generator=generator) * 4.0 - 2.0
    return sides + 0.3 * torch.randn(count, 2, generator=generator)


def mixture(train: Tensor, validation: Tensor) -> Density:
    return gaussian_mixture(train, validation, torch.Generator().manual_seed(0))


DENSITIES: dict[str, Callable[[Tensor, Tensor], Density]] = {"kernel": kernel_density, "mixture": mixture}


@pytest.fixture(params=DENSITIES)
def density(request: pytest.FixtureRequest) -> Density:
    return DENSITIES[request.param](two_clusters(600, 0), two_clusters(200, 1))


def test_density_integrates_to_one(density: Density) -> None:
    axis = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(axis, axis)
    total = density.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1.0, abs=1e-3)


def test_comes_near_the_entropy_of_the_truth(density: Density) -> None:
    """log 2 + the entropy of one cluster: 0.06 are four standard errors of 4,000 points, the rest is for what 600 rows can teach."""
    truth = -(math.log(2) + 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.3)))
    tests = two_clusters(4000, 2)
    assert float(density.log_prob(tests).mean()) == pytest.approx(truth, abs=0.15)


def test_samples_have_the_density(density: Density) -> None:
    """E over samples of log p is minus its entropy, here by a grid; 4,000 draws, four standard errors."""
    axis = torch.linspace(-6, 6, 241)
    log_density = density.log_prob(torch.cartesian_prod(axis, axis))
    expected = float((log_density.exp() * log_density.clamp(min=-700)).sum() * (axis[1] - axis[0]) ** 2)
    values = density.log_prob(density.sample(4000, torch.Generator().manual_seed(3)))
    assert float(values.mean()) == pytest.approx(expected, abs=4 * float(values.std()) / math.sqrt(4000) + 1e-3)


def test_the_generator_decides_the_samples(density: Density) -> None:
    draws = [density.sample(5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_validation_rows_choose() -> None:
    density = mixture(two_clusters(600, 0), two_clusters(200, 1))
    assert density.choice == 2
    assert density.tried[2] == max(density.tried.values())
    few = kernel_density(two_clusters(20, 0), two_clusters(200, 1))
    many = kernel_density(two_clusters(2000, 0), two_clusters(200, 1))
    assert few.choice > many.choice


def test_nothing_to_choose_from_is_said() -> None:
    with pytest.raises(ValueError, match="no choice with a finite validation value"):
        kernel_density(two_clusters(20, 0), two_clusters(20, 1), bandwidths=())
    assert mixture(two_clusters(4, 0), two_clusters(200, 1)).tried.keys() == {1, 2, 3}
