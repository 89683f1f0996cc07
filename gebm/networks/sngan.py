"""The SNGAN ConvNet generator and discriminator (Miyato et al., "Spectral Normalization for GANs", ICLR 2018, Table 3).

The networks of the GEBM paper's smaller image runs. The residual pair of the same paper is another family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gebm.components import component
from gebm.networks.family import NetworkFamily, Width
from gebm.networks.layers import Conv2d, ConvTranspose2d, LeakyReLU, Linear

__all__ = ["SNGAN", "SNGANDiscriminator", "SNGANGenerator"]


class SNGANGenerator(nn.Module):
    """Latents (batch, latent) to images (batch, *shape) in (−1, 1): dense to a quarter of a quarter of a half of the side, three
    4×4 transposed convolutions of stride 2 with batch norm and ReLU, a 3×3 convolution and tanh.

    Published: latent 128, shape (3, 32, 32), width 64, so 512 → 256 → 128 → 64 → 3 channels from 4×4 on. As in the table, nothing stands
    between the dense layer and the first transposed convolution; the weights start as torch draws them.

    Arguments:
        latent: latent dimension.
        shape: (channels, side, side), the side a multiple of 8.
        width: channels of the last hidden layer; the others are multiples of it.

    Raises:
        ValueError: if the shape is not such an image.

    Example:
        >>> import torch
        >>> SNGANGenerator(latent=128, width=4)(torch.zeros(2, 128)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, latent: int, shape: Sequence[int] = (3, 32, 32), width: int = 64) -> None:
        super().__init__()
        channels, side = _square(shape)
        self.start = (8 * width, side // 8, side // 8)
        self.dense = nn.Linear(latent, 8 * width * (side // 8) ** 2)
        layers: list[nn.Module] = []
        for width_in, width_out in ((8 * width, 4 * width), (4 * width, 2 * width), (2 * width, width)):
            layers += [
                ConvTranspose2d(width_in, width_out, 4, stride=2, padding=1),
                nn.BatchNorm2d(width_out),
                nn.ReLU(inplace=True),
            ]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels side side"]:
        x: Tensor = self.body(self.dense(z).view(-1, *self.start))
        return x


class SNGANDiscriminator(nn.Module):
    """Images (batch, *shape) to energies (batch,): pairs of a 3×3 convolution and a 4×4 one of stride 2, a 3×3 convolution, a dense
    layer; leaky ReLU of slope 0.1 between, spectral norm on every layer.

    Published: shape (3, 32, 32), width 64, so 64, 64, 128, 128, 256, 256, 512 channels.

    Arguments:
        shape: (channels, side, side), the side a multiple of 8.
        width: channels of the first hidden layer; the others are multiples of it.

    Raises:
        ValueError: if the shape is not such an image.

    Example:
        >>> import torch
        >>> SNGANDiscriminator(width=4)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(self, shape: Sequence[int] = (3, 32, 32), width: int = 64) -> None:
        super().__init__()
        channels, side = _square(shape)
        layers: list[nn.Module] = []
        for width_out in (width, 2 * width, 4 * width):
            layers += [
                spectral_norm(Conv2d(channels, width_out, 3, padding=1)),
                LeakyReLU(0.1, inplace=True),
                spectral_norm(Conv2d(width_out, width_out, 4, stride=2, padding=1)),
                LeakyReLU(0.1, inplace=True),
            ]
            channels = width_out
        layers += [spectral_norm(Conv2d(channels, 8 * width, 3, padding=1)), LeakyReLU(0.1, inplace=True)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.dense = spectral_norm(Linear(8 * width * (side // 8) ** 2, 1))

    def forward(self, x: Float[Tensor, "batch channels side side"]) -> Float[Tensor, " batch"]:
        energy: Tensor = self.dense(self.body(x))
        return energy.squeeze(1)


def _square(shape: Sequence[int]) -> tuple[int, int]:
    """Return channels and side of an image that there are networks for."""
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] < 8 or shape[1] % 8:
        raise ValueError("sngan takes images of a side that is a multiple of 8")
    return shape[0], shape[1]


@component("networks", "sngan", "the SNGAN ConvNet (Miyato et al., 2018), for square images")
@dataclass(frozen=True)
class SNGAN(NetworkFamily):
    """Both networks, for square images of a side that is a multiple of 8.

    Arguments:
        latent: latent dimension.
        width: see the networks; published with 64.
    """

    latent: Width
    width: Width = 64

    def generator(self, shape: Sequence[int]) -> SNGANGenerator:
        return SNGANGenerator(self.latent, shape, self.width)

    def discriminator(self, shape: Sequence[int]) -> SNGANDiscriminator:
        return SNGANDiscriminator(shape, self.width)

    def check(self, shape: Sequence[int]) -> None:
        _square(shape)
