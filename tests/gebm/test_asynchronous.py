"""Training and sampling keep the device busy: a step reads no value back, moves nothing, and does the same work however many images
there are.

What would make a host wait for its device (`.item()`, a branch on a tensor's value, an output whose size depends on values, a copy to
another device) goes through the dispatcher on every device, so a CPU shows it. The device "meta", whose tensors have shapes and no numbers,
stands for a GPU and shows what is left on the host, too: an operation on tensors of two devices raises there as it does on a GPU.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import baselines.guided
import gebm.samplers
from baselines.flows import FlowSettings, MaximumLikelihood, MaximumLikelihoodSettings, build_flow
from baselines.gan import Hinge, Wasserstein
from baselines.guided import DRS, CalibratedEnergy, Isotonic, Logistic
from baselines.short_run import ShortRunSettings, ShortRunTraining
from gebm.base import Base, GaussianPrior, Prior, UniformPrior
from gebm.model import GEBM
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator
from gebm.objectives import ContrastiveDivergence, Kale, MovingAverageDonskerVaradhan, Objective
from gebm.samplers import HMC, MALA, ULA, AdjustedKineticLangevin, KineticLangevin, Sampler, State, StepSizeAdaptation
from gebm.samplers.tempering import parallel_tempering
from gebm.selection import SelectedTraining
from gebm.settings import SelectionSettings
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

SHAPE = (3, 32, 32)
READS = "aten._local_scalar_dense.default"
WAITS = (
    READS,
    "aten.nonzero",
    "aten.masked_select",
    "aten.equal",
    "aten._unique",
    "aten.unique",
    "aten.is_nonzero",
    "aten.repeat_interleave.Tensor",
    "aten.bincount",
)
COPIES = ("aten._to_copy", "aten.copy_")
PICKS = ("aten.index.", "aten.index_put", "aten._index_put_impl_")
GPU, SIMULATED = torch.device("cuda"), torch.device("meta")
STAND_INS = {torch.bool: True, torch.int64: 0}
"""What is read from a simulated GPU; 1.0 for real numbers."""


class Waits(TorchDispatchMode):
    """Operations for which a host waits, by name; reads of a `host`'s own tensors are none. A simulated GPU's are answered."""

    def __init__(self, host: str = "") -> None:
        super().__init__()
        self.found: list[str] = []
        self.host, self.copies = host, Copies(self.found)

    def __enter__(self) -> Waits:
        self.copies.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self.copies.__exit__(*raised)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(func), kwargs or {}
        copies = name.startswith(COPIES)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        places = {each.device.type for each in tensors if each.ndim or copies}  # kernels take numbers of the host
        if copies and kwargs.get("device") is not None:
            places.add(torch.device(kwargs["device"]).type)
        picks = name.startswith(PICKS) and any(each is not None and each.dtype == torch.bool for each in args[1])
        reads = name.startswith(WAITS) and tensors[0].device.type != self.host
        if len(places) > 1 or picks or reads:
            self.found.append(name)
        if SIMULATED in {each.device for each in tensors}:
            if name == READS:
                return STAND_INS.get(args[0].dtype, 1.0)
            kwargs = {key: value for key, value in kwargs.items() if key != "generator"}  # some operations want none
        return func(*args, **kwargs)


class Copies(TorchFunctionMode):
    """Numbers of the host made a tensor elsewhere, which a simulated GPU does without a copy."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and result.device.type != "cpu":
            self.found.append(func.__name__)
        return result


class Simulated(torch.Generator):
    """A generator of a simulated GPU."""

    device = SIMULATED


def generator(device: torch.device | str = "cpu") -> torch.Generator:
    return Simulated() if device == SIMULATED else torch.Generator(device)


def training(
    family: str, objective: Objective, images: int = 64, device: torch.device | str = "cpu", **options: Any
) -> AlternatingTraining:
    torch.manual_seed(0)
    network: nn.Module
    energy: nn.Module
    if family == "sngan":
        network, energy = SNGANGenerator(4, SHAPE, 2), SNGANDiscriminator(SHAPE, 2)
    else:
        network, energy = SNGANResNetGenerator(4, SHAPE, 2), SNGANResNetDiscriminator(SHAPE, 2)
    base = Base(network, GaussianPrior(4)).to(device)
    settings = TrainingSettings(base_steps=10, batch_size=4, **options)
    return AlternatingTraining(
        base, energy.to(device), objective.to(device), stream(images, device), generator(device), settings
    )


def stream(images: int, device: torch.device | str = "cpu") -> DataStream:
    data = torch.zeros(images, *SHAPE, dtype=torch.uint8, device=device)
    return DataStream(data, 4, generator(device), prepare)


def prepare(batch: Tensor, generator: torch.Generator) -> Tensor:
    return (batch.float() + torch.rand(batch.shape, generator=generator, device=batch.device)) / 128 - 1


def refit(device: torch.device | str = "cpu", **options: Any) -> EnergyRefit:
    phase = training("sngan", Kale(), device=device)
    settings = RefitSettings(batch_size=4, partition_samples=4, **options)
    held_out = torch.zeros(4, *SHAPE, device=device)
    return EnergyRefit(
        phase.base.eval(), phase.energy, phase.objective, stream(64, device), held_out, generator(device), settings
    )


def short_run(device: torch.device) -> ShortRunTraining:
    settings = ShortRunSettings(10, batch_size=4, langevin_steps=2)
    return ShortRunTraining(SNGANDiscriminator(SHAPE, 2).to(device), stream(64, device), generator(device), settings)


def likelihood(device: torch.device) -> MaximumLikelihood:
    flow = build_flow(FlowSettings("realnvp", layers=2, hidden=8), 3).to(device)
    rows = DataStream(torch.zeros(64, 3, device=device), 16, generator(device))
    settings = MaximumLikelihoodSettings(steps=100, batch_size=16, check_every=50, ema=0.9, noise=0.1)
    return MaximumLikelihood(flow, rows, torch.zeros(8, 3, device=device), generator(device), settings)


Phase = AlternatingTraining | EnergyRefit | MaximumLikelihood | ShortRunTraining
PHASES: dict[str, tuple[Callable[[torch.device], Phase], int]] = {
    "kale": (lambda on: training("sngan", Kale(), 64, on, n_critic=2, ema=0.9, decay="linear", clip_norm=1.0), 0),
    "penalties": (
        lambda on: training(
            "sngan-resnet", MovingAverageDonskerVaradhan(), 64, on, penalty_every=2, penalty_points="both"
        ),
        0,
    ),
    "wasserstein": (lambda on: training("sngan", Wasserstein(), 64, on, penalty=10.0, penalty_norm=1.0, burst=2), 0),
    "evaluation": (lambda on: training("sngan", Kale(), 64, on, energy_base_mode="evaluation", weight_decay=0.1), 0),
    # chains begin with a look whether they are inside the prior's support
    "contrastive": (lambda on: training("sngan", ContrastiveDivergence(ULA(0.05), 2), 64, on), 1),
    "persistent": (
        lambda on: training("sngan", ContrastiveDivergence(KineticLangevin(0.05), 2, True, restart=0.5), 64, on),
        1,
    ),
    "refit": (lambda on: refit(on, steps=100, check_every=50, calibrated=True), 0),
    # every second step looks at the held-out gain
    "refit and look": (lambda on: refit(on, steps=100, check_every=2), 1),
    # ends where the loss is beyond all bounds
    "short-run": (short_run, 1),
    # passes over steps whose loss or gradient is not finite
    "likelihood": (likelihood, 2),
}


def samplers() -> dict[str, tuple[Sampler, list[str]]]:
    """Every sampler there is, with settings under which a step does all that it can, and what two steps wait for."""
    named = {name: getattr(module, name) for module in (gebm.samplers, baselines.guided) for name in module.__all__}
    kinds = {name: kind for name, kind in named.items() if isinstance(kind, type) and issubclass(kind, Sampler)}
    others = kinds.keys() - {"Sampler", "DRS", "ParallelTempering", "StepSizeAdaptation"}
    return {name: (kinds[name](), []) for name in sorted(others)} | {
        "DRS": (DRS(burn_in=0), []),
        "ParallelTempering": (parallel_tempering(0.1), []),
        "StepSizeAdaptation": (StepSizeAdaptation(MALA(0.1), 1), [READS]),  # its one step of warm-up
        "HMC with masses": (HMC(0.1, 2, (1.0, 2.0, 3.0, 4.0)), ["new_tensor"] * 2),
    }


def calibrated(energy: nn.Module, sampler: Sampler) -> nn.Module:
    """An energy as this sampler is guided by it."""
    if sampler.calibration == "isotonic":
        knots = torch.linspace(-1, 1, 4)
        return CalibratedEnergy(energy, Isotonic(knots, torch.sigmoid(knots)))
    return CalibratedEnergy(energy, Logistic(2.0, 0.1)) if sampler.calibration == "logistic" else energy


def two_steps(sampler: Sampler, prior: Prior, device: torch.device) -> Callable[[], State]:
    """A chain on a device, as what takes two steps of it."""
    torch.manual_seed(0)
    base, energy = Base(MLPGenerator(4, (3,), [8]), prior), MLPDiscriminator((3,), [8])
    model = GEBM(base, calibrated(energy, sampler)).for_sampling()
    here = sampler.init(model.potential(100.0), prior.sample(4, generator()))
    start = tree_map_only(Tensor, lambda value: value.to(device), here)
    potential, noise = model.to(device).potential(100.0), generator(device)

    def steps() -> State:
        state: State = start
        for _ in range(2):
            state, _ = sampler.step(potential, state, noise)
        return state

    return steps


SAMPLERS = samplers()


# On the CPU


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("family", ["sngan", "sngan-resnet"])
@pytest.mark.parametrize(
    ("objective", "options"),
    [
        (Kale, {"n_critic": 2, "ema": 0.9, "decay": "linear", "clip_norm": 1.0}),
        (MovingAverageDonskerVaradhan, {"penalty_every": 2, "penalty_points": "both"}),
        (Hinge, {"penalty": 0.0, "burst": 2, "weight_decay": 0.1}),
        (Wasserstein, {"penalty": 10.0, "penalty_norm": 1.0}),
    ],
)
def test_a_step_never_waits_for_the_device(
    family: str, precision: str, objective: type[Objective], options: dict[str, Any]
) -> None:
    phase = training(family, objective(), precision=precision, **options)
    phase.step()  # Adam's moments are made
    with Waits() as waits:
        phase.step()
    if phase.average is None:
        assert waits.found == []
    else:  # whether it is the first average, asked of a counter that nobody moves off the host
        assert waits.found == [READS]
        assert phase.average.n_averaged.device.type == "cpu"


def test_a_step_of_the_refit_waits_only_to_look() -> None:
    phase = refit(steps=3, check_every=2)
    with Waits() as waits:
        phase.step()
        assert waits.found == []
        phase.step()
    assert set(waits.found) == {READS}


def test_a_step_of_selected_training_reads_its_losses_once() -> None:
    flow, energy = build_flow(FlowSettings("realnvp", layers=2, hidden=8), 3), MLPDiscriminator((3,), [8])
    rows, settings = DataStream(torch.randn(64, 3), 16, generator()), TrainingSettings(base_steps=10, batch_size=16)
    training = AlternatingTraining(flow, energy, Kale(), rows, generator(), settings)
    phase = SelectedTraining(training, torch.randn(8, 3), generator(), SelectionSettings(check_every=5))
    with Waits() as waits:
        phase.step()
    assert waits.found == [READS]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize(
    "sampler",
    [ULA(0.1), MALA(0.1), HMC(0.1, 2), KineticLangevin(0.1), AdjustedKineticLangevin(0.1)],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_step_of_a_chain_never_waits(sampler: Sampler, dtype: torch.dtype | None) -> None:
    phase = training("sngan", Kale())
    potential = GEBM(phase.base, phase.energy).for_sampling(dtype=dtype).potential(100.0)
    state = sampler.init(potential, torch.zeros(4, 4))
    with Waits() as waits:
        for _ in range(2):
            state, _ = sampler.step(potential, state, torch.Generator())
    assert waits.found == []


def test_a_wait_is_seen() -> None:
    """What the tests above look for, so that they can fail."""
    with Waits() as waits:
        torch.ones(2).sum().item()
        bool(torch.ones(2).any())
        torch.ones(3)[torch.ones(3) > 0]
        torch.ones(1).to("meta")
        torch.ones(1).to(torch.bfloat16)  # is no copy to another device
    assert len(waits.found) == 4


# On a simulated GPU


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A simulated GPU: fused Adam is told to support it, and autocast, which does not know it, that it is off."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    optimizer = importlib.import_module("torch.optim.optimizer")
    devices = [*optimizer._get_fused_kernels_supported_devices(), SIMULATED.type]
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: devices)
    return SIMULATED


def on_the_host(kept: Tensor) -> Tensor:
    """A tensor of a saved state as it is read again: on the CPU."""
    return torch.zeros_like(kept, device="cpu") if kept.device == SIMULATED else kept


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
@pytest.mark.parametrize(("build", "waiting"), PHASES.values(), ids=PHASES)
def test_a_step_on_a_gpu_leaves_nothing_on_the_host(
    build: Callable[[torch.device], Phase], waiting: int, gpu: torch.device
) -> None:
    """The first step and one of a phase resumed from a state that was saved on a CPU."""
    with Waits():
        phase, resumed = build(gpu), build(gpu)
        phase.step()
        resumed.load_state_dict(tree_map_only(Tensor, on_the_host, phase.state_dict()))
    with Waits("cpu") as waits:
        losses = resumed.step()
    assert waits.found == [READS] * waiting
    assert {loss.device for loss in losses.values()} == {gpu}


@pytest.mark.parametrize("prior", [GaussianPrior(4), UniformPrior(4)], ids=lambda prior: type(prior).__name__)
@pytest.mark.parametrize(("sampler", "waiting"), SAMPLERS.values(), ids=SAMPLERS)
def test_a_chain_on_a_gpu_leaves_nothing_on_the_host(
    sampler: Sampler, waiting: list[str], prior: Prior, gpu: torch.device
) -> None:
    steps = two_steps(sampler, prior, gpu)
    with Waits("cpu") as waits:
        state = steps()
    assert waits.found == waiting
    assert {value.device for value in tree_leaves(state) if isinstance(value, Tensor)} == {gpu}


def test_what_is_left_on_the_host_is_seen(gpu: torch.device) -> None:
    """What the tests above look for, so that they can fail."""
    there, here = torch.zeros(3, device=gpu), torch.zeros(3)
    for mixed in (lambda: there + here, lambda: torch.where(there > 0, there, here), lambda: torch.cat([there, here])):
        with pytest.raises(RuntimeError, match="device"):
            mixed()
    with pytest.raises(RuntimeError, match="device"):
        nn.Linear(3, 1)(there)
    with Waits("cpu") as waits:
        there.sum().item()
        here.to(gpu)
        there.copy_(here)
        there[torch.zeros(2, dtype=torch.long)]
        torch.tensor(1.0, device=gpu)
        there.new_tensor([1.0, 2.0])
        here.sum().item()  # waits for nobody
    assert len(waits.found) == 6


# On a GPU


@contextmanager
def never_waiting() -> Iterator[None]:
    """Inside, what makes the host wait for a GPU raises; that torch calls this a prototype is passed over."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
UNWAITING = {name: build for name, (build, waiting) in PHASES.items() if not waiting}


@on_a_gpu
@pytest.mark.parametrize("build", UNWAITING.values(), ids=UNWAITING)
def test_a_warm_step_runs_on_a_gpu_without_waiting(build: Callable[[torch.device], Phase]) -> None:
    phase = build(GPU)
    phase.step()
    with never_waiting():
        phase.step()


@on_a_gpu
@pytest.mark.parametrize(
    "sampler", [sampler for sampler, waiting in SAMPLERS.values() if not waiting], ids=lambda each: type(each).__name__
)
def test_a_warm_chain_runs_on_a_gpu_without_waiting(sampler: Sampler) -> None:
    steps = two_steps(sampler, GaussianPrior(4), GPU)
    steps()
    with never_waiting():
        steps()


# Work


class Work(TorchDispatchMode):
    """Elements that operations give, without those that only look at a part of others."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor) and not func.is_view:
                self.elements += value.numel()
        return result


def test_a_step_costs_the_same_however_many_images_there_are() -> None:
    """The order of an epoch is drawn once an epoch: n numbers for n images, a batch's worth a step."""
    found = {}
    for images in (64, 64_000):
        phase = training("sngan", Kale(), images)
        phase.step()
        with Work() as work:
            phase.step()
        found[images] = work.elements
    assert found[64] == found[64_000] > 0
    few = stream(64)
    with Work() as epoch:
        for _ in range(16):
            few.next()
    with Work() as batch:
        few.order = torch.arange(8)
        few.next()
    assert epoch.elements < 17 * batch.elements
