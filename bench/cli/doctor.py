"""`bench doctor`: is this machine ready, and if not, what is missing."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from bench.cli.data import at_hand
from bench.cli.usage import data_root, store_option, weights_root

__all__ = ["doctor"]

LEAST_FREE = 200 * 2**20  # bytes; the quick profile writes about 10 MiB


@click.command()
@store_option
def doctor(store: Path) -> None:
    """Check versions, device, data, weights and disk, and train briefly."""
    checks: dict[str, Callable[[], str]] = {
        "versions": versions_line,
        "device": device_line,
        "store": lambda: store_line(store),
        "datasets": lambda: f"at hand: {', '.join(at_hand())}; files are looked for in {data_root()}",
        "weights": weights_line,
        "self-test": self_test,
    }
    sound = True
    for name, check in checks.items():
        try:
            click.echo(f"{name:<10} ok   {check()}")
        except Exception as error:  # a doctor reports what it finds, whatever it is
            sound = False
            click.echo(f"{name:<10} BAD  {error}")
    if not sound:
        sys.exit(1)


def versions_line() -> str:
    """Name Python and the libraries that make numbers."""
    from importlib.metadata import version

    from bench import __version__

    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "numpy", "scipy", "nflows"))
    return f"bench {__version__}, python {sys.version.split()[0]}, {libraries}"


def device_line() -> str:
    """Name what there is to compute on."""
    import torch

    from bench.core.surroundings import environment, resolve_device

    where = environment(resolve_device("auto"))
    cuda = "found" if torch.cuda.is_available() else "not found"
    return f"{where['device']}, {where['cores']} cores, {where['cpu_capability']}; CUDA {cuda}"


def store_line(store: Path) -> str:
    """Check that runs can be written, and say how much fits."""
    from bench.core.store import Store

    free = shutil.disk_usage(next(path for path in (store, *store.resolve().parents) if path.exists())).free
    if free < LEAST_FREE:
        raise OSError(f"only {free / 2**20:.0f} MiB free at {store}; make room or choose another --store")
    if store.exists():
        Store(store).create()
    return f"{store}: {'there' if store.exists() else 'will be made'}, {free / 2**30:.1f} GiB free"


def weights_line() -> str:
    """Say whether FID can be computed."""
    from bench.inception import INCEPTION
    from bench.metrics.extractors import inception_weights

    if inception_weights(weights_root()):
        return f"{INCEPTION} found in {weights_root()}"
    return f"{INCEPTION} not found in {weights_root()}: no score is called FID (bench data fetch {INCEPTION} brings it)"


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
    settings = RefitSettings(steps=400, batch_size=256, learning_rate=1e-2, penalty=0.0, check_every=200)
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
