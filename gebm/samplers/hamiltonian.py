"""Samplers with momentum: HMC, kinetic (underdamped) Langevin, and kinetic Langevin with a Metropolis correction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.checks import Flag, Range, StepSize
from gebm.components import component
from gebm.model import LatentPotential, Position
from gebm.samplers.kernel import Info, Sampler, State, start
from gebm.samplers.moves import bounce, gradient_at, metropolis, not_a_number, select, standard_normal

__all__ = ["HMC", "AdjustedKineticLangevin", "KineticLangevin"]

Scale = Annotated[float, Range(0, 10**6, "low")]


@component("samplers", "hmc", "Hamiltonian Monte Carlo")
@dataclass(frozen=True)
class HMC(Sampler):
    """Hamiltonian Monte Carlo (Duane et al., 1987; Neal, 2011): p ~ N(0, M), L leapfrog steps, log α = H − H′ with
    H = U(z) + ½ pᵀM⁻¹p.

    L gradient evaluations per step: the first half kick uses the cached gradient of the *current* state, also after a
    rejection. Under a uniform prior the leapfrog's drift is *reflected* at the walls (Afshar & Domke, 2015), which
    keeps it reversible and volume-preserving, so the same acceptance rule is exact.

    Arguments:
        step_size: ε > 0; tuned to an acceptance of 0.7 (between 0.65 and 0.8).
        leapfrog_steps: L >= 1.
        mass: M, one positive number or the diagonal, d positive numbers.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, HMC(0.2, leapfrog_steps=5), n=1000, steps=40).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    step_size: StepSize = 0.1
    leapfrog_steps: Annotated[int, Range(1, 10**5)] = 10
    mass: Scale | tuple[Scale, ...] = 1.0
    target_acceptance: ClassVar[float | None] = 0.7

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        if isinstance(self.mass, tuple) and len(self.mass) != potential.prior.dimension:
            raise ValueError(
                f"mass must be one number or one per coordinate ({potential.prior.dimension}), got {len(self.mass)}"
            )
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position
        mass = self._mass_row(current.z)
        momentum = mass.sqrt() * standard_normal(current.z, generator)
        proposed, end = current, momentum
        for _ in range(self.leapfrog_steps):
            proposed, end = leapfrog(potential, proposed, end, self.step_size, 1 / mass)
        kinetic = 0.5 * ((end.square() - momentum.square()) / mass).sum(1)
        error = proposed.potential - current.potential + kinetic
        decision = metropolis(current, proposed, -error, generator)
        info = Info(decision.acceptance, self.leapfrog_steps, 0, decision.invalid, energy_error=error)
        return State(select(decision.accept, proposed, current)), info

    def _mass_row(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "1 latent"]:
        """The diagonal of M; one number is spread on the device, without a copy from the host."""
        return z.new_tensor(self.mass)[None] if isinstance(self.mass, tuple) else z.new_full((1, z.shape[1]), self.mass)


def leapfrog(
    potential: LatentPotential,
    position: Position,
    momentum: Float[Tensor, "batch latent"],
    step_size: float,
    inverse_mass: Float[Tensor, "1 latent"] | float = 1.0,
) -> tuple[Position, Float[Tensor, "batch latent"]]:
    """Take one kick–drift–kick step from a position with its gradient: one gradient evaluation."""
    momentum = momentum - 0.5 * step_size * gradient_at(position)
    z, momentum = bounce(potential.prior, position.z, step_size * inverse_mass * momentum, momentum)
    position = potential.with_gradient(z)
    return position, momentum - 0.5 * step_size * gradient_at(position)


@dataclass(frozen=True)
class _Kinetic(Sampler):
    """What the two kinetic samplers share: their settings, and a velocity that persists and is first drawn by
    `step`.
    """

    step_size: StepSize = 0.01
    friction: Scale = 1.0
    temperable: ClassVar[bool] = False

    @property
    def time_step(self) -> float:
        """h = 2√λ."""
        return 2 * math.sqrt(self.step_size)

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=self.exact)

    def _refreshed(
        self, velocity: Float[Tensor, "batch latent"], generator: torch.Generator
    ) -> Float[Tensor, "batch latent"]:
        """The O part: v ← Cv + √(1−C²) ξ with C = exp(−κh), which leaves N(0, I) as it is."""
        keep = math.exp(-self.friction * self.time_step)
        return keep * velocity + math.sqrt(1 - keep**2) * standard_normal(velocity, generator)

    @staticmethod
    def _velocity(state: State, generator: torch.Generator) -> Float[Tensor, "batch latent"]:
        return standard_normal(state.position.z, generator) if state.velocity is None else state.velocity


@component(
    "samplers",
    "kinetic",
    "kinetic (underdamped) Langevin, ABOBA: biased, at first order in its step",
)
@dataclass(frozen=True)
class KineticLangevin(_Kinetic):
    """Kinetic Langevin in the ABOBA splitting (Leimkuhler & Matthews, 2013), with h = 2√λ and C = exp(−κh):
    z½ = z + hv/2; g = ∇U(z½); v ← C(v − hg/2) + √(1−C²) ξ; v ← v − hg/2; z = z½ + hv/2.

    Unadjusted, with a bias of first order in λ. On N(0, I) positions are exact at any stable λ < 1, and the
    velocity's variance is 1/(1 − λ) instead of 1. A step whose energy or gradient is not a number is refused (and
    counted) and its velocity turned. Under a uniform prior the drifts are *reflected* at the walls.

    One gradient evaluation per step, at the midpoint; one forward evaluation more for the energy at the end.

    Arguments:
        step_size: λ > 0.
        friction: κ > 0; the paper's image runs have 100.
        track_energy: whether the energy at the end of each step is evaluated; without it `energy` and `potential`
            of the state are NaN after the first step, and a step costs one gradient evaluation and nothing else.

    Example:
        On N(0, 1), at a step of half its largest:

        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * z.square().sum(1), 1)
        >>> print(f"{gebm.sample(normal, KineticLangevin(0.5), n=2000, steps=100).trace.z.var():.1f}")
        1.0
    """

    track_energy: Flag = True
    exact: ClassVar[bool] = False

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        start_velocity, h = self._velocity(state, generator), self.time_step
        half, velocity = bounce(potential.prior, state.position.z, 0.5 * h * start_velocity, start_velocity)
        midpoint = potential.with_gradient(half)
        kick = 0.5 * h * gradient_at(midpoint)
        velocity = self._refreshed(velocity - kick, generator) - kick
        z, velocity = bounce(potential.prior, half, 0.5 * h * velocity, velocity)
        invalid = not_a_number(midpoint)
        if self.track_energy:
            end = potential.at(z)
            invalid = invalid | not_a_number(end)
        else:
            unknown = torch.full_like(z[:, 0], math.nan)
            end = Position(z, unknown, unknown, None)
        position = select(~invalid, end, state.position)
        velocity = torch.where(invalid[:, None], -start_velocity, velocity)
        info = Info((~invalid).to(z.dtype), 1, int(self.track_energy), invalid.long())
        return State(position, velocity), info


@component("samplers", "kinetic-adjusted", "kinetic Langevin with a Metropolis correction")
@dataclass(frozen=True)
class AdjustedKineticLangevin(_Kinetic):
    """Kinetic Langevin with a Metropolis correction: v ← Cv + √(1−C²) ξ with C = exp(−κh) and h = 2√λ, which is exact, then one
    leapfrog step of length h, accepted with log α = H − H′, H = U(z) + ½‖v‖²; after a rejection the velocity is turned (Horowitz, 1991;
    Riou-Durand & Vogrinc, 2022).

    Exact at any λ. The correction is around kick–drift–kick and not around ABOBA: from far out, where ‖∇U‖ is large, drift–kick–drift
    gains energy in proportion to U at any λ, so that such chains never move; kick–drift–kick loses it and is accepted. Turned velocities
    slow the sampler down when rejections are frequent; keep acceptance high. Under a uniform prior the drift is *reflected* at the walls,
    which keeps the step reversible. One gradient evaluation per step.

    Arguments:
        step_size: λ > 0.
        friction: κ > 0.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, AdjustedKineticLangevin(0.01, friction=3.0), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    friction: Scale = 10.0
    target_acceptance: ClassVar[float | None] = 0.9

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position
        velocity = self._refreshed(self._velocity(state, generator), generator)
        proposed, end = leapfrog(potential, current, velocity, self.time_step)
        error = proposed.potential - current.potential + 0.5 * (end.square() - velocity.square()).sum(1)
        decision = metropolis(current, proposed, -error, generator)
        velocity = torch.where(decision.accept[:, None], end, -velocity)
        info = Info(decision.acceptance, 1, 0, decision.invalid, energy_error=error)
        return State(select(decision.accept, proposed, current), velocity), info
