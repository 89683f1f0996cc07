"""What each sampler's stationary law is known to be: the prior at β = 0, and the discretisation bias of the
unadjusted ones.

False-alarm rate, were the seeds drawn anew: 1e-4 a test (each bound is at 3.9 standard errors or more, errors from
independent chains).
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from gebm.base import GaussianPrior, UniformPrior
from gebm.model import LatentPotential
from gebm.samplers import HMC, MALA, SIR, ULA, KineticLangevin, Sampler, chain


def settled(sampler: Sampler, potential: LatentPotential, chains: int, steps: int, seed: int = 0):
    """The state of independent chains, started in the prior, after `steps` steps."""
    generator = torch.Generator().manual_seed(seed)
    start = potential.prior.sample(chains, generator, torch.float64)
    ((_, state, _),) = chain(sampler, potential, start, [steps], generator)
    return state


def steps_of(sampler: Sampler) -> int:
    """SIR's steps do not depend on each other, and a step of HMC is worth several of the others."""
    return 2 if isinstance(sampler, SIR) else 30 if isinstance(sampler, HMC) else 100


def nothing(x: torch.Tensor) -> torch.Tensor:
    return 0 * x[:, 0]


def test_without_energy_every_sampler_draws_the_prior(sampler_name: str, sampler: Sampler, targets) -> None:
    """METHOD: fact 6, from starts far from the prior's law. Exact samplers and kinetic Langevin to a KS test on
    3000 chains; ULA with its known variance.
    """
    potential = targets.potential(targets.double_well, GaussianPrior(2), beta=0.0)
    generator = torch.Generator().manual_seed(3)
    start = 0.3 * torch.rand(3000, 2, generator=generator, dtype=torch.float64) + 0.5
    ((_, state, _),) = chain(sampler, potential, start, [steps_of(sampler)], generator)
    scale = 1 / math.sqrt(1 - 0.05 / 2) if sampler_name == "ULA" else 1.0
    for coordinate in state.position.z.T:
        assert stats.kstest(coordinate.numpy() / scale, "norm").pvalue > 5e-5
    assert stats.kstest(state.position.z.square().sum(1).numpy() / scale**2, "chi2", args=(2,)).pvalue > 5e-5


def test_without_energy_every_sampler_draws_the_uniform_prior(sampler: Sampler, targets) -> None:
    """Reflections and rejections both leave the uniform law as it is; also ULA's, exactly."""
    potential = targets.potential(targets.double_well, UniformPrior(2), beta=0.0)
    generator = torch.Generator().manual_seed(4)
    start = 0.3 * torch.rand(3000, 2, generator=generator, dtype=torch.float64) + 0.5
    ((_, state, _),) = chain(sampler, potential, start, [steps_of(sampler)], generator)
    for coordinate in state.position.z.T:
        assert stats.kstest(coordinate.numpy(), "uniform", args=(-1, 2)).pvalue > 5e-5


@pytest.mark.parametrize("step_size", [0.5, 0.25, 0.125])
def test_ula_on_a_gaussian_has_its_known_variance(step_size: float, targets) -> None:
    """1/(1 − γ/2) (METHOD: fact 7), so a bias of first order: (variance − 1)/γ tends to ½."""
    potential = targets.potential(nothing, GaussianPrior(50))
    z = settled(ULA(step_size), potential, 2000, 60).position.z
    truth = 1 / (1 - step_size / 2)
    error = truth * math.sqrt(2 / z.numel())
    assert abs(float(z.square().mean()) - truth) < 4 * error
    assert float(z.square().mean()) - 1 > 4 * error, "a bias that cannot be seen is not reproduced"
    assert (float(z.square().mean()) - 1) / step_size == pytest.approx(
        0.5 / (1 - step_size / 2), abs=4 * error / step_size
    )


def test_ula_reaches_the_biased_law_of_a_gaussian_posterior(targets) -> None:
    """Along an eigenvector of the posterior's precision λ the variance is 1/(λ(1 − γλ/2))."""
    posterior = targets.gaussian(2, spread=0.5)
    z = settled(ULA(0.2), posterior.potential, 30_000, 100).position.z - posterior.mean
    values, vectors = torch.linalg.eigh(torch.linalg.inv(posterior.covariance))
    measured = (z @ vectors).square().mean(0)
    truth = 1 / (values * (1 - 0.2 * values / 2))
    torch.testing.assert_close(measured, truth, rtol=4 * math.sqrt(2 / 30_000), atol=0.0)


@pytest.mark.parametrize("step_size", [0.4, 0.2, 0.1])
def test_kinetic_langevin_on_a_gaussian(step_size: float, targets) -> None:
    """ABOBA: positions exact, the velocity's variance 1/(1 − λ), a bias of first order in λ = h²/4."""
    potential = targets.potential(nothing, GaussianPrior(50))
    state = settled(KineticLangevin(step_size, friction=1.0, track_energy=False), potential, 2000, 60)
    error = math.sqrt(2 / state.position.z.numel())
    assert abs(float(state.position.z.square().mean()) - 1) < 4 * error
    assert float(state.velocity.square().mean()) * (1 - step_size) == pytest.approx(1, abs=4 * error)


def crease(x: torch.Tensor) -> torch.Tensor:
    return 2 * torch.log(torch.cosh(2 * x[:, 0]))


def quadrature() -> float:
    """E[z²] under exp(−z²/2 − 2 log cosh 2z), on a grid that a doubling does not change."""
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    weight = torch.exp(-(z**2) / 2 - crease(z[:, None]))
    return float((z**2 * weight).sum() / weight.sum())


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (ULA(0.04), ULA(0.02)),
        (KineticLangevin(0.02, 1.0, track_energy=False), KineticLangevin(0.01, 1.0, track_energy=False)),
    ],
    ids=["ULA", "KineticLangevin"],
)
def test_bias_on_a_crease_halves_with_the_step(coarse: Sampler, fine: Sampler, targets) -> None:
    """First order on a non-Gaussian target: the ratio of the two biases of E[z²] is 2, within its error and 15 % of
    curvature.
    """
    potential = targets.potential(crease, GaussianPrior(1))
    biases, errors = [], []
    for sampler in (coarse, fine):
        generator = torch.Generator().manual_seed(5)
        z = GaussianPrior(1).sample(10_000, generator, torch.float64) * 0.5
        sums = torch.zeros(10_000, dtype=torch.float64)
        for _, state, _ in chain(sampler, potential, z, range(100, 500), generator):
            sums = sums + state.position.z[:, 0].square() / 400
        biases.append(float(sums.mean()) - quadrature())
        errors.append(float(sums.std()) / math.sqrt(10_000))
    assert abs(biases[0]) > 8 * errors[0]
    ratio = biases[0] / biases[1]
    spread = ratio * math.hypot(errors[0] / biases[0], errors[1] / biases[1])
    assert abs(ratio - 2) < 0.3 + 4 * spread


def test_mala_in_a_hundred_dimensions(targets) -> None:
    """METHOD: fact 7. γ = 0.5 on N(0, I): acceptance 0.21 ± 0.01, variance 0.997 ± 0.01."""
    potential = targets.potential(nothing, GaussianPrior(100))
    generator = torch.Generator().manual_seed(6)
    start = GaussianPrior(100).sample(2000, generator, torch.float64)
    acceptance: list[float] = []
    variance: list[float] = []
    for _, state, _ in chain(
        MALA(0.5),
        potential,
        start,
        range(1, 101),
        generator,
        on_step=lambda _, info: acceptance.append(float(info.acceptance.mean())),
    ):
        variance.append(float(state.position.z.square().mean()))
    assert sum(acceptance) / 100 == pytest.approx(0.21, abs=0.01)
    assert sum(variance) / 100 == pytest.approx(0.997, abs=0.01)
