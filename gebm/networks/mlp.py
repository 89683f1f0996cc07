"""Fully connected generator and discriminator with the ingredients of SNGAN: batch norm in one, spectral norm in the other.

At 8×8 they train several times faster than convolutions of the same quality; without the batch norm they collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gebm.components import component
from gebm.networks.family import NetworkFamily, Width
from gebm.networks.layers import LeakyReLU, Linear

__all__ = ["MLP", "MLPDiscriminator", "MLPGenerator"]


class MLPGenerator(nn.Module):
    """Latents (batch, latent) to samples (batch, *shape) in (−1, 1): linear, batch norm, ReLU; tanh at the end.

    Arguments:
        latent: latent dimension.
        shape: shape of a sample.
        widths: hidden widths, at least one.
    """

    def __init__(self, latent: int, shape: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
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
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for width_in, width in zip([math.prod(shape), *widths], widths, strict=False):
            layers += [spectral_norm(nn.Linear(width_in, width)), LeakyReLU(0.1, inplace=True)]
        self.body = nn.Sequential(*layers, spectral_norm(Linear(widths[-1], 1)))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        energy: Tensor = self.body(x)
        return energy.squeeze(1)


@component(
    "networks", "mlp", "fully connected, with batch norm in the generator and spectral norm in the discriminator"
)
@dataclass(frozen=True)
class MLP(NetworkFamily):
    """Both networks, for samples of any shape.

    Arguments:
        latent: latent dimension.
        generator_widths: hidden widths, at least one.
        discriminator_widths: hidden widths, at least one.
    """

    latent: Width
    generator_widths: tuple[Width, ...]
    discriminator_widths: tuple[Width, ...]

    def generator(self, shape: Sequence[int]) -> MLPGenerator:
        return MLPGenerator(self.latent, shape, self.generator_widths)

    def discriminator(self, shape: Sequence[int]) -> MLPDiscriminator:
        return MLPDiscriminator(shape, self.discriminator_widths)
