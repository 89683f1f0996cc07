"""The schedule of temperatures that annealed estimators of log Z follow, the particles that do, and the pilot run that finds it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gebm.diagnostics import usable_log_weights, weight_ess
from gebm.model import LatentPotential, Position
from gebm.partition.importance import lowest, network_dtype
from gebm.samplers.kernel import Cost, Sampler, State
from gebm.samplers.tempering import retemper, tempered

__all__ = ["Population", "Schedule", "adaptive_schedule", "pilot", "stepping", "systematic"]


@dataclass(frozen=True)
class Schedule:
    """Fractions of the potential's β from 0 to 1, and what finding them cost in all (nothing if they were chosen).

    Arguments:
        fractions: from exactly 0 to exactly 1.
        gradient_evaluations: of the pilot, over all its particles.
        forward_evaluations: likewise.
        step_sizes: of the sampler at each fraction above 0, as a pilot tuned them; None for the sampler's own everywhere.

    Raises:
        ValueError: if the fractions do not increase from exactly 0 to exactly 1, or there is not one step size for each above 0.
    """

    fractions: tuple[float, ...]
    gradient_evaluations: int = 0
    forward_evaluations: int = 0
    step_sizes: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.step_sizes is not None and len(self.step_sizes) != len(self.fractions) - 1:
            raise ValueError(f"step_sizes must be one per fraction above 0, got {len(self.step_sizes)}")
        ordered = all(low < high for low, high in itertools.pairwise(self.fractions))
        if len(self.fractions) < 2 or not ordered or self.fractions[0] != 0 or self.fractions[-1] != 1:
            raise ValueError(f"fractions must increase from exactly 0 to exactly 1, got {self.fractions}")

    def levels(self, beta: float, sampler: Sampler) -> Iterator[tuple[float, Sampler]]:
        """Yield every inverse temperature above 0 on the way to `beta`, with the sampler that moves there."""
        for index, fraction in enumerate(self.fractions[1:]):
            yield fraction * beta, sampler if self.step_sizes is None else stepping(sampler, self.step_sizes[index])


class Population:
    """Particles on the path π_b ∝ η exp(−bE), with their cost: `count` prior draws at b = 0, or given ones at the potential's β.

    AIS, its reverse, SMC and the pilot share it.
    """

    def __init__(
        self,
        potential: LatentPotential,
        sampler: Sampler,
        count: int,
        generator: torch.Generator,
        start: Float[Tensor, "batch latent"] | None = None,
    ) -> None:
        if not (sampler.temperable and sampler.exact):
            raise ValueError(
                f"sampler must leave each π_b as it is and keep no memory, {type(sampler).__name__} does not; use MALA or HMC"
            )
        self.potential, self.sampler, self.generator = potential, sampler, generator
        z = potential.prior.sample(count, generator, network_dtype(potential)) if start is None else start
        self.state = sampler.init(tempered(potential, 1.0), z)
        self.cost = Cost(0, 1) if self.state.position.gradient is None else Cost(1, 0)
        self.beta = 0.0 if start is None else potential.inverse_temperature
        self.seen_at = 1.0  # the β at which their gradient was last seen
        self.lowest_energy = lowest(self.state.position.energy)
        self.ancestors = torch.arange(count, device=z.device)

    def increment(self, beta: float) -> Float[Tensor, " batch"]:
        """Return the log weights of going from the present b to `beta`: −(b′ − b)E."""
        energy = self.state.position.energy.double()
        return -(beta - self.beta) * energy if beta != self.beta else torch.zeros_like(energy)

    def move(self, beta: float, steps: int, sampler: Sampler | None = None, tune: bool = False) -> Sampler:
        """Go to `beta` and take `steps` steps there, of another `sampler` if one is given; at β = 0 the particles are exact already.

        Returns:
            The sampler, with `tune` at a step size nearer to its target acceptance after every step.
        """
        sampler = sampler or self.sampler
        if beta == 0:
            return sampler
        target = tempered(self.potential, beta)
        self.state = State(retemper(self.potential.prior, self.state.position, self.seen_at, beta))
        self.beta = self.seen_at = beta
        for _ in range(steps):
            self.state, info = sampler.step(target, self.state, self.generator)
            self.cost = self.cost.after(info)
            self.lowest_energy = torch.minimum(self.lowest_energy, lowest(self.state.position.energy))
            if tune and sampler.target_acceptance is not None:
                surplus = float(info.acceptance.mean()) - sampler.target_acceptance
                size = float(getattr(sampler, "step_size", 1.0)) * math.exp(surplus)
                sampler = stepping(sampler, min(size, sampler.largest_step))
        return sampler

    def choose(self, rows: Int[Tensor, " batch"]) -> None:
        """Keep the particles at `rows`, as often as they occur there."""
        z, energy, potential, gradient = self.state.position
        kept = None if gradient is None else gradient[rows]
        self.state = State(Position(z[rows], energy[rows], potential[rows], kept))
        self.ancestors = self.ancestors[rows]


def stepping(sampler: Sampler, step_size: float) -> Sampler:
    """Return the sampler with another step size."""
    adjustable: Any = sampler
    tuned: Sampler = replace(adjustable, step_size=step_size)
    return tuned


def adaptive_schedule(
    potential: LatentPotential,
    sampler: Sampler,
    particles: int,
    generator: torch.Generator,
    *,
    ess_fraction: float = 0.9,
    moves: int = 1,
    most_levels: int = 1000,
    tune: bool = False,
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
        tune: bring the step size of every level towards the sampler's target acceptance, one factor exp(acceptance − target) per
            move, and put it into the schedule.

    Raises:
        ValueError: if `ess_fraction` is out of range, or `most_levels` do not reach β.
    """
    beta = potential.inverse_temperature
    levels, cost = pilot(potential, sampler, particles, generator, ess_fraction, moves, most_levels, tune)
    if len(levels) and levels[-1][0] < beta:
        raise ValueError(
            f"most_levels = {most_levels} levels reach only {levels[-1][0] / beta:.2g} of β = {beta}; allow more levels, "
            "a smaller ess_fraction, or more moves"
        )
    fractions = [each / beta for each, _ in levels[:-1]] if beta else []
    steps = tuple(step for _, step in levels) if tune and beta else None
    gradients, forwards = cost
    return Schedule((0.0, *fractions, 1.0), gradients * particles, forwards * particles, steps)


def pilot(
    potential: LatentPotential,
    sampler: Sampler,
    particles: int,
    generator: torch.Generator,
    ess_fraction: float,
    moves: int,
    most_levels: int,
    tune: bool,
    stops: Sequence[float] = (),
) -> tuple[list[tuple[float, float]], Cost]:
    """Return levels as (β, step size) up to the potential's β, or as many as are allowed, `stops` among them; and the cost.

    Raises:
        ValueError: if `ess_fraction` is out of range.
    """
    if not 0 < ess_fraction < 1:
        raise ValueError(f"ess_fraction must be in (0, 1), got {ess_fraction}")
    population, last = Population(potential, sampler, particles, generator), potential.inverse_temperature
    levels: list[tuple[float, float]] = []
    while last and len(levels) < most_levels and (not levels or levels[-1][0] < last):
        goal = min((stop for stop in (*stops, last) if stop > population.beta), default=last)
        beta = _next_level(population, goal, ess_fraction)
        population.choose(systematic(usable_log_weights(population.increment(beta))[None], generator))
        if beta < last or tune:
            sampler = population.move(beta, moves, sampler, tune)
        levels.append((beta, float(getattr(sampler, "step_size", math.nan))))
    return levels, population.cost


def _next_level(population: Population, goal: float, ess_fraction: float) -> float:
    """Return the largest β up to `goal` whose weights keep the ESS, by bisection; at least a little further than now."""
    wanted = ess_fraction * population.state.position.z.shape[0]
    if weight_ess(population.increment(goal)) >= wanted:
        return goal
    enough, too_far = population.beta, goal
    for _ in range(30):
        middle = 0.5 * (enough + too_far)
        if weight_ess(population.increment(middle)) >= wanted:
            enough = middle
        else:
            too_far = middle
    return too_far


def systematic(log_weights: Float[Tensor, "islands particles"], generator: torch.Generator) -> Int[Tensor, " rows"]:
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
