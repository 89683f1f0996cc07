"""log Z by importance sampling from the prior."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.model import LatentPotential
from gebm.partition.estimate import LogPartition, log_partition_from_weights

__all__ = ["importance_sampling", "lowest", "network_dtype", "prior_energies"]

ROWS_AT_ONCE = 8192
"""Prior draws evaluated in one pass; only speed and memory depend on it."""


def importance_sampling(potential: LatentPotential, draws: int, generator: torch.Generator) -> LogPartition:
    """log Ẑ = log (1/M) Σ exp(−βE(G(z_m))), z_m ~ η.

    Arguments:
        potential: whose β and energy; β = 1 for a likelihood.
        draws: M >= 4.
        generator: source of the draws.

    Example:
        >>> from torch import nn
        >>> from gebm.base import Base, GaussianPrior
        >>> energy = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> potential = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), energy, inverse_temperature=0.0)
        >>> importance_sampling(potential, 100, torch.Generator().manual_seed(0)).estimate
        0.0
    """
    energy = prior_energies(potential, draws, generator)
    weights = -potential.inverse_temperature * energy
    return log_partition_from_weights(weights, "importance sampling", 0, draws, float(lowest(energy)))


def prior_energies(potential: LatentPotential, draws: int, generator: torch.Generator) -> Float[Tensor, " draws"]:
    """E(G(z)) of fresh prior draws, in double precision; the draws have the networks' precision."""
    sizes = [min(ROWS_AT_ONCE, draws - first) for first in range(0, draws, ROWS_AT_ONCE)]
    dtype = network_dtype(potential)
    return torch.cat([potential.at(potential.prior.sample(size, generator, dtype)).energy.double() for size in sizes])


def lowest(energy: Float[Tensor, " draws"]) -> Float[Tensor, ""]:
    """Return the smallest energy that is a number; +inf without one."""
    return torch.where(energy.isfinite(), energy, math.inf).amin()


def network_dtype(potential: LatentPotential) -> torch.dtype:
    """The precision latents should have: that of the first weight, single precision without one."""
    parameters = itertools.chain(potential.base.parameters(), potential.network.parameters())
    return next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), torch.float32)
