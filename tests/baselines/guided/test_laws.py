"""Guided samplers against laws that are known in closed form.

Seeds are fixed. False-alarm rate of each comparison, were the seed drawn anew: 1e-4 (KS tests at that level, moments of independent chains
within 3.9 standard errors).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from baselines.guided import DDLS, DOT, DRS, MHGAN, REPGAN, DGflow, accepted
from gebm.base import GaussianPrior, Prior, UniformPrior
from gebm.model import LatentPotential
from gebm.samplers import MALA, ULA, Sampler, State, StepDecay, chain

LEVEL = 1e-4


def end(sampler: Sampler, potential: LatentPotential, chains: int, steps: int, seed: int = 0) -> State:
    """The state of chains from the prior after `steps` steps."""
    generator = torch.Generator().manual_seed(seed)
    z = potential.prior.sample(chains, generator, torch.float64)
    ((_, state, _),) = chain(sampler, potential, z, [steps], generator)
    return state


def p_normal(values: Tensor, mean: float, variance: float) -> float:
    return float(stats.kstest(((values - mean) / math.sqrt(variance)).numpy(), "norm").pvalue)


def tilted(targets) -> LatentPotential:
    """G = U(−1, 1), dP/dG ∝ e^{2x}: d is bounded, and M = sup d is found to a part in 10⁴ by 10⁴ draws."""
    return targets.potential(lambda x: -2 * x[:, 0], UniformPrior(1))


def tilted_cdf(x: np.ndarray) -> np.ndarray:
    return (np.exp(2 * x) - math.exp(-2)) / (math.exp(2) - math.exp(-2))


def test_drs_without_gamma_draws_the_data_law(targets) -> None:
    """A quarter of draws is accepted: E e^{2x − 2} = (1 − e^{−4})/4."""
    potential, sampler = tilted(targets), DRS(percentile=None, burn_in=10_000)
    state = end(sampler, potential, 4000, 33)
    held = accepted(state)
    assert held.double().mean() > 0.99
    assert stats.kstest(state.position.z[held, 0].numpy(), tilted_cdf).pvalue > LEVEL
    rate, count = (1 - math.exp(-4)) / 4, 4000
    first = end(sampler, potential, count, 4)  # three steps of burn-in, one that accepts
    found = float(accepted(first).double().mean())
    assert abs(found - rate) < 3.9 * math.sqrt(rate * (1 - rate) / count)
    assert stats.kstest(first.position.z[accepted(first), 0].numpy(), tilted_cdf).pvalue > LEVEL


def test_drs_learns_its_constant_and_accepts_nothing_before(targets) -> None:
    potential, sampler = tilted(targets), DRS(burn_in=1000)
    generator, z = torch.Generator().manual_seed(0), torch.zeros(400, 1, dtype=torch.float64)
    state, largest = sampler.init(potential, z), -math.inf
    for step in range(6):
        replay = torch.Generator().manual_seed(0)
        replay.set_state(generator.get_state())
        largest = max(largest, float(2 * potential.prior.sample(400, replay, torch.float64).max()))
        state, info = sampler.step(potential, state, generator)
        assert float(state.memory.maximum) == largest
        assert bool(accepted(state).any()) == (step >= 3), "1000 draws are three steps of 400"
        assert bool((info.acceptance > 0).any()) == (step >= 3)
    assert torch.equal(state.position.z[~accepted(state)], z[~accepted(state)])


def test_drs_percentile_is_that_of_the_batch() -> None:
    """A draw at the percentile is accepted with probability ½; a higher percentile accepts less; no infinity spoils a batch."""
    logit = torch.randn(101, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rates = []
    for percentile in (60.0, 80.0, 95.0):
        acceptance = DRS(percentile).acceptance(logit, logit.max())
        assert float(acceptance[logit.argsort()[int(percentile)]]) == pytest.approx(0.5)
        rates.append(float(acceptance.mean()))
    assert rates == sorted(rates, reverse=True)
    logit[:60] = -math.inf
    acceptance = DRS(50.0).acceptance(logit, logit.max())
    assert (acceptance[:60] == 0).all()
    assert acceptance.isfinite().all()
    nothing = torch.full((3,), -math.inf)
    assert (DRS().acceptance(nothing, nothing.max()) == 0).all()


def test_drs_percentile_is_biased_towards_the_base(targets) -> None:
    """What γ buys acceptance with: the mean lies between that of the base and that of the data."""
    state = end(DRS(80.0, burn_in=4000), tilted(targets), 4000, 40)
    mean, truth = float(state.position.z.mean()), 1 / math.tanh(2) - 0.5
    assert abs(mean - truth) > 0.02
    assert 0 < mean < 1


def test_mh_gan_reaches_the_data_law_from_base_samples_and_from_real_ones(targets) -> None:
    """P = N(1, 1): 300 steps from the base (energies of the prior draws) and 20 from energies of P are N(1, 1)."""
    potential, generator = targets.shifted(1.0), torch.Generator().manual_seed(1)
    assert p_normal(end(MHGAN(), potential, 4000, 300).position.z[:, 0], 1.0, 1.0) > LEVEL
    z = potential.prior.sample(4000, generator, torch.float64)
    real = 1 + torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    state = MHGAN().start_at(potential, z, potential.energy(real))
    assert torch.equal(state.position.z, z)
    for _ in range(300):
        state, _ = MHGAN().step(potential, state, generator)
    assert p_normal(state.position.z[:, 0], 1.0, 1.0) > LEVEL


def test_mh_gan_that_never_accepts_ends_in_its_base_sample(targets) -> None:
    potential, generator = targets.shifted(1.0), torch.Generator().manual_seed(1)
    z = potential.prior.sample(100, generator, torch.float64)
    state = MHGAN().start_at(potential, z, torch.full((100,), -1e6))
    for _ in range(20):
        state, info = MHGAN().step(potential, state, generator)
        assert (info.acceptance == 0).all()
    assert torch.equal(state.position.z, z)


@pytest.mark.parametrize("energy", [torch.zeros(3), torch.zeros(1), torch.tensor([0.0, math.nan])])
def test_mh_gan_names_bad_starting_energies(energy: Tensor, targets) -> None:
    with pytest.raises(ValueError, match="energy_data must have one finite energy per chain, 2 in all") as caught:
        MHGAN().start_at(targets.shifted(1.0), torch.zeros(2, 1), energy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("noise", [None, 0.6, 1.2])
def test_rep_gan_is_exact_whatever_its_noise(noise: float | None, targets) -> None:
    state = end(REPGAN(1.0, noise), targets.shifted(1.0), 4000, 100)
    assert p_normal(state.position.z[:, 0], 1.0, 1.0) > LEVEL


def test_rep_gan_and_ddls_at_their_defaults_are_mala_and_ula_of_half_the_step(targets) -> None:
    for guided, plain in ((REPGAN(), MALA(0.005)), (DDLS(), ULA(0.005))):
        a, b = (end(each, targets.shifted(1.0), 50, 30).position.z for each in (guided, plain))
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("noise", [1.0, 0.5])
def test_ddls_has_the_biased_law_of_its_noise(noise: float, targets) -> None:
    """On U = (z − 1)²/2 + const: variance s²/(1 − ε/4), which at s = 1 is METHOD's fact 7 with γ = ε/2."""
    epsilon, count = 1.0, 20_000
    z = end(DDLS(epsilon, noise), targets.shifted(1.0), count, 60).position.z[:, 0]
    truth = noise**2 / (1 - epsilon / 4)
    assert abs(float(z.var()) - truth) < 3.9 * truth * math.sqrt(2 / count)
    assert abs(float(z.mean()) - 1) < 3.9 * math.sqrt(truth / count)
    assert p_normal(z, 1.0, truth) > LEVEL


def test_dgflow_of_kl_has_the_law_of_its_discretisation(targets) -> None:
    """d = −a(z − 1)²/2, no prior term: N(1, γ/(a(1 − ηa/2))), near exp(d/γ)."""
    a, eta, gamma, count = 2.0, 0.3, 0.1, 20_000
    potential = targets.potential(lambda x: 0.5 * a * (x[:, 0] - 1).square(), GaussianPrior(1))
    z = end(DGflow(eta, gamma), potential, count, 60).position.z[:, 0]
    assert p_normal(z, 1.0, gamma / (a * (1 - eta * a / 2))) > LEVEL


@pytest.mark.parametrize(
    ("divergence", "power"),
    [("kl", lambda d: d), ("log-d", lambda d: -np.logaddexp(0, -d)), ("js", lambda d: np.logaddexp(0, d))],
)
def test_dgflow_tends_to_the_law_of_its_divergence(divergence: str, power, targets) -> None:
    """Between reflecting walls, with d = 2 sin 3z: ∝ exp(d/γ), σ(d)^{1/γ}, (1 + e^d)^{1/γ}. KS against quadrature at η = 0.002, whose
    bias is below what 3000 chains resolve; the three laws are told apart.
    """
    potential, gamma = targets.potential(lambda x: -2 * torch.sin(3 * x[:, 0]), UniformPrior(1)), 0.7
    grid = np.linspace(-1, 1, 20_001)
    density = np.exp(power(2 * np.sin(3 * grid)) / gamma)
    cumulative = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    z = end(DGflow(0.002, gamma, divergence), potential, 3000, 1500).position.z[:, 0].numpy()
    assert stats.kstest(z, lambda x: np.interp(x, grid, cumulative / cumulative[-1])).pvalue > LEVEL


def test_dgflow_without_noise_is_the_gradient_flow(targets) -> None:
    """d = −a z²/2, γ = 0: z(t) = z₀ e^{−at}, by Euler steps (1 − ηa)^n."""
    potential = targets.potential(lambda x: 0.5 * x[:, 0].square(), GaussianPrior(1))
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    ((_, state, _),) = chain(DGflow(0.1, 0.0), potential, z, [25], torch.Generator())
    torch.testing.assert_close(state.position.z, z * 0.9**25)


def quadratic(targets, prior: Prior, centre: float = 3.0) -> LatentPotential:
    return targets.potential(lambda x: 0.5 * (x - centre).square().sum(1), prior)


def objective(potential: LatentPotential, state: State, offset: float = 1e-3) -> Tensor:
    z, logit = state.position.z, -potential.inverse_temperature * state.position.energy
    return (z - state.memory.anchor + offset).norm(dim=1) - logit / state.memory.lipschitz


def test_dot_shifts_to_where_the_slope_is_k(targets) -> None:
    """d = −(z − 3)²/2 on (−1, 1): from where |d′| > k, descent ends at d′ = k, that is at z = 3 − k; elsewhere it stays
    within two steps' lengths of z_y − δ, the kink.
    """
    potential = quadratic(targets, UniformPrior(1))
    z = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    ((_, state, _),) = chain(DOT(0.01), potential, z, [3000], torch.Generator())
    k = float(state.memory.lipschitz)
    assert 3.5 < k < 4, "ratios are |3 − (z + z′)/2|"
    moved = z[:, 0] < 3 - k
    assert 0 < int(moved.sum()) < 41
    torch.testing.assert_close(state.position.z[moved, 0], torch.full_like(z[moved, 0], 3 - k), atol=1e-3, rtol=0)
    assert (state.position.z - z + 1e-3)[~moved].abs().max() < 2 * 0.01


def test_dot_lowers_its_objective_and_its_k_is_nobodys_batch(targets) -> None:
    def bumps(x: Tensor) -> Tensor:
        return torch.sin(4 * x[:, 0]) + torch.cos(3 * x[:, 1] + x[:, 0])

    potential = targets.potential(bumps, UniformPrior(2))
    z = potential.prior.sample(200, torch.Generator().manual_seed(0), torch.float64)
    start = DOT().init(potential, z)
    ((_, state, _),) = chain(DOT(), potential, z, [100], torch.Generator())
    change = objective(potential, state) - objective(potential, start)
    assert change.mean() < -0.01
    assert change.max() < 2 * 0.01, "no more than the kink's oscillation"
    assert DOT().init(potential, z[:1]).memory.lipschitz == start.memory.lipschitz


def test_dot_does_not_see_beta_or_a_logistic_calibration(targets) -> None:
    z = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(4, 2)
    ends = []
    for scale, shift, beta in ((1.0, 0.0, 1.0), (1.0, 0.0, 5.0), (3.0, 0.7, 1.0)):
        energy = lambda x, a=scale, b=shift: a * torch.sin(3 * x).sum(1) + b  # noqa: E731
        potential = targets.potential(energy, GaussianPrior(2), beta)
        ends.append(next(chain(DOT(), potential, z, [20], torch.Generator()))[1].position.z)
    torch.testing.assert_close(ends[0], ends[1])
    torch.testing.assert_close(ends[0], ends[2])


def test_dot_under_a_gaussian_prior_is_the_written_step(targets) -> None:
    """g = (z − z_y + δ)/‖·‖ − ∇d/k, z′ = z − η(g − z(z·g)/√D), by hand for a linear d in four latents."""
    w = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    potential = targets.potential(lambda x: -x @ w, GaussianPrior(4))
    generator = torch.Generator().manual_seed(0)
    z = potential.prior.sample(6, generator, torch.float64)
    state = DOT(0.1).init(potential, z)
    k = float(state.memory.lipschitz)
    assert 0.9 * float(w.norm()) < k <= float(w.norm())
    for _ in range(3):
        now = state.position.z
        away = now - z + 1e-3
        g = away / away.norm(dim=1, keepdim=True) - w / k
        expected = now - 0.1 * (g - now * (now * g).sum(1, keepdim=True) / 2)
        state, _ = DOT(0.1).step(potential, state, generator)
        torch.testing.assert_close(state.position.z, expected)


class Laplace(Prior):
    def sample(self, count, generator, dtype=torch.float32):
        return torch.zeros(count, self.dimension, dtype=dtype)

    def log_prob(self, z):
        return -z.abs().sum(1)


def test_dot_names_what_it_cannot_do(targets) -> None:
    with pytest.raises(TypeError, match="DOT needs a GaussianPrior or a UniformPrior, got Laplace; use DDLS"):
        DOT().init(targets.potential(lambda x: x[:, 0], Laplace(1)), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="of 100 pairs, must be positive and finite, got 0"):
        DOT().init(targets.potential(lambda x: 0 * x[:, 0], GaussianPrior(1)), torch.zeros(2, 1))


def test_public_schedules_run_through_the_chain(targets) -> None:
    """DDLS's decay is the driver's."""
    ((_, state, cost),) = chain(
        DDLS(), targets.shifted(1.0), torch.zeros(3, 1), [10], torch.Generator().manual_seed(0), StepDecay(0.1, 4)
    )
    assert cost.gradient_evaluations == 10
    assert state.position.z.isfinite().all()


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: DRS(percentile=101.0), "percentile must be a number from 0 to 100 or None, got 101.0"),
        (lambda: DRS(epsilon=0.0), "epsilon must be"),
        (lambda: DRS(burn_in=-1), "burn_in must be"),
        (lambda: DOT(offset=0.0), "offset must be"),
        (lambda: DOT(pairs=0), "pairs must be"),
        (lambda: DDLS(noise=-1.0), "noise must be"),
        (lambda: REPGAN(noise=0.0), "noise must be"),
        (lambda: DGflow(divergence="tv"), "divergence must be one of 'kl', 'log-d', 'js', got 'tv'"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_settings_name_the_argument_and_its_range(build, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build()
