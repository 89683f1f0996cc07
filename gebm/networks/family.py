"""What a family of networks is: settings from which networks for samples of a shape are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

from torch import nn

from gebm.checks import Range, Settings

__all__ = ["EnergyFamily", "NetworkFamily", "Width"]

Width = Annotated[int, Range(1, 10**5)]
"""Units or channels of a layer, or the dimension of the latents."""


class EnergyFamily(Settings, ABC):
    """Settings of a discriminator; subclasses are frozen dataclasses."""

    @abstractmethod
    def discriminator(self, shape: Sequence[int]) -> nn.Module:
        """Return a network from samples (batch, *shape) to energies (batch,), its weights drawn from torch's global generator."""

    def check(self, shape: Sequence[int]) -> None:
        """Raise ValueError, in one line, if the family has no networks for samples of this shape."""


class NetworkFamily(EnergyFamily):
    """Settings of a generator and a discriminator, which all models of a comparison share."""

    latent: Width

    @abstractmethod
    def generator(self, shape: Sequence[int]) -> nn.Module:
        """Return a network from latents (batch, latent) to samples (batch, *shape) in (−1, 1); weights as `discriminator`."""
