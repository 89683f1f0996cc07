"""Samplers with momentum: HMC, kinetic (underdamped) Langevin, and kinetic Langevin with a Metropolis correction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.model import LatentPotential, Position
from gebm.samplers.kernel import Info, Sampler, State, start
from gebm.samplers.moves import bounce, gradient_at, metropolis, not_a_number, select, standard_normal

__all__ = ["HMC", "AdjustedKineticLangevin", "KineticLangevin"]


@dataclass(frozen=True)
class HMC(Sampler):
    """Hamiltonian Monte Carlo (Duane et al., 1987; Neal, 2011): p ~ N(0, M), L leapfrog steps, log α = H − H′ with
    H = U(z) + ½ pᵀM⁻¹p.

    L gradient evaluations a step: the first half kick uses the cached gradient of the *current* state, also after a
    rejection. Under a uniform prior the leapfrog's drift is *reflected* at the walls (Afshar & Domke, 2015), which
    keeps it reversible and volume-preserving, so the same acceptance rule is exact.

    Arguments:
        step_size: ε > 0; tuned to an acceptance of 0.7 (between 0.65 and 0.8).
        leapfrog_steps: L >= 1.
        mass: M, one positive number or the diagonal, d positive numbers.
    """

    step_size: float
    leapfrog_steps: int = 10
    mass: float | tuple[float, ...] = 1.0
    target_acceptance: ClassVar[float | None] = 0.7

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"step_size must be > 0, got {self.step_size}")
        if self.leapfrog_steps < 1:
            raise ValueError(f"leapfrog_steps must be >= 1, got {self.leapfrog_steps}")
        masses = self.mass if isinstance(self.mass, tuple) else (self.mass,)
        if not masses or not all(mass > 0 for mass in masses):
            raise ValueError(f"mass must be positive, got {self.mass}")

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        if isinstance(self.mass, tuple) and len(self.mass) != potential.prior.dimension:
            raise ValueError(
                f"mass must be one number or one a coordinate ({potential.prior.dimension}), got {len(self.mass)}"
            )
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position
        mass = self._mass_row(current.z)
        momentum = mass.sqrt() * standard_normal(current.z, generator)
        proposed, end = self._leapfrog(potential, current, momentum, mass)
        kinetic = 0.5 * ((end.square() - momentum.square()) / mass).sum(1)
        error = proposed.potential - current.potential + kinetic
        decision = metropolis(current, proposed, -error, generator)
        info = Info(decision.acceptance, self.leapfrog_steps, 0, decision.invalid, energy_error=error)
        return State(select(decision.accept, proposed, current)), info

    def _mass_row(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "1 latent"]:
        """The diagonal of M; one number is spread on the device, without a copy from the host."""
        return z.new_tensor(self.mass)[None] if isinstance(self.mass, tuple) else z.new_full((1, z.shape[1]), self.mass)

    def _leapfrog(
        self,
        potential: LatentPotential,
        position: Position,
        momentum: Float[Tensor, "batch latent"],
        mass: Float[Tensor, "1 latent"],
    ) -> tuple[Position, Float[Tensor, "batch latent"]]:
        half = 0.5 * self.step_size
        for _ in range(self.leapfrog_steps):
            momentum = momentum - half * gradient_at(position)
            z, momentum = bounce(potential.prior, position.z, self.step_size * momentum / mass, momentum)
            position = potential.with_gradient(z)
            momentum = momentum - half * gradient_at(position)
        return position, momentum


class _Flight(NamedTuple):
    """One ABOBA step: the midpoint with its gradient, the end, and the velocities around the O part and at the end."""

    midpoint: Position
    z: Float[Tensor, "batch latent"]
    velocity: Float[Tensor, "batch latent"]
    before: Float[Tensor, "batch latent"]
    after: Float[Tensor, "batch latent"]


def _aboba(
    potential: LatentPotential,
    z: Float[Tensor, "batch latent"],
    velocity: Float[Tensor, "batch latent"],
    h: float,
    friction: float,
    generator: torch.Generator,
) -> _Flight:
    """Drift, kick, Ornstein–Uhlenbeck, kick, drift (Leimkuhler & Matthews, 2013): one gradient, at the midpoint."""
    keep = math.exp(-friction * h)
    half, velocity = bounce(potential.prior, z, 0.5 * h * velocity, velocity)
    midpoint = potential.with_gradient(half)
    kick = 0.5 * h * gradient_at(midpoint)
    before = velocity - kick
    after = keep * before + math.sqrt(1 - keep**2) * standard_normal(z, generator)
    velocity = after - kick
    end, velocity = bounce(potential.prior, half, 0.5 * h * velocity, velocity)
    return _Flight(midpoint, end, velocity, before, after)


@dataclass(frozen=True)
class _Kinetic(Sampler):
    """What the two kinetic samplers share: their settings, and a velocity that persists and is first drawn by
    `step`.
    """

    step_size: float
    friction: float = 100.0
    temperable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"step_size must be > 0, got {self.step_size}")
        if not self.friction > 0:
            raise ValueError(f"friction must be > 0, got {self.friction}")

    @property
    def time_step(self) -> float:
        """h = 2√λ."""
        return 2 * math.sqrt(self.step_size)

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=False)

    @staticmethod
    def _velocity(state: State, generator: torch.Generator) -> Float[Tensor, "batch latent"]:
        return standard_normal(state.position.z, generator) if state.velocity is None else state.velocity


@dataclass(frozen=True)
class KineticLangevin(_Kinetic):
    """Kinetic Langevin in the ABOBA splitting (Leimkuhler & Matthews, 2013), with h = 2√λ and C = exp(−κh):
    z½ = z + hv/2; g = ∇U(z½); v ← C(v − hg/2) + √(1−C²) ξ; v ← v − hg/2; z = z½ + hv/2.

    Unadjusted, with a bias of first order in λ. On N(0, I) positions are exact at any stable λ < 1, and the
    velocity's variance is 1/(1 − λ) instead of 1. A step whose energy or gradient is not a number is refused (and
    counted) and its velocity turned. Under a uniform prior the drifts are *reflected* at the walls.

    One gradient evaluation a step, at the midpoint; one forward evaluation more for the energy at the end.

    Arguments:
        step_size: λ > 0.
        friction: κ > 0; the paper's image runs have 100.
        track_energy: whether the energy at the end of each step is evaluated; without it `energy` and `potential`
            of the state are NaN after the first step, and a step costs one gradient evaluation and nothing else.
    """

    track_energy: bool = True
    exact: ClassVar[bool] = False

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        start_velocity = self._velocity(state, generator)
        flight = _aboba(potential, state.position.z, start_velocity, self.time_step, self.friction, generator)
        invalid = not_a_number(flight.midpoint)
        if self.track_energy:
            end = potential.at(flight.z)
            invalid = invalid | not_a_number(end)
        else:
            unknown = torch.full_like(flight.z[:, 0], math.nan)
            end = Position(flight.z, unknown, unknown, None)
        position = select(~invalid, end, state.position)
        velocity = torch.where(invalid[:, None], -start_velocity, flight.velocity)
        info = Info((~invalid).to(flight.z.dtype), 1, int(self.track_energy), invalid.long())
        return State(position, velocity), info


@dataclass(frozen=True)
class AdjustedKineticLangevin(_Kinetic):
    """Kinetic Langevin with a Metropolis correction: the ABOBA step as a proposal, accepted with
    log α = U(z) − U(z′) + ½(‖v‖² − ‖v_B‖² + ‖v_O‖² − ‖v′‖²), v_B and v_O the velocities before and after the O
    part; after a rejection the velocity is turned (Horowitz, 1991; the energy errors of the deterministic parts as
    in Riou-Durand & Vogrinc, 2022).

    Exact at any λ. Turned velocities slow it down when rejections are frequent; keep acceptance high. Under a
    uniform prior the drifts are *reflected* at the walls, which keeps the step reversible. One gradient and one
    forward evaluation a step.

    Arguments:
        step_size: λ > 0.
        friction: κ > 0.
    """

    target_acceptance: ClassVar[float | None] = 0.9

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current, start_velocity = state.position, self._velocity(state, generator)
        flight = _aboba(potential, current.z, start_velocity, self.time_step, self.friction, generator)
        proposed = potential.at(flight.z)
        kinetic = 0.5 * (
            flight.before.square() - start_velocity.square() + flight.velocity.square() - flight.after.square()
        ).sum(1)
        error = proposed.potential - current.potential + kinetic
        decision = metropolis(current, proposed, -error, generator)
        velocity = torch.where(decision.accept[:, None], flight.velocity, -start_velocity)
        info = Info(decision.acceptance, 1, 1, decision.invalid, energy_error=error)
        return State(select(decision.accept, proposed, current), velocity), info
