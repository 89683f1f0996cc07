"""Laws of every network: shapes, a gradient at every weight, and the spectral norms of discriminators.

Adding a network means adding it to a list.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gebm.networks.mlp import MLPDiscriminator, MLPGenerator

SHAPES = [(2,), (1, 4, 4), (3, 5, 2)]
GENERATORS = [lambda shape: MLPGenerator(6, shape, [16]), lambda shape: MLPGenerator(6, shape, [16, 24, 8])]
DISCRIMINATORS = [lambda shape: MLPDiscriminator(shape, [16]), lambda shape: MLPDiscriminator(shape, [16, 24, 8])]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", GENERATORS)
def test_generator(make: object, shape: tuple[int, ...]) -> None:
    network = make(shape)
    x = network(torch.randn(9, 6, generator=torch.Generator().manual_seed(0)))
    assert x.shape == (9, *shape)
    assert x.abs().max() < 1
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (x * weights).sum().backward()
    before_norm = {
        id(part.bias) for part in network.body[:-2] if isinstance(part, nn.Linear)
    }  # a batch norm takes it off again
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters() if id(parameter) not in before_norm)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", DISCRIMINATORS)
def test_discriminator(make: object, shape: tuple[int, ...]) -> None:
    network = make(shape)
    energy = network(torch.randn(9, *shape, generator=torch.Generator().manual_seed(0)))
    assert energy.shape == (9,)
    energy.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("make", DISCRIMINATORS)
def test_spectral_norms_stay_one_while_training(make: object) -> None:
    """One power iteration a step follows the weights: after 200 steps every layer's norm is within 2 % of 1, and never far above."""
    torch.manual_seed(0)
    network = make((3, 4))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        network(torch.randn(16, 3, 4)).square().mean().backward()
        optimizer.step()
    network.eval()
    layers = [part for part in network.body if isinstance(part, nn.Linear)]
    norms = torch.tensor([torch.linalg.matrix_norm(layer.weight.detach(), 2) for layer in layers])
    assert norms.max() < 1.02
    assert norms.min() > 0.98


@pytest.mark.parametrize("make", DISCRIMINATORS)
def test_spectrally_normalised_energy_is_lipschitz(make: object) -> None:
    torch.manual_seed(0)
    network = make((3, 4))
    for _ in range(50):
        network(torch.randn(4, 3, 4))  # power iterations
    network.eval()
    a, b = torch.randn(500, 3, 4), torch.randn(500, 3, 4)
    ratio = (network(a) - network(b)).abs() / (a - b).flatten(1).norm(dim=1)
    assert ratio.max() <= 1.02


def test_networks_need_a_hidden_layer() -> None:
    for make in (lambda: MLPGenerator(2, (2,), []), lambda: MLPDiscriminator((2,), [])):
        with pytest.raises(ValueError, match="widths must name at least one hidden layer"):
            make()
