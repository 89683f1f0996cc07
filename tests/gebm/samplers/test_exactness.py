"""Metropolis-corrected samplers leave their target exactly where it is; broken copies do not.

Each check is a function of a sampler that raises AssertionError. Seeds are fixed; `LEVEL` is the false-alarm rate
of a whole check, all of its comparisons together (Bonferroni), were the seed drawn anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gebm.base import GaussianPrior, UniformPrior
from gebm.diagnostics import mean_ess, record
from gebm.model import LatentPotential, Position
from gebm.samplers import (
    HMC,
    MALA,
    AdjustedKineticLangevin,
    Ex2MCMC,
    IndependentMH,
    Info,
    IteratedSIR,
    ParallelTempering,
    PreconditionedCrankNicolson,
    RandomWalk,
    Sampler,
    State,
    chain,
)
from gebm.samplers.hamiltonian import leapfrog
from gebm.samplers.moves import gradient_at, metropolis, select, standard_normal
from gebm.samplers.tempering import retemper

LEVEL = 1e-4


class Settings(NamedTuple):
    """One sampler for the Gaussian posterior in 2 and in 50 latents and for the double well.

    Steps are long enough that rejections matter: acceptances lie between 0.2 and 0.9.
    """

    two: Sampler
    fifty: Sampler
    wells: Sampler


PCN = PreconditionedCrankNicolson
EXACT: dict[str, Settings] = {
    "MALA": Settings(MALA(0.8), MALA(0.25), MALA(0.4)),
    "HMC": Settings(HMC(0.9, 3), HMC(0.55, 3), HMC(0.4, 3)),
    "HMC-mass": Settings(HMC(0.9, 3, (0.5, 2.0)), HMC(0.7, 3, (0.8, 1.5) * 25), HMC(0.4, 3, (0.7, 2.0))),
    "AdjustedKineticLangevin": Settings(*(AdjustedKineticLangevin(size, friction=1.0) for size in (0.5, 0.15, 0.05))),
    "RandomWalk": Settings(RandomWalk(1.5), RandomWalk(0.35), RandomWalk(0.7)),
    "PreconditionedCrankNicolson": Settings(PCN(0.7), PCN(0.7), PCN(0.5)),
    "IndependentMH": Settings(IndependentMH(), IndependentMH(), IndependentMH()),
    "IteratedSIR": Settings(IteratedSIR(4), IteratedSIR(8), IteratedSIR(4)),
    "Ex2MCMC": Settings(Ex2MCMC(3, 0.8, moves=1), Ex2MCMC(3, 0.25, moves=1), Ex2MCMC(3, 0.2, moves=2)),
    "ParallelTempering": Settings(
        ParallelTempering(MALA(0.8), (0.0, 0.5, 1.0)),
        ParallelTempering(HMC(0.5, 2), (0.1, 1.0)),
        ParallelTempering(MALA(0.25), (0.0, 0.1, 0.5, 1.0)),
    ),
    "ParallelTempering-pCN": Settings(
        ParallelTempering(PCN(0.7), (0.3, 1.0)),
        ParallelTempering(PCN(0.7), (0.0, 1.0)),
        ParallelTempering(PCN(0.5), (0.0, 0.3, 1.0)),
    ),
}


def critical(comparisons: int) -> float:
    """|z| that `comparisons` standard normals together exceed with probability <= LEVEL."""
    return NormalDist().inv_cdf(1 - LEVEL / (2 * comparisons))


def check_gaussian(sampler: Sampler, target, draws: int, chains: int = 128, seed: int = 0) -> None:
    """Mean and covariance of a long run against the closed form, in units of the error by the measured ESS."""
    generator = torch.Generator().manual_seed(seed)
    dimension = target.mean.shape[0]
    start = target.potential.prior.sample(chains, generator, torch.float64)
    trace = record(sampler, target.potential, start, draws, generator, warmup=100)
    centred = trace.z - target.mean
    pairs = [(i, i) for i in range(dimension)] + [(i, (7 * i + 1) % dimension) for i in range(dimension)]
    products = [(centred[:, :, i] * centred[:, :, j], float(target.covariance[i, j])) for i, j in sorted(set(pairs))]
    moments = products + [(centred[:, :, i], 0.0) for i in range(dimension)]
    for values, truth in moments:
        off = abs(score(values, truth))
        assert off < critical(len(moments)), f"a moment is off by {off:.1f} standard errors"


def score(values: Tensor, truth: float) -> float:
    """(mean − truth) in standard errors, from the measured ESS."""
    ess = mean_ess(values)
    assert ess > 200, f"measured ESS {ess:.0f} is too small for a normal approximation"
    return (float(values.mean()) - truth) / (float(values.std()) / math.sqrt(ess))


def check_invariance(sampler: Sampler, targets, prior, steps: int = 1, count: int = 40_000, seed: int = 1) -> None:
    """Start in the target, stay in the target: two-sample tests of five functions."""
    generator = torch.Generator().manual_seed(seed)
    before = targets.exact_draws(targets.double_well, prior, count, generator)
    fresh = targets.exact_draws(targets.double_well, prior, count, generator)
    potential = targets.potential(targets.double_well, prior)
    state = sampler.init(potential, before)
    if isinstance(sampler, ParallelTempering):
        state = state._replace(replicas=exact_replicas(sampler, targets, potential, count, generator))
    for _ in range(steps):
        state, _ = sampler.step(potential, state, generator)
    after = state.position.z
    views = [
        lambda z: z[:, 0],
        lambda z: z[:, 1],
        lambda z: z.square().sum(1),
        lambda z: z.prod(1),
        targets.double_well,
    ]
    p = min(stats.ks_2samp(view(after).numpy(), view(fresh).numpy()).pvalue for view in views)
    assert p > LEVEL / len(views), f"after {steps} steps the law has moved: p = {p:.1e}"


def exact_replicas(sampler: ParallelTempering, targets, potential: LatentPotential, count: int, generator) -> Position:
    """Each hotter level in its own law, independent of the others: only the joint law of all levels is invariant."""
    hotter = sampler.ladder[:-1]
    draws = [targets.exact_draws(targets.double_well, potential.prior, count, generator, beta) for beta in hotter]
    levels = torch.tensor(hotter, dtype=torch.float64).repeat_interleave(count)
    gradient = sampler.sampler.init(potential, draws[0]).position.gradient is not None
    at = potential.with_gradient if gradient else potential.at
    return retemper(potential.prior, at(torch.cat(draws)), 1.0, levels)


def check_reversibility(sampler: Sampler, targets, count: int = 40_000, seed: int = 2) -> float:
    """In equilibrium (z, z′) and (z′, z) have one law: E[f(z)g(z′) − g(z)f(z′)] = 0; the largest score."""
    generator = torch.Generator().manual_seed(seed)
    prior = GaussianPrior(2)
    before = targets.exact_draws(targets.double_well, prior, count, generator)
    potential = targets.potential(targets.double_well, prior)
    ((_, state, _),) = chain(sampler, potential, before, [1], generator)
    after = state.position.z
    features = [lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z[:, 1] ** 3, lambda z: torch.tanh(3 * z[:, 0] - 2)]
    features.append(targets.double_well)
    scores = []
    for i, f in enumerate(features):
        for g in features[:i]:
            antisymmetric = f(before) * g(after) - g(before) * f(after)
            scores.append(float(antisymmetric.mean() / antisymmetric.std()) * math.sqrt(count))
    worst = float(np.max(np.abs(scores)))
    assert worst < critical(len(scores)), f"flow between two places is unbalanced by {worst:.1f} standard errors"
    return worst


@dataclass(frozen=True)
class MisplacedMALA(MALA):
    """The public error: the correction multiplies by 4γ where it should divide (acceptance 1, the variance of ULA)."""

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current, gamma = state.position, self.step_size
        noise = standard_normal(current.z, generator)
        proposed = potential.with_gradient(current.z - gamma * gradient_at(current) + math.sqrt(2 * gamma) * noise)
        backward = current.z - proposed.z + gamma * gradient_at(proposed)
        log_alpha = (
            current.potential - proposed.potential + 0.5 * noise.square().sum(1) - backward.square().sum(1) * gamma / 4
        )
        decision = metropolis(current, proposed, log_alpha, generator)
        return State(select(decision.accept, proposed, current)), Info(decision.acceptance, 1, 0, decision.invalid)


@dataclass(frozen=True)
class ForgetfulHMC(HMC):
    """The public error: the gradient of the last proposal is used again, whether it was accepted or not."""

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position
        momentum = standard_normal(current.z, generator)
        proposed, end = current, momentum
        for _ in range(self.leapfrog_steps):
            proposed, end = leapfrog(potential, proposed, end, self.step_size)
        error = proposed.potential - current.potential + 0.5 * (end.square() - momentum.square()).sum(1)
        decision = metropolis(current, proposed, -error, generator)
        kept = select(decision.accept, proposed, current)
        stale = kept._replace(gradient=proposed.gradient)
        return State(stale), Info(decision.acceptance, self.leapfrog_steps, 0, decision.invalid, energy_error=error)


@pytest.mark.parametrize("name", EXACT)
def test_gaussian_posterior_in_two_latents(name: str, targets) -> None:
    check_gaussian(EXACT[name].two, targets.gaussian(2), draws=500)


@pytest.mark.parametrize("name", EXACT)
def test_gaussian_posterior_in_fifty_latents(name: str, targets) -> None:
    check_gaussian(EXACT[name].fifty, targets.gaussian(50), draws=400)


@pytest.mark.parametrize("name", EXACT)
def test_target_is_invariant(name: str, targets) -> None:
    check_invariance(EXACT[name].wells, targets, GaussianPrior(2))


@pytest.mark.parametrize("name", EXACT)
def test_target_is_invariant_under_a_uniform_prior(name: str, targets) -> None:
    check_invariance(EXACT[name].wells, targets, UniformPrior(2))
    check_invariance(EXACT[name].wells, targets, UniformPrior(2), steps=4)


@pytest.mark.parametrize("name", [name for name in EXACT if not name.startswith(("Ex2MCMC", "ParallelTempering"))])
def test_one_step_is_reversible(name: str, targets) -> None:
    """The corrected kinetic step too, from a fresh velocity. Compositions of reversible steps are not reversible
    and are left out.
    """
    check_reversibility(EXACT[name].wells, targets)


def test_misplaced_mala_fails_every_check(targets) -> None:
    with pytest.raises(AssertionError, match="standard errors"):
        check_gaussian(MisplacedMALA(0.8), targets.gaussian(2), draws=500)
    with pytest.raises(AssertionError, match="standard errors"):
        check_gaussian(MisplacedMALA(0.25), targets.gaussian(50), draws=400)
    with pytest.raises(AssertionError, match="has moved"):
        check_invariance(MisplacedMALA(0.4), targets, GaussianPrior(2))
    with pytest.raises(AssertionError, match="unbalanced"):
        check_reversibility(MisplacedMALA(0.4), targets)


@pytest.mark.filterwarnings("ignore::gebm.samplers.InvalidEnergyWarning")
def test_forgetful_hmc_fails_every_check_of_several_steps(targets) -> None:
    """Its error needs a rejection first, so one step cannot show it; the sound one passes the same four steps."""
    with pytest.raises(AssertionError, match="standard errors"):
        check_gaussian(ForgetfulHMC(0.9, 3), targets.gaussian(2), draws=1500)
    with pytest.raises(AssertionError, match="standard errors"):
        check_gaussian(ForgetfulHMC(0.55, 3), targets.gaussian(50), draws=400)
    with pytest.raises(AssertionError, match="has moved"):
        check_invariance(ForgetfulHMC(0.4, 3), targets, GaussianPrior(2), steps=4)
    check_invariance(HMC(0.4, 3), targets, GaussianPrior(2), steps=4)


def test_corrected_kinetic_chains_come_in_from_far_out(targets) -> None:
    """A start 400 standard deviations away, where a correction around drift–kick–drift rejects every proposal."""
    precision = torch.tensor([100.0, 1.0], dtype=torch.float64)
    potential = targets.potential(lambda z: 0.5 * ((precision - 1) * z.square()).sum(1), GaussianPrior(2))
    sampler = AdjustedKineticLangevin(0.0025, friction=10.0)
    state = sampler.init(potential, torch.full((64, 2), 40.0, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        state, _ = sampler.step(potential, state, generator)
    assert (state.position.z.abs() * precision.sqrt()).max() < 6  # 128 values: false alarms below 1e-6
