"""Every benchmark of `bench track` under pytest-benchmark: checked for its law, then timed, on request only.

    python -m pytest tests/throughput/test_benchmarks.py --benchmark-only -k quick --benchmark-json=throughput.json

`-k quick` is the subset of `bench track check`, `-k cuda` what runs on a GPU. One round is one sample of the clock; seconds a step are a
round's over `steps`. Tests check the shapes and types of the library at each call, which costs some microseconds: what runs in less than
milliseconds (toy, flow) is slower here than in the processes of `bench track`, which do not.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.track.timed import Benchmark
from bench.track.timed.catalogue import BENCHMARKS
from bench.track.timed.clock import clocks, flops_of_step, matmul_peak, synchronise, warm_up
from bench.track.turns import WARM_UP, plan

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("timed", BENCHMARKS, ids=lambda b: f"{b.name}-{'quick' if b.quick else 'full'}")
def test_benchmark(timed: Benchmark, device: str, benchmark: Any, all_threads: int) -> None:
    work = timed.build(device=device, **timed.settings)
    assert work.check() == []
    flops = flops_of_step(work.step) if work.precision else 0.0
    count, rounds = plan([warm_up(work.step, WARM_UP, device)])

    def steps() -> None:
        for _ in range(count):
            work.step()
        synchronise(device)

    benchmark.pedantic(steps, setup=lambda: synchronise(device), rounds=rounds, warmup_rounds=1)
    seconds = benchmark.stats.stats.median / count
    peak = matmul_peak(work.precision, device) if work.precision else 0.0
    benchmark.extra_info |= {
        "unit": timed.unit,
        "steps": count,
        "per_second": work.amount / seconds,
        "gradient_evaluations_per_second": work.gradient_evaluations / seconds,
        "forward_evaluations_per_second": work.forward_evaluations / seconds,
        "matmul_peak": peak,
        "of_matmul_peak": flops / seconds / peak if peak else None,
        "threads": all_threads,
        "clocks": clocks(device),
    }
