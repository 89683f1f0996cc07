"""Inference by random signs, exact for values that are symmetric around their mean: differences of two like laws are.

The p-value asks how often random signs give as large a mean. The interval inverts that test: it lies between two order statistics of the
means of all non-empty subsets of the values (Hartigan, "Using subsample values as typical values", JASA 1969, theorem 1).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimates import Estimate, Sample, finite

__all__ = ["sign_flip_interval", "sign_flip_p_value", "smallest_sign_flip_p_value", "subset_mean_ends"]

_EXACT = 14  # up to 2^14 sign patterns are enumerated; beyond that as many are drawn at random
_TIE = 1e-12  # sums of the same numbers in another order are equal


def sign_flip_p_value(differences: Sample) -> float:
    """Two-sided p-value of the mean under random signs: exact up to 14 differences, beyond that from 2^14 fixed draws.

    Valid for any distribution of the differences that is symmetric around 0 under the null hypothesis.

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


def smallest_sign_flip_p_value(n: int) -> float:
    """What n differences of one sign give, the least possible: 2^(1−n). Below six it never reaches 0.05, whatever the effect."""
    return float(2.0 ** (1 - n))


def sign_flip_interval(values: Sample, confidence: float = 0.95) -> Estimate:
    """Mean with the interval of all centres that the sign-flip test does not reject; exact for symmetric laws.

    95 % takes six values; more than 14 are not enumerated, and Student-t is good there.

    Raises:
        ValueError: if there is no value or one is not finite.
    """
    sample = finite(values)
    mean, n = float(sample.mean()), len(sample)
    if n > _EXACT:
        return Estimate(mean, None, None, n, f"{n} values are too many to enumerate all signs; use Student-t")
    if smallest_sign_flip_p_value(n) > 1 - confidence:
        least = next(size for size in range(1, 64) if smallest_sign_flip_p_value(size) <= 1 - confidence)
        why = f"random signs of {n} value{'s' * (n > 1)} give at most {1 - 2.0 ** (1 - n):.3g} confidence; {least} are needed"
        return Estimate(mean, None, None, n, why)
    low, high = subset_mean_ends(sample[None], confidence)
    return Estimate(mean, float(low[0]), float(high[0]), n)


def subset_mean_ends(
    samples: NDArray[np.float64], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends for every row of `samples` (rows, n)."""
    n = samples.shape[1]
    members = ((np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    means = np.sort(samples @ members.T / members.sum(1), axis=1)
    outside = int((1 - confidence) / 2 * 2**n)
    return means[:, outside - 1], means[:, -outside]


@cache
def _signs(n: int) -> NDArray[np.float64]:
    """All patterns of n signs, or as many drawn ones as are enumerated at most."""
    flipped = (
        ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        if n <= _EXACT
        else np.random.default_rng(0).integers(0, 2, (2**_EXACT, n))
    )
    return np.where(flipped, -1.0, 1.0)
