"""Flows from layers of nflows (Durkan et al.), and from ours where its own do not serve."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from nflows.nn.nets import ResidualNet
from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform
from nflows.transforms.base import CompositeTransform, Transform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.normalization import ActNorm
from nflows.transforms.permutations import RandomPermutation, ReversePermutation
from torch import Tensor, nn

from baselines.flows.network import ACTIVATIONS, InvertibleNetwork, start_at_zero
from baselines.flows.nflows_layers import (
    AffineAutoregressive,
    AffineCoupling,
    PlainNetwork,
    RunningBatchNorm,
    TriangularLinear,
)
from baselines.flows.settings import FlowSettings

__all__ = ["NflowsNetwork", "nflows_network"]


class NflowsNetwork(InvertibleNetwork):
    """An nflows transform x → z as a network z → x."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        x: Tensor = self.transform.inverse(z)[0]
        return x

    def inverse(
        self, x: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        z, log_determinant = self.transform(x)
        return z, log_determinant


def nflows_network(settings: FlowSettings, dimension: int) -> NflowsNetwork:
    """Build the network of the settings, its weights drawn from torch's global generator."""
    layer = _coupling if settings.family in ("realnvp", "nsf-coupling") else _autoregressive
    parts: list[Transform] = []
    for number in range(settings.layers):
        parts += [
            *_linear(settings, dimension),
            layer(settings, dimension, number),
            *_normalisation(settings, dimension),
        ]
    if settings.linear == "lu":
        parts += _linear(settings, dimension)
    transform = CompositeTransform(parts)
    return NflowsNetwork(transform)


def _coupling(settings: FlowSettings, dimension: int, number: int) -> Transform:
    """A coupling that transforms the features of even index, or of odd index, in turn."""

    def network(features_in: int, features_out: int) -> nn.Module:
        net, last = _network(settings, features_in, features_out)
        if not settings.is_spline:
            start_at_zero(last)
        return net

    if settings.is_spline:
        return PiecewiseRationalQuadraticCouplingTransform(
            (torch.arange(dimension) + number) % 2,
            network,
            num_bins=settings.bins,
            tails="linear",
            tail_bound=settings.tail_bound,
            apply_unconditional_transform=True,
        )
    return AffineCoupling(dimension, (number + 1) % 2, network, settings.log_scale_bound)


def _network(settings: FlowSettings, features_in: int, features_out: int) -> tuple[nn.Module, nn.Module]:
    """The network of a coupling, and its last layer."""
    if settings.residual:
        net = ResidualNet(
            features_in,
            features_out,
            settings.hidden,
            num_blocks=settings.blocks,
            activation=ACTIVATIONS[settings.activation](),
            dropout_probability=settings.dropout,
        )
        return net, net.final_layer
    activation = ACTIVATIONS[settings.activation]
    plain = PlainNetwork(features_in, features_out, settings.hidden, settings.blocks, activation, settings.dropout)
    return plain, plain[-1]


def _autoregressive(settings: FlowSettings, dimension: int, _number: int) -> Transform:
    """An autoregressive layer in the order of the features."""
    activation = ACTIVATIONS[settings.activation]()
    made: dict[str, Any] = {"hidden_features": settings.hidden, "use_residual_blocks": settings.residual}
    if settings.residual:
        made |= {"num_blocks": settings.blocks, "activation": activation, "dropout_probability": settings.dropout}
    else:  # nflows' first hidden layer is no block and has no dropout of its own
        made |= {
            "num_blocks": settings.blocks - 1,
            "activation": nn.Sequential(activation, nn.Dropout(settings.dropout)),
        }
    if settings.is_spline:
        return MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            features=dimension, num_bins=settings.bins, tails="linear", tail_bound=settings.tail_bound, **made
        )
    layer = AffineAutoregressive(dimension, settings.log_scale_bound, **made)
    start_at_zero(layer.autoregressive_net.final_layer)
    return layer


def _linear(settings: FlowSettings, dimension: int) -> list[Transform]:
    if settings.linear == "none":
        return []
    if settings.linear == "reverse":
        return [ReversePermutation(dimension)]
    permutation = RandomPermutation(dimension)
    return [permutation] if settings.linear == "permutation" else [permutation, TriangularLinear(dimension)]


def _normalisation(settings: FlowSettings, dimension: int) -> list[Transform]:
    if settings.normalisation == "none":
        return []
    return [RunningBatchNorm(dimension) if settings.normalisation == "batch" else ActNorm(dimension)]
