"""A mean with its interval, and the one rule that reads an interval: on which side of a value it lies, if on any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Estimate", "Sample", "Side", "finite", "mean_interval", "t_quantile", "t_tail"]

Sample = Sequence[float] | NDArray[np.float64]
Side = Literal["above", "below", "unclear", "no interval"]

ONE_VALUE = "one value has no interval"


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats with a two-sided interval.

    Where there is no honest interval `ci_low` and `ci_high` are None and `why_not` may say why. `standard_error` and `degrees` are there
    for Student-t intervals; from them come p-values and intervals of another confidence.
    """

    mean: float
    ci_low: float | None
    ci_high: float | None
    n: int
    why_not: str = ""
    standard_error: float | None = None
    degrees: float | None = None

    @property
    def wide(self) -> bool:
        """Whether the interval rests on two values: 12.7 standard errors on each side say more about n than about the data."""
        return self.ci_low is not None and self.n < 3

    def side(self, value: float = 0.0) -> Side:
        """Return where the whole interval lies, seen from `value`; an end that is exactly `value` leaves it unclear.

        Every verdict of the project, in reports and claims, is worded from this.
        """
        if self.ci_low is None or self.ci_high is None:
            return "no interval"
        if self.ci_low > value:
            return "above"
        return "below" if self.ci_high < value else "unclear"

    def __neg__(self) -> Estimate:
        """Return the estimate of the opposite."""
        low = None if self.ci_high is None else -self.ci_high
        high = None if self.ci_low is None else -self.ci_low
        return replace(self, mean=-self.mean, ci_low=low, ci_high=high)

    def at(self, confidence: float) -> Estimate:
        """Return the same Student-t estimate with an interval of another confidence; unchanged where there is none."""
        if self.standard_error is None or self.degrees is None:
            return self
        half = t_quantile(confidence, self.degrees) * self.standard_error
        return replace(self, ci_low=self.mean - half, ci_high=self.mean + half)


def mean_interval(values: Sample, confidence: float = 0.95) -> Estimate:
    """Average independent values, with a Student-t interval, exact for a Gaussian law.

    Measured coverage of nominal 95 % for exponential values: 0.88 to 0.91 at n = 3 to 10. Differences of like laws are symmetric, and are
    covered: 0.95 to 0.97 for Laplace values.

    Raises:
        ValueError: if there is no value or one is not finite; a missing value is the caller's to drop and to count.
    """
    sample = finite(values)
    n = len(sample)
    mean = float(np.add.reduce(sample)) / n
    if n == 1:
        return Estimate(mean, None, None, 1, ONE_VALUE)
    centred = sample - mean
    spread = (float(centred @ centred) / (n - 1) / n) ** 0.5
    half = t_quantile(confidence, n - 1) * spread
    return Estimate(mean, mean - half, mean + half, n, standard_error=spread, degrees=n - 1)


@cache
def t_quantile(confidence: float, degrees: float) -> float:
    """Return how many standard errors a two-sided Student-t interval reaches.

    Raises:
        ValueError: if the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share between 0 and 1, not {confidence}")
    return float(special.stdtrit(degrees, (1 + confidence) / 2))


def t_tail(estimate: Estimate, value: float, side: Literal["above", "below"]) -> float:
    """Return how likely a Student-t estimate would lie so far on that side of `value` if the mean were `value`.

    Values without any spread decide at once: 0 where the mean is on that side, 1 where it is not.

    Raises:
        ValueError: for an estimate without a standard error.
    """
    if estimate.standard_error is None or estimate.degrees is None:
        raise ValueError("an estimate without a standard error has no p-value")
    gap = estimate.mean - value if side == "above" else value - estimate.mean
    if estimate.standard_error == 0:
        return 0.0 if gap > 0 else 1.0
    return float(special.stdtr(estimate.degrees, -gap / estimate.standard_error))


def finite(values: Sample) -> NDArray[np.float64]:
    """Return the values as a vector.

    Raises:
        ValueError: if there is no value or one is not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample):
        raise ValueError("no values to average" if not sample.size else "values must form one line")
    if not np.isfinite(sample).all():
        raise ValueError(f"a value is not finite: {sample.tolist()}")
    return sample
