"""The library on a device of torch's private backend that does not exist, in a process of its own: `test_fake_device.py` starts it.

Tensors are fake: they have a shape, a type and a device, and no numbers. An operation on tensors of this device and of the host raises, as
on a GPU, and so does one whose output's size depends on numbers. Covered are both phases of training with their states and what they end
with, every sampler from its start on, log Z and what is made of its weights.

Not covered: numbers (what is read is True, 0 or 1), and with them the search for a schedule, which ends by what it reads; bfloat16, for
which a backend has to bring autocast; flows, whose layers read masks when they are built; what torch allows (a host's tensor of no
dimension, an index from the host, copies that are asked for), which `test_asynchronous.py` counts; and what is done for "cuda" by name. No
numbers are drawn: only the generator's device is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gebm
from baselines.gan import Hinge, NonSaturating
from gebm.base import Base, GaussianPrior, Prior, UniformPrior
from gebm.diagnostics import record
from gebm.model import GEBM, LatentPotential
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.objectives import Kale, Objective
from gebm.partition import (
    LogPartition,
    Schedule,
    annealed_importance_sampling,
    bridge_sampling,
    importance_sampling,
    reverse_annealing,
    sequential_monte_carlo,
)
from gebm.samplers import MALA, ULA, Info, Sampler, State
from gebm.temperature import calibrate, gain
from gebm.training import AlternatingTraining

from .test_asynchronous import PHASES, READS, SAMPLERS, SHAPE, Phase, calibrated, stream, training

NAME = "fakegpu"


class Backend(backend_registration._DummyBackendModule):
    """What torch asks of the device. It is not available, so that numbers of the host become its fake tensors without a kernel."""

    def is_available(self) -> bool:
        return False


KEPT = backend_registration._DummyPrivateUse1Hook(), backend_registration._DummyDeviceGuard()  # torch may keep none
backend_registration._setup_privateuseone_for_python_backend(NAME, Backend(), *KEPT)  # before any backward pass
FAKE, HOST = torch.device(NAME, 0), torch.device("cpu")


class Generator(torch.Generator):
    """A generator that is said to be of any device; torch makes none of a backend without kernels."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        made: Generator = super().__new__(cls, "cpu")
        made.said = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.said

    def get_state(self) -> Tensor:
        return torch.zeros(1, dtype=torch.uint8)

    def set_state(self, state: Tensor) -> None:
        assert state.device == HOST


class Draws(TorchFunctionMode):
    """Draws: of the generator's own device only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        generator = kwargs.pop("generator", None)
        result = func(*args, **kwargs)
        if generator is not None and result.device.type != generator.device.type:
            raise RuntimeError(f"Expected a {result.device.type} generator but found one of {generator.device}")
        return result


class Reads(TorchDispatchMode):
    """Numbers that are read; `whole` stands for every whole one."""

    whole = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) != READS:
            return func(*args, **(kwargs or {}))
        return {torch.bool: True, torch.int64: self.whole}.get(args[0].dtype, 1.0)


def copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """A deep copy; torch's own looks for the bytes."""
    made = tensor.detach().clone()
    memo[id(tensor)] = made = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    return made


def numbers(tensor: Tensor) -> np.ndarray[Any, Any]:
    """What `Tensor.numpy` gives: only a tensor of the host has any."""
    if tensor.device != HOST:
        raise TypeError(f"can't convert {tensor.device} tensor to numpy")
    return np.ones(tensor.shape)


@pytest.fixture(autouse=True)
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    """All tensors are fake."""
    swap, mode = torch.utils.swap_tensors, FakeTensorMode(allow_non_fake_inputs=False)

    def forgotten(one: Tensor, other: Tensor) -> None:
        converter = mode.fake_tensor_converter  # its weak references are in the way of a module's move
        converter.meta_converter.tensor_memo.clear()
        converter.constant_storage_mapping.clear()
        swap(one, other)

    monkeypatch.setattr(torch.utils, "swap_tensors", forgotten)
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(FakeTensor, "__deepcopy__", copied, raising=False)
    monkeypatch.setattr(Tensor, "numpy", numbers)
    with mode, Reads() as entered, Draws():
        yield entered


def devices(values: object) -> set[torch.device]:
    return {value.device for value in tree_leaves(values) if isinstance(value, Tensor)}


def model(prior: Prior, sampler: Sampler = ULA(0.1)) -> GEBM:
    """A GEBM on the device, made for sampling there."""
    base, energy = Base(MLPGenerator(4, (3,), [8]), prior), MLPDiscriminator((3,), [8])
    return GEBM(base, calibrated(energy, sampler)).to(FAKE).for_sampling()


# Training


def trained(objective: Objective, **options: Any) -> AlternatingTraining:
    return training("sngan", objective, 64, FAKE, **options)


TRAINED: dict[str, Callable[[], Phase]] = {
    **{name: (lambda build=build: build(FAKE)) for name, (build, _) in PHASES.items() if name != "likelihood"},
    "log-partition": lambda: trained(Kale("log-partition"), ema=0.9),
    "hinge": lambda: trained(Hinge(), penalty=0.0),
    "non-saturating": lambda: trained(NonSaturating(), penalty_points="data"),
}


@pytest.mark.parametrize("build", TRAINED.values(), ids=TRAINED)
def test_training_stays_on_the_device(build: Callable[[], Phase]) -> None:
    """A step, and one of the same phase resumed."""
    phase, resumed = build(), build()
    phase.step()
    resumed.load_state_dict(phase.state_dict())
    assert devices(resumed.step()) == {FAKE}


def test_what_training_ends_with_is_on_the_device(reads: Reads) -> None:
    phase = trained(Kale(), ema=0.9, initialise_log_partition=True)
    phase.step()
    reads.whole = 1  # batches that a batch norm has counted
    base = phase.finish()
    potential = GEBM(base, phase.energy).for_sampling().potential()
    position = potential.with_gradient(base.prior.sample(4, Generator(FAKE)))
    assert devices([base.state_dict(), position]) == {FAKE}


# Chains


@pytest.mark.parametrize("prior", [GaussianPrior(4), UniformPrior(4)], ids=lambda prior: type(prior).__name__)
@pytest.mark.parametrize("sampler", [sampler for sampler, _ in SAMPLERS.values()], ids=SAMPLERS)
def test_a_chain_stays_on_the_device(sampler: Sampler, prior: Prior) -> None:
    target, noise = model(prior, sampler).potential(100.0), Generator(FAKE)
    state = sampler.init(target, prior.sample(4, noise))
    for _ in range(2):
        state, info = sampler.step(target, state, noise)
    assert devices([state, info]) == {FAKE}


def test_samples_of_a_device_are_judged() -> None:
    draws = gebm.sample(model(GaussianPrior(4)), MALA(0.1), 3, 8)
    assert devices([draws.x, draws.trace.z]) == {FAKE}


# log Z


def bridge(potential: LatentPotential, noise: torch.Generator) -> LogPartition:
    trace = record(SAMPLER, potential, potential.prior.sample(4, noise), 8, noise)
    return bridge_sampling(potential, trace, 8, noise)


SCHEDULE, SAMPLER = Schedule((0.0, 0.5, 1.0)), MALA(0.1)
ESTIMATORS: dict[str, Callable[[LatentPotential, torch.Generator], LogPartition]] = {
    "importance sampling": lambda potential, noise: importance_sampling(potential, 8, noise),
    "AIS": lambda potential, noise: annealed_importance_sampling(potential, SAMPLER, SCHEDULE, 8, noise),
    "reverse AIS": lambda potential, noise: reverse_annealing(
        potential, SAMPLER, SCHEDULE, potential.prior.sample(8, noise), noise, warmup=1
    ),
    "SMC": lambda potential, noise: sequential_monte_carlo(potential, SAMPLER, SCHEDULE, 4, noise, islands=16),
    "bridge": bridge,
}


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_log_z_is_estimated_on_a_device(estimate: Callable[[LatentPotential, torch.Generator], LogPartition]) -> None:
    potential = model(GaussianPrior(4)).potential()
    found = estimate(potential, Generator(FAKE))
    energy = potential.energy(potential.prior.sample(8, Generator(FAKE)))
    assert found.held_against(energy).horizon == 0


def test_a_temperature_is_found_on_a_device() -> None:
    energy = model(GaussianPrior(4)).potential().energy(torch.zeros(8, 4, device=FAKE))
    assert gain(energy, energy, 1.0, energy).log_partition.draws == 8
    assert calibrate(energy, energy, energy).gain.log_partition.draws == 8


# What must be seen


class ForgetfulSampler(ULA):
    """A step that adds numbers of the host."""

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        z = state.position.z
        return super().step(potential, State(state.position._replace(z=z + torch.randn(z.shape))), generator)


class ForgetfulEnergy(SNGANDiscriminator):
    """A network that adds numbers of the host."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.arange(x.shape[0])


class ForgetfulObjective(Kale):
    """A loss whose weights are the host's."""

    def base_loss(self, energy_base: Tensor) -> Tensor:
        return (torch.ones(energy_base.shape[0]) * energy_base).sum()


def chain(sampler: Sampler, noise: torch.Generator) -> None:
    potential = model(GaussianPrior(4)).potential()
    sampler.step(potential, sampler.init(potential, torch.zeros(4, 4, device=FAKE)), noise)


def other(energy: nn.Module, images: torch.device) -> None:
    phase = trained(Kale())
    noise, settings = phase.generator, phase.settings
    AlternatingTraining(phase.base, energy, phase.objective, stream(64, images), noise, settings).step()


MIXED: dict[str, Callable[[], object]] = {
    "a chain's noise": lambda: chain(ForgetfulSampler(0.1), Generator(FAKE)),
    "a network's numbers": lambda: other(ForgetfulEnergy(SHAPE, 2).to(FAKE), FAKE),
    "a network": lambda: other(SNGANDiscriminator(SHAPE, 2), FAKE),
    "a base": lambda: Base(SNGANGenerator(4, SHAPE, 2), GaussianPrior(4)).sample(4, Generator(FAKE)),
    "an objective's weights": lambda: trained(ForgetfulObjective()).step(),
    "data": lambda: other(SNGANDiscriminator(SHAPE, 2).to(FAKE), HOST),
    "weights of draws": lambda: bridge(model(GaussianPrior(4)).to(HOST).potential(), Generator(FAKE)),
}


@pytest.mark.parametrize("mixed", MIXED.values(), ids=MIXED)
def test_what_is_left_on_the_host_is_seen(mixed: Callable[[], object]) -> None:
    """What the tests above look for, so that they can fail."""
    with pytest.raises(RuntimeError, match="same device"):
        mixed()


def test_a_generator_of_the_host_is_seen() -> None:
    with pytest.raises(RuntimeError, match="Expected a fakegpu generator"):
        chain(ULA(0.1), Generator())
