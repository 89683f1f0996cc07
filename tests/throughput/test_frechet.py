"""Seconds of the Fréchet distance for Inception's 2,048 dimensions, against torch-fidelity's route in the same round: on request only.

    python -m pytest tests/throughput/test_frechet.py --benchmark-only

The bar is 3 seconds on two threads; the ratio is in `extra_info`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric

from bench.metrics.scores import Moments, frechet_distance
from bench.track.timed.clock import sample

WIDTH, COUNT = 2048, 5000


def test_frechet_distance(benchmark: Any, all_threads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.arange(1, WIDTH + 1) ** -0.5
    moments = [Moments.of(torch.randn(COUNT, WIDTH, generator=generator) * scales + 0.01 * shift) for shift in (0, 1)]
    statistics = [{"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in moments]
    found: dict[str, float] = {}
    seconds: list[float] = []

    def general() -> None:
        found["general"] = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]

    def symmetric() -> None:
        found["symmetric"] = frechet_distance(*moments)

    benchmark.pedantic(symmetric, setup=lambda: seconds.append(sample(general, 1, "cpu")), rounds=2)
    assert found["symmetric"] == pytest.approx(found["general"], rel=1e-6)
    benchmark.extra_info |= {
        "general": seconds,
        "threads": all_threads,
        "ratio": min(seconds) / benchmark.stats.stats.min,
    }
