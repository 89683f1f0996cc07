"""Samplers that choose among prior draws by their weights exp(−βE): SIR, i-SIR, and Ex2MCMC, which adds local moves.

Right under any prior, since candidates are drawn from it. The choice is made while candidates stream by (the
largest of log-weight plus Gumbel noise wins), so memory does not grow with their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gebm.checks import Range, StepSize
from gebm.components import component
from gebm.model import LatentPotential, Position
from gebm.samplers.kernel import Info, Sampler, State, start
from gebm.samplers.langevin import MALA
from gebm.samplers.moves import not_a_number, select

__all__ = ["SIR", "Ex2MCMC", "IteratedSIR"]

Candidates = Annotated[int, Range(2, 10**6)]
ROWS_AT_ONCE = 8192
"""Candidates evaluated in one pass, all chains together; only speed and memory depend on it."""


class _Choice(NamedTuple):
    """A stream of candidates so far: the winner and its key, log Σ w, and how many were not numbers."""

    winner: Position
    key: Float[Tensor, " batch"]
    log_total: Float[Tensor, " batch"]
    invalid: Int[Tensor, " batch"]


def _log_weight(potential: LatentPotential, position: Position) -> Float[Tensor, " batch"]:
    """−βE, and −inf where E is not a number."""
    weight = -potential.inverse_temperature * position.energy
    return torch.where(not_a_number(position), torch.full_like(weight, -math.inf), weight)


def _gumbel(log_weight: Tensor, generator: torch.Generator) -> Tensor:
    return -torch.empty_like(log_weight).exponential_(generator=generator).log()


def _stream(potential: LatentPotential, choice: _Choice, candidates: int, generator: torch.Generator) -> _Choice:
    """Let `candidates` fresh prior draws per chain compete with the winner so far."""
    winner, key, log_total, invalid = choice
    batch = winner.z.shape[0]
    at_once = max(1, ROWS_AT_ONCE // batch)
    rows = torch.arange(batch, device=winner.z.device)
    for first in range(0, candidates, at_once):
        count = min(at_once, candidates - first)
        fresh = potential.at(potential.prior.sample(count * batch, generator, winner.z.dtype))
        weight = _log_weight(potential, fresh).reshape(count, batch)
        keys = weight + _gumbel(weight, generator)
        best_key, best = keys.max(0)
        chosen = best * batch + rows
        rival = Position(fresh.z[chosen], fresh.energy[chosen], fresh.potential[chosen], None)
        winner = select(best_key > key, rival, winner)
        key = torch.maximum(key, best_key)
        log_total = torch.logaddexp(log_total, weight.logsumexp(0))
        invalid = invalid + not_a_number(fresh).reshape(count, batch).sum(0)
    return _Choice(winner, key, log_total, invalid)


@dataclass(frozen=True)
class SIR(Sampler):
    """Sampling–importance resampling (Rubin, 1987): each step draws N from the prior and keeps one with probability
    ∝ exp(−βE).

    Steps do not depend on each other; the law is ν only as N → ∞ (the bias is of order 1/N).

    Arguments:
        candidates: N >= 1.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²), of a prior N(0, 1)
        >>> for candidates in (2, 10, 1000):
        ...     print(f"{gebm.sample(normal, SIR(candidates), n=1000, steps=10).trace.z.mean():.1f}")
        0.5
        0.9
        1.0
    """

    candidates: Annotated[int, Range(1, 10**6)] = 16
    exact: ClassVar[bool] = False
    temperable: ClassVar[bool] = False

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=False)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        nothing = torch.full_like(state.position.energy, -math.inf)
        none = torch.zeros_like(nothing, dtype=torch.int64)
        choice = _stream(potential, _Choice(state.position, nothing, nothing, none), self.candidates, generator)
        return State(choice.winner), Info(torch.ones_like(nothing), 0, self.candidates, choice.invalid)


@component("samplers", "i-sir", "iterated sampling–importance resampling")
@dataclass(frozen=True)
class IteratedSIR(Sampler):
    """i-SIR (Andrieu, Lee & Vihola, 2018): keep the current latent or move to one of N−1 prior draws, with
    probability ∝ exp(−βE).

    Exact for every N. The acceptance it reports is the probability to leave the current latent.

    Arguments:
        candidates: N >= 2, the current latent included.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, IteratedSIR(16), n=1000, steps=40).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    candidates: Candidates = 16
    temperable: ClassVar[bool] = False

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=False)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position._replace(gradient=None)
        weight = _log_weight(potential, current)
        none = torch.zeros_like(weight, dtype=torch.int64)
        first = _Choice(current, weight + _gumbel(weight, generator), weight, none)
        choice = _stream(potential, first, self.candidates - 1, generator)
        leave = (1 - (weight - choice.log_total).exp()).nan_to_num(0.0).clamp(0, 1)
        return State(choice.winner), Info(leave, 0, self.candidates - 1, choice.invalid)


@component("samplers", "ex2", "Ex²MCMC: an i-SIR step, then MALA moves")
@dataclass(frozen=True)
class Ex2MCMC(Sampler):
    """Ex2MCMC (Samsonov et al., 2022): one i-SIR step, then local MALA moves. Exact, as both parts are.

    The acceptance it reports is that of the MALA moves. Costs N−1 forward evaluations and, since the chosen latent
    has no gradient yet, moves + 1 gradient evaluations per step. Under a uniform prior MALA proposals outside are
    *rejected*.

    Arguments:
        candidates: N >= 2.
        step_size: γ of MALA.
        moves: MALA moves per step, >= 1.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, Ex2MCMC(16, step_size=0.1), n=1000, steps=20).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    candidates: Candidates = 16
    step_size: StepSize = 0.01
    moves: Annotated[int, Range(1, 10**5)] = 4
    temperable: ClassVar[bool] = False
    target_acceptance: ClassVar[float | None] = MALA.target_acceptance

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=False)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        state, jump = IteratedSIR(self.candidates).step(potential, state, generator)
        state = State(potential.with_gradient(state.position.z))
        acceptance, invalid = torch.zeros_like(jump.acceptance), jump.invalid
        for _ in range(self.moves):
            state, info = MALA(self.step_size).step(potential, state, generator)
            acceptance, invalid = acceptance + info.acceptance / self.moves, invalid + info.invalid
        settled = State(state.position._replace(gradient=None))
        return settled, Info(acceptance, self.moves + 1, self.candidates - 1, invalid)
