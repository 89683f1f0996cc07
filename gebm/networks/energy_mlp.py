"""A fully connected energy for points in a few dimensions: smooth, so that its chains and its quadrature are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from gebm.components import component
from gebm.networks.family import EnergyFamily, Width

__all__ = ["EnergyMLP"]


@component("networks", "energy-mlp", "fully connected energy with SiLU, for tables and toys", energy_only=True)
@dataclass(frozen=True)
class EnergyMLP(EnergyFamily):
    """Linear layers with SiLU.

    Arguments:
        widths: hidden widths, at least one.

    Example:
        >>> import torch
        >>> EnergyMLP((8,)).discriminator((2,))(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    widths: tuple[Width, ...]

    def discriminator(self, shape: Sequence[int]) -> nn.Module:
        layers: list[nn.Module] = []
        for width_in, width in zip([prod(shape), *self.widths], self.widths, strict=False):
            layers += [nn.Linear(width_in, width), nn.SiLU()]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], 1), nn.Flatten(0))
