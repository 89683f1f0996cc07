"""Regularisers of the energy, added to its loss.

L2 on weights is Adam's (`weight_decay` of the settings), spectral norm torch's own parametrization, which the networks apply.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["gradient_penalty", "interpolate", "penalty_points"]


def interpolate(
    data: Float[Tensor, "batch ..."], base: Float[Tensor, "batch ..."], generator: torch.Generator
) -> Float[Tensor, "batch ..."]:
    """Return points on the segments between paired data and base samples, uniform along each (Gulrajani et al., 2017)."""
    fraction = torch.rand(data.shape[0], generator=generator, device=data.device, dtype=data.dtype)
    fraction = fraction.view(-1, *[1] * (data.dim() - 1))
    return torch.lerp(base, data, fraction)


def penalty_points(
    where: Literal["interpolates", "data", "both"],
    data: Float[Tensor, "batch ..."],
    base: Float[Tensor, "batch ..."],
    generator: torch.Generator,
) -> Float[Tensor, "points ..."]:
    """Return the points where the gradient penalty is taken: a batch of interpolates, the data (Mescheder et al., 2018), or both together.

    Raises:
        ValueError: for a place of another name.
    """
    if where == "data":
        return data
    if where == "interpolates":
        return interpolate(data, base, generator)
    if where == "both":
        return torch.cat([interpolate(data, base, generator), data])
    raise ValueError(f"where must be one of 'interpolates', 'data', 'both', got {where!r}")


def gradient_penalty(energy: nn.Module, points: Float[Tensor, "batch ..."], norm: float = 0.0) -> Float[Tensor, ""]:
    """Return mean (‖∇_x E(x)‖ − norm)² over the given points: zero-centred as in the GEBM paper's experiments, or around 1 as in WGAN-GP
    (Gulrajani et al., 2017, eq. 3).

    Example:
        >>> energy = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
        >>> weight = energy[0].weight
        >>> torch.isclose(gradient_penalty(energy, torch.randn(5, 3)), weight.square().sum()).item()
        True
    """
    points = points.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(energy(points).sum(), points, create_graph=True)
    if not norm:
        return gradient.flatten(1).square().sum(1).mean()
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # its derivative at 0 is 0
    return (norms - norm).square().mean()
