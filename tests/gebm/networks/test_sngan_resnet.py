"""The SNGAN ResNets are the published ones: sizes, function, norms, initial weights."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolution(before: int, after: int, kernel: int = 3) -> int:
    return before * after * kernel**2 + after


def up(before: int, after: int) -> int:
    norms = 2 * before + 2 * after
    return convolution(before, after) + convolution(after, after) + norms + convolution(before, after, 1)


def down(before: int, after: int, shortcut: bool = True) -> int:
    return convolution(before, before) + convolution(before, after) + shortcut * convolution(before, after, 1)


def first(after: int) -> int:
    return convolution(3, after) + convolution(after, after) + convolution(3, after, 1)


def test_parameters_at_32_are_those_of_the_published_table() -> None:
    """Table 4 of Miyato et al. (2018), layer by layer; torch_mimicry's sngan_32 has the same layers and so the same numbers."""
    generator = 128 * 4096 + 4096 + 3 * up(256, 256) + 2 * 256 + convolution(256, 3)
    assert count(SNGANResNetGenerator(128)) == generator == 4_276_739
    discriminator = first(128) + down(128, 128) + 2 * down(128, 128, shortcut=False) + 129
    assert count(SNGANResNetDiscriminator()) == discriminator == 1_053_825


def test_parameters_at_64_are_those_of_the_authors_code() -> None:
    """Layers of sngan_projection's resnet_64 and snresnet_64, as in torch_mimicry's sngan_64."""
    widths = [1024, 512, 256, 128, 64]
    ups = sum(up(before, after) for before, after in itertools.pairwise(widths))
    generator = 128 * 16384 + 16384 + ups + 2 * 64 + convolution(64, 3)
    assert count(SNGANResNetGenerator(128, (3, 64, 64))) == generator
    widths.reverse()
    downs = sum(down(before, after) for before, after in itertools.pairwise(widths))
    assert count(SNGANResNetDiscriminator((3, 64, 64))) == first(64) + downs + 1025


def reference_discriminator(network: SNGANResNetDiscriminator, x: Tensor) -> Tensor:
    """The authors' order of operations, written out."""
    for number, block in enumerate(network.body[:-1]):
        layers = [layer for layer in block.residual if isinstance(layer, nn.Conv2d)]
        y = x if number == 0 else F.relu(x)
        y = layers[1](F.relu(layers[0](y)))
        if block.halves:
            y = F.avg_pool2d(y, 2)
        x = (
            block.shortcut(F.avg_pool2d(x, 2))
            if number == 0
            else F.avg_pool2d(block.shortcut(x), 2)
            if block.halves
            else x
        )
        x = x + y
    return network.dense(F.relu(x).sum((2, 3))).squeeze(1)


def reference_generator(network: SNGANResNetGenerator, z: Tensor) -> Tensor:
    x = network.dense(z).view(-1, *network.start)
    for block in network.body[:-4]:
        norm1, _, _, conv1, norm2, _, conv2 = block.residual
        y = conv1(F.interpolate(F.relu(norm1(x)), scale_factor=2))
        y = conv2(F.relu(norm2(y)))
        x = y + block.shortcut[0](F.interpolate(x, scale_factor=2))
    return torch.tanh(network.body[-2](F.relu(network.body[-4](x))))


@pytest.mark.parametrize("side", [32, 64])
def test_they_compute_what_the_authors_code_does(side: int) -> None:
    torch.manual_seed(0)
    generator, discriminator = SNGANResNetGenerator(5, (3, side, side), 2), SNGANResNetDiscriminator((3, side, side), 2)
    generator.eval()
    discriminator.eval()
    x = generator(torch.randn(3, 5))
    assert x.shape == (3, 3, side, side)
    z = torch.randn(3, 5)
    torch.testing.assert_close(generator(z), reference_generator(generator, z))
    torch.testing.assert_close(discriminator(x), reference_discriminator(discriminator, x))


def test_initial_weights_are_glorots() -> None:
    torch.manual_seed(0)
    block = SNGANResNetGenerator(8, width=16).body[0]
    bound = math.sqrt(6 / (64 * 9 + 64 * 9))
    assert 0.98 * math.sqrt(2) * bound < block.residual[3].weight.abs().max() <= math.sqrt(2) * bound
    assert block.shortcut[0].weight.abs().max() <= math.sqrt(6 / 128)
    assert (block.residual[3].bias == 0).all()
