"""A fully connected energy for points in a few dimensions: smooth, so that its chains and its quadrature are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.checks import Range
from gebm.components import component
from gebm.networks.family import EnergyFamily, Width

__all__ = ["EnergyMLP"]


class Bounded(nn.Module):
    """b tanh(h/b): near h for small h, and within (−b, b), so that no weight exp(−E) leaves exp(±b)."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.bound * torch.tanh(values / self.bound)

    def extra_repr(self) -> str:
        return f"bound={self.bound}"


@component("networks", "energy-mlp", "fully connected energy with SiLU, for tables and toys", energy_only=True)
@dataclass(frozen=True)
class EnergyMLP(EnergyFamily):
    """Linear layers with SiLU.

    Arguments:
        widths: hidden widths, at least one.
        bound: largest energy in absolute value, approached smoothly; None for no bound.

    Example:
        >>> import torch
        >>> EnergyMLP((8,)).discriminator((2,))(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    widths: tuple[Width, ...]
    bound: Annotated[float, Range(0, 1000, "low")] | None = None

    def discriminator(self, shape: Sequence[int]) -> nn.Module:
        layers: list[nn.Module] = []
        for width_in, width in zip([prod(shape), *self.widths], self.widths, strict=False):
            layers += [nn.Linear(width_in, width), nn.SiLU()]
        bounded = [] if self.bound is None else [Bounded(self.bound)]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], 1), nn.Flatten(0), *bounded)
