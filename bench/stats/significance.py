"""Tests of differences by random signs, exact where these are symmetric around 0, and corrections for asking several questions at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimates import Sample, finite

__all__ = ["holm", "sign_flip_p_value", "simultaneous_confidence"]

_EXACT = 14  # up to 2^14 sign patterns are enumerated; beyond that as many are drawn at random
_TIE = 1e-12  # sums of the same numbers in another order are equal


def sign_flip_p_value(differences: Sample) -> float:
    """Return the two-sided p-value of the mean under random signs: exact up to 14 differences, beyond that from 2^14 fixed draws.

    Valid for any distribution of the differences that is symmetric around 0 under the null hypothesis. With n differences it cannot go
    below 2^(1−n): five never reach 0.05, whatever the effect.

    Raises:
        ValueError: if there is no difference or one is not finite.
    """
    sample = finite(differences)
    if len(sample) == 1 or not sample.any():
        return 1.0
    signs = _signs(len(sample))
    observed = abs(float(sample.mean()))
    flips = np.abs(signs @ sample) / len(sample)
    as_large = int((flips >= observed * (1 - _TIE)).sum())
    if len(sample) <= _EXACT:
        return as_large / len(signs)
    return (as_large + 1) / (len(signs) + 1)  # drawn signs: the observed ones are counted in


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that they bound the chance of any false rejection, whatever the dependence (Holm, Scand. J. Stat. 1979).

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
    """Return the confidence that each of `count` intervals needs so that all of them hold at once with `confidence` (Bonferroni).

    Holm's steps have no intervals as short as their tests are sharp; these are valid under any dependence and a little wide.

    Raises:
        ValueError: if there is no interval.
    """
    if count < 1:
        raise ValueError("no interval to hold")
    return 1 - (1 - confidence) / count


@cache
def _signs(n: int) -> NDArray[np.float64]:
    """All patterns of n signs, or as many drawn ones as are enumerated at most."""
    flipped = (
        ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        if n <= _EXACT
        else np.random.default_rng(0).integers(0, 2, (2**_EXACT, n))
    )
    return np.where(flipped, -1.0, 1.0)
