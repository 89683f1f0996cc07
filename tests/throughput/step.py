"""Where the time of a training step goes: one energy step and one base step of suite `images`' profile `standard`, on a CPU.

    OMP_NUM_THREADS=1 python -m tests.throughput.step --widths 16 64 --batch 64 > results/throughput/step.md

prints, for each width and precision, milliseconds a step, its operations, what part that is of the fastest matrix products of the same
process in that precision, and how torch's profiler divides the time.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from bench.core.suite import load_suite
from bench.core.surroundings import keep_memory
from bench.data.images import PixelCodec
from bench.machine import cpu_name
from bench.track.timed.clock import flops_of_step, matmul_peak, sample
from gebm.base import Base, GaussianPrior
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.objectives import Kale
from gebm.settings import Precision, TrainingSettings
from gebm.stream import DataStream
from gebm.training import AlternatingTraining

__all__ = ["shares", "training"]

STEPS = 16  # every fourth has a gradient penalty
LATENT, SHAPE = 100, (1, 32, 32)
PRECISIONS: dict[Precision, str] = {"float32": "float32", "bf16": "bfloat16"}
"""Precisions of training, and torch's name of each."""
PARTS = {
    "convolutions": ("convolution",),
    "activations": ("relu", "_Slopes", "clamp", "tanh"),
    "batch norm": ("batch_norm",),
    "copies and casts": ("copy", "empty", "cat", "stack"),
    "optimiser": ("Optimizer", "_foreach", "_fused"),
}
"""Parts of a step, by what the names of the profiler's events have in them; the first that fits counts."""
HEADER = ("width", "precision", "ms a step", "GFLOP a step", "of matrix products' peak", *PARTS, "the rest")


def training(width: int, batch: int, precision: Precision) -> AlternatingTraining:
    """The loop as the profile `standard` has it, on random images."""
    torch.manual_seed(0)
    asked: TrainingSettings = load_suite("images").profile("standard").training
    settings = replace(asked, batch_size=batch, precision=precision)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4 * batch, *SHAPE), generator=generator, dtype=torch.uint8)
    base = Base(SNGANGenerator(LATENT, SHAPE, width), GaussianPrior(LATENT))
    energy = SNGANDiscriminator(SHAPE, width)
    for network in (base, energy):
        network.to(memory_format=torch.channels_last)
    data = DataStream(images, batch, generator, PixelCodec(256).dequantise)
    return AlternatingTraining(base, energy, Kale(), data, generator, settings)


def shares(loop: AlternatingTraining) -> dict[str, float]:
    """Return the part of the time that each kind of operation takes, as `PARTS` names them."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            loop.step()
    events = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    total, found = sum(events.values()), dict.fromkeys((*PARTS, "the rest"), 0.0)
    for name, spent in events.items():
        found[next((part for part, words in PARTS.items() if any(word in name for word in words)), "the rest")] += spent
    return {part: spent / total for part, spent in found.items()}


def rows(widths: Sequence[int], batch: int) -> list[tuple[str, ...]]:
    """Return the table's rows."""
    table = []
    for width in widths:
        for precision, name in PRECISIONS.items():
            loop = training(width, batch, precision)
            sample(loop.step, STEPS // 2, "cpu")
            seconds = min(sample(loop.step, STEPS, "cpu") for _ in range(3))
            flops = sum(flops_of_step(loop.step) for _ in range(4)) / 4
            numbers = f"{1e3 * seconds:.1f}", f"{flops / 1e9:.2f}", f"{flops / seconds / matmul_peak(name, 'cpu'):.0%}"
            table.append((str(width), name, *numbers, *(f"{share:.0%}" for share in shares(loop).values())))
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--give-back", action="store_true", help="give freed memory back, which runs keep")
    asked = parser.parse_args()
    if not asked.give_back:
        keep_memory()
    lines = [HEADER, ("---:",) * len(HEADER), *rows(asked.widths, asked.batch)]
    peaks = ", ".join(f"{name} {matmul_peak(name, 'cpu') / 1e9:.0f}" for name in ("float32", "bfloat16"))
    print(
        f"{cpu_name()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}; SNGAN ConvNet 32×32, batch {asked.batch}; matrix "
        f"products in the same process: {peaks} GFLOP/s. Load average at the end: {os.getloadavg()[0]:.1f}.\n"
    )
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    main()
