"""Fully connected generator and discriminator with the ingredients of SNGAN: batch norm in one, spectral norm in the other.

At 8×8 they train several times faster than convolutions of the same quality; without the batch norm they collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gebm.networks.layers import LeakyReLU, Linear

__all__ = ["MLPDiscriminator", "MLPGenerator"]


class MLPGenerator(nn.Module):
    """Latents (batch, latent) to samples (batch, *shape) in (−1, 1): linear, batch norm, ReLU; tanh at the end.

    Arguments:
        latent: latent dimension.
        shape: shape of a sample.
        widths: hidden widths, at least one.

    Raises:
        ValueError: if `widths` is empty.
    """

    def __init__(self, latent: int, shape: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        _at_least_one(widths)
        self.shape = tuple(shape)
        layers: list[nn.Module] = []
        for width_in, width in zip([latent, *widths], widths, strict=False):
            layers += [nn.Linear(width_in, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(self.shape)), nn.Tanh())

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch ..."]:
        x: Tensor = self.body(z)
        return x.view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Samples (batch, *shape) to energies (batch,): spectral-normalised linear layers, leaky ReLU.

    Arguments:
        shape: shape of a sample.
        widths: hidden widths, at least one.

    Raises:
        ValueError: if `widths` is empty.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        _at_least_one(widths)
        layers: list[nn.Module] = [nn.Flatten()]
        for width_in, width in zip([math.prod(shape), *widths], widths, strict=False):
            layers += [spectral_norm(nn.Linear(width_in, width)), LeakyReLU(0.1, inplace=True)]
        self.body = nn.Sequential(*layers, spectral_norm(Linear(widths[-1], 1)))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        energy: Tensor = self.body(x)
        return energy.squeeze(1)


def _at_least_one(widths: Sequence[int]) -> None:
    if not widths:
        raise ValueError("widths must name at least one hidden layer, got none")
