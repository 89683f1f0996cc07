"""The SNGAN ResNet generator and discriminator at 32×32 and 64×64.

At 32×32 those of Miyato et al., "Spectral Normalization for GANs", ICLR 2018, Table 4. The paper has no 64×64 pair; that one is of its
authors' code (https://github.com/pfnet-research/sngan_projection, `resnet_64.py` and `snresnet_64.py`, without classes). Initial weights
are as in that code: Glorot uniform, times √2 for the residual branches, and biases 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gebm.components import component
from gebm.networks.family import NetworkFamily, Width
from gebm.networks.layers import Conv2d, Linear, ReLU

__all__ = ["SIDES", "SNGANResNet", "SNGANResNetDiscriminator", "SNGANResNetGenerator"]

SIDES = (32, 64)
_START = 4  # side of the generator's first feature map
_GENERATOR = {32: (4, 4, 4, 4), 64: (16, 8, 4, 2, 1)}  # channels over width, before and after each block
_DISCRIMINATOR = {32: ((2, True), (2, True), (2, False), (2, False)), 64: tuple((2**i, True) for i in range(5))}
"""Channels over width after each block, and whether it halves the side."""


class SNGANResNetGenerator(nn.Module):
    """Latents (batch, latent) to images (batch, *shape) in (−1, 1): dense to 4×4, residual blocks that double the side, batch norm, ReLU,
    a 3×3 convolution and tanh.

    Published: latent 128, width 64; at 32×32 three blocks of 4·width = 256 channels, at 64×64 four from 16·width = 1024 down to 64.

    Arguments:
        latent: latent dimension.
        shape: (channels, side, side), the side 32 or 64.
        width: a quarter of the channels at 32×32; the channels of the last block at 64×64.

    Raises:
        ValueError: if the shape is not such an image.

    Example:
        >>> import torch
        >>> SNGANResNetGenerator(latent=128, width=2)(torch.zeros(2, 128)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, latent: int, shape: Sequence[int] = (3, 32, 32), width: int = 64) -> None:
        super().__init__()
        channels, side = _known(shape)
        widths = [factor * width for factor in _GENERATOR[side]]
        self.start = (widths[0], _START, _START)
        self.dense = nn.Linear(latent, math.prod(self.start))
        blocks = [UpBlock(before, after) for before, after in itertools.pairwise(widths)]
        end = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.body = nn.Sequential(*blocks, nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), end, nn.Tanh())
        _glorot(self.dense)
        _glorot(end)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels side side"]:
        x: Tensor = self.body(self.dense(z).view(-1, *self.start))
        return x


class SNGANResNetDiscriminator(nn.Module):
    """Images (batch, *shape) to energies (batch,): residual blocks, ReLU, the sum over pixels, a dense layer; spectral norm on every layer,
    no batch norm.

    Published: width 64; at 32×32 four blocks of 2·width = 128 channels, the first two halving the side, at 64×64 five halving ones
    from 64 to 16·width = 1024.

    Arguments:
        shape: (channels, side, side), the side 32 or 64.
        width: half of the channels at 32×32; the channels of the first block at 64×64.

    Raises:
        ValueError: if the shape is not such an image.

    Example:
        >>> import torch
        >>> SNGANResNetDiscriminator(width=2)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2])
    """

    def __init__(self, shape: Sequence[int] = (3, 32, 32), width: int = 64) -> None:
        super().__init__()
        channels, side = _known(shape)
        blocks: list[nn.Module] = []
        for factor, halves in _DISCRIMINATOR[side]:
            blocks.append(DownBlock(channels, factor * width, halves=halves, first=not blocks))
            channels = factor * width
        self.body = nn.Sequential(*blocks, ReLU())
        self.dense = spectral_norm(_glorot(Linear(channels, 1)))

    def forward(self, x: Float[Tensor, "batch channels side side"]) -> Float[Tensor, " batch"]:
        energy: Tensor = self.dense(self.body(x).sum((2, 3)))
        return energy.squeeze(1)


class UpBlock(nn.Module):
    """Twice the side: batch norm, ReLU, nearest-neighbour enlargement, 3×3, batch norm, ReLU, 3×3; plus an enlarged 1×1 shortcut.

    The shortcut is convolved before it is enlarged: the same function, a quarter of the work.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            _glorot(nn.Conv2d(channels_in, channels_out, 3, padding=1), math.sqrt(2)),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            _glorot(nn.Conv2d(channels_out, channels_out, 3, padding=1), math.sqrt(2)),
        )
        self.shortcut = nn.Sequential(_glorot(nn.Conv2d(channels_in, channels_out, 1)), nn.Upsample(scale_factor=2))

    def forward(self, x: Float[Tensor, "batch in side side"]) -> Float[Tensor, "batch out twice twice"]:
        y: Tensor = self.residual(x) + self.shortcut(x)
        return y


class DownBlock(nn.Module):
    """ReLU, 3×3, ReLU, 3×3, then the mean of 2×2 where the side is halved; plus a shortcut, 1×1 where anything changes.

    The first block sees images and starts without a ReLU. The shortcut's mean is taken before its convolution: the same function, a
    quarter of the work.
    """

    def __init__(self, channels_in: int, channels_out: int, halves: bool, first: bool) -> None:
        super().__init__()
        hidden = channels_out if first else channels_in
        self.halves = halves
        self.residual = nn.Sequential(
            *([] if first else [ReLU()]),
            spectral_norm(_glorot(Conv2d(channels_in, hidden, 3, padding=1), math.sqrt(2))),
            ReLU(inplace=True),
            spectral_norm(_glorot(Conv2d(hidden, channels_out, 3, padding=1), math.sqrt(2))),
        )
        changes = halves or channels_in != channels_out
        self.shortcut = spectral_norm(_glorot(Conv2d(channels_in, channels_out, 1))) if changes else nn.Identity()

    def forward(self, x: Float[Tensor, "batch in side side"]) -> Float[Tensor, "batch out half half"]:
        y: Tensor = self.residual(x)
        if self.halves:
            y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
        shortcut: Tensor = self.shortcut(x)
        return y + shortcut


def _glorot(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Conv2d | nn.Linear:
    """The layer with Glorot uniform weights and biases 0."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _known(shape: Sequence[int]) -> tuple[int, int]:
    """Return channels and side of an image that there are networks for."""
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] not in SIDES:
        raise ValueError("sngan-resnet takes images of side 32 or 64")
    return shape[0], shape[1]


@component("networks", "sngan-resnet", "the SNGAN ResNet (Miyato et al., 2018), at 32×32 and 64×64")
@dataclass(frozen=True)
class SNGANResNet(NetworkFamily):
    """Both networks, for square images of side 32 or 64.

    Arguments:
        latent: latent dimension.
        width: see the networks; published with 64.
    """

    latent: Width
    width: Width = 64

    def generator(self, shape: Sequence[int]) -> SNGANResNetGenerator:
        return SNGANResNetGenerator(self.latent, shape, self.width)

    def discriminator(self, shape: Sequence[int]) -> SNGANResNetDiscriminator:
        return SNGANResNetDiscriminator(shape, self.width)

    def check(self, shape: Sequence[int]) -> None:
        _known(shape)
