"""Rows per second of the collider simulation on one thread: timed, on request only.

    python -m pytest tests/throughput/test_hepmass_sim.py --benchmark-only

A round simulates `ROWS` accepted events; `extra_info` of the JSON has the rows per second of the best round.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench.data.hepmass_sim import simulate

ROWS = 100_000


def test_simulated_rows(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    rows = benchmark.pedantic(lambda: simulate(ROWS, rng), rounds=5, warmup_rounds=1)
    assert rows.shape == (ROWS, 27)
    benchmark.extra_info |= {"rows_per_second": ROWS / benchmark.stats.stats.min, "load": os.getloadavg()[0]}
