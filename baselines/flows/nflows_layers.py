"""Layers of nflows where its own do not serve: affine layers that can concentrate mass, LU solves and batch norm that run on today's torch.

nflows' direction is x → z forwards, z → x backwards.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
from nflows.transforms.coupling import AffineCouplingTransform
from nflows.transforms.lu import LULinear
from nflows.transforms.normalization import BatchNorm
from torch import Tensor, nn

from baselines.flows.affine import bounded_log_scale

__all__ = ["AffineAutoregressive", "AffineCoupling", "PlainNetwork", "RunningBatchNorm", "TriangularLinear"]

Result = tuple[Tensor, Tensor]


class PlainNetwork(nn.Sequential):
    """Hidden layers of one width, each with activation and dropout, and a linear end.

    Arguments:
        features_in: width of the input.
        features_out: width of the output.
        hidden: width of the hidden layers; nflows' splines read it to scale their inputs down.
        layers: hidden layers, >= 1.
        activation: constructor of the activation.
        dropout: probability; 0 for none.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        hidden: int,
        layers: int,
        activation: Callable[[], nn.Module],
        dropout: float,
    ) -> None:
        parts: list[nn.Module] = []
        for width in [features_in, *[hidden] * (layers - 1)]:
            parts += [nn.Linear(width, hidden), activation()]
            if dropout:
                parts.append(nn.Dropout(dropout))
        super().__init__(*parts, nn.Linear(hidden, features_out))
        self.hidden_features = hidden

    def forward(self, inputs: Tensor, context: None = None) -> Tensor:  # noqa: ARG002
        outputs: Tensor = super().forward(inputs)  # type: ignore[no-untyped-call]
        return outputs


class AffineCoupling(AffineCouplingTransform):
    """An affine coupling with the scale exp(s tanh(a/s)), which transforms every second feature.

    It takes them by slices, of which a step of training takes less time than of nflows' index tensors.

    Arguments:
        dimension: d.
        first: the first feature that is transformed, 0 or 1.
        network: (features in, features out) → the network.
        log_scale_bound: s.
    """

    def __init__(
        self, dimension: int, first: int, network: Callable[[int, int], nn.Module], log_scale_bound: float
    ) -> None:
        super().__init__((torch.arange(dimension) + 1 + first) % 2, network)
        self.kept, self.transformed = slice(1 - first, None, 2), slice(first, None, 2)
        self.log_scale_bound = log_scale_bound

    def forward(self, inputs: Tensor, context: None = None) -> Result:
        return self._couple(inputs, self._coupling_transform_forward, context)

    def inverse(self, inputs: Tensor, context: None = None) -> Result:
        return self._couple(inputs, self._coupling_transform_inverse, context)

    def _couple(self, inputs: Tensor, transform: Callable[[Tensor, Tensor], Result], context: None) -> Result:
        outputs = inputs.clone()
        parameters = self.transform_net(inputs[:, self.kept], context)
        outputs[:, self.transformed], log_determinant = transform(inputs[:, self.transformed], parameters)
        return outputs, log_determinant

    def _coupling_transform_forward(self, inputs: Tensor, transform_params: Tensor) -> Result:
        shift, raw = transform_params.chunk(2, dim=1)
        log_scale = bounded_log_scale(raw, self.log_scale_bound)
        return inputs * log_scale.exp() + shift, log_scale.sum(1)

    def _coupling_transform_inverse(self, inputs: Tensor, transform_params: Tensor) -> Result:
        shift, raw = transform_params.chunk(2, dim=1)
        log_scale = bounded_log_scale(raw, self.log_scale_bound)
        return (inputs - shift) * (-log_scale).exp(), -log_scale.sum(1)


class AffineAutoregressive(MaskedAffineAutoregressiveTransform):
    """An affine autoregressive layer with the scale exp(s tanh(a/s)).

    Arguments:
        features: d.
        log_scale_bound: s.
        made: the further arguments of `nflows.transforms.made.MADE`.
    """

    def __init__(self, features: int, log_scale_bound: float, **made: object) -> None:
        super().__init__(features=features, **made)
        self.log_scale_bound = log_scale_bound

    def _elementwise_forward(self, inputs: Tensor, autoregressive_params: Tensor) -> Result:
        raw, shift = self._unconstrained_scale_and_shift(autoregressive_params)
        log_scale = bounded_log_scale(raw, self.log_scale_bound)
        return inputs * log_scale.exp() + shift, log_scale.sum(1)

    def _elementwise_inverse(self, inputs: Tensor, autoregressive_params: Tensor) -> Result:
        raw, shift = self._unconstrained_scale_and_shift(autoregressive_params)
        log_scale = bounded_log_scale(raw, self.log_scale_bound)
        return (inputs - shift) * (-log_scale).exp(), -log_scale.sum(1)


class TriangularLinear(LULinear):
    """LULinear solved by `torch.linalg`: nflows 0.14 calls `torch.triangular_solve`, which torch is about to drop."""

    def inverse_no_cache(self, inputs: Tensor) -> Result:
        lower, upper = self._create_lower_upper()
        rows = torch.linalg.solve_triangular(lower, (inputs - self.bias).T, upper=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(upper, rows, upper=True)
        return rows.T, -self.logabsdet().expand(inputs.shape[0])


class RunningBatchNorm(BatchNorm):
    """Batch norm between layers whose z → x is always that of the running statistics, which start at mean 0 and variance 1.

    nflows' own refuses z → x in training mode, in which a GEBM trains its base.

    Arguments:
        features: d.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.running_var.fill_(1.0)

    def inverse(self, inputs: Tensor, context: None = None) -> Result:  # noqa: ARG002
        variance = self.running_var + self.eps
        outputs = variance.sqrt() * ((inputs - self.bias) / self.weight) + self.running_mean
        log_determinant = (0.5 * variance.log() - self.weight.log()).sum()
        return outputs, log_determinant.expand(inputs.shape[0])
