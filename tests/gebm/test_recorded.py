"""Recorded steps are the steps themselves, bit for bit.

Without a GPU a tape stands for a CUDA graph: it keeps the operations that a step gives to its device, with the very tensors, and a replay
does these again and nothing else. What a step does in Python is lost on it as it is on a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from baselines.gan import Hinge, NonSaturating, Wasserstein
from gebm import recorded
from gebm.base import Base, GaussianPrior
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator
from gebm.objectives import ContrastiveDivergence, DonskerVaradhan, Kale, MovingAverageDonskerVaradhan, Objective
from gebm.recorded import WARM_UP, Losses, Recording, StepRecorder
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

SHAPE, LATENT, BATCH = (3, 32, 32), 4, 4
STEPS = 6 * WARM_UP
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]

Phase = AlternatingTraining | EnergyRefit


class Tape(TorchDispatchMode):
    """The operations of a step, with the tensors that they took and made; unlike a graph it takes the step while it records."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Any]]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.namespace == "aten":
            self.operations.append((func, args, kwargs or {}, tree_leaves(made)))
        return made

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return
        for func, args, kwargs, made in self.operations:
            again = tree_leaves(func(*args, **kwargs))
            if any(returned.alias_info for returned in func._schema.returns):
                continue  # it changed or viewed what it was given
            for old, new in zip(made, again, strict=True):
                if isinstance(old, Tensor):
                    old.copy_(new)


def taped(recorder: StepRecorder, step: Callable[..., Losses], *inputs: Tensor) -> Recording:
    """A recording on tape, of a step whose inputs are what it is first replayed on."""
    own = tuple(each.clone() for each in inputs)
    with Tape() as tape:
        losses = step(*own)
    return Recording(tape.replay, own, losses)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A GPU, or a CPU that records on tape."""
    if request.param == "cpu":
        monkeypatch.setattr(StepRecorder, "record", taped)
        monkeypatch.setattr(recorded, "RECORDED_ON", ("cpu",))
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    return str(request.param)


def seeded(seed: int, device: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def networks(family: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    if family == "mlp":
        return MLPGenerator(LATENT, SHAPE, [8]), MLPDiscriminator(SHAPE, [8])
    if family == "sngan":
        return SNGANGenerator(LATENT, SHAPE, 2), SNGANDiscriminator(SHAPE, 2)
    return SNGANResNetGenerator(LATENT, SHAPE, 2), SNGANResNetDiscriminator(SHAPE, 2)


def alternating(
    device: str, recordable: bool, objective: Callable[[], Objective] = Kale, family: str = "sngan", **options: Any
) -> AlternatingTraining:
    generator, energy = networks(family)
    base = Base(generator, GaussianPrior(LATENT)).to(device)
    settings = TrainingSettings(base_steps=100, batch_size=BATCH, **options)
    noise = seeded(2, device)
    return AlternatingTraining(
        base, energy.to(device), objective().to(device), stream(device), noise, settings, recordable=recordable
    )


def refit(device: str, recordable: bool, **options: Any) -> EnergyRefit:
    generator, energy = networks("sngan")
    base = Base(generator, GaussianPrior(LATENT)).to(device).eval().requires_grad_(False)
    settings = RefitSettings(100, batch_size=BATCH, partition_samples=16, check_every=5, **options)
    held_out = torch.rand(16, *SHAPE, generator=seeded(4, "cpu")).to(device)
    return EnergyRefit(
        base,
        energy.to(device),
        Kale().to(device),
        stream(device),
        held_out,
        seeded(2, device),
        settings,
        recordable=recordable,
    )


def stream(device: str) -> DataStream:
    data = torch.randint(0, 256, (18, *SHAPE), generator=seeded(3, "cpu"), dtype=torch.uint8)
    return DataStream(data.to(device), BATCH, seeded(1, device), prepare)


def prepare(batch: Tensor, generator: torch.Generator) -> Tensor:
    return (batch.float() + torch.rand(batch.shape, generator=generator, device=batch.device)) / 128 - 1


def same(one: Any, other: Any) -> bool:
    """Whether two states hold the same bits."""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def take(phase: Phase, steps: int = STEPS) -> list[Losses]:
    return [phase.step() for _ in range(steps)]


PHASES: dict[str, Callable[[str, bool], Phase]] = {
    "kale": lambda on, recordable: alternating(
        on, recordable, n_critic=2, ema=0.9, decay="linear", clip_norm=1.0, penalty_every=3
    ),
    "bfloat16": lambda on, recordable: alternating(on, recordable, precision="bf16", ema=0.9, penalty_every=2),
    "resnet": lambda on, recordable: alternating(
        on, recordable, MovingAverageDonskerVaradhan, "sngan-resnet", penalty_points="both", decay="cosine"
    ),
    "mlp": lambda on, recordable: alternating(on, recordable, DonskerVaradhan, "mlp", initialise_log_partition=True),
    "hinge": lambda on, recordable: alternating(on, recordable, Hinge, penalty=0.0, burst=5, burst_every=4),
    "non-saturating": lambda on, recordable: alternating(on, recordable, NonSaturating, energy_base_mode="evaluation"),
    "wasserstein": lambda on, recordable: alternating(
        on, recordable, Wasserstein, penalty_norm=1.0, decay="exponential", decay_every=3, decay_factor=0.5
    ),
    "refit": lambda on, recordable: refit(on, recordable, calibrated=True, weight_decay=0.1),
    "refit, bfloat16": lambda on, recordable: refit(on, recordable, precision="bf16", decay="cosine"),
}


@pytest.mark.parametrize("name", PHASES)
def test_the_same_bits(name: str, device: str) -> None:
    plain, phase = (PHASES[name](device, recordable) for recordable in (False, True))
    assert same(take(plain), take(phase))
    assert same(plain.state_dict(), phase.state_dict())
    assert phase.recorder.recordings
    assert not plain.recorder.recordings


@pytest.mark.parametrize("name", ["kale", "refit"])
def test_a_restored_phase_goes_on_with_the_same_bits(name: str, device: str) -> None:
    phase = PHASES[name](device, True)
    take(phase)
    state = phase.state_dict()
    losses, end = take(phase), phase.state_dict()
    phase.load_state_dict(state)
    assert not phase.recorder.recordings
    assert same(take(phase), losses)
    assert same(phase.state_dict(), end)
    fresh = PHASES[name](device, True)
    fresh.load_state_dict(state)
    assert same(take(fresh), losses)


def test_a_state_of_a_phase_that_was_not_recorded_goes_on_recorded(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was saved on a CPU does on a GPU: its learning rates are numbers, its optimizers not capturable."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(recorded, "RECORDED_ON", ())
        plain = PHASES["kale"](device, True)
        take(plain)
        state = plain.state_dict()
    phase = PHASES["kale"](device, True)
    phase.load_state_dict(state)
    take(phase)
    assert phase.recorder.recordings
    groups = [group for each in (phase.base_optimizer, phase.energy_optimizer) for group in each.param_groups]
    assert all(group["capturable"] and group["lr"].device.type == device for group in groups)


def test_the_base_taken_between_replays_changes_nothing(device: str) -> None:
    plain, phase = (alternating(device, recordable, ema=0.9) for recordable in (False, True))
    for each in (plain, phase):
        take(each)
        each.finish()
    assert same(take(plain), take(phase))
    assert same(plain.state_dict(), phase.state_dict())


def test_inputs_of_another_shape_are_refused(device: str) -> None:
    recorder = StepRecorder(seeded(0, device), active=True)
    for _ in range(WARM_UP + 2):
        recorder("sum", lambda x: {"loss": x.sum()}, torch.ones(4, 2, device=device))
    with pytest.raises(ValueError, match=r"recorded on \(4, 2\), it was given \(1, 2\)"):
        recorder("sum", lambda x: {"loss": x.sum()}, torch.ones(1, 2, device=device))


def test_losses_are_not_overwritten_by_later_steps(device: str) -> None:
    phase = alternating(device, True)
    take(phase)
    losses = phase.step()
    before = {name: value.clone() for name, value in losses.items()}
    take(phase, 2)
    assert same(losses, before)


class Counting(Kale):
    """An objective that keeps a number in Python, which no recording sees."""

    calls = 0

    def energy_loss(self, energy_data: Tensor, energy_base: Tensor) -> Tensor:
        self.calls += 1
        return self.calls * super().energy_loss(energy_data, energy_base)


def test_what_is_kept_in_python_is_lost(device: str) -> None:
    """So the comparison of bits sees it, and such an objective is not to be called recordable."""
    plain, phase = (alternating(device, recordable, Counting) for recordable in (False, True))
    assert same(take(plain, WARM_UP), take(phase, WARM_UP))
    assert not same(take(plain), take(phase))


class Dropping(nn.Module):
    """An energy with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 32 * 32, 1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        energies: Tensor = self.layers(x)
        return energies


def test_steps_that_cannot_be_recorded_are_not(device: str) -> None:
    chains = alternating(device, True, ContrastiveDivergence)
    base = Base(networks("sngan")[0], GaussianPrior(LATENT)).to(device)
    settings = TrainingSettings(base_steps=100, batch_size=BATCH)
    energy, objective = Dropping().to(device), Kale().to(device)
    dropout = AlternatingTraining(base, energy, objective, stream(device), seeded(2, device), settings, recordable=True)
    for phase in (chains, dropout):
        take(phase, WARM_UP + 1)
        assert not phase.recorder.active


def test_on_a_cpu_steps_are_called() -> None:
    phase = alternating("cpu", True)
    take(phase, WARM_UP + 2)
    assert not phase.recorder.active
