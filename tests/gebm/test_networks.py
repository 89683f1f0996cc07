"""Laws of every network: shapes, a gradient at every weight, and the spectral norms of discriminators.

Adding a network means adding it to a list.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.components import registry
from gebm.networks.energy_mlp import EnergyMLP
from gebm.networks.family import NetworkFamily
from gebm.networks.mlp import MLP, MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGAN
from gebm.networks.sngan_resnet import SNGANResNet

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


FAMILIES = {
    "mlp": (MLP(5, (8,), (8, 4)), [(2,), (3, 5, 2)], []),
    "sngan": (SNGAN(5, 2), [(3, 32, 32), (1, 8, 8), (3, 48, 48)], [(3, 32), (3, 32, 16), (3, 30, 30), (0, 32, 32)]),
    "sngan-resnet": (SNGANResNet(5, 2), [(1, 32, 32), (3, 64, 64)], [(3, 48, 48), (3, 32), (3, 32, 64), (0, 32, 32)]),
    "energy-mlp": (EnergyMLP((8, 4)), [(1,), (3,)], []),
}


def test_every_registered_family_is_here() -> None:
    assert {name: entry.load() for name, entry in registry.entries("networks").items()} == {
        name: type(family) for name, (family, _, _) in FAMILIES.items()
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_makes_networks_that_can_be_trained(name: str) -> None:
    """A gradient reaches every parameter, also through a gradient penalty; the seed of the caller decides the weights."""
    family, shapes, _ = FAMILIES[name]
    for shape in shapes:
        family.check(shape)
        x = torch.rand(3, *shape, requires_grad=True)
        networks = []
        if isinstance(family, NetworkFamily):
            networks.append(family.generator(shape))
            x = networks[0](torch.randn(3, 5))
            assert x.shape == (3, *shape)
            assert x.abs().max() <= 1
        torch.manual_seed(1)
        discriminator = family.discriminator(shape)
        torch.manual_seed(1)
        torch.testing.assert_close(family.discriminator(shape).state_dict(), discriminator.state_dict(), rtol=0, atol=0)
        energy = discriminator(x)
        assert energy.shape == (3,)
        (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        (energy.sum() + gradient.square().sum()).backward()
        assert all(p.grad is not None for network in (*networks, discriminator) for p in network.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_shape_that_a_family_has_no_networks_for_is_named(name: str) -> None:
    family, _, impossible = FAMILIES[name]
    for shape in impossible:
        for build in (family.check, family.generator, family.discriminator):
            with pytest.raises(ValueError, match=f"^{name} takes images of .*side"):
                build(shape)


@pytest.mark.parametrize(
    ("make", "name"), [(lambda: MLP(2, (), (4,)), "generator_widths"), (lambda: SNGAN(0), "latent")]
)
def test_impossible_sizes_are_named(make: Callable[[], NetworkFamily], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make()
