"""Metropolis–Hastings samplers that need only forward evaluations: random walk, pCN, independent proposals from the
prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.base import GaussianPrior, Prior, UniformPrior
from gebm.checks import Range, StepSize
from gebm.components import component
from gebm.model import LatentPotential, Position
from gebm.samplers.kernel import Info, Sampler, State, start
from gebm.samplers.moves import metropolis, select, standard_normal

__all__ = ["IndependentMH", "PreconditionedCrankNicolson", "RandomWalk"]


def _settle(
    current: Position, proposed: Position, log_alpha: Float[Tensor, " batch"], generator: torch.Generator
) -> tuple[State, Info]:
    """Accept or reject after one forward evaluation."""
    decision = metropolis(current, proposed, log_alpha, generator)
    return State(select(decision.accept, proposed, current)), Info(decision.acceptance, 0, 1, decision.invalid)


@component("samplers", "rwm", "random-walk Metropolis")
@dataclass(frozen=True)
class RandomWalk(Sampler):
    """Random-walk Metropolis: z′ = z + σξ, log α = U(z) − U(z′) (Metropolis et al., 1953).

    Under a uniform prior proposals outside are *rejected*.

    Arguments:
        step_size: σ > 0; tuned to an acceptance of 0.234 (Roberts, Gelman & Gilks, 1997).

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, RandomWalk(1.0), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    step_size: StepSize = 0.1
    target_acceptance: ClassVar[float | None] = 0.234

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=False)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position
        proposed = potential.at(current.z + self.step_size * standard_normal(current.z, generator))
        return _settle(current, proposed, current.potential - proposed.potential, generator)


@component("samplers", "pcn", "preconditioned Crank–Nicolson")
@dataclass(frozen=True)
class PreconditionedCrankNicolson(Sampler):
    """pCN: z′ = √(1−ρ²) z + ρξ, log α = β(E(z) − E(z′)): the proposal is reversible for the prior, whatever d
    (Cotter et al., 2013).

    Under a uniform prior the proposal is made in the coordinate √2 erf⁻¹(z), which is N(0, I) when z is uniform: it
    stays inside and is again reversible for the prior, so nothing is rejected at β = 0.

    Arguments:
        step_size: ρ in (0, 1]; 1 is independent Metropolis–Hastings. Tuned to an acceptance of 0.234.

    Raises:
        TypeError: at init, under a prior that is neither Gaussian nor uniform.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, PreconditionedCrankNicolson(0.7), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    step_size: Annotated[float, Range(0, 1, "low")] = 0.1
    target_acceptance: ClassVar[float | None] = 0.234
    largest_step: ClassVar[float] = 1.0

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        _to_gaussian(potential.prior, z[:0])
        return start(potential, z, gradient=False)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current, prior = state.position, potential.prior
        keep = math.sqrt(1 - self.step_size**2)
        moved = keep * _to_gaussian(prior, current.z) + self.step_size * standard_normal(current.z, generator)
        proposed = potential.at(_from_gaussian(prior, moved))
        log_alpha = potential.inverse_temperature * (current.energy - proposed.energy)
        return _settle(current, proposed, log_alpha, generator)


@component("samplers", "independent", "independent Metropolis–Hastings from the prior")
@dataclass(frozen=True)
class IndependentMH(Sampler):
    """Independent Metropolis–Hastings with proposals from the prior: z′ ~ η, log α = β(E(z) − E(z′)) (Tierney, 1994).

    Right under any prior: proposals are always inside its support.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, IndependentMH(), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=False)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current = state.position
        proposed = potential.at(potential.prior.sample(current.z.shape[0], generator, current.z.dtype))
        log_alpha = potential.inverse_temperature * (current.energy - proposed.energy)
        return _settle(current, proposed, log_alpha, generator)


def _to_gaussian(prior: Prior, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """The coordinate in which the prior is N(0, I)."""
    if isinstance(prior, GaussianPrior):
        return z
    if isinstance(prior, UniformPrior):
        edge = (
            1 - torch.finfo(z.dtype).eps / 2
        )  # erf⁻¹(±1) is infinite; a latent rounded to ±1 has this neighbour's value
        return math.sqrt(2) * torch.erfinv(z.clamp(-edge, edge))
    raise TypeError(f"pCN needs a GaussianPrior or a UniformPrior, got {type(prior).__name__}; use RandomWalk")


def _from_gaussian(prior: Prior, coordinate: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """The inverse of `_to_gaussian`."""
    return torch.erf(coordinate / math.sqrt(2)) if isinstance(prior, UniformPrior) else coordinate
