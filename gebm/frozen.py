"""A copy of a network for sampling: everything that is constant along a chain is computed once, before it.

In latent MCMC only ∂U/∂z is wanted. So the copy is in evaluation mode, its weights ask for no gradient, spectral norm (any
parametrisation) is folded into the weight it makes, batch norm into the layer before it, and the layout and the precision of
convolutions can be chosen for the machine. Entered through `gebm.model.GEBM.for_sampling`; that the copy's samples have the law of the
original's is for the tests to say.
"""

from __future__ import annotations

import copy
import itertools
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = ["frozen_copy", "lower_convolutions"]

Network = TypeVar("Network", bound=nn.Module)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def frozen_copy(network: Network, memory_format: torch.memory_format = torch.preserve_format) -> Network:
    """Return a copy that computes the same function as the network in evaluation mode, up to rounding, with less work.

    Batch norms are folded where they directly follow a linear layer (of inputs (batch, features)) or a convolution in an
    `nn.Sequential` and keep running statistics; the others stay. The network itself is left as it is.

    Arguments:
        network: any module, in any mode.
        memory_format: layout of convolution weights, which activations follow: `torch.channels_last` is the faster on most
            machines, `torch.preserve_format` leaves it.

    Example:
        >>> norm = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> frozen_copy(norm)
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): Identity()
        )
    """
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    twin.zero_grad(set_to_none=True)
    for module in list(twin.modules()):
        _fold_parametrizations(module)
    for module in list(twin.modules()):
        if isinstance(module, nn.Sequential):
            _fold_batch_norms(module)
    if memory_format is not torch.preserve_format:
        twin.to(memory_format=memory_format)
    return twin


def lower_convolutions(network: nn.Module, dtype: torch.dtype) -> int:
    """Let convolutions compute in `dtype`, in place, and return how many there are.

    Elementwise layers follow what they are given; every other layer that has weights, dense ones above all, which see latents and give
    energies, computes in the precision it had, and so do the network's output and its gradients. A convolution's products are
    accumulated in float32 by the hardware.

    Arguments:
        network: a frozen copy.
        dtype: of the convolutions' weights and inputs.
    """
    full = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    lowered = [module for module in network.modules() if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED))]
    if not lowered:
        return 0
    for module in network.modules():
        leaf = next(module.children(), None) is None
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
            module.to(dtype).register_forward_pre_hook(partial(_cast_inputs, dtype))
        elif leaf and next(itertools.chain(module.parameters(), module.buffers()), None) is not None:
            module.register_forward_pre_hook(partial(_cast_inputs, full))
    network.register_forward_hook(partial(_cast_output, full))
    return len(lowered)


def _fold_parametrizations(module: nn.Module) -> None:
    """Replace parametrised tensors by their present values."""
    if not parametrize.is_parametrized(module):
        return
    # A deep copy shares its class with the original, and removing a parametrisation deletes a property of the class.
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))
    for name in list(module.parametrizations):  # type: ignore[arg-type]
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _fold_batch_norms(layers: nn.Sequential) -> None:
    """Fold each batch norm into the layer before it; an identity keeps its place, so that names stay."""
    for (name, layer), (norm_name, norm) in itertools.pairwise(list(layers.named_children())):
        if not isinstance(norm, NORMS) or norm.running_mean is None:
            continue
        folded: nn.Module
        if isinstance(layer, nn.Linear):
            folded = fuse_linear_bn_eval(layer, norm)
        elif isinstance(layer, CONVOLUTIONS):
            folded = fuse_conv_bn_eval(layer, norm)
        elif isinstance(layer, TRANSPOSED) and layer.groups == 1:
            folded = fuse_conv_bn_eval(layer, norm, transpose=True)
        else:
            continue
        setattr(layers, name, folded)
        setattr(layers, norm_name, nn.Identity().eval())


def _cast_inputs(dtype: torch.dtype, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook, once given its precision."""
    return tuple(_cast(value, dtype) for value in inputs)


def _cast_output(dtype: torch.dtype, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> Any:
    """A forward hook, once given its precision."""
    return _cast(output, dtype)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
