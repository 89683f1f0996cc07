"""Training keeps the device busy: a step reads no value back, moves nothing, and does the same work however many images there are.

What would make a host wait for its device (`.item()`, a branch on a tensor's value, an output whose size depends on values, a copy to
another device) goes through the dispatcher on every device, so a CPU shows it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.gan import Hinge, Wasserstein
from gebm.base import Base, GaussianPrior
from gebm.model import GEBM
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator
from gebm.objectives import Kale, MovingAverageDonskerVaradhan, Objective
from gebm.samplers import HMC, MALA, ULA, AdjustedKineticLangevin, KineticLangevin, Sampler
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

SHAPE = (3, 32, 32)
READS = "aten._local_scalar_dense.default"
WAITS = (READS, "aten.nonzero", "aten.masked_select", "aten.equal", "aten._unique", "aten.unique", "aten.is_nonzero")


class Waits(TorchDispatchMode):
    """Operations for which a host waits, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, target = str(func), (kwargs or {}).get("device")
        moves = "_to_copy" in name and target is not None and torch.device(target).type != args[0].device.type
        picks = "aten.index" in name and any(i is not None and i.dtype == torch.bool for i in args[1])
        if moves or picks or name.startswith(WAITS):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def training(family: str, objective: Objective, images: int = 64, **options: Any) -> AlternatingTraining:
    torch.manual_seed(0)
    if family == "sngan":
        generator, discriminator = SNGANGenerator(4, SHAPE, 2), SNGANDiscriminator(SHAPE, 2)
    else:
        generator, discriminator = SNGANResNetGenerator(4, SHAPE, 2), SNGANResNetDiscriminator(SHAPE, 2)
    settings = TrainingSettings(base_steps=10, batch_size=4, **options)
    return AlternatingTraining(
        Base(generator, GaussianPrior(4)), discriminator, objective, stream(images), torch.Generator(), settings
    )


def stream(images: int) -> DataStream:
    return DataStream(torch.zeros(images, *SHAPE, dtype=torch.uint8), 4, torch.Generator(), prepare)


def prepare(batch: Tensor, generator: torch.Generator) -> Tensor:
    return (batch.float() + torch.rand(batch.shape, generator=generator)) / 128 - 1


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
    else:  # torch asks twice whether it is the first average, of a counter that nobody moves off the host
        assert waits.found == [READS, READS]
        assert phase.average.n_averaged.device.type == "cpu"


def test_a_step_of_the_refit_waits_only_to_look() -> None:
    phase = training("sngan", Kale())
    settings = RefitSettings(steps=3, batch_size=4, check_every=2, partition_samples=4)
    refit = EnergyRefit(
        phase.finish(), phase.energy, Kale(), stream(64), torch.zeros(4, *SHAPE), torch.Generator(), settings
    )
    with Waits() as waits:
        refit.step()
        assert waits.found == []
        refit.step()
    assert set(waits.found) == {READS}


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
