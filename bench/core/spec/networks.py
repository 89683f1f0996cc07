"""Architectures, as suites name them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bench.core.spec.fields import Frozen, Moment, Positive, Rate

__all__ = ["DensityNetwork", "EnergyNetwork", "FlowNetwork", "MLPNetwork", "Network", "SNGANNetwork"]


class MLPNetwork(Frozen):
    """Fully connected generator and discriminator; see `gebm.networks.mlp`."""

    family: Literal["mlp"]
    latent: Positive
    generator_widths: tuple[Positive, ...] = Field(min_length=1)
    discriminator_widths: tuple[Positive, ...] = Field(min_length=1)


class SNGANNetwork(Frozen):
    """The SNGAN ConvNet or ResNet; see `gebm.networks.sngan` and `gebm.networks.sngan_resnet`, published with width 64."""

    family: Literal["sngan", "sngan-resnet"]
    latent: Positive
    width: Positive = 64

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether there are such networks for images of this shape."""
        square = len(shape) == 3 and shape[1] == shape[2]
        return square and (shape[1] in (32, 64) if self.family == "sngan-resnet" else shape[1] % 8 == 0)


Network = Annotated[MLPNetwork | SNGANNetwork, Field(discriminator="family")]
"""The one architecture that all models of a comparison share."""


class EnergyNetwork(Frozen):
    """A fully connected energy, for toys whose base is given."""

    family: Literal["energy-mlp"] = "energy-mlp"
    widths: tuple[Positive, ...] = Field(min_length=1)


class FlowNetwork(Frozen):
    """A flow; see `baselines.flows.FlowSettings` for each."""

    family: Literal["gaussian", "realnvp", "maf", "iaf", "nsf-coupling", "nsf-ar"]
    backend: Literal["nflows", "zuko"] = "nflows"
    layers: Positive = 5
    hidden: Positive = 100
    blocks: Positive = 1
    residual: bool = False
    activation: Literal["relu", "tanh", "elu", "silu"] = "relu"
    dropout: Moment = 0.0
    normalisation: Literal["none", "batch", "act"] = "none"
    linear: Literal["none", "reverse", "permutation", "lu"] = "none"
    log_scale_bound: Rate = 3.0
    bins: Annotated[int, Field(ge=2, strict=True)] = 8
    tail_bound: Rate = 3.0


class DensityNetwork(Frozen):
    """The networks of a model of tables: a flow, and a fully connected energy or a second flow that makes one (a critic)."""

    flow: FlowNetwork | None = None
    energy: EnergyNetwork | None = None
    critic: FlowNetwork | None = None
