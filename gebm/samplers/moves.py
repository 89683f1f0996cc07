"""What the rules share: deciding between a current and a proposed position, and staying inside a prior's support.

**Uniform prior.** Outside [−1, 1]^d the potential is +inf. Two answers occur among the samplers, and each sampler's
docstring says which is its own: *rejected* (a Metropolis step refuses the proposal) or *reflected* (the path
bounces off the walls, which keeps a drift of Hamiltonian dynamics reversible and volume-preserving, and gives an
unadjusted sampler an answer at all).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gebm.base import Prior, UniformPrior
from gebm.model import Position

__all__ = ["Decision", "bounce", "gradient_at", "metropolis", "not_a_number", "reflect", "select", "standard_normal"]


class Decision(NamedTuple):
    """The outcome of one accept–reject step, a value per chain."""

    accept: Bool[Tensor, " batch"]
    acceptance: Float[Tensor, " batch"]
    invalid: Int[Tensor, " batch"]


def standard_normal(z: Float[Tensor, "batch latent"], generator: torch.Generator) -> Float[Tensor, "batch latent"]:
    """Draw ξ ~ N(0, I) of the shape, device and dtype of z."""
    return torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)


def gradient_at(position: Position) -> Float[Tensor, "batch latent"]:
    """Return ∇U of a position that must carry it."""
    if position.gradient is None:
        raise ValueError("this state has no gradient; start it with the sampler's own init")
    return position.gradient


def not_a_number(position: Position) -> Bool[Tensor, " batch"]:
    """Say where a chain cannot be: U is NaN or −inf, or U is finite and its gradient is not.

    U = +inf is a place of zero density, which is a number.
    """
    potential = position.potential
    bad = potential.isnan() | (potential == -math.inf)
    if position.gradient is not None:
        bad = bad | (potential.isfinite() & ~position.gradient.isfinite().all(1))
    return bad


def select(accept: Bool[Tensor, " batch"], proposed: Position, current: Position) -> Position:
    """Return the proposed position where `accept`, else the current one, cached gradient included."""
    wide = accept[:, None]
    gradient = None
    if current.gradient is not None:
        gradient = torch.where(wide, gradient_at(proposed), current.gradient)
    return Position(
        torch.where(wide, proposed.z, current.z),
        torch.where(accept, proposed.energy, current.energy),
        torch.where(accept, proposed.potential, current.potential),
        gradient,
    )


def metropolis(
    current: Position, proposed: Position, log_alpha: Float[Tensor, " batch"], generator: torch.Generator
) -> Decision:
    """Accept with probability min(1, α); refuse what is not a number, and always leave a place that is not one."""
    stranded = not_a_number(current)
    invalid = not_a_number(proposed) | (log_alpha.isnan() & current.potential.isfinite())
    log_alpha = torch.where(stranded, torch.zeros_like(log_alpha), log_alpha)
    refused = invalid | log_alpha.isnan()  # also from one place of zero density to another, which is no error
    log_alpha = torch.where(refused, torch.full_like(log_alpha, -math.inf), log_alpha)
    uniform = torch.rand(log_alpha.shape, generator=generator, device=log_alpha.device, dtype=log_alpha.dtype)
    return Decision(uniform.log() < log_alpha, log_alpha.clamp(max=0).exp(), invalid.long())


def reflect(prior: Prior, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """Return z folded back into [−1, 1]^d under a uniform prior, as light between mirrors; z itself under any other prior."""
    if not isinstance(prior, UniformPrior):
        return z
    phase = torch.remainder(z + 1, 4)
    folded = torch.where(phase > 2, 4 - phase, phase) - 1
    return torch.where(z.abs() <= 1, z, folded)  # inside, not even a rounding error


def bounce(
    prior: Prior,
    z: Float[Tensor, "batch latent"],
    displacement: Float[Tensor, "batch latent"],
    velocity: Float[Tensor, "batch latent"],
) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
    """Move z by `displacement`, reflected at the walls of a uniform prior; return the end and the velocity there."""
    end = z + displacement
    if not isinstance(prior, UniformPrior):
        return end, velocity
    turned = (torch.remainder(end + 1, 4) > 2) & (end.abs() > 1)
    return reflect(prior, end), torch.where(turned, -velocity, velocity)
