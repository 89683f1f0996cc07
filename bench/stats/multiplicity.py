"""Several questions asked of one store: what each answer is worth when all of them are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["holm", "simultaneous_confidence"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false rejection, whatever the dependence (Holm, Scand. J. Stat. 1979).

    Raises:
        ValueError: if a p-value is not between 0 and 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def simultaneous_confidence(count: int, confidence: float = 0.95) -> float:
    """The confidence that each of `count` intervals needs so that all of them hold at once with `confidence` (Bonferroni).

    Holm's steps have no intervals as short as their tests are sharp; these are valid under any dependence and a little wide.

    Raises:
        ValueError: if there is no interval.
    """
    if count < 1:
        raise ValueError("no interval to hold")
    return 1 - (1 - confidence) / count
