"""Where a series steps: Pettitt's test, applied again to both sides of each step found. For reading trends, never for gating.

The rule, in full. In a stretch of at least 2m points (m = 4) the most likely place of a single step is where Pettitt's statistic
|U_t| = |Σ_{i≤t} Σ_{j>t} sign(x_j − x_i)| is largest, at least m points from both ends. The step is kept if p ≈ 2 exp(−6K²/(n³ + n²)) < 0.01
(Pettitt, 1979) and the medians of the two sides differ by more than 3 %; then both sides are searched likewise. Ranks make it blind to a
single bad night; it cannot see a step younger than m points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Step", "steps"]

LEVEL = 0.01
LEAST_POINTS = 4
LEAST_CHANGE = 0.03


@dataclass(frozen=True)
class Step:
    """A step of a series.

    Attributes:
        at: index of the first point after it.
        change: median up to the next step over the median back to the one before, less one.
        p_value: Pettitt's.
    """

    at: int
    change: float
    p_value: float


def steps(values: Sequence[float]) -> list[Step]:
    """The steps of a positive series, in order.

    Raises:
        ValueError: if a value is not positive and finite.
    """
    if any(not 0 < value < math.inf for value in values):
        raise ValueError(f"a series of times or rates is positive and finite, got {list(values)}")
    series = np.asarray(values, dtype=np.float64)
    found = _search(series, 0)
    edges = [0, *(at for at, _ in found), len(series)]
    medians = [float(np.median(series[low:high])) for low, high in itertools.pairwise(edges)] if len(series) else []
    changes = [after / before - 1 for before, after in itertools.pairwise(medians)]
    return [Step(at, change, p_value) for (at, p_value), change in zip(found, changes, strict=True)]


def _search(values: NDArray[np.float64], offset: int) -> list[tuple[int, float]]:
    """Places and p-values of the steps in a stretch that begins at `offset`."""
    n = len(values)
    if n < 2 * LEAST_POINTS:
        return []
    signs = np.sign(values[None, :] - values[:, None])
    places = range(LEAST_POINTS, n - LEAST_POINTS + 1)
    statistic = [abs(float(signs[:at, at:].sum())) for at in places]
    at = places[int(np.argmax(statistic))]
    p_value = min(1.0, 2 * math.exp(-6 * max(statistic) ** 2 / (n**3 + n**2)))
    change = math.log(float(np.median(values[at:]) / np.median(values[:at])))
    if p_value >= LEVEL or abs(change) <= math.log1p(LEAST_CHANGE):
        return []
    return [*_search(values[:at], offset), (offset + at, p_value), *_search(values[at:], offset + at)]
