"""Seconds of one round of training (5 energy steps, 1 base step) of the SNGAN ConvNet at 32×32, batch 128, against a loop as one writes it
first: timed, on request only. That both take the same steps is part of plain `pytest`.

    python -m pytest tests/throughput/test_training.py --benchmark-only --benchmark-json=training.json

Every round times both once, one after the other; `extra_info` has the seconds of the plain loop and the median ratio. The bar is 1.5. Both
run on all cores, or on as many threads as `BENCH_THREADS` says; `BENCH_WIDTH` and `BENCH_BATCH` make it smaller, and with
`BENCH_PRECISION=bf16` the library trains in bfloat16, for which the bar is 2.5 at the published width. `BENCH_DEVICE=cuda` trains both on a
GPU, where a reading is of 20 rounds.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, Dataset

from bench.data.images import PixelCodec
from bench.track.timed.clock import sample
from gebm.base import Base, GaussianPrior
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.objectives import Kale
from gebm.settings import Precision
from gebm.training import AlternatingTraining, DataStream, TrainingSettings

from .conftest import DEVICE, STEPS

LATENT, CRITIC, ROUNDS = 100, 5, 3
PRECISION: Precision = "bf16" if os.environ.get("BENCH_PRECISION") == "bf16" else "float32"
WIDTH, BATCH = int(os.environ.get("BENCH_WIDTH", "64")), int(os.environ.get("BENCH_BATCH", "128"))


def pixels(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)


def dequantised(data: Tensor, batch: int, dtype: torch.dtype) -> DataStream:
    codec = PixelCodec(256)
    prepare = lambda images, generator: codec.dequantise(images, generator).to(dtype)  # noqa: E731
    return DataStream(data, batch, torch.Generator(data.device).manual_seed(1), prepare)


def library(
    width: int,
    batch: int,
    data: Tensor,
    dtype: torch.dtype = torch.float32,
    precision: Precision = "float32",
    device: str = "cpu",
) -> AlternatingTraining:
    """The library's loop, as `bench.images.models` sets it up."""
    torch.manual_seed(0)
    base = Base(SNGANGenerator(LATENT, width=width), GaussianPrior(LATENT)).to(memory_format=torch.channels_last)
    energy = SNGANDiscriminator(width=width).to(memory_format=torch.channels_last)
    settings = TrainingSettings(base_steps=1000, batch_size=batch, n_critic=CRITIC, precision=precision)
    objective, stream = Kale().to(device, dtype), dequantised(data.to(device), batch, dtype)
    noise = torch.Generator(device).manual_seed(2)
    base, energy = base.to(device, dtype), energy.to(device, dtype)
    return AlternatingTraining(base, energy, objective, stream, noise, settings, recordable=True)


class Pixels(Dataset[Tensor]):
    """Images one at a time, dequantised and scaled."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Tensor:
        image = self.data[row].float()
        return (image + torch.rand_like(image)) * (2 / 256) - 1


def endless(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    while True:
        yield from loader


def plain_discriminator(width: int) -> nn.Module:
    """The same layers, torch's own."""
    layers: list[nn.Module] = []
    channels = 3
    for wider in (width, 2 * width, 4 * width):
        layers += [spectral_norm(nn.Conv2d(channels, wider, 3, padding=1)), nn.LeakyReLU(0.1, inplace=True)]
        layers += [spectral_norm(nn.Conv2d(wider, wider, 4, stride=2, padding=1)), nn.LeakyReLU(0.1, inplace=True)]
        channels = wider
    layers += [spectral_norm(nn.Conv2d(channels, 8 * width, 3, padding=1)), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), spectral_norm(nn.Linear(8 * width * 16, 1)), nn.Flatten(0))


class Plain:
    """Algorithm 1 as one writes it first: torch's layers and layout, plain Adam, gradients of everything in every step."""

    def __init__(
        self, width: int, batches: Iterator[Tensor], dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        torch.manual_seed(0)
        self.generator, self.energy = (
            SNGANGenerator(LATENT, width=width).to(device, dtype),
            plain_discriminator(width).to(device, dtype),
        )
        self.log_partition = nn.Parameter(torch.zeros((), dtype=dtype, device=device))
        self.batches, self.noise = batches, torch.Generator(device).manual_seed(2)
        self.like: dict[str, Any] = {"dtype": dtype, "device": device}
        self.base_optimizer = torch.optim.Adam(self.generator.parameters(), 1e-4, (0.5, 0.999))
        groups = [{"params": self.energy.parameters()}, {"params": [self.log_partition], "lr": 1e-2}]
        self.energy_optimizer = torch.optim.Adam(groups, 1e-4, (0.5, 0.999))

    def fakes(self, count: int) -> Tensor:
        images: Tensor = self.generator(torch.randn(count, LATENT, generator=self.noise, **self.like))
        return images

    def step(self) -> None:
        for _ in range(CRITIC):
            real = next(self.batches).to(self.like["device"])
            fake = self.fakes(len(real)).detach()
            on_real, on_fake = self.energy(torch.cat([real, fake])).chunk(2)
            loss = on_real.mean() + self.log_partition + torch.exp(-on_fake - self.log_partition).mean() - 1
            fraction = torch.rand(len(real), generator=self.noise, **self.like).view(-1, 1, 1, 1)
            points = torch.lerp(fake, real, fraction).requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.energy(points).sum(), points, create_graph=True)
            loss = loss + gradient.flatten(1).square().sum(1).mean()
            self.energy_optimizer.zero_grad()
            loss.backward()
            self.energy_optimizer.step()
        energies = self.energy(self.fakes(len(real)))
        self.base_optimizer.zero_grad()
        (torch.softmax(-energies.detach(), 0) * energies).sum().backward()
        self.base_optimizer.step()


def test_both_take_the_same_steps() -> None:
    """Two rounds from the same weights with the same random numbers, in float64: Adam makes steps of small gradients' rounding errors."""
    data, double = pixels(64), torch.float64
    ours = library(4, 8, data, double)
    plain = Plain(4, iter(dequantised(data, 8, double).next, None), double)
    copied = dict(zip(plain.energy.state_dict(), ours.energy.state_dict().values(), strict=True))
    plain.energy.load_state_dict(copied)
    plain.generator.load_state_dict(ours.base.network.state_dict())
    before = [value.clone() for value in ours.energy.parameters()]
    for _ in range(2):
        ours.step()
        plain.step()
    for fast, slow in ((ours.energy, plain.energy), (ours.base.network, plain.generator)):
        for one, other in zip(fast.parameters(), slow.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    moved = [(old - new).abs().max() for old, new in zip(before, ours.energy.parameters(), strict=True)]
    assert min(moved) > 1e-4, "ten steps of about 1e-4 each"


def test_training_round(benchmark: Any, all_threads: int) -> None:
    data = pixels(4 * BATCH)
    loader = DataLoader(Pixels(data), BATCH, shuffle=True, num_workers=2, persistent_workers=True, drop_last=True)
    plain = Plain(WIDTH, endless(loader), device=DEVICE)
    ours = library(WIDTH, BATCH, data, precision=PRECISION, device=DEVICE)
    for _ in range(STEPS):  # a warm-up of both, in which a GPU's steps are recorded
        plain.step()
        ours.step()
    slow: list[float] = []
    fast: list[float] = []
    benchmark.pedantic(
        lambda: fast.append(sample(ours.step, STEPS, DEVICE)),
        setup=lambda: slow.append(sample(plain.step, STEPS, DEVICE)),
        rounds=ROUNDS,
    )
    benchmark.extra_info |= {
        "plain": slow,
        "library": fast,
        "ratio": statistics.median(one / other for one, other in zip(slow, fast, strict=True)),
        "width": WIDTH,
        "precision": PRECISION,
        "batch": BATCH,
        "threads": all_threads,
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }
