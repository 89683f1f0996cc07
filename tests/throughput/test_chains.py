"""Chain-steps per second of the SNGAN ConvNet at 32×32, batch 256, against the plain implementation: timed, on request only.

    python -m pytest tests/throughput --benchmark-only --benchmark-json=throughput.json

Every round times each path once, one after the other, so that whatever else the machine does meets them alike; the ratio is that of a
round. pytest-benchmark's own columns are the library's float32 path; the seconds of all paths are in `extra_info`, which
`tests/throughput/report.py` reads. All paths run on all cores, or on as many threads as `BENCH_THREADS` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.track.timed.clock import matmul_peak, sample
from bench.track.timed.targets import sngan
from gebm import GEBM
from gebm.samplers import HMC, MALA, ULA, Sampler

from .conftest import Plain

WIDTH, LATENT, BATCH = 64, 100, 256
LEAPS = 2


class Case(NamedTuple):
    """A sampler, its plain twin, the rounds to time, and its gradient evaluations a step."""

    sampler: Sampler
    plain: Callable[[Any, Tensor, torch.Generator], Tensor]
    rounds: int
    evaluations: int


CASES = {
    "ULA": Case(ULA(1e-4), lambda plain, z, generator: plain.ula(z, 1e-4, generator)[0], 3, 1),
    "MALA": Case(MALA(1e-4), lambda plain, z, generator: plain.mala(z, 1e-4, generator)[0], 2, 1),
    "HMC": Case(HMC(1e-2, LEAPS), lambda plain, z, generator: plain.hmc(z, 1e-2, LEAPS, generator)[0], 2, LEAPS),
}


class Chain:
    """A chain of the library that goes on a step a call."""

    def __init__(self, model: GEBM, sampler: Sampler, z: Tensor) -> None:
        self.potential, self.sampler, self.generator = model.potential(100.0), sampler, torch.Generator().manual_seed(0)
        self.state = sampler.init(self.potential, z)  # a warm-up, too

    def __call__(self) -> None:
        self.state, _ = self.sampler.step(self.potential, self.state, self.generator)


class PlainChain:
    """A chain of the plain implementation that goes on a step a call."""

    def __init__(self, plain: Any, case: Case, z: Tensor) -> None:
        self.plain, self.case, self.z, self.generator = plain, case, z, torch.Generator().manual_seed(0)
        plain.gradient(z)

    def __call__(self) -> None:
        self.z = self.case.plain(self.plain, self.z, self.generator)


@pytest.fixture(scope="module")
def model() -> GEBM:
    return sngan(WIDTH, LATENT).eval()


@pytest.fixture(scope="module")
def flops(model: GEBM) -> float:
    """Floating-point operations of one gradient evaluation of one chain, as the library computes it."""
    potential, z = model.for_sampling().potential(), torch.randn(2, LATENT, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        potential(z).sum().backward()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", CASES)
def test_chain_steps(name: str, benchmark: Any, all_threads: int, model: GEBM, flops: float) -> None:
    case, z = CASES[name], torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(0))
    paths: dict[str, Callable[[], None]] = {
        "plain": PlainChain(Plain(model, 100.0), case, z),
        "bfloat16": Chain(model.for_sampling(dtype=torch.bfloat16), case.sampler, z),
        "float32": Chain(model.for_sampling(), case.sampler, z),
    }
    if name == "ULA":
        paths["autograd.grad"] = Chain(model, case.sampler, z)  # plain, but differentiated in z alone
    seconds: dict[str, list[float]] = {path: [] for path in paths}

    def others() -> None:
        for path, step in paths.items():
            if path != "float32":
                seconds[path].append(sample(step, 1, "cpu"))

    def fast() -> None:
        seconds["float32"].append(sample(paths["float32"], 1, "cpu"))

    benchmark.pedantic(fast, setup=others, rounds=case.rounds)
    plain_evaluations = case.evaluations * Plain.gradient_evaluations[name]
    benchmark.extra_info |= {
        "sampler": repr(case.sampler),
        "batch": BATCH,
        "width": WIDTH,
        "seconds": seconds,
        "gradient_evaluations": {path: plain_evaluations if path == "plain" else case.evaluations for path in paths},
        "flops_per_evaluation": flops,
        "matmul_peak": {key: matmul_peak(key, "cpu") for key in ("float32", "bfloat16")},
        "threads": all_threads,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }
