"""Layers for second derivatives: torch's own layers, gradients of every order, at a lower price."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from gebm.networks.layers import Conv2d, ConvTranspose2d, LeakyReLU, ReLU
from gebm.networks.sngan import SNGANDiscriminator
from gebm.penalties import gradient_penalty

CONVOLUTIONS = [{"kernel_size": 3, "padding": 1}, {"kernel_size": 4, "stride": 2, "padding": 1}, {"kernel_size": 1}]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("settings", CONVOLUTIONS)
def test_gradients_of_first_and_second_order_against_finite_differences(settings: dict[str, int]) -> None:
    torch.manual_seed(0)
    layer = Conv2d(2, 3, **settings).double()
    weight, bias = (parameter.detach().requires_grad_(True) for parameter in layer.parameters())
    x = noise(2, 2, 4, 4).requires_grad_(True)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return layer._conv_forward(x, weight, bias)

    assert gradcheck(function, (x, weight, bias))
    assert gradgradcheck(function, (x, weight, bias))


@pytest.mark.parametrize("settings", CONVOLUTIONS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_torchs(settings: dict[str, int], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    ours = Conv2d(4, 6, **settings).to(memory_format=layout)
    theirs = nn.Conv2d(4, 6, **settings).to(memory_format=layout)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, theirs):
        x = noise(3, 4, 8, 8).float().contiguous(memory_format=layout).requires_grad_(True)
        y = layer(x)
        assert y.is_contiguous(memory_format=layout)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append((y, gradient, x.grad, layer.weight.grad, layer.bias.grad))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-3)


def test_a_transposed_convolution_has_the_size_that_is_asked_for() -> None:
    layer = ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    sizes = [(5, 5), (6, 6)]
    assert [tuple(layer(torch.zeros(1, 2, 3, 3), [*size]).shape[2:]) for size in sizes] == sizes


@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_is_torchs(bias: bool) -> None:
    torch.manual_seed(0)
    ours = ConvTranspose2d(4, 3, 4, stride=2, padding=1, bias=bias).double()
    theirs = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, theirs):
        x = noise(2, 4, 3, 3).requires_grad_(True)
        y = layer(x)
        (gradient,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append([y, gradient, x.grad, *(parameter.grad for parameter in layer.parameters())])
    torch.testing.assert_close(*found)


def test_a_transposed_convolution_takes_no_bias_gradient_from_torch() -> None:
    class Backward(TorchDispatchMode):
        masks: list[list[bool]]

        def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None):  # type: ignore[no-untyped-def]
            if func is torch.ops.aten.convolution_backward.default:
                self.masks.append(list(args[-1]))
            return func(*args, **(kwargs or {}))

    layer = ConvTranspose2d(4, 3, 4, stride=2, padding=1)
    with Backward() as seen:
        seen.masks = []
        layer(noise(2, 4, 3, 3).float().requires_grad_(True)).sum().backward()
    assert seen.masks == [[True, True, False]]
    assert layer.bias.grad is not None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (LeakyReLU(0.1), nn.LeakyReLU(0.1)),
        (LeakyReLU(0.1, True), nn.LeakyReLU(0.1)),
        (ReLU(), nn.ReLU()),
        (ReLU(True), nn.ReLU()),
    ],
)
def test_a_rectifier_is_torchs(ours: nn.Module, theirs: nn.Module) -> None:
    x = noise(5, 7).requires_grad_(True)
    assert torch.equal(ours(x * 1), theirs(x))
    assert gradcheck(lambda x: ours(x * 1), x)
    assert gradgradcheck(lambda x: ours(x.square()), x)
    for rectifier in (ours, theirs):
        (gradient,) = torch.autograd.grad(rectifier(x.square() - 1).sum(), x, create_graph=True)
        rectifier.second = torch.autograd.grad(gradient.square().sum(), x)[0]
    torch.testing.assert_close(ours.second, theirs.second, rtol=0, atol=0)


class Plain(nn.Module):
    """The discriminator with torch's own functions, on the very same parameters."""

    def __init__(self, network: SNGANDiscriminator) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.network.body:
            if isinstance(layer, nn.Conv2d):
                x = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)
            elif isinstance(layer, nn.LeakyReLU):
                x = F.leaky_relu(x, layer.negative_slope)
        return self.network.dense(x.flatten(1)).squeeze(1)


def discriminator() -> SNGANDiscriminator:
    torch.manual_seed(0)
    return SNGANDiscriminator((3, 8, 8), width=4).double().eval()  # no power iterations between two calls


def penalty_gradients(network: nn.Module, energy: Callable[[Tensor], Tensor]) -> list[Tensor]:
    network.zero_grad()
    points = noise(5, 3, 8, 8)
    (gradient_penalty(energy, points, 1.0) + energy(points).mean()).backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def test_the_gradient_of_a_penalty_is_that_of_torchs_layers() -> None:
    network = discriminator()
    torch.testing.assert_close(penalty_gradients(network, network), penalty_gradients(network, Plain(network)))


class Passes(TorchDispatchMode):
    """Counts passes over convolutions: forward ones, and gradients in inputs or weights."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: object, types: object, args: tuple = (), kwargs: object = None) -> object:
        if function is torch.ops.aten.convolution.default:
            self.count += 1
        if function is torch.ops.aten.convolution_backward.default:
            self.count += sum(args[-1][:2])
        return function(*args, **kwargs or {})


def test_no_pass_of_a_penalty_is_wasted() -> None:
    """Forward, the gradient in x, its derivative along a direction, the gradient in the weights: four passes over each of seven layers.
    Torch's own layers take the rectifiers' zeros back through all but the first layer's input, another 13."""
    network = discriminator()
    counts = {}
    for name, energy in (("ours", network), ("torch", Plain(network))):
        with Passes() as passes:
            gradient_penalty(energy, noise(5, 3, 8, 8)).backward()
        counts[name] = passes.count
    assert counts["ours"] == 4 * 7
    assert counts["torch"] >= 4 * 7 + 13


def test_frozen_weights_take_torchs_own_path() -> None:
    layer = Conv2d(2, 3, 3, padding=1).requires_grad_(False)
    y = layer(torch.zeros(1, 2, 4, 4, requires_grad=True))
    assert y.grad_fn.name() == "ConvolutionBackward0"


@pytest.mark.parametrize("settings", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}, {"padding": "same"}])
def test_what_is_not_supported_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="only zero padding"):
        Conv2d(2, 2, 3, **settings)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)),
        (ConvTranspose2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)),
        (LeakyReLU(), nn.LeakyReLU()),
        (ReLU(), nn.ReLU()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_away_from_the_cpu_they_are_torchs(ours: nn.Module, theirs: nn.Module) -> None:
    """On a GPU, which "meta" stands for, launches are what takes time, and torch's are the fewest."""
    for device, same in (("cpu", False), ("meta", True)):
        x = torch.zeros(2, 3, 5, 5, device=device, requires_grad=True)
        made = [type(layer.to(device)(x).grad_fn) for layer in (ours, theirs)]
        assert (made[0] is made[1]) == same
