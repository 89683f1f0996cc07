"""log Z along a path of temperatures: annealed importance sampling, its reverse, sequential Monte Carlo, and the samples that the latter
leaves.

The schedule that they follow is in `gebm.partition.schedule`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.diagnostics import pareto_k, rhat, usable_log_weights, weight_ess
from gebm.model import LatentPotential
from gebm.partition.estimate import K_LIMIT, LogPartition, at_least, log_partition_from_weights, unusable_weights
from gebm.partition.schedule import Population, Schedule, pilot, stepping, systematic
from gebm.samplers.kernel import Sampler
from gebm.samplers.tempering import tempered

__all__ = [
    "AnnealedLevel",
    "annealed_importance_sampling",
    "annealed_path",
    "reverse_annealing",
    "sequential_monte_carlo",
]

ISLANDS_AGREE, ROUGHLY = 1.05, 1.5
"""R-hat over independent populations below which they are taken to have found the same law, and about the same mean energy."""
ISLANDS_LEFT = 0.5
"""ESS of independent populations' Ẑ, as a share of their number, below which their mean is not to be reported."""


@dataclass(frozen=True)
class AnnealedLevel:
    """Particles at one inverse temperature of a path, from populations that know nothing of each other.

    Arguments:
        beta: β.
        z: (islands · particles, latent), island by island.
        energy: E(G(z)), without β.
        log_partition: log Ẑ at β.
        islands: how many populations.
        ancestors: prior draws that still have a descendant, over all islands.
        rhat: R-hat of the energy over islands, each taken as a chain of its particles: near 1 where they agree.
    """

    beta: float
    z: Float[Tensor, "batch latent"]
    energy: Float[Tensor, " batch"]
    log_partition: LogPartition
    islands: int
    ancestors: int
    rhat: float

    @property
    def trustworthy(self) -> bool:
        """Whether the particles may stand for the density: log Ẑ is reportable, islands agree (R-hat < 1.05), and the particles of
        an island have two ancestors or more, on average.
        """
        many = self.ancestors >= 2 * self.islands
        return self.log_partition.reportable and self.rhat < ISLANDS_AGREE and many

    @property
    def rough(self) -> bool:
        """Whether the mean energy at least is about right: k̂ of every level is below 0.7, and R-hat over islands below 1.5."""
        shape = self.log_partition.pareto_k
        return shape is not None and shape < K_LIMIT and self.rhat < ROUGHLY

    def mean_energy(self) -> tuple[float, float]:
        """Return the mean of E and its standard error, from the spread of the islands' means."""
        means = self.energy.double().reshape(self.islands, -1).mean(1)
        return float(means.mean()), float(means.std()) / math.sqrt(self.islands)


def annealed_importance_sampling(
    potential: LatentPotential,
    sampler: Sampler,
    schedule: Schedule,
    chains: int,
    generator: torch.Generator,
    *,
    moves: int = 1,
) -> LogPartition:
    """Estimate log Z by AIS (Neal, 2001) in latent space: log w = −Σ_k (b_k − b_{k−1}) E(G(z_{k−1})), z_k moved by the sampler at b_k
    from z_{k−1}.

    Unbiased because the sampler leaves each π_b as it is; unadjusted ones, which do not, are refused.

    Arguments:
        potential: whose log Z is wanted.
        sampler: a Metropolis-corrected one without memory.
        schedule: the levels; frozen, for example from `adaptive_schedule`.
        chains: M >= 4 independent weights.
        generator: source of the draws.
        moves: steps of the sampler a level, >= 1.
    """
    at_least("moves", moves, 1)
    population, beta = Population(potential, sampler, chains, generator), potential.inverse_temperature
    weights = torch.zeros_like(population.increment(0.0))
    for level, mover in schedule.levels(beta, sampler):
        weights = weights + population.increment(level)
        if level < beta:
            population.move(level, moves, mover)
    gradients, forwards = population.cost
    return log_partition_from_weights(
        weights,
        f"annealed importance sampling ({len(schedule.fractions) - 1} levels)",
        gradients * chains + schedule.gradient_evaluations,
        forwards * chains + schedule.forward_evaluations,
        float(population.lowest_energy),
    )


def reverse_annealing(
    potential: LatentPotential,
    sampler: Sampler,
    schedule: Schedule,
    z: Float[Tensor, "chains latent"],
    generator: torch.Generator,
    *,
    moves: int = 1,
    warmup: int = 0,
) -> LogPartition:
    """Estimate log Z from the model's side: AIS from draws of ν down to the prior (Grosse, Ghahramani & Adams, 2015).

    Started in ν, its weights have mean 1/Z exactly, so that −log of their mean is *high* on average (Jensen) where AIS is low: an upper
    end for log Z in expectation, and by Markov's inequality with probability 1 − e^{−b} up to b nats. Started at latents z = G⁻¹(x) of
    held-out data, whose law is ν only if the model is the data's law, it is a bound of nothing until the `warmup` at β has led them there;
    what is left is a second opinion, which knows modes that no prior draw reaches.

    Arguments:
        potential: whose log Z is wanted.
        sampler: a Metropolis-corrected one without memory.
        schedule: the levels, taken from the last to the first.
        z: where the chains start, independent of each other, >= 4.
        generator: source of the moves.
        moves: steps of the sampler a level, >= 1.
        warmup: steps at β before the first weight.

    Returns:
        An estimate without halves: Ẑ is not unbiased, 1/Ẑ is.
    """
    at_least("moves", moves, 1)
    chains, beta = z.shape[0], potential.inverse_temperature
    population = Population(potential, sampler, chains, generator, start=z)
    weights = torch.zeros_like(population.increment(beta))
    levels = list(schedule.levels(beta, sampler))[::-1]
    for index, (level, mover) in enumerate(levels):
        population.move(level, moves if index else warmup, mover)
        following = levels[index + 1][0] if index + 1 < len(levels) else 0.0
        weights = weights + population.increment(following)
    gradients, forwards = population.cost
    inverse = log_partition_from_weights(
        weights, f"reverse annealing ({len(levels)} levels)", gradients * chains, forwards * chains
    )
    return replace(inverse, estimate=-inverse.estimate, halves=None, lowest_energy=float(population.lowest_energy))


def sequential_monte_carlo(
    potential: LatentPotential,
    sampler: Sampler,
    schedule: Schedule,
    particles: int,
    generator: torch.Generator,
    *,
    islands: int = 32,
    moves: int = 1,
) -> LogPartition:
    """Estimate log Z by SMC (Del Moral, Doucet & Jasra, 2006): AIS whose particles are resampled, systematically, after each level.

    `islands` independent populations run side by side; Ẑ is the mean of theirs. Their log Ẑ are nearly normal (Bérard, Del Moral & Doucet,
    2014), so the standard error is the larger of the delta method's and that of a log-normal mean with the variance s² of the
    islands, √(s²/n + s⁴/(2(n − 1))): the first alone is too small whenever no island has found the tail. Where the ESS of the islands is
    below half of them, the estimate is not reportable. ESS/M and k̂ are the worst of the incremental weights of any level.

    Arguments:
        potential: whose log Z is wanted.
        sampler: a Metropolis-corrected one without memory.
        schedule: the levels; frozen, for example from `adaptive_schedule`.
        particles: a population, >= 4.
        generator: source of the draws.
        islands: populations, >= 16, lest their spread be unknown.
        moves: steps of the sampler a level, >= 1.
    """
    populations = _Populations(potential, sampler, particles, islands, generator)
    beta = potential.inverse_temperature
    at_least("moves", moves, 1)
    for level, mover in schedule.levels(beta, sampler):
        populations.advance(level, moves if level < beta else 0, mover)
    return populations.log_partition(schedule)


def annealed_path(
    potential: LatentPotential,
    sampler: Sampler,
    betas: Sequence[float],
    particles: int,
    generator: torch.Generator,
    *,
    islands: int = 32,
    moves: int = 10,
    ess_fraction: float = 0.7,
    most_levels: int = 100,
) -> list[AnnealedLevel]:
    """Draw from exp(−βE)η at several β by one run of SMC from the prior, for energies too steep to resample base draws.

    A pilot with an eighth of the particles finds levels and step sizes, which the run, with fresh draws, takes as they are. Particles are
    resampled and moved at every level, the wanted ones included, so that copies part. As any SMC it is right as populations grow;
    `AnnealedLevel.trustworthy` says whether they are large enough.

    Arguments:
        potential: whose β does not matter.
        sampler: a Metropolis-corrected one without memory, with a step size.
        betas: the β wanted, > 0, in any order.
        particles: a population, >= 4.
        generator: source of all draws.
        islands: populations, >= 16.
        moves: steps of the sampler a level, >= 1.
        ess_fraction: of each level's weights in the pilot.
        most_levels: where to give up; what lies beyond is left out.

    Returns:
        A level for each β that was reached, in rising order. The first that is not even `rough` is the last: colder ones begin with its
        particles.
    """
    at_least("moves", moves, 1)
    wanted = sorted(set(betas))
    if not wanted or wanted[0] <= 0:
        raise ValueError(f"betas must be positive, got {list(betas)}")
    coldest = tempered(potential, wanted[-1])
    pilots = max(32, islands * particles // 8)
    levels, cost = pilot(coldest, sampler, pilots, generator, ess_fraction, moves, most_levels, True, wanted)
    spent = Schedule((0.0, 1.0), cost.gradient_evaluations * pilots, cost.forward_evaluations * pilots)
    populations, found = _Populations(coldest, sampler, particles, islands, generator), []
    for beta, step in levels:
        populations.advance(beta, moves, stepping(sampler, step))
        if beta in wanted:
            found.append(populations.at(beta, spent))
            if not found[-1].rough:
                break
    return found


class _Populations:
    """Independent populations on the same path, with what their weights have said of log Z so far."""

    def __init__(
        self, potential: LatentPotential, sampler: Sampler, particles: int, islands: int, generator: torch.Generator
    ) -> None:
        for name, value, least in (("particles", particles, 4), ("islands", islands, 16)):
            at_least(name, value, least)
        self.particles, self.islands = particles, islands
        self.population = Population(potential, sampler, islands * particles, generator)
        self.log_z = torch.zeros_like(self.population.increment(0.0)[:islands])
        self.fraction_left, self.shape, self.unusable, self.levels = 1.0, -math.inf, 0, 0

    @property
    def count(self) -> int:
        """Particles in all."""
        return self.islands * self.particles

    def advance(self, beta: float, moves: int, sampler: Sampler) -> None:
        """Weigh the particles for `beta`; then, unless `moves` is 0, resample them and move them there."""
        increment = self.population.increment(beta)
        weights = usable_log_weights(increment)
        self.unusable += int((increment.isnan() | (increment == math.inf)).sum())
        self.fraction_left = min(self.fraction_left, weight_ess(weights) / self.count)
        self.shape = max(self.shape, pareto_k(weights))
        weights = weights.reshape(self.islands, self.particles)
        self.log_z = self.log_z + weights.logsumexp(1) - math.log(self.particles)
        self.levels += 1
        if moves:
            self.population.choose(systematic(weights, self.population.generator))
            self.population.move(beta, moves, sampler)

    def log_partition(self, spent: Schedule) -> LogPartition:
        """Return log Ẑ at the present level; its cost includes what the schedule has spent."""
        gradients, forwards = self.population.cost
        mean = log_partition_from_weights(
            self.log_z,
            f"sequential Monte Carlo ({self.levels} levels, {self.islands} islands)",
            gradients * self.count + spent.gradient_evaluations,
            forwards * self.count + spent.forward_evaluations,
            float(self.population.lowest_energy),
        )
        variance, objections = float(self.log_z.var()), unusable_weights(self.unusable, self.count)
        lognormal = math.sqrt(variance / self.islands + variance**2 / (2 * (self.islands - 1)))
        if self.shape >= K_LIMIT:
            objections += (
                f"Pareto k = {self.shape:.2f} of a level is not below {K_LIMIT}: its mean is not to be reported",
            )
        if mean.effective_fraction < ISLANDS_LEFT:
            objections += (
                f"islands disagree: an ESS of {mean.effective_fraction * self.islands:.1f} of {self.islands}, half are needed",
            )
        return replace(
            mean,
            standard_error=max(lognormal, mean.standard_error),
            draws=self.count,
            effective_fraction=self.fraction_left,
            pareto_k=self.shape,
            unusable=self.unusable,
            objections=objections,
            warnings=(),
        )

    def at(self, beta: float, spent: Schedule) -> AnnealedLevel:
        """Return a snapshot."""
        position = self.population.state.position
        energy = position.energy.reshape(self.islands, self.particles).T
        order = torch.randperm(self.particles, generator=self.population.generator, device=energy.device)
        ancestors = int(torch.unique(self.population.ancestors).numel())
        found = self.log_partition(spent)
        return AnnealedLevel(beta, position.z, position.energy, found, self.islands, ancestors, rhat(energy[order]))
