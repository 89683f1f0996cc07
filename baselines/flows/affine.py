"""The scale of affine layers, the same in every family and backend.

nflows' own affine coupling has the scale sigmoid(a + 2) + 0.001 for x → z: at most 1.001, so a flow made of it cannot concentrate mass.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["bounded_log_scale"]


def bounded_log_scale(raw: Float[Tensor, "*shape"], bound: float) -> Float[Tensor, "*shape"]:
    """s tanh(a/s): near a for small a, and a layer's scale stays within exp(±s).

    Arguments:
        raw: a, from the network of the layer.
        bound: s.

    Example:
        >>> bounded_log_scale(torch.tensor([0.0, 0.1, 100.0]), 3.0)
        tensor([0.0000, 0.1000, 3.0000])
    """
    return bound * torch.tanh(raw / bound)
