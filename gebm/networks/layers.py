"""Convolution and (leaky) ReLU for networks that are differentiated twice, as a gradient penalty on an energy does.

They compute what torch's own layers do, gradients of every order included, and their weights have the same names. But torch's second
derivative of a convolution takes a detour that costs about twice what it must on a CPU, and that of a ReLU sends zeros back through all
layers below. Here the gradient penalty of a convolutional energy takes about half the time. Elsewhere they are torch's own: a step of
training on a GPU waits for launches, not for arithmetic, and layers written in Python launch more slowly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function

__all__ = ["Conv2d", "ConvTranspose2d", "LeakyReLU", "Linear", "ReLU"]

Pair = tuple[int, int]


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with zero padding and one group.

    Raises:
        ValueError: for another kind of padding, dilation or groups.

    Example:
        >>> Conv2d(3, 8, 3, padding=1)(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or self.groups != 1 or self.dilation != (1, 1):
            raise ValueError("only zero padding by a number, no dilation and one group are supported")
        self.steps: Pair = (self.stride[0], self.stride[1])
        self.pads: Pair = (self.padding[0], self.padding[1])

    def _conv_forward(
        self,
        input: Float[Tensor, "batch in height width"],  # noqa: A002 (torch's name)
        weight: Float[Tensor, "out in kernel kernel2"],
        bias: Float[Tensor, " out"] | None,
    ) -> Float[Tensor, "batch out height2 width2"]:
        if (
            not weight.requires_grad or input.device.type != "cpu"
        ):  # nobody will ask for its second derivatives, or torch's will do
            return F.conv2d(input, weight, bias, self.steps, self.pads)
        if torch.is_autocast_enabled("cpu"):  # which would see to the values, but not to what derivatives are made of
            lowered = torch.get_autocast_dtype("cpu")
            input, weight = input.to(lowered), weight.to(lowered)  # noqa: A001
            bias = None if bias is None else bias.to(lowered)
        return convolution(input, weight, bias, self.steps, self.pads)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with a gradient in the bias of its own: on a CPU torch's takes longer than those in the input and the
    weight together.

    Example:
        >>> ConvTranspose2d(8, 3, 4, stride=2, padding=1)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 3, 8, 8])
    """

    def forward(
        self,
        input: Float[Tensor, "batch in height width"],  # noqa: A002 (torch's name)
        output_size: list[int] | None = None,
    ) -> Float[Tensor, "batch out height2 width2"]:
        own = output_size is None and input.device.type == "cpu"
        if not own or self.bias is None or not self.bias.requires_grad:
            return super().forward(input, output_size)
        settings = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        output = F.conv_transpose2d(input, self.weight, self.bias.detach(), *settings)  # type: ignore[arg-type]
        with_bias: Tensor = _BiasShare.apply(output, self.bias)
        return with_bias


class Linear(nn.Linear):
    """`torch.nn.Linear` that computes in the precision of its weights where autocast would not: for outputs that are exponentiated.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     Linear(2, 1)(torch.zeros(3, 2)).dtype
        torch.float32
    """

    def forward(self, input: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:  # noqa: A002 (torch's name)
        if not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            weight = self.weight
            return F.linear(input.to(weight.dtype), weight, self.bias)


class LeakyReLU(nn.LeakyReLU):
    """`torch.nn.LeakyReLU`, whose slopes are constants as far as its second derivative is concerned, as they are almost everywhere."""

    def forward(self, input: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:  # noqa: A002 (torch's name)
        if input.device.type != "cpu":
            return super().forward(input)
        output: Tensor = _LeakyReLU.apply(input, self.negative_slope, self.inplace)
        return output


class ReLU(nn.ReLU):
    """`torch.nn.ReLU`, likewise."""

    def forward(self, input: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:  # noqa: A002 (torch's name)
        if input.device.type != "cpu":
            return super().forward(input)
        output: Tensor = _LeakyReLU.apply(input, 0.0, self.inplace)
        return output


def convolution(
    x: Float[Tensor, "batch in height width"],
    weight: Float[Tensor, "out in kernel kernel2"],
    bias: Float[Tensor, " out"] | None,
    stride: Pair,
    padding: Pair,
) -> Float[Tensor, "batch out height2 width2"]:
    """Return x ∗ w + b, differentiable to any order."""
    share = _WeightShare.apply(weight, bias, Boxed(x), stride, padding)
    detached = None if bias is None else bias.detach()
    output: Tensor = _Convolution.apply(x, weight, detached, share, stride, padding)
    return output


class Boxed(NamedTuple):
    """A tensor that a function does not take as an input."""

    tensor: Tensor


class _Convolution(Function):
    """x, w ↦ x ∗ w + b; linear in both, and so are its gradients, which are functions of one another.

    Its own node gives the gradient in x alone and hands what came on to `_WeightShare`, a node that is visited only where the gradients in
    w and b are wanted: not on the way to the gradient in x that a penalty is made of.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, _share: Tensor, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding
        ctx.set_materialize_grads(False)
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        wanted = gradient is not None and ctx.needs_input_grad[0]
        on_x = _Gradient.apply(gradient, weight, x.detach(), True, *ctx.settings) if wanted else None
        return on_x, None, None, gradient, None, None


class _WeightShare(Function):
    """w, b ↦ a zero of the shape of x ∗ w that takes no memory, and through which the gradients in w and b pass.

    Were x an input, this node would lie on the way to its gradient; as an attribute it keeps its own history, which third derivatives
    need.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, _bias: Tensor | None, x: Boxed, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.x, ctx.settings = x, (stride, padding)
        ctx.set_materialize_grads(False)
        sides = zip(x.tensor.shape[2:], weight.shape[2:], stride, padding, strict=True)
        outputs = [(side + 2 * pad - kernel) // step + 1 for side, kernel, step, pad in sides]
        return weight.new_zeros(()).expand(x.tensor.shape[0], weight.shape[0], *outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (weight,) = ctx.saved_tensors
        if gradient is None:
            return None, None, None, None, None
        on_weight = _Gradient.apply(gradient, ctx.x.tensor, weight.detach(), False, *ctx.settings)
        on_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[1] else None
        return on_weight, on_bias, None, None, None


class _Gradient(Function):
    """g, f ↦ the gradient of ⟨g, x ∗ w⟩ in x, where f is w, or in w, where f is x.

    `like` is what the gradient is taken in; only its shape and layout matter.
    """

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, factor: Tensor, like: Tensor, in_x: bool, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(gradient, factor)
        ctx.in_x, ctx.settings = in_x, (stride, padding)
        ctx.set_materialize_grads(False)
        x, weight = (like, factor) if in_x else (factor, like)
        found = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1, (in_x, not in_x, False)
        )
        value: Tensor = found[0] if in_x else found[1]
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (direction,) = gradients
        gradient, factor = ctx.saved_tensors
        on_gradient = on_factor = None
        if direction is not None and ctx.needs_input_grad[0]:
            x, weight = (direction, factor) if ctx.in_x else (factor, direction)
            on_gradient = convolution(x, weight, None, *ctx.settings)
        if direction is not None and ctx.needs_input_grad[1]:
            on_factor = _Gradient.apply(gradient, direction, factor.detach(), not ctx.in_x, *ctx.settings)
        return on_gradient, on_factor, None, None, None, None


class _BiasShare(Function):
    """y, b ↦ y, to which b was added before without its history; the gradient in b is that in y, summed."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, _bias: Tensor) -> Tensor:
        ctx.mark_dirty(y)
        return y

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        return gradient, gradient.sum((0, 2, 3))


class _LeakyReLU(Function):
    """x ↦ x where it is positive, else slope · x; in place, if asked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, inplace: bool) -> Tensor:
        y = F.leaky_relu(x, slope, inplace)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (y,) = ctx.saved_tensors
        return None if gradient is None else _Slopes.apply(gradient, y.detach(), ctx.slope), None, None


class _Slopes(Function):
    """g, y ↦ g where y is positive, else slope · g; linear in g."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, y: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(y)
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        masked: Tensor = torch.ops.aten.leaky_relu_backward(gradient, y, slope, True)
        return masked

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (direction,) = gradients
        (y,) = ctx.saved_tensors
        return None if direction is None else _Slopes.apply(direction, y, ctx.slope), None, None
