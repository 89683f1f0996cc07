"""`bench doctor`: is this machine ready, and if not, what is missing."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

__all__ = ["examine"]

LEAST_FREE = 200 * 2**20  # bytes; the quick profile writes about 10 MiB


def examine(store: Path, data: Path, weights: Path) -> int:
    """Print a line a check; 0 if everything that is needed is there, else 1."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", versions_line),
        ("device", device_line),
        ("store", lambda: store_line(store)),
        ("datasets", lambda: datasets_line(data)),
        ("weights", lambda: weights_line(weights)),
        ("self-test", self_test),
    ]
    sound = True
    for name, check in checks:
        try:
            click.echo(f"{name:<10} ok   {check()}")
        except Exception as error:  # a doctor reports what it finds, whatever it is
            sound = False
            click.echo(f"{name:<10} BAD  {error}")
    return 0 if sound else 1


def versions_line() -> str:
    """Python and the libraries that make numbers."""
    from bench import __version__
    from bench.core.store import versions

    libraries = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"bench {__version__}, python {sys.version.split()[0]}, {libraries}"


def device_line() -> str:
    """What there is to compute on."""
    import torch

    from bench.core.runner import environment, resolve_device

    where = environment(resolve_device("auto"))
    cuda = "found" if torch.cuda.is_available() else "not found"
    return f"{where['device']}, {where['cores']} cores, {where['cpu_capability']}; CUDA {cuda}"


def store_line(store: Path) -> str:
    """Whether runs can be written, and how much fits."""
    from bench.core.store import Store

    existing = next(path for path in (store, *store.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE:
        raise OSError(f"only {free / 2**20:.0f} MiB free at {store}; make room or choose another --store")
    if store.exists():
        Store(store).create()
    return f"{store}: {'there' if store.exists() else 'will be made'}, {free / 2**30:.1f} GiB free"


def datasets_line(data: Path) -> str:
    """Which datasets are at hand."""
    from bench.core import registry
    from bench.data.files import AT_HAND, states

    found = [name for name, state in states(list(registry.entries("datasets")), data).items() if state in AT_HAND]
    return f"at hand: {', '.join(found)}; files are looked for in {data}"


def weights_line(weights: Path) -> str:
    """Whether FID can be computed, or scores are named after an in-domain classifier."""
    from bench.metrics.extractors import inception_weights

    if inception_weights(weights):
        return f"inception-v3-compat found in {weights}"
    return (
        f"inception-v3-compat not found in {weights}: scores use a classifier trained on the spot and are named after it, never 'FID' "
        "(bench data fetch inception-v3-compat brings it)"
    )


def self_test() -> str:
    """Train the smallest GEBM on a Gaussian whose best energy is known, and compare."""
    import torch
    from torch import nn

    from gebm.base import Base, GaussianPrior
    from gebm.objectives import Kale
    from gebm.training import DataStream, EnergyRefit, RefitSettings

    start = time.monotonic()
    generator = torch.Generator().manual_seed(0)
    base = Base(nn.Identity(), GaussianPrior(1)).eval()
    data = torch.randn(4096, 1, generator=generator) + 1.0
    torch.manual_seed(0)
    energy = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    settings = RefitSettings(steps=1500, batch_size=256, learning_rate=1e-2, penalty=0.0, check_every=500)
    stream = DataStream(data[:3072], 256, generator)
    refit = EnergyRefit(base, energy, Kale(), stream, data[3072:], generator, settings)
    while refit.done < refit.total:
        refit.step()
    slope = next(energy.parameters()).item()
    if abs(slope + 1) > 0.2:
        raise ArithmeticError(f"the energy of N(1,1) on N(0,1) has slope -1, trained {slope:.2f}: torch is broken here")
    return (
        f"trained the energy of N(1,1) on N(0,1): slope {slope:.2f} (truth -1.00) in {time.monotonic() - start:.1f} s"
    )
