"""The decision rule: sequential one-sided bounds on the mean of paired log-ratios.

A pair is one process of each side, timed in turn on the same machine (`bench.track.turns`); d = log(seconds of the new side / seconds of
the old one), a median over their turns, cancels whatever both met alike. After n pairs (a *look*) Student's t gives a lower and an upper
bound on the mean of d:

- *regressed*: the lower bound is above log(1 + margin);
- *improved*: the upper bound is below −log(1 + margin);
- *fine*: the upper bound is below log(1 + tolerance): a slowdown of that size is excluded;
- otherwise more pairs are drawn, and at the last look the answer is *inconclusive*.

**Several looks.** Each look at n of at most N pairs may spend αn/N of the error rate α in all, less what earlier looks have spent (the
linear spending function of Lan & DeMets, 1983); the last look spends what is left. Rates of looks are added up (Bonferroni), which is valid
in small samples where a normal approximation is not, and errs on the safe side. The last look may come early, when the time budget ends:
that depends on the clock, not on the ratios.

**Several benchmarks.** α is shared equally among the benchmarks of a check, so it is the rate of the whole check: with α = 1 %, at most one
check in a hundred without any slowdown beyond the margin says "regressed" of anything (for d normal; heavier symmetric tails make t
conservative).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["Design", "Judgement", "Verdict", "judge", "t_quantile", "verdicts"]

FEWEST_PAIRS = 3
POWER = 0.8


class Verdict(StrEnum):
    """The answer of a check for one benchmark."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    FINE = "fine"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"
    FAILED = "failed"


@dataclass(frozen=True)
class Design:
    """The settings of the rule.

    Arguments:
        confidence: one minus the error rate of the whole check, for each kind of error.
        margin: slowdowns up to this share are not regressions.
        tolerance: "fine" excludes a slowdown of this share.
        looks: increasing numbers of pairs after which the check looks.

    Raises:
        ValueError: for a design that cannot decide.
    """

    confidence: float = 0.99
    margin: float = 0.03
    tolerance: float = 0.10
    looks: tuple[int, ...] = (8, 12, 16, 24)

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0.5 and 1, got {self.confidence}")
        if not 0 <= self.margin < self.tolerance:
            raise ValueError(f"0 <= margin < tolerance must hold, got {self.margin} and {self.tolerance}")
        if not self.looks or self.looks[0] < FEWEST_PAIRS or list(self.looks) != sorted(set(self.looks)):
            raise ValueError(f"looks must be increasing numbers of pairs from {FEWEST_PAIRS} on, got {self.looks}")

    def up_to(self, pairs: int) -> Design:
        """Return this design with its last look at `pairs` pairs.

        Raises:
            ValueError: if these are too few to decide on.
        """
        return replace(self, looks=(*(look for look in self.looks if look < pairs), pairs))

    def level(self, pairs: int, before: int, last: bool, benchmarks: int) -> float:
        """Return the error rate to spend on one of `benchmarks` at a look.

        Arguments:
            pairs: pairs seen at this look.
            before: pairs seen at the previous look; 0 at the first.
            last: whether no look follows.
            benchmarks: how many benchmarks share the check's rate.
        """
        share = (self.looks[-1] if last else pairs) - before
        return (1 - self.confidence) / benchmarks * share / self.looks[-1]


@dataclass(frozen=True)
class Judgement:
    """The outcome of one look.

    Attributes:
        verdict: regressed, improved, fine or inconclusive.
        ratio: seconds of the new side over seconds of the old one, geometric mean over pairs.
        lower, upper: one-sided bounds on the ratio, each at the look's level.
        detectable: smallest slowdown, as a share, that this look would call regressed in four of five repetitions.
        pairs: number of pairs seen.
        level: error rate spent on each bound.
    """

    verdict: Verdict
    ratio: float
    lower: float
    upper: float
    detectable: float
    pairs: int
    level: float


def judge(log_ratios: Sequence[float], level: float, design: Design) -> Judgement:
    """Judge the log-ratios of the pairs seen so far at one look's level.

    Raises:
        ValueError: if there are fewer than three, or one is not finite.
    """
    d = np.asarray(log_ratios, dtype=np.float64)
    if d.ndim != 1 or len(d) < FEWEST_PAIRS or not np.isfinite(d).all():
        raise ValueError(f"a decision needs at least {FEWEST_PAIRS} finite log-ratios, got {list(log_ratios)}")
    mean, error = float(d.mean()), float(d.std(ddof=1)) / math.sqrt(len(d))
    reach = t_quantile(level, len(d) - 1) * error
    lower, upper = mean - reach, mean + reach
    verdict = Verdict(str(verdicts(lower, upper, design)))
    detectable = math.log1p(design.margin) + reach + t_quantile(1 - POWER, len(d) - 1) * error
    ratio, low, high = (math.exp(min(value, 700.0)) for value in (mean, lower, upper))
    return Judgement(verdict, ratio, low, high, math.expm1(min(detectable, 700.0)), len(d), level)


def verdicts(lower: ArrayLike, upper: ArrayLike, design: Design) -> NDArray[np.str_]:
    """Return the verdict on each pair of bounds on the log-ratio."""
    low, high, margin = np.asarray(lower), np.asarray(upper), math.log1p(design.margin)
    cases = [low > margin, high < -margin, high < math.log1p(design.tolerance)]
    return np.select(cases, [Verdict.REGRESSED, Verdict.IMPROVED, Verdict.FINE], Verdict.INCONCLUSIVE)


@cache
def t_quantile(tail: float, degrees: int) -> float:
    """Return the value that Student's t exceeds with probability `tail`."""
    return float(stats.t.isf(tail, degrees))
