"""What can honestly be said from a few seeds: means with intervals, and differences paired by seed.

Pure statistics on numpy and scipy. What the numbers mean, and how they are worded, is the report's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Estimate", "PairedDifference", "mean_interval", "paired_difference", "sign_flip_p_value"]

_EXACT_SIGN_FLIPS = 14  # up to 2^14 sign patterns are enumerated; beyond that as many are drawn at random
_WIDE_BELOW = 3  # two values give a Student-t interval with 12.7 standard errors on each side


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with a two-sided interval; of one value there is none, and `ci_low` and `ci_high` are None."""

    mean: float
    ci_low: float | None
    ci_high: float | None
    n: int

    @property
    def wide(self) -> bool:
        """Whether the interval rests on so few values that its width says more about n than about the data."""
        return self.ci_low is not None and self.n < _WIDE_BELOW

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it leaves out 0; an end that is exactly 0 does not."""
        return self.ci_low is not None and self.ci_high is not None and (self.ci_low > 0 or self.ci_high < 0)


@dataclass(frozen=True)
class PairedDifference:
    """first − second over the seeds that both have.

    Attributes:
        estimate: mean difference with its interval, or None where no seed is shared.
        p_value: two-sided sign-flip test of "no difference", or None where no seed is shared. With n pairs it cannot go
            below 2^(1−n): three seeds never reach 0.05, whatever the effect.
        seeds: the shared seeds, ascending.
        dropped: how many seeds only one side has.
    """

    estimate: Estimate | None
    p_value: float | None
    seeds: tuple[int, ...]
    dropped: int


def mean_interval(values: Sequence[float] | NDArray[np.float64], confidence: float = 0.95) -> Estimate:
    """Mean of independent values with a Student-t interval.

    Raises:
        ValueError: if there is no value or one is not finite; a missing value is the caller's to drop and to count.
    """
    sample = _finite(values)
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = _t_quantile(confidence, n - 1) * float(sample.std(ddof=1)) / n**0.5
    return Estimate(mean, mean - half, mean + half, n)


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Compare two sets of values, each indexed by seed, on the seeds that they share.

    Raises:
        ValueError: if a shared value is not finite.
    """
    shared = tuple(sorted(first.keys() & second.keys()))
    dropped = len(first.keys() ^ second.keys())
    if not shared:
        return PairedDifference(None, None, (), dropped)
    differences = _finite([first[seed] - second[seed] for seed in shared])
    return PairedDifference(mean_interval(differences, confidence), sign_flip_p_value(differences), shared, dropped)


def sign_flip_p_value(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """Two-sided p-value of the mean under random signs: exact up to 14 differences, beyond that from 2^14 fixed draws.

    Valid for any distribution of the differences that is symmetric around 0 under the null hypothesis.

    Raises:
        ValueError: if there is no difference or one is not finite.
    """
    sample = _finite(differences)
    if len(sample) == 1 or not sample.any():
        return 1.0
    result = stats.permutation_test(
        (sample,),
        _absolute_mean,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=np.inf if len(sample) <= _EXACT_SIGN_FLIPS else 2**_EXACT_SIGN_FLIPS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _absolute_mean(sample: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.abs(np.mean(sample, axis=axis))
    return means


@cache
def _t_quantile(confidence: float, degrees: int) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share between 0 and 1, not {confidence}")
    return float(stats.t.ppf((1 + confidence) / 2, degrees))


def _finite(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample):
        raise ValueError("no values to average" if not sample.size else "values must form one line")
    if not np.isfinite(sample).all():
        raise ValueError(f"a value is not finite: {sample.tolist()}")
    return sample
