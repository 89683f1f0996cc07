"""A simulated machine: process times of two sides with a known slowdown and the noise of shared CI machines, and its own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.track.check import NEW

__all__ = ["SimulatedMachine"]


class SimulatedMachine:
    """Seconds of benchmark processes: job × process × sample, log-normal.

    Arguments:
        slowdown: of the new side, as a share; 0.1 takes a tenth longer.
        rng: source of the noise.
        job, process, within: standard deviations of the logarithms.
        start: seconds that a process takes before it measures.
    """

    def __init__(
        self,
        slowdown: float,
        rng: np.random.Generator,
        job: float = 0.08,
        process: float = 0.03,
        within: float = 0.01,
        start: float = 5.0,
    ) -> None:
        self.rng, self.process, self.within, self.start = rng, process, within, start
        self.base = np.exp(rng.normal(0, job))
        self.slowdown = slowdown
        self.now = 0.0
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def clock(self) -> float:
        """Seconds that have passed on this machine."""
        return self.now

    def __call__(self, side: str, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        self.asked.append((side, tuple(names)))
        results = {}
        for name in names:
            step = self.base * (1 + self.slowdown if side == NEW else 1.0)
            level = step * np.exp(self.rng.normal(0, self.process))
            seconds = level * np.exp(self.rng.normal(0, self.within, 5))
            results[name] = {"seconds": seconds.tolist(), "amount": 1.0, "unit": "steps"}
            self.now += float(seconds.sum())
        self.now += self.start
        return results
