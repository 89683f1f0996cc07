"""Mixed precision of training: what is computed in bfloat16, and what stays in float32.

Weights, their gradients and Adam's moments are float32 throughout; so are losses and penalties, batch-norm statistics, weights that a
parametrisation such as spectral norm makes, and the last layer of the discriminators here, whose output is the energy. Convolutions and
the other matrix products of the forward passes, and with them their gradients, are bfloat16, which has float32's range: there is nothing
to scale. The same code serves a CPU and a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gebm.settings import Precision

__all__ = ["mixed_precision", "widened"]


@contextmanager
def mixed_precision(precision: Precision, device: torch.device, *networks: nn.Module) -> Iterator[None]:
    """Run forward passes inside the block in this precision; float32 changes nothing.

    Under bf16 parametrised weights of the networks are made once, in float32, on entry: enter once per forward pass, and spectral norm
    takes its one power iteration as in float32. Step optimizers outside.

    Arguments:
        precision: "float32" or "bf16".
        device: where the networks are.
        networks: all that are called inside.
    """
    if precision == "float32":
        yield
        return
    with parametrize.cached():
        for network in networks:
            for module in network.modules():
                if parametrize.is_parametrized(module):
                    for name in module.parametrizations:  # type: ignore[union-attr]
                        getattr(module, name)
        with torch.autocast(device.type, torch.bfloat16):
            yield


def widened(x: Tensor) -> Tensor:
    """Return x in float32 if it is in bfloat16, else unchanged."""
    return x.float() if x.dtype == torch.bfloat16 else x
