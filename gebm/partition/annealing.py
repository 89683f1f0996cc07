"""log Z along a path of temperatures: annealed importance sampling and sequential Monte Carlo, and the schedule
they follow.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gebm.diagnostics import pareto_k, usable_log_weights, weight_ess
from gebm.model import LatentPotential, Position
from gebm.partition.estimate import LogPartition, at_least, doubts_about, log_partition_from_weights
from gebm.partition.importance import network_dtype
from gebm.samplers.kernel import Cost, Sampler, State
from gebm.samplers.tempering import retemper, tempered

__all__ = ["Schedule", "adaptive_schedule", "annealed_importance_sampling", "sequential_monte_carlo"]


@dataclass(frozen=True)
class Schedule:
    """Fractions of the potential's β from 0 to 1, and what finding them cost in all (nothing if they were chosen).

    Raises:
        ValueError: if the fractions do not increase from exactly 0 to exactly 1.
    """

    fractions: tuple[float, ...]
    gradient_evaluations: int = 0
    forward_evaluations: int = 0

    def __post_init__(self) -> None:
        ordered = all(low < high for low, high in itertools.pairwise(self.fractions))
        if len(self.fractions) < 2 or not ordered or self.fractions[0] != 0 or self.fractions[-1] != 1:
            raise ValueError(f"fractions must increase from exactly 0 to exactly 1, got {self.fractions}")


class _Population:
    """Particles that follow the path π_b ∝ η exp(−bE) from b = 0 on, with their cost; AIS, SMC and the pilot share
    it.
    """

    def __init__(self, potential: LatentPotential, sampler: Sampler, count: int, generator: torch.Generator) -> None:
        if not (sampler.temperable and sampler.exact):
            raise ValueError(
                f"sampler must leave each π_b as it is and keep no memory, {type(sampler).__name__} does not; use MALA or HMC"
            )
        self.potential, self.sampler, self.generator = potential, sampler, generator
        z = potential.prior.sample(count, generator, network_dtype(potential))
        self.state = sampler.init(tempered(potential, 1.0), z)
        self.cost = Cost(0, 1) if self.state.position.gradient is None else Cost(1, 0)
        self.beta, self.seen_at = 0.0, 1.0  # where the particles are, and at which β their gradient was last seen

    def increment(self, beta: float) -> Float[Tensor, " batch"]:
        """Return the log weights of going from the present b to `beta`: −(b′ − b)E."""
        energy = self.state.position.energy.double()
        return -(beta - self.beta) * energy if beta > self.beta else torch.zeros_like(energy)

    def move(self, beta: float, steps: int) -> None:
        """Go to `beta` and take `steps` steps of the sampler there; at β = 0 the particles are exact already."""
        if beta == 0:
            return
        target = tempered(self.potential, beta)
        self.state = State(retemper(self.potential.prior, self.state.position, self.seen_at, beta))
        self.beta = self.seen_at = beta
        for _ in range(steps):
            self.state, info = self.sampler.step(target, self.state, self.generator)
            self.cost = self.cost.after(info)

    def choose(self, rows: Int[Tensor, " batch"]) -> None:
        """Keep the particles at `rows`, as often as they occur there."""
        z, energy, potential, gradient = self.state.position
        kept = None if gradient is None else gradient[rows]
        self.state = State(Position(z[rows], energy[rows], potential[rows], kept))


def adaptive_schedule(
    potential: LatentPotential,
    sampler: Sampler,
    particles: int,
    generator: torch.Generator,
    *,
    ess_fraction: float = 0.9,
    moves: int = 1,
    most_levels: int = 1000,
) -> Schedule:
    """Find a schedule by a pilot run of SMC: each level goes as far as the ESS of its weights stays at `ess_fraction`.

    The schedule is a plain value; used in a run with fresh draws it keeps Ẑ unbiased, which one adapted on the fly
    would not.

    Arguments:
        potential: whose β the schedule reaches.
        sampler: moves the particles.
        particles: of the pilot.
        generator: of the pilot, other than that of the run to come.
        ess_fraction: in (0, 1), of each level's weights; nearer to 1 means more levels. 0.9 suits AIS, 0.5 SMC.
        moves: steps of the sampler a level.
        most_levels: where to give up.

    Raises:
        ValueError: if `ess_fraction` is out of range, or `most_levels` do not reach β.
    """
    if not 0 < ess_fraction < 1:
        raise ValueError(f"ess_fraction must be in (0, 1), got {ess_fraction}")
    population, fractions = _Population(potential, sampler, particles, generator), [0.0]
    while fractions[-1] < 1:
        if len(fractions) > most_levels:
            raise ValueError(
                f"most_levels = {most_levels} levels reach only {fractions[-1]:.2g} of "
                f"β = {potential.inverse_temperature}; allow more levels, a smaller ess_fraction, or more moves"
            )
        fractions.append(_next_fraction(population, fractions[-1], ess_fraction))
        weights = usable_log_weights(population.increment(fractions[-1] * potential.inverse_temperature))
        population.choose(_systematic(weights[None], generator))
        if fractions[-1] < 1:
            population.move(fractions[-1] * potential.inverse_temperature, moves)
    gradients, forwards = population.cost
    return Schedule(tuple(fractions), gradients * particles, forwards * particles)


def _next_fraction(population: _Population, low: float, ess_fraction: float) -> float:
    """Return the largest fraction whose weights keep the ESS, by bisection; at least a little further than `low`."""
    beta, wanted = population.potential.inverse_temperature, ess_fraction * population.state.position.z.shape[0]
    if weight_ess(population.increment(beta)) >= wanted:
        return 1.0
    enough, too_far = low, 1.0
    for _ in range(30):
        middle = 0.5 * (enough + too_far)
        if weight_ess(population.increment(middle * beta)) >= wanted:
            enough = middle
        else:
            too_far = middle
    return too_far


def _systematic(log_weights: Float[Tensor, "islands particles"], generator: torch.Generator) -> Int[Tensor, " rows"]:
    """Choose rows to keep by systematic resampling within each island (Carpenter, Clifford & Fearnhead, 1999).

    An island without a usable weight keeps its particles.
    """
    islands, particles = log_weights.shape
    shifted = log_weights - log_weights.amax(1, keepdim=True)
    weights = torch.where(shifted.isnan(), torch.zeros_like(shifted), shifted).exp()
    edges = (weights / weights.sum(1, keepdim=True)).cumsum(1)
    offset = torch.rand(islands, 1, generator=generator, device=log_weights.device, dtype=log_weights.dtype)
    points = (torch.arange(particles, device=log_weights.device) + offset) / particles
    chosen = torch.searchsorted(edges, points).clamp(max=particles - 1)
    return (chosen + particles * torch.arange(islands, device=log_weights.device)[:, None]).reshape(-1)


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
    population, beta = _Population(potential, sampler, chains, generator), potential.inverse_temperature
    weights = torch.zeros_like(population.increment(0.0))
    for fraction in schedule.fractions[1:]:
        weights = weights + population.increment(fraction * beta)
        if fraction < 1:
            population.move(fraction * beta, moves)
    gradients, forwards = population.cost
    return log_partition_from_weights(
        weights,
        f"annealed importance sampling ({len(schedule.fractions) - 1} levels)",
        gradients * chains + schedule.gradient_evaluations,
        forwards * chains + schedule.forward_evaluations,
    )


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

    `islands` independent populations run side by side. Ẑ is the mean of theirs, its standard error their spread;
    ESS/M and k̂ are the worst of the incremental weights of any level.

    Arguments:
        potential: whose log Z is wanted.
        sampler: a Metropolis-corrected one without memory.
        schedule: the levels; frozen, for example from `adaptive_schedule`.
        particles: a population, >= 4.
        generator: source of the draws.
        islands: populations, >= 16, lest their spread be unknown.
        moves: steps of the sampler a level, >= 1.
    """
    for name, value, least in (("moves", moves, 1), ("particles", particles, 4), ("islands", islands, 16)):
        at_least(name, value, least)
    count, beta = islands * particles, potential.inverse_temperature
    population = _Population(potential, sampler, count, generator)
    log_z = torch.zeros_like(population.increment(0.0)[:islands])
    fraction_left, shape, unusable = 1.0, -math.inf, 0
    for fraction in schedule.fractions[1:]:
        increment = population.increment(fraction * beta)
        weights = usable_log_weights(increment)
        unusable += int((increment.isnan() | (increment == math.inf)).sum())
        fraction_left, shape = min(fraction_left, weight_ess(weights) / count), max(shape, pareto_k(weights))
        weights = weights.reshape(islands, particles)
        log_z = log_z + weights.logsumexp(1) - math.log(particles)
        if fraction < 1:
            population.choose(_systematic(weights, generator))
            population.move(fraction * beta, moves)
    gradients, forwards = population.cost
    spread = log_partition_from_weights(
        log_z,
        f"sequential Monte Carlo ({len(schedule.fractions) - 1} levels, {islands} islands)",
        gradients * count + schedule.gradient_evaluations,
        forwards * count + schedule.forward_evaluations,
    )
    doubts = doubts_about(shape, fraction_left * count, unusable, count)
    return replace(
        spread, draws=count, effective_fraction=fraction_left, pareto_k=shape, unusable=unusable, warnings=doubts
    )
