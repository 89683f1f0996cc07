"""Changing the inverse temperature: of a potential, of a position already evaluated, and of replicas that swap
(parallel tempering).

Only E is tempered, never the prior: at every level the target is η(z) exp(−bE(G(z))), and b = 0 is the prior itself.
"""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gebm.base import Prior
from gebm.checks import Range
from gebm.components import component
from gebm.model import LatentPotential, Position
from gebm.samplers.kernel import Info, Sampler, State
from gebm.samplers.langevin import MALA
from gebm.samplers.moves import not_a_number

__all__ = ["ParallelTempering", "parallel_tempering", "prior_score", "retemper", "tempered"]


def tempered(potential: LatentPotential, inverse_temperature: float) -> LatentPotential:
    """Return the same potential at another β; networks are shared, not copied.

    Raises:
        ValueError: if `inverse_temperature` is negative.
    """
    if not inverse_temperature >= 0:
        raise ValueError(f"inverse_temperature must be >= 0, got {inverse_temperature}")
    other = copy.copy(potential)
    other.inverse_temperature = inverse_temperature
    return other


def prior_score(prior: Prior, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """Return ∇ log η(z); zero where log η is flat, as under a uniform prior."""
    with torch.enable_grad():
        z = z.detach().requires_grad_(True)
        log_prob = prior.log_prob(z)
        if not log_prob.requires_grad:
            return torch.zeros_like(z)
        (score,) = torch.autograd.grad(log_prob.sum(), z)
    return score


def retemper(prior: Prior, position: Position, old: float | Tensor, new: float | Tensor) -> Position:
    """Return the position as seen at inverse temperature `new`, from its values at `old` > 0, without evaluating
    the energy again.

    ∇U is affine in β, so ∇U_new = (∇U_old + ∇log η)(new/old) − ∇log η.

    Arguments:
        prior: η.
        position: evaluated at `old`.
        old: β > 0 it was evaluated at, one number or one per row.
        new: β >= 0 wanted, likewise.
    """
    potential = new * position.energy - prior.log_prob(position.z)
    gradient = position.gradient
    if gradient is not None:
        score = prior_score(prior, position.z)
        ratio = new / old
        gradient = (gradient + score) * (ratio[:, None] if isinstance(ratio, Tensor) else ratio) - score
    return Position(position.z, position.energy, potential, gradient)


class _Ladder(LatentPotential):
    """A potential with an inverse temperature per row, evaluated through the given one at β = 1."""

    def __init__(self, potential: LatentPotential, levels: Float[Tensor, " batch"]) -> None:
        super().__init__(potential.base, potential.network, 1.0)
        self.unit = tempered(potential, 1.0)
        self.inverse_temperature = levels  # type: ignore[assignment]

    def at(self, z: Float[Tensor, "batch latent"]) -> Position:
        return retemper(self.prior, self.unit.at(z), 1.0, self.inverse_temperature)

    def with_gradient(self, z: Float[Tensor, "batch latent"]) -> Position:
        return retemper(self.prior, self.unit.with_gradient(z), 1.0, self.inverse_temperature)


@dataclass(frozen=True)
class ParallelTempering(Sampler):
    """Parallel tempering over β (Geyer, 1991): replicas at each level of a ladder move by `sampler`, then
    neighbours swap with α = min(1, exp((β_i − β_j)(E_i − E_j))); each chain tries its odd or its even pairs, chosen
    at random.

    A level at β = 0 is not moved but drawn afresh from the prior, which is exact. The state's position is the
    coldest level, aimed at the potential's own β; all levels are evaluated in one batch, and the cost counts them
    all. Swaps need no evaluation. All replicas start at the same latent, so a chain that starts in ν is in equilibrium
    only once the hotter levels are. At a uniform prior's walls it does what `sampler` does.
    `acceptance` is that of the coldest level's moves.

    Arguments:
        sampler: moves the replicas; an exact one without memory (MALA, HMC, RandomWalk, PreconditionedCrankNicolson,
            ...).
        ladder: increasing fractions of the potential's β, from >= 0 to exactly 1, at least two. Geometric is a good
            start.

    Raises:
        ValueError: if the ladder is not such, or the sampler is not exact or cannot be run with one β per row.

    Example:
        Two narrow modes, of weights 0.8 and 0.2, that MALA alone would not leave:

        >>> import gebm
        >>> from torch.distributions import Categorical, MixtureSameFamily, Normal
        >>> weights, modes = torch.tensor([0.2, 0.8]), Normal(torch.tensor([-2.0, 2.0]), 0.1)
        >>> mixture = MixtureSameFamily(Categorical(weights), modes)
        >>> target = gebm.from_log_density(lambda z: mixture.log_prob(z[:, 0]), 1)
        >>> ladder = (0.0, 0.01, 0.1, 1.0)
        >>> for sampler in (MALA(0.01), ParallelTempering(MALA(0.01), ladder)):
        ...     print(f"{(gebm.sample(target, sampler, n=1000, steps=300).z > 0).float().mean():.1f}")
        0.5
        0.8
    """

    sampler: Sampler
    ladder: tuple[Annotated[float, Range(0, 1)], ...]
    temperable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered = all(low < high for low, high in itertools.pairwise(self.ladder))
        if len(self.ladder) < 2 or not ordered or self.ladder[0] < 0 or self.ladder[-1] != 1.0:
            raise ValueError(
                f"ladder must increase from a fraction >= 0 to exactly 1, as (0.0, 0.3, 1.0) does, got {self.ladder}"
            )
        if not (self.sampler.temperable and self.sampler.exact):
            raise ValueError(
                f"sampler must be exact and without memory, {type(self.sampler).__name__} is not; use MALA or HMC"
            )

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        position = self.sampler.init(tempered(potential, 1.0), z).position
        beta = potential.inverse_temperature
        seen = [retemper(potential.prior, position, 1.0, fraction * beta) for fraction in self.ladder]
        return State(seen[-1], replicas=_stack(seen[:-1]))

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        if state.replicas is None:
            raise ValueError("this state has no replicas; start it with ParallelTempering's own init")
        z, levels = state.position.z, [fraction * potential.inverse_temperature for fraction in self.ladder]
        batch, hot = z.shape[0], sum(level == 0 for level in levels)
        rows = torch.cat([torch.full_like(z[:, 0], level) for level in levels])
        everyone = _stack([state.replicas, state.position])
        unit, info = self._move(potential, everyone, rows, hot * batch, generator)
        source, swap_acceptance = _swap(unit.energy.reshape(-1, batch), rows.reshape(-1, batch), generator)
        settled = retemper(potential.prior, _rows(unit, source), 1.0, rows)
        cold = slice(settled.z.shape[0] - batch, None)
        invalid = info.invalid.reshape(len(levels), batch).sum(0)
        gradients = info.gradient_evaluations * (len(levels) - hot) + (hot if unit.gradient is not None else 0)
        forwards = info.forward_evaluations * (len(levels) - hot) + (hot if unit.gradient is None else 0)
        outcome = Info(info.acceptance[cold], gradients, forwards, invalid, swap_acceptance=swap_acceptance)
        return State(_rows(settled, cold), replicas=_rows(settled, slice(0, cold.start))), outcome

    def _move(
        self,
        potential: LatentPotential,
        everyone: Position,
        betas: Float[Tensor, " rows"],
        hot_rows: int,
        generator: torch.Generator,
    ) -> tuple[Position, Info]:
        """One move at every level, as positions at β = 1: prior draws at β = 0, the sampler's steps elsewhere."""
        accepted, none = torch.ones_like(betas), torch.zeros_like(betas, dtype=torch.int64)
        parts, info = [], Info(accepted, 0, 0, none)
        if hot_rows:
            unit = tempered(potential, 1.0)
            z = potential.prior.sample(hot_rows, generator, everyone.z.dtype)
            parts.append(unit.at(z) if everyone.gradient is None else unit.with_gradient(z))
            none[:hot_rows] += not_a_number(parts[0]).long()
        if hot_rows < betas.shape[0]:
            cold = slice(hot_rows, None)
            ladder = _Ladder(potential, betas[cold])
            moved, info = self.sampler.step(ladder, State(_rows(everyone, cold)), generator)
            parts.append(retemper(potential.prior, moved.position, betas[cold], 1.0))
            info = info._replace(
                acceptance=torch.cat([accepted[:hot_rows], info.acceptance]),
                invalid=torch.cat([none[:hot_rows], info.invalid]),
            )
        return _stack(parts), info


@component(
    "samplers",
    "tempering",
    "parallel tempering over β with MALA moves of one step size",
)
def parallel_tempering(step_size: float = 0.01, ladder: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)) -> ParallelTempering:
    """Return parallel tempering that moves by MALA with one step size at every level.

    Arguments:
        step_size: MALA's, at every level.
        ladder: rising factors of β, from 0 (the prior) to 1 (the target).
    """
    return ParallelTempering(MALA(step_size), ladder)


def _swap(
    energy: Float[Tensor, "levels batch"], betas: Float[Tensor, "levels batch"], generator: torch.Generator
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " batch"]]:
    """The row that each row's replica comes from after the swaps, and each chain's mean probability of a swap.

    A replica whose energy is not finite is never swapped.
    """
    levels, batch = energy.shape
    log_alpha = (betas[:-1] - betas[1:]) * (energy[:-1] - energy[1:])
    finite = energy.isfinite()
    log_alpha = torch.where(finite[:-1] & finite[1:], log_alpha, torch.full_like(log_alpha, -math.inf))
    uniform = torch.rand(levels, batch, generator=generator, device=energy.device, dtype=energy.dtype)
    parity = (uniform[-1] < 0.5).long()
    index = torch.arange(levels, device=energy.device)[:, None].expand(levels, batch)
    swap = ((uniform[:-1].log() < log_alpha) & (index[:-1] % 2 == parity)).long()
    edge = torch.zeros_like(swap[:1])
    source = index + torch.cat([swap, edge]) - torch.cat([edge, swap])
    rows = source * batch + torch.arange(batch, device=energy.device)
    return rows.reshape(-1), log_alpha.clamp(max=0).exp().mean(0)


def _stack(parts: list[Position]) -> Position:
    gradients = [part.gradient for part in parts if part.gradient is not None]
    return Position(
        torch.cat([part.z for part in parts]),
        torch.cat([part.energy for part in parts]),
        torch.cat([part.potential for part in parts]),
        torch.cat(gradients) if gradients else None,
    )


def _rows(position: Position, rows: Tensor | slice) -> Position:
    gradient = None if position.gradient is None else position.gradient[rows]
    return Position(position.z[rows], position.energy[rows], position.potential[rows], gradient)
