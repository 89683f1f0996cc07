"""Chain-steps per second of the SNGAN ConvNet at 32×32, batch 256, against the plain implementation: timed, on request only.

    python -m pytest tests/throughput --benchmark-only --benchmark-json=throughput.json

Every round times each path once, one after the other, so that whatever else the machine does meets them alike; the ratio is that of a
round. pytest-benchmark's own columns are the library's float32 path; the seconds of all paths are in `extra_info`, which
`tests/throughput/report.py` reads. All paths run on all cores, or on as many threads as `BENCH_THREADS` says, or on a GPU with
`BENCH_DEVICE=cuda`; `BENCH_BATCH` makes the batch larger.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.track.timed.clock import flops_of_step, matmul_peak, sample
from bench.track.timed.targets import sngan
from gebm import GEBM
from gebm.samplers import HMC, MALA, ULA, Sampler

from .conftest import DEVICE, STEPS, Plain, leaps

WIDTH, LATENT, BATCH = 64, 100, int(os.environ.get("BENCH_BATCH", "256"))
CASES: dict[str, tuple[Sampler, int]] = {"ULA": (ULA(1e-4), 3), "MALA": (MALA(1e-4), 2), "HMC": (HMC(1e-2, 2), 2)}
"""Samplers, and the rounds to time."""


def library(model: GEBM, sampler: Sampler, z: Tensor) -> Callable[[], None]:
    """A chain of the library that goes on a step a call, warmed up."""
    potential, generator = model.potential(100.0), torch.Generator(DEVICE).manual_seed(0)
    state = sampler.init(potential, z)

    def step() -> None:
        nonlocal state
        state, _ = sampler.step(potential, state, generator)

    return step


def first_written(model: GEBM, sampler: Sampler, z: Tensor) -> Callable[[], None]:
    """The same of the plain implementation."""
    plain, generator = Plain(model, 100.0), torch.Generator(DEVICE).manual_seed(0)
    plain.gradient(z)

    def step() -> None:
        nonlocal z
        z, _ = plain.step(sampler, z, generator)

    return step


@pytest.fixture(scope="module")
def model() -> GEBM:
    return sngan(WIDTH, LATENT).eval().to(DEVICE)


@pytest.fixture(scope="module")
def flops(model: GEBM) -> float:
    """Floating-point operations of one gradient evaluation of one chain, as the library computes it."""
    potential, z = model.for_sampling().potential(), torch.randn(2, LATENT, requires_grad=True, device=DEVICE)
    return flops_of_step(lambda: torch.autograd.grad(potential(z).sum(), z)) / 2


@pytest.mark.parametrize("name", CASES)
def test_chain_steps(name: str, benchmark: Any, all_threads: int, model: GEBM, flops: float) -> None:
    sampler, rounds = CASES[name]
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    paths = {
        "plain": first_written(model, sampler, z),
        "bfloat16": library(model.for_sampling(dtype=torch.bfloat16), sampler, z),
        "float32": library(model.for_sampling(), sampler, z),
    }
    if name == "ULA":
        paths["autograd.grad"] = library(model, sampler, z)  # plain, but differentiated in z alone
    seconds: dict[str, list[float]] = {path: [] for path in paths}

    def others() -> None:
        for path, step in paths.items():
            if path != "float32":
                seconds[path].append(sample(step, STEPS, DEVICE))

    def fast() -> None:
        seconds["float32"].append(sample(paths["float32"], STEPS, DEVICE))

    benchmark.pedantic(fast, setup=others, rounds=rounds)
    benchmark.extra_info |= {
        "sampler": repr(sampler),
        "batch": BATCH,
        "width": WIDTH,
        "seconds": seconds,
        "gradient_evaluations": dict.fromkeys(paths, leaps(sampler)) | {"plain": Plain.gradient_evaluations(sampler)},
        "flops_per_evaluation": flops,
        "matmul_peak": {key: matmul_peak(key, DEVICE) for key in ("float32", "bfloat16")},
        "threads": all_threads,
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }
