"""What every latent sampler is: a pure `init` and `step` on a State, returning an Info, and the driver that runs a
chain of them.

Samplers own no loop, device, progress bar or warm-up; they are frozen dataclasses, so `dataclasses.replace` changes
a setting. All chains of a batch move together, and a step never waits for the device. What the rules share
(accepting, reflecting) lives in `gebm.samplers.moves`; recording and judging traces in `gebm.diagnostics`.

Cost is counted per chain: a *gradient evaluation* is one pass through E(G(z)) and back to z (it yields the energy
too), a *forward evaluation* one pass without the way back. `init` is not counted: it is the same one evaluation for
every sampler.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gebm.checks import Settings
from gebm.model import LatentPotential, Position

__all__ = [
    "Calibration",
    "Cost",
    "DualAverages",
    "Info",
    "InvalidEnergyWarning",
    "Sampler",
    "State",
    "StepDecay",
    "chain",
    "start",
]

Calibration = Literal["none", "isotonic", "logistic", "invariant"]
"""Of a discriminator's logit."""


class InvalidEnergyWarning(RuntimeWarning):
    """A chain met energies (or gradients) that are not numbers."""


class DualAverages(NamedTuple):
    """What step-size adaptation remembers: steps done, Σ(target − acceptance), log step size, its running average."""

    steps: int
    shortfall: float
    log_step: float
    log_average: float


class State(NamedTuple):
    """Where the chains are. Only `position` is everyone's.

    `velocity` is kept by samplers with persistent momentum, `replicas` (the hotter levels, hottest first,
    level-major) by parallel tempering, `adaptation` by step-size adaptation. `memory` is whatever else a sampler has to
    remember, a NamedTuple that only this sampler reads.
    """

    position: Position
    velocity: Float[Tensor, "batch latent"] | None = None
    replicas: Position | None = None
    adaptation: DualAverages | None = None
    memory: tuple[Any, ...] | None = None


class Info(NamedTuple):
    """What one step did, a value per chain, and what it cost, evaluations per chain.

    `acceptance` is a probability, not the outcome: it is the smoother of the two. `invalid` counts the candidates
    of this step whose energy or gradient was not a number; they were refused. `energy_error` is H′ − H where the
    rule has a Hamiltonian, `swap_acceptance` the mean over neighbouring temperatures where it has those.
    """

    acceptance: Float[Tensor, " batch"]
    gradient_evaluations: int
    forward_evaluations: int
    invalid: Int[Tensor, " batch"]
    energy_error: Float[Tensor, " batch"] | None = None
    swap_acceptance: Float[Tensor, " batch"] | None = None


class Sampler(Settings, ABC):
    """A Markov kernel on latents, aimed at ν(z) ∝ exp(−U(z)).

    Class attributes: `target_acceptance`, the acceptance that step-size adaptation aims at (None where acceptance
    says nothing about the step size); `largest_step`, above which a step size has no meaning; `temperable`, whether
    parallel tempering can run it on a batch with one β a row (it keeps nothing but the position, and proposes one
    candidate per chain); `exact`, whether ν is its stationary law at any setting; `calibration`, how the logit of a
    discriminator is to be calibrated before it guides this sampler ("none" for samplers of a GEBM's own energy,
    "invariant" where the rule does not depend on the logit's slope and offset).
    """

    target_acceptance: ClassVar[float | None] = None
    largest_step: ClassVar[float] = 100.0
    temperable: ClassVar[bool] = True
    exact: ClassVar[bool] = True
    calibration: ClassVar[Calibration] = "none"

    @abstractmethod
    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        """Return the state at z.

        Raises:
            ValueError: if z does not fit the prior: its width, its dtype, or a row outside the support.
        """

    @abstractmethod
    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Move every chain once. The state passed in is not changed."""


def start(potential: LatentPotential, z: Float[Tensor, "batch latent"], *, gradient: bool) -> State:
    """Return the state at z, after checking that z can be a latent of this potential.

    Raises:
        ValueError: if z is not a floating-point (batch, d) tensor with rows in the prior's support.
    """
    dimension = potential.prior.dimension
    if z.ndim != 2 or z.shape[1] != dimension:
        raise ValueError(f"z must have shape (batch, {dimension}), the prior's dimension, got {tuple(z.shape)}")
    if not z.is_floating_point():
        raise ValueError(f"z must be a floating-point tensor, got {z.dtype}")
    outside = int((~torch.isfinite(potential.prior.log_prob(z))).sum())
    if outside:
        raise ValueError(
            f"z must start inside the prior's support: {outside} of {z.shape[0]} rows have log η(z) = −inf or are not "
            "finite; start from prior.sample(...)"
        )
    z = z.detach()
    return State(potential.with_gradient(z) if gradient else potential.at(z))


class Cost(NamedTuple):
    """Evaluations of the potential, per chain."""

    gradient_evaluations: int = 0
    forward_evaluations: int = 0

    def after(self, info: Info) -> Cost:
        """Return the cost after one more step."""
        return Cost(
            self.gradient_evaluations + info.gradient_evaluations, self.forward_evaluations + info.forward_evaluations
        )


class StepDecay(NamedTuple):
    """Step size multiplied by `factor` after every `every` steps (the paper: 0.1 every 200); factor 1 keeps it."""

    factor: float = 1.0
    every: int = 200


def chain(
    sampler: Sampler,
    potential: LatentPotential,
    z: Float[Tensor, "batch latent"],
    record_at: Sequence[int],
    generator: torch.Generator,
    decay: StepDecay = StepDecay(),
    on_step: Callable[[int, Info], None] | None = None,
    begin: Callable[[LatentPotential, Tensor], State] | None = None,
) -> Iterator[tuple[int, State, Cost]]:
    """Run one chain from z and yield (steps done, state, cost so far) at each length in `record_at` (0 is the start).

    Memory does not grow with the length: only the current state is held. Warns once, with the count, if candidates
    had an energy that is not a number.

    Arguments:
        sampler: the rule.
        potential: its target.
        z: the starting latents, one chain per row.
        record_at: lengths to yield at, in any order.
        generator: source of all randomness, on the device of z.
        decay: a schedule of the step size.
        on_step: called after each step with the number of steps done and its Info.
        begin: makes the first state of the potential and z; by default the sampler's own `init`.

    Raises:
        ValueError: if `record_at` is empty or has a negative length, or `decay` is asked of a sampler without a
            step size.

    Example:
        >>> from torch import nn
        >>> from gebm.base import Base, GaussianPrior
        >>> from gebm.samplers import MALA
        >>> energy = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> potential = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), energy)
        >>> z = torch.zeros(3, 2)
        >>> for steps, state, cost in chain(MALA(0.1), potential, z, [5], torch.Generator().manual_seed(0)):
        ...     print(steps, tuple(state.position.z.shape), cost.gradient_evaluations)
        5 (3, 2) 5
    """
    wanted = set(record_at)
    if not wanted or min(wanted) < 0:
        raise ValueError(f"record_at needs chain lengths >= 0, got {list(record_at)}")
    if decay.factor != 1.0 and not hasattr(sampler, "step_size"):
        raise ValueError(f"decay needs a sampler with a step_size, {type(sampler).__name__} has none; use factor=1")
    state, cost = (begin or sampler.init)(potential, z), Cost()
    invalid = torch.zeros(z.shape[0], dtype=torch.int64, device=z.device)
    current: Any = sampler
    last = max(wanted)
    for done in range(last + 1):
        if done == last:
            _warn_of_invalid(invalid)
        if done in wanted:
            yield done, state, cost
        if done == last:
            return
        if done and decay.factor != 1.0 and done % decay.every == 0:
            current = replace(current, step_size=current.step_size * decay.factor)
        state, info = current.step(potential, state, generator)
        cost, invalid = cost.after(info), invalid + info.invalid
        if on_step is not None:
            on_step(done + 1, info)


def _warn_of_invalid(invalid: Int[Tensor, " batch"]) -> None:
    total = int(invalid.sum())
    if total:
        warnings.warn(
            f"{total} candidate latents in {int((invalid > 0).sum())} of {invalid.shape[0]} chains had an energy or "
            "gradient that is not a number; each was refused and its chain stayed where it was",
            InvalidEnergyWarning,
            stacklevel=3,
        )
