"""A simulated machine: slices of two sides in turn with a known slowdown and the noise of shared machines, and its own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.track.check import NEW
from bench.track.turns import Measurement

__all__ = ["TURNS", "SimulatedMachine"]

TURNS = 6


class SimulatedMachine:
    """Seconds of slices: job × process × load of the turn × slice, all log-normal, and now and then a slice that is cut into.

    Arguments:
        slowdown: of the new side, as a share; 0.1 takes a tenth longer.
        rng: source of the noise.
        job, process, load, within: standard deviations of the logarithms. Both slices of a turn meet the same load.
        interrupted: share of the slices that take up to three times as long.
        start: seconds that a pair of processes takes before it measures.
    """

    def __init__(
        self,
        slowdown: float,
        rng: np.random.Generator,
        job: float = 0.08,
        process: float = 0.03,
        load: float = 0.3,
        within: float = 0.01,
        interrupted: float = 0.05,
        start: float = 10.0,
    ) -> None:
        self.rng, self.process, self.load, self.within = rng, process, load, within
        self.interrupted, self.start = interrupted, start
        self.base = np.exp(rng.normal(0, job))
        self.slowdown = slowdown
        self.now = 0.0
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def clock(self) -> float:
        """Seconds that have passed on this machine."""
        return self.now

    def __call__(self, sides: Sequence[str], names: Sequence[str]) -> Mapping[str, Measurement]:
        self.asked.append((tuple(sides), tuple(names)))
        rng, shape = self.rng, (len(sides), len(names), TURNS)
        steps = self.base * np.array([1 + self.slowdown if side == NEW else 1.0 for side in sides])
        levels = steps[:, None] * np.exp(rng.normal(0, self.process, shape[:2]))
        noise = rng.normal(0, self.load, shape[1:]) + rng.normal(0, self.within, shape)
        hit = rng.random(shape) < self.interrupted
        seconds = levels[..., None] * np.exp(noise) * np.where(hit, rng.uniform(1, 3, shape), 1.0)
        self.now += self.start + float(seconds.sum())
        return {
            side: Measurement(
                {
                    name: {"seconds": rows.tolist(), "amount": 1.0, "unit": "steps"}
                    for name, rows in zip(names, of_side, strict=True)
                }
            )
            for side, of_side in zip(sides, seconds, strict=True)
        }
