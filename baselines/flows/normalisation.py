"""Statistics of batch-norm layers between the layers of a flow, for the evaluation mode."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.base import FlowBase, evaluation_mode

__all__ = ["set_normalisation"]

MOST_ROWS = 16384
"""Rows the statistics are taken from at most."""


@torch.no_grad()
def set_normalisation(flow: FlowBase, rows: Float[Tensor, "rows latent"]) -> None:
    """Replace running statistics by those of the training rows, as in the MAF paper, in place; without batch norm nothing happens.

    Averages over minibatches lag behind the weights, and belong to other weights than a moving average of them.

    Arguments:
        flow: its mode is left as it is.
        rows: training rows; of more than 16,384, that many at equal distances are used.
    """
    norms: list[Any] = [part for part in flow.modules() if hasattr(part, "running_mean")]
    if not norms:
        return
    stride = -(-rows.shape[0] // MOST_ROWS)
    momenta = [norm.momentum for norm in norms]
    with evaluation_mode(flow):
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        flow.log_prob(rows[::stride])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
