"""Flows from layers of zuko (Rozet et al.), the second backend: the affine layers have the very scale of the first one's.

zuko's direction is x → z forwards, as nflows'.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from baselines.flows.affine import bounded_log_scale
from baselines.flows.network import ACTIVATIONS, InvertibleNetwork, start_at_zero
from baselines.flows.settings import FlowSettings

try:
    from zuko.flows import GeneralCouplingTransform, MaskedAutoregressiveTransform
    from zuko.lazy import LazyTransform, UnconditionalTransform
    from zuko.transforms import LULinearTransform, MonotonicRQSTransform, PermutationTransform
except ImportError as error:
    raise ImportError("backend='zuko' needs zuko; install the extra: pip install 'gebm-bench[zuko]'") from error

__all__ = ["BoundedAffine", "ZukoNetwork", "zuko_network"]


class BoundedAffine(Transform):
    """x exp(s tanh(a/s)) + b, feature by feature.

    Arguments:
        shift: b.
        raw: a, of the same shape.
        bound: s.
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, shift: Tensor, raw: Tensor, bound: float) -> None:
        super().__init__()
        self.shift, self.log_scale = shift, bounded_log_scale(raw, bound)

    def _call(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp() + self.shift

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.shift) * (-self.log_scale).exp()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        return self.log_scale

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-derivative at once, as zuko's own transforms have it."""
        return self._call(x), self.log_scale


class ZukoNetwork(InvertibleNetwork):
    """zuko's lazy transforms x → z, in this order, as a network z → x."""

    def __init__(self, transforms: list[LazyTransform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        for transform in reversed(self.transforms):
            z = transform().inv(z)
        return z

    def inverse(
        self, x: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        log_determinant = x.new_zeros(x.shape[0])
        for transform in self.transforms:
            x, change = transform().call_and_ladj(x)
            log_determinant = log_determinant + change
        return x, log_determinant


def zuko_network(settings: FlowSettings, dimension: int) -> ZukoNetwork:
    """Build the network of the settings, its weights drawn from torch's global generator."""
    parts: list[LazyTransform] = []
    for number in range(settings.layers):
        parts += [*_linear(settings, dimension), _layer(settings, dimension, number)]
    if settings.linear == "lu":
        parts += _linear(settings, dimension)
    return ZukoNetwork(parts)


def _layer(settings: FlowSettings, dimension: int, number: int) -> LazyTransform:
    shapes: list[tuple[int, ...]] = [(), ()]
    univariate = partial(BoundedAffine, bound=settings.log_scale_bound)
    if settings.is_spline:
        shapes = [(settings.bins,), (settings.bins,), (settings.bins - 1,)]
        univariate = partial(MonotonicRQSTransform, bound=settings.tail_bound)
    common = {
        "univariate": univariate,
        "shapes": shapes,
        "hidden_features": [settings.hidden] * settings.blocks,
        "activation": partial(_activation, settings),
    }
    if settings.family in ("realnvp", "nsf-coupling"):
        kept = (torch.arange(dimension) + number) % 2 == 0
        layer = GeneralCouplingTransform(dimension, mask=kept, **common)
    else:
        layer = MaskedAutoregressiveTransform(dimension, **common)
    if not settings.is_spline:
        start_at_zero(layer.hyper[-1])
    return layer


def _activation(settings: FlowSettings) -> nn.Module:
    """The activation of a hidden layer, and its dropout."""
    activation = ACTIVATIONS[settings.activation]()
    return nn.Sequential(activation, nn.Dropout(settings.dropout)) if settings.dropout else activation


def _linear(settings: FlowSettings, dimension: int) -> list[LazyTransform]:
    if settings.linear == "none":
        return []
    order = torch.arange(dimension - 1, -1, -1) if settings.linear == "reverse" else torch.randperm(dimension)
    permutation = UnconditionalTransform(PermutationTransform, order, buffer=True)
    if settings.linear != "lu":
        return [permutation]
    return [permutation, UnconditionalTransform(LULinearTransform, torch.eye(dimension))]
