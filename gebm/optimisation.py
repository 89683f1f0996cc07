"""Adam, its learning-rate schedules and gradient clipping, as all phases of training use them."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from gebm.recorded import records_on
from gebm.settings import SteppedDecay

__all__ = [
    "MovingAverage",
    "adam",
    "descend",
    "descend_if_finite",
    "learning_rate_factor",
    "moving_average",
    "scale_learning_rate",
]


def adam(
    groups: list[dict[str, Any]], betas: tuple[float, float], decoupled_weight_decay: bool = False
) -> torch.optim.Adam:
    """Return fused Adam over parameter groups, each with its own `lr`; empty groups are dropped.

    With `decoupled_weight_decay` it is AdamW (Loshchilov & Hutter, 2019).
    """
    groups = [group | {"initial_lr": group["lr"]} for group in groups if group["params"]]
    betas = float(betas[0]), float(betas[1])  # torch wants no whole numbers
    return torch.optim.Adam(groups, betas=betas, decoupled_weight_decay=decoupled_weight_decay, fused=True)


def learning_rate_factor(
    decay: SteppedDecay, done: int, total: int, decay_factor: float = 1.0, decay_every: int = 1
) -> float:
    """Return the factor of the learning rate at step `done` (from 0) of `total`: 1 at the first step, near 0 at the last.

    `cosine` is ½(1 + cos(π done/total)) (Loshchilov & Hutter, 2017, without restarts). `exponential` is
    `decay_factor` to the power ⌊done/`decay_every`⌋, whatever `total`; the other schedules read neither.

    Example:
        >>> learning_rate_factor("linear", 3, 4), round(learning_rate_factor("cosine", 2, 4), 12)
        (0.25, 0.5)
        >>> learning_rate_factor("exponential", 11, 20, decay_factor=0.5, decay_every=5)
        0.25
    """
    if decay == "exponential":
        return decay_factor ** (done // decay_every)
    if decay == "linear":
        return 1 - done / total
    if decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done / total))
    return 1.0


def scale_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times its initial one; on a GPU in a tensor there, which recorded steps read.

    So an optimizer whose state was saved on another device is ready here, too.
    """
    for group in optimizer.param_groups:
        rate, device = group["initial_lr"] * factor, group["params"][0].device
        if records_on(device):
            group["capturable"] = True
            if not isinstance(group["lr"], Tensor) or group["lr"].device != device:
                group["lr"] = torch.zeros((), device=device)
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class MovingAverage(nn.Module):
    """An exponential moving average of a network's weights in `module`, whose buffers are the network's own; the first update copies.

    torch's `AveragedModel` gives the same bits, but copies its counter to the device at every update, for which the host has to wait.

    Arguments:
        network: copied.
        decay: of the average, in (0, 1).
    """

    n_averaged: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = copy.deepcopy(network), decay
        self.register_buffer("n_averaged", torch.tensor(0))

    @torch.no_grad()
    def update_parameters(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        averaged: list[Tensor] = list(self.module.parameters())
        present: list[Tensor] = list(network.parameters())
        copied = list(zip(self.module.buffers(), network.buffers(), strict=True))
        if averaged and self.n_averaged:
            torch._foreach_lerp_(averaged, present, 1 - self.decay)
        else:
            copied += zip(averaged, present, strict=True)
        for own, other in copied:
            own.copy_(other)
        self.n_averaged += 1


def moving_average(network: nn.Module, decay: float) -> MovingAverage | None:
    """Return a moving average of the network's weights; None for a decay of 0."""
    return MovingAverage(network, decay) if decay else None


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, clipped: nn.Module, clip_norm: float) -> None:
    """Take one optimizer step on `loss`, the gradient of `clipped` clipped to norm `clip_norm` (0 for no clipping)."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm:
        nn.utils.clip_grad_norm_(clipped.parameters(), clip_norm)
    optimizer.step()


def descend_if_finite(optimizer: torch.optim.Optimizer, loss: Tensor, clipped: nn.Module, clip_norm: float) -> bool:
    """Call `descend` unless the loss or a gradient is not finite; then change nothing.

    Returns:
        Whether the step was taken.
    """
    optimizer.zero_grad(set_to_none=True)
    if not loss.isfinite():
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(clipped.parameters(), clip_norm or math.inf)
    if not norm.isfinite():
        return False
    optimizer.step()
    return True
