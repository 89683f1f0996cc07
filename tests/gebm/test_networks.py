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
from gebm.networks.mlp import MLP
from gebm.networks.sngan import SNGAN
from gebm.networks.sngan_resnet import SNGANResNet

FAMILIES = {
    "mlp": (MLP(5, (16, 24, 8), (16, 24, 8)), [(2,), (1, 4, 4), (3, 5, 2)], []),
    "mlp-shallow": (MLP(5, (16,), (16,)), [(3, 4)], []),
    "sngan": (SNGAN(5, 2), [(3, 32, 32), (1, 8, 8), (3, 48, 48)], [(3, 32), (3, 32, 16), (3, 30, 30), (0, 32, 32)]),
    "sngan-resnet": (SNGANResNet(5, 2), [(1, 32, 32), (3, 64, 64)], [(3, 48, 48), (3, 32), (3, 32, 64), (0, 32, 32)]),
    "energy-mlp": (EnergyMLP((8, 4)), [(1,), (3,)], []),
    "energy-mlp-bounded": (EnergyMLP((8, 4), bound=2.0), [(1,), (3,)], []),
}


def test_every_registered_family_is_here() -> None:
    registered = {entry.load() for entry in registry.entries("networks").values()}
    assert registered == {type(family) for family, _, _ in FAMILIES.values()}


CASES = [(name, shape) for name, (_, shapes, _) in FAMILIES.items() for shape in shapes]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_family_makes_networks_that_can_be_trained(name: str, shape: tuple[int, ...]) -> None:
    """A gradient reaches every weight, also through a gradient penalty; the seed of the caller decides the weights."""
    family = FAMILIES[name][0]
    torch.manual_seed(0)
    family.check(shape)
    x, networks = torch.randn(9, *shape, requires_grad=True), nn.ModuleList()
    if isinstance(family, NetworkFamily):
        networks.append(family.generator(shape))
        x = networks[0](torch.randn(9, 5))
        assert x.shape == (9, *shape)
        assert x.abs().max() <= 1
    torch.manual_seed(1)
    discriminator = family.discriminator(shape)
    torch.manual_seed(1)
    torch.testing.assert_close(family.discriminator(shape).state_dict(), discriminator.state_dict(), rtol=0, atol=0)
    energy = discriminator(x)
    assert energy.shape == (9,)
    (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
    (energy.square().sum() + gradient.square().sum()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in discriminator.parameters())
    layers = [module for module in networks.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    biases = {id(layer.bias) for layer in layers[:-1]}  # a batch norm takes them off again
    assert all(parameter.grad is not None for parameter in networks.parameters())
    assert all(p.grad.abs().max() > 0 for p in networks.parameters() if id(p) not in biases)


@pytest.mark.parametrize(("name", "count"), [("mlp", 4), ("mlp-shallow", 2), ("sngan", 8), ("sngan-resnet", 11)])
def test_spectral_norms_stay_one_while_training_and_bound_the_slope(name: str, count: int) -> None:
    """One power iteration per step follows the weights: every layer's norm stays within 1 % of 1, at the larger rate within 2 %."""
    torch.manual_seed(0)
    steps, batch_size, rate = (200, 16, 1e-3) if name.startswith("mlp") else (100, 2, 1e-4)
    family, shapes, _ = FAMILIES[name]
    network = family.discriminator(shapes[0])
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(batch_size, *shapes[0])).square().mean().backward()
        optimizer.step()
    network.eval()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == count
    norms = [torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) for layer in layers]
    torch.testing.assert_close(torch.stack(norms), torch.ones(len(layers)), rtol=2e-2 if rate > 1e-4 else 1e-2, atol=0)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if name.startswith("mlp"):
        a, b = torch.randn(2, 500, *shapes[0])
        assert ((network(a) - network(b)).abs() / (a - b).flatten(1).norm(dim=1)).max() <= 1.02


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


def test_a_bounded_energy_stays_within_its_bound_and_is_the_plain_one_near_zero() -> None:
    torch.manual_seed(0)
    plain, bounded = (EnergyMLP((8,), bound).discriminator((2,)) for bound in (None, 2.0))
    bounded.load_state_dict(plain.state_dict())
    x = torch.randn(100, 2)
    assert (1e6 * x).abs().max() > 1e6
    assert bounded(1e6 * x).abs().max() <= 2
    torch.testing.assert_close(bounded(x), 2 * (plain(x) / 2).tanh())
