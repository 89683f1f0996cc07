"""The copy for sampling computes the same potential with less work, leaves its original alone, and never waits or piles up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from gebm import GEBM, Base, GaussianPrior
from gebm.base import recompute_normalisation
from gebm.frozen import frozen_copy
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator

LATENT = 6
NETWORKS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "sngan": lambda: (SNGANGenerator(LATENT, width=4), SNGANDiscriminator(width=4)),
    "sngan-resnet": lambda: (SNGANResNetGenerator(LATENT, width=2), SNGANResNetDiscriminator(width=2)),
    "mlp": lambda: (MLPGenerator(LATENT, (1, 8, 8), (16, 16)), MLPDiscriminator((1, 8, 8), (16, 16))),
}


def trained(name: str) -> GEBM:
    """A model whose normalisations have seen data, left in training mode."""
    torch.manual_seed(0)
    generator, energy = NETWORKS[name]()
    model = GEBM(Base(generator, GaussianPrior(LATENT)), energy)
    for module in generator.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.5)
    stream = torch.Generator().manual_seed(1)
    recompute_normalisation(model.base, stream, batches=4, batch_size=16)
    with torch.no_grad():
        for _ in range(10):
            model.energy(model.base.sample(4, stream))
    return model.train()


def latents(count: int = 32) -> Tensor:
    return torch.randn(count, LATENT, generator=torch.Generator().manual_seed(2))


@pytest.fixture(params=list(NETWORKS))
def model(request: pytest.FixtureRequest) -> GEBM:
    return trained(request.param)


@pytest.mark.parametrize("memory_format", [torch.preserve_format, torch.channels_last], ids=["kept", "channels_last"])
def test_energies_and_gradients_are_those_of_the_original(model: GEBM, memory_format: torch.memory_format) -> None:
    """To 1e-4 in float32; β is large enough for the energy, not the prior, to make the gradient."""
    fast = model.for_sampling(memory_format).potential(1e4).with_gradient(latents())
    plain = model.eval().potential(1e4).with_gradient(latents())
    assert plain.gradient is not None
    assert fast.gradient is not None
    scale = plain.energy.std()
    assert (fast.energy - plain.energy).abs().max() < 1e-4 * scale
    assert (fast.gradient - plain.gradient).norm() < 1e-4 * plain.gradient.norm()
    assert plain.gradient.norm() > 10 * latents().norm()


def test_in_double_precision_nothing_but_rounding_differs(model: GEBM) -> None:
    model = model.double()
    fast = model.for_sampling().potential(1e4).with_gradient(latents().double())
    plain = model.eval().potential(1e4).with_gradient(latents().double())
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


def test_the_copy_is_frozen_and_folded(model: GEBM) -> None:
    twin = model.for_sampling()
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert not any(module.training for module in twin.modules())
    assert not any(parametrize.is_parametrized(module) for module in twin.modules())
    norms = [module for module in twin.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before_convolutions = isinstance(model.energy, SNGANResNetDiscriminator)  # these batch norms cannot be folded
    assert bool(norms) == before_convolutions
    assert type(twin.base) is Base
    assert twin.base.dtype == torch.float32


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_original_is_left_as_it_was(dtype: torch.dtype | None) -> None:
    """Also after the copy was used, and it can still be trained."""
    model = trained("sngan")
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]
    model.for_sampling(dtype=dtype).potential().with_gradient(latents())
    assert [name for name, _ in model.named_modules()] == names
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0]), name
        assert value.stride() == before[name][1], name
    model.energy(model.base(latents())).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    again = model.for_sampling(dtype=dtype)
    assert not any(parametrize.is_parametrized(module) for module in again.modules())


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)),
        (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)),
        (nn.ConvTranspose2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)),
        (nn.ConvTranspose2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
        (spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
        (weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.BatchNorm2d(4)),
        (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        (nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    ],
    ids=lambda layers: "-".join(type(layer).__name__ for layer in layers),
)
def test_folding_keeps_the_function(layers: tuple[nn.Module, ...]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*layers).double()
    x = torch.randn(4, 3, *([7] if isinstance(layers[0], nn.Conv1d) else [7, 7]), dtype=torch.float64)
    for _ in range(3):
        network(2 * x + 1)
    twin = frozen_copy(network)
    torch.testing.assert_close(twin(x), network.eval()(x), rtol=1e-10, atol=1e-10)


def test_a_layer_used_twice_is_folded_in_its_place_only() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    network = nn.Sequential(shared, nn.BatchNorm1d(3), shared)
    network(torch.randn(8, 3))
    x = torch.randn(8, 3)
    torch.testing.assert_close(frozen_copy(network)(x), network.eval()(x))


def test_lowered_convolutions_keep_the_rest_in_single_precision() -> None:
    model = trained("sngan")
    twin = model.for_sampling(dtype=torch.bfloat16)
    assert twin.base.dtype == torch.float32
    for module in twin.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            assert module.weight.dtype == torch.bfloat16
        if isinstance(module, nn.Linear):
            assert module.weight.dtype == torch.float32
    assert twin.base(latents()).dtype == torch.float32
    position = twin.potential().with_gradient(latents())
    assert {part.dtype for part in position if part is not None} == {torch.float32}
    assert twin.base.sample(3, torch.Generator()).dtype == torch.float32


def test_latents_stay_in_single_precision_when_the_first_layer_is_a_convolution() -> None:
    network = nn.Sequential(nn.Unflatten(1, (LATENT, 1, 1)), nn.ConvTranspose2d(LATENT, 3, 4))
    energy = nn.Sequential(nn.Conv2d(3, 1, 4), nn.Flatten(0))
    twin = GEBM(Base(network, GaussianPrior(LATENT)), energy).for_sampling(dtype=torch.bfloat16)
    assert twin.base.dtype == torch.float32
    assert twin.potential()(latents()).dtype == torch.float32


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype must be None or torch\.bfloat16"):
        trained("mlp").for_sampling(dtype=torch.float16)
    with pytest.raises(ValueError, match="for convolutions"):
        trained("mlp").for_sampling(dtype=torch.bfloat16)


MEMORY = """
import gc, torch
from pathlib import Path
from gebm import GEBM, Base, GaussianPrior
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.samplers import HMC, MALA, ULA

torch.set_num_threads(1)
torch.manual_seed(0)
model = GEBM(Base(SNGANGenerator(6, width=4), GaussianPrior(6)), SNGANDiscriminator(width=4)).for_sampling()
potential, generator = model.potential(), torch.Generator().manual_seed(0)

def run(sampler, state, steps, kept=None):
    for _ in range(steps):
        state, _ = sampler.step(potential, state, generator)
        if kept is not None:
            kept.append(potential.energy(state.position.z.requires_grad_(True)))
    live = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
    # not getrusage: its peak is inherited from the process that started this one
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return state, int(peak.split()[1]) / 1024, live

for sampler, kept in ((ULA(0.1), None), (MALA(0.1), None), (HMC(0.1, 1), None), (ULA(0.1), [])):
    state = run(sampler, sampler.init(potential, torch.randn(64, 6)), 5, kept)[0]
    state, peak, live = run(sampler, state, 5, kept)
    _, peak_later, live_later = run(sampler, state, 20, kept)
    print(peak_later - peak, live_later - live)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_peak_memory_of_a_chain_does_not_grow_with_its_length() -> None:
    """In a process of its own: 20 steps more raise the peak by less than the activations of four (about 3 MiB each), and leave no
    tensor more; a chain that keeps its graphs is found out.
    """
    output = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    *clean, leaking = ([float(word) for word in line.split()] for line in output.splitlines())
    assert len(clean) == 3
    assert all(grown < 12 and tensors == 0 for grown, tensors in clean)
    assert leaking[0] > 40
