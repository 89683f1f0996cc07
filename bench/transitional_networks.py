"""Networks that have not yet moved beside their code."""

from dataclasses import dataclass

from torch import nn

from gebm.components import component
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.objectives import ContrastiveDivergence
from gebm.samplers import MALA, ULA, ParallelTempering


@component("networks", "mlp", "fully connected")
@dataclass(frozen=True)
class MLP:
    latent: int
    generator_widths: tuple[int, ...]
    discriminator_widths: tuple[int, ...]

    def check(self, shape): ...
    def generator(self, shape):
        return MLPGenerator(self.latent, shape, self.generator_widths)

    def discriminator(self, shape):
        return MLPDiscriminator(shape, self.discriminator_widths)


@component("networks", "sngan", "SNGAN")
@dataclass(frozen=True)
class SNGAN:
    latent: int
    width: int = 64

    def check(self, shape): ...
    def generator(self, shape):
        return SNGANGenerator(self.latent, shape, self.width)

    def discriminator(self, shape):
        return SNGANDiscriminator(shape, self.width)


@component("networks", "energy-mlp", "energy")
@dataclass(frozen=True)
class Energy:
    widths: tuple[int, ...]

    def discriminator(self, shape):
        (dimension,) = shape
        layers: list[nn.Module] = []
        for width_in, width in zip([dimension, *self.widths], self.widths, strict=False):
            layers += [nn.Linear(width_in, width), nn.SiLU()]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], 1), nn.Flatten(0))


def persistent_contrastive_divergence() -> ContrastiveDivergence:
    return ContrastiveDivergence(ULA(0.05), steps=2, persistent=True, restart=0.01)


def parallel_tempering(step_size: float = 0.01, ladder: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)) -> ParallelTempering:
    return ParallelTempering(MALA(step_size), ladder)
