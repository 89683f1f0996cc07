"""Targets with known truth, and the list of samplers that every law is checked on.

Adding a sampler means adding it to `SAMPLERS`. The checks are functions of a sampler, so broken copies meet them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior, Prior
from gebm.model import LatentPotential
from gebm.samplers import (
    HMC,
    MALA,
    SIR,
    ULA,
    AdjustedKineticLangevin,
    Ex2MCMC,
    IndependentMH,
    IteratedSIR,
    KineticLangevin,
    ParallelTempering,
    PreconditionedCrankNicolson,
    RandomWalk,
    Sampler,
    StepSizeAdaptation,
)

SAMPLERS: dict[str, Sampler] = {
    "ULA": ULA(0.05),
    "MALA": MALA(0.3),
    "HMC": HMC(0.4, 3),
    "HMC-mass": HMC(0.4, 3, (0.5, 2.0)),
    "KineticLangevin": KineticLangevin(0.02, friction=1.0),
    "KineticLangevin-blind": KineticLangevin(0.02, friction=1.0, track_energy=False),
    "AdjustedKineticLangevin": AdjustedKineticLangevin(0.05, friction=1.0),
    "RandomWalk": RandomWalk(0.7),
    "PreconditionedCrankNicolson": PreconditionedCrankNicolson(0.5),
    "IndependentMH": IndependentMH(),
    "SIR": SIR(32),
    "IteratedSIR": IteratedSIR(4),
    "Ex2MCMC": Ex2MCMC(3, 0.3, moves=2),
    "ParallelTempering": ParallelTempering(MALA(0.3), (0.0, 0.4, 1.0)),
    "ParallelTempering-warm": ParallelTempering(PreconditionedCrankNicolson(0.5), (0.2, 0.4, 1.0)),
    "StepSizeAdaptation": StepSizeAdaptation(MALA(0.01), warmup=3),
}
"""One of each, with settings for two latents of unit scale."""


class Counting(nn.Module):
    """An energy that counts the rows it was asked for, with and without a way back to z."""

    def __init__(self, energy: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.energy, self.gradients, self.forwards = energy, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.gradients += x.shape[0]
        else:
            self.forwards += x.shape[0]
        return self.energy(x)


class Energy(nn.Module):
    """A function as a module."""

    def __init__(self, energy: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, x: Tensor) -> Tensor:
        return self.energy(x)


def potential_of(energy: Callable[[Tensor], Tensor] | nn.Module, prior: Prior, beta: float = 1.0) -> LatentPotential:
    """The potential of an energy that looks at the latents themselves."""
    module = energy if isinstance(energy, nn.Module) else Energy(energy)
    return LatentPotential(Base(nn.Identity(), prior), module, beta)


@dataclass(frozen=True)
class GaussianPosterior:
    """Linear G and quadratic E: the latent posterior is N(mean, covariance) and A is known (METHOD: fact 5)."""

    potential: LatentPotential
    mean: Tensor
    covariance: Tensor
    log_partition: float

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(count, self.mean.shape[0], generator=generator, dtype=torch.float64)
        return self.mean + noise @ torch.linalg.cholesky(self.covariance).T


def gaussian_posterior(dimension: int, beta: float = 1.0, spread: float = 1.0) -> GaussianPosterior:
    """x = Wz + b in two dimensions, E(x) = ‖x‖²/(2·spread²), so the energy sees two directions of the latent only."""
    generator = torch.Generator().manual_seed(dimension)
    linear = nn.Linear(dimension, 2).double()
    with torch.no_grad():
        linear.weight.copy_(torch.randn(2, dimension, generator=generator, dtype=torch.float64) / math.sqrt(dimension))
        linear.bias.copy_(torch.tensor([0.6, -0.4], dtype=torch.float64))
    potential = LatentPotential(
        Base(linear, GaussianPrior(dimension)), Energy(lambda x: 0.5 * x.square().sum(1) / spread**2), beta
    )
    weight, bias, scale = linear.weight.detach(), linear.bias.detach(), beta / spread**2
    precision = torch.eye(dimension, dtype=torch.float64) + scale * weight.T @ weight
    covariance = torch.linalg.inv(precision)
    mean = -scale * covariance @ weight.T @ bias
    evidence = torch.eye(2, dtype=torch.float64) + scale * weight @ weight.T
    log_partition = -0.5 * torch.logdet(evidence) - 0.5 * scale * bias @ torch.linalg.solve(evidence, bias)
    return GaussianPosterior(potential, mean, covariance, float(log_partition))


def double_well(z: Tensor) -> Tensor:
    """A non-Gaussian energy on two latents, >= 0: two wells along the first, the second bent around them."""
    return 1.5 * (z[:, 0].square() - 1).square() + 0.7 * (z[:, 1] - 0.5 * z[:, 0].square()).square()


def exact_draws(
    energy: Callable[[Tensor], Tensor], prior: Prior, count: int, generator: torch.Generator, beta: float = 1.0
) -> Tensor:
    """Independent draws of ν by rejection from the prior; needs energy >= 0."""
    kept, found = [], 0
    while found < count:
        z = prior.sample(4 * count, generator, torch.float64)
        accept = torch.rand(4 * count, generator=generator, dtype=torch.float64) < torch.exp(-beta * energy(z))
        kept.append(z[accept])
        found += int(accept.sum())
    return torch.cat(kept)[:count]


@dataclass(frozen=True)
class Targets:
    """What the tests of this folder share."""

    samplers = SAMPLERS
    counting = Counting
    energy = Energy
    potential = staticmethod(potential_of)
    gaussian = staticmethod(gaussian_posterior)
    double_well = staticmethod(double_well)
    exact_draws = staticmethod(exact_draws)


@pytest.fixture(scope="session")
def targets() -> Targets:
    return Targets()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `sampler_name` runs on every sampler."""
    if "sampler_name" in metafunc.fixturenames:
        metafunc.parametrize("sampler_name", SAMPLERS)


@pytest.fixture
def sampler(sampler_name: str) -> Sampler:
    return SAMPLERS[sampler_name]
