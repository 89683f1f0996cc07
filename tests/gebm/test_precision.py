"""bfloat16 training: the same steps as in float32 but for rounding, with everything that is kept in float32.

bfloat16 has 8 significant bits: factors are rounded by 0.4 % at most. Tolerances leave room for a dozen layers in a row; seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gebm.base import Base, GaussianPrior
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator
from gebm.objectives import Kale
from gebm.penalties import gradient_penalty
from gebm.precision import mixed_precision, widened
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

SHAPE = (3, 32, 32)
FAMILIES = {
    "mlp": (lambda: MLPGenerator(8, SHAPE, [32]), lambda: MLPDiscriminator(SHAPE, [32, 32])),
    "sngan": (lambda: SNGANGenerator(8, SHAPE, 4), lambda: SNGANDiscriminator(SHAPE, 4)),
    "sngan-resnet": (lambda: SNGANResNetGenerator(8, SHAPE, 4), lambda: SNGANResNetDiscriminator(SHAPE, 4)),
}
families = pytest.mark.parametrize("family", FAMILIES)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks(family: str) -> tuple[Base, nn.Module]:
    torch.manual_seed(0)
    generator, discriminator = (make() for make in FAMILIES[family])
    return Base(generator, GaussianPrior(8)), discriminator


def stream(batch_size: int = 8) -> DataStream:
    return DataStream(2 * torch.rand(32, *SHAPE, generator=seeded(1)) - 1, batch_size, seeded(2))


def training(family: str, precision: str) -> AlternatingTraining:
    settings = TrainingSettings(base_steps=10, batch_size=8, n_critic=2, ema=0.9, precision=precision)  # type: ignore[arg-type]
    return AlternatingTraining(*networks(family), Kale(), stream(), seeded(3), settings)


def tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    for part in state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ():
        yield from tensors(part)


class Products(TorchDispatchMode):
    """Precisions of the matrix products and convolutions that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(name in str(func) for name in ("convolution", "aten.mm", "addmm")) and isinstance(result, Tensor):
            self.found.add(result.dtype)
        return result


@families
def test_steps_are_those_of_float32_but_for_rounding(family: str) -> None:
    plain, mixed = training(family, "float32"), training(family, "bf16")
    for _ in range(3):
        expected, found = plain.step(), mixed.step()
        for name, value in expected.items():
            assert found[name].dtype == torch.float32
            assert found[name].item() == pytest.approx(value.item(), rel=0.02, abs=0.02), name


@families
def test_everything_that_is_kept_is_float32(family: str) -> None:
    mixed = training(family, "bf16")
    with Products() as products:
        mixed.step()
    assert torch.bfloat16 in products.found
    kept = [tensor for tensor in tensors(mixed.state_dict()) if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    moments = [state["exp_avg"] for state in mixed.energy_optimizer.state.values()]
    assert moments
    assert all(moment.abs().sum() > 0 for moment in moments if moment.numel() > 1)
    assert all(p.grad.dtype == torch.float32 for p in mixed.base.parameters() if p.grad is not None)


@families
@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_the_penalty_has_the_gradients_of_float32(family: str, norm: float) -> None:
    points = 2 * torch.rand(16, *SHAPE, generator=seeded(4)) - 1
    gradients = []
    for precision in ("float32", "bf16"):
        _, energy = networks(family)
        with mixed_precision(precision, points.device, energy):  # type: ignore[arg-type]
            penalty = gradient_penalty(energy, points, norm)
        assert penalty.dtype == torch.float32
        weights = [p for p in energy.parameters() if p.dim() > 1]
        found = torch.autograd.grad(penalty, weights)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert torch.dist(*gradients) < 0.05 * gradients[0].norm()


def test_spectral_norms_are_taken_in_float32_once_an_entry() -> None:
    _, energy = networks("sngan")
    layer = energy.body[2]
    twin = networks("sngan")[1].body[2]
    expected = twin.weight  # one power iteration
    with mixed_precision("bf16", torch.device("cpu"), energy):
        energy(torch.zeros(2, *SHAPE))
        assert energy(torch.zeros(2, *SHAPE)).dtype == torch.float32
        assert torch.equal(layer.weight, expected)
    assert torch.equal(layer.parametrizations.weight[0]._u, twin.parametrizations.weight[0]._u)
    assert not torch.equal(layer.weight, expected)  # outside, every use iterates


def test_float32_enters_nothing() -> None:
    with mixed_precision("float32", torch.device("cpu"), networks("mlp")[1]):
        assert not torch.is_autocast_enabled("cpu")
    assert widened(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    assert widened(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32


def test_the_refit_takes_it_too() -> None:
    base, energy = networks("sngan")
    settings = RefitSettings(steps=2, batch_size=8, check_every=2, partition_samples=8, precision="bf16")
    refit = EnergyRefit(base.eval(), energy, Kale(), stream(), stream().next(), seeded(3), settings)
    with Products() as products:
        losses = [refit.step() for _ in range(2)]
    assert torch.bfloat16 in products.found
    assert losses[-1]["held_out_gain"].dtype == torch.float32
