"""The SNGAN ConvNet is the published one: layers, order, sizes."""

from __future__ import annotations

from torch import nn

from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_generator_has_the_published_number_of_parameters() -> None:
    """Weights + biases + batch norm's two vectors, layer by layer, by hand."""
    dense = 128 * 8192 + 8192
    deconvolutions = (512 * 256 * 16 + 256 + 512) + (256 * 128 * 16 + 128 + 256) + (128 * 64 * 16 + 64 + 128)
    assert count(SNGANGenerator(128)) == dense + deconvolutions + (64 * 3 * 9 + 3) == 3_812_355


def test_discriminator_has_the_published_number_of_parameters() -> None:
    """Spectral norm adds none: its vectors are buffers."""
    first = (3 * 64 * 9 + 64) + (64 * 64 * 16 + 64)
    second = (64 * 128 * 9 + 128) + (128 * 128 * 16 + 128)
    third = (128 * 256 * 9 + 256) + (256 * 256 * 16 + 256)
    last = (256 * 512 * 9 + 512) + (512 * 16 + 1)
    assert count(SNGANDiscriminator()) == first + second + third + last == 2_935_873


def test_layers_come_in_the_published_order() -> None:
    def described(module: nn.Module) -> list[str]:
        convolution = (nn.Conv2d, nn.ConvTranspose2d)
        return [
            f"{m.kernel_size[0]}s{m.stride[0]} {m.out_channels}" if isinstance(m, convolution) else type(m).__name__
            for m in module.modules()
            if isinstance(m, (*convolution, nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU, nn.Tanh))
        ]

    block = ["BatchNorm2d", "ReLU"]
    assert described(SNGANGenerator(128)) == ["4s2 256", *block, "4s2 128", *block, "4s2 64", *block, "3s1 3", "Tanh"]
    widths = ["3s1 64", "4s2 64", "3s1 128", "4s2 128", "3s1 256", "4s2 256", "3s1 512"]
    discriminator = SNGANDiscriminator()
    assert described(discriminator) == [text for width in widths for text in (width, "LeakyReLU")]
    slopes = [module.negative_slope for module in discriminator.modules() if isinstance(module, nn.LeakyReLU)]
    assert set(slopes) == {0.1}
