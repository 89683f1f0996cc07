"""A/A: the working tree against itself on this machine, to learn how the rule behaves here before anyone trusts it.

Pairs of processes of the same code are measured once and then resampled into many checks. Both members of a pair are the same code, so a
pair counts with its sides exchanged, too, which makes the true effect exactly zero. How often such checks say "regressed" is the
false-alarm rate; how often they do with a slowdown added is the power. The intervals come from resampling the measured pairs first (an
outer bootstrap), so they know that only so many were measured.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.track.decide import POWER, Design, Verdict, t_quantile, verdicts

__all__ = ["Calibration", "calibrate", "resampled_verdicts"]

CHECKS = 200
OUTER = 30
EFFECTS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.12, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50, 0.75, 1.0)


@dataclass(frozen=True)
class Calibration:
    """How the rule behaves on one benchmark of this machine.

    Attributes:
        pairs: number of pairs measured.
        spread: standard deviation of the log-ratio of a pair.
        false_alarms: share of resampled A/A checks that call this benchmark regressed, with a 95 % interval.
        fine: share of them that say "fine".
        detectable: smallest slowdown of a list that is called regressed in four of five checks, as a share, with a 95 % interval;
            infinite where even the largest is not.
    """

    pairs: int
    spread: float
    false_alarms: tuple[float, float, float]
    fine: float
    detectable: tuple[float, float, float]

    def __str__(self) -> str:
        rate, low, high = self.false_alarms
        effect, least, most = (f"{share:.0%}" if math.isfinite(share) else "> 100%" for share in self.detectable)
        return (
            f"a pair's log-ratio has a standard deviation of {self.spread:.1%} ({self.pairs} pairs); false alarms {rate:.2%} "
            f"[{low:.2%}, {high:.2%}] of checks, fine {self.fine:.0%}; "
            f"a slowdown of {effect} [{least}, {most}] is caught four times in five"
        )


def calibrate(log_ratios: Sequence[float], design: Design, benchmarks: int, seed: int = 0) -> Calibration:
    """Return the rule's behaviour on resampled A/A pairs.

    Arguments:
        log_ratios: of measured A/A pairs.
        design: the rule, with the looks that a check has.
        benchmarks: how many share the error rate in a check.
        seed: of the resampling.

    Raises:
        ValueError: if there are fewer than three pairs.
    """
    d = np.asarray(log_ratios, dtype=np.float64)
    if len(d) < 3:
        raise ValueError(f"a calibration needs at least 3 pairs, got {len(d)}")
    rng = np.random.default_rng(seed)

    def regressed(pairs: NDArray[np.float64], effect: float) -> float:
        found = resampled_verdicts(pairs, math.log1p(effect), CHECKS, design, benchmarks, rng)
        return float(np.mean(found == Verdict.REGRESSED))

    def detectable(pairs: NDArray[np.float64]) -> float:
        index = bisect.bisect_left(EFFECTS, POWER, key=lambda effect: regressed(pairs, effect))
        return EFFECTS[index] if index < len(EFFECTS) else math.inf

    found = resampled_verdicts(d, 0.0, CHECKS * 5, design, benchmarks, rng)
    outer = [rng.choice(d, len(d)) for _ in range(OUTER)]
    low, high = np.quantile([regressed(pairs, 0.0) for pairs in outer], [0.025, 0.975])
    effects = [detectable(pairs) for pairs in outer]
    alarms = int(np.sum(found == Verdict.REGRESSED))
    exact = stats.binomtest(alarms, len(found)).proportion_ci(0.95)
    least, most = np.quantile(effects, 0.025, method="lower"), np.quantile(effects, 0.975, method="higher")
    return Calibration(
        len(d),
        float(d.std(ddof=1)),
        (alarms / len(found), float(min(exact.low, low)), float(max(exact.high, high))),
        float(np.mean(found == Verdict.FINE)),
        (detectable(d), float(least), float(most)),
    )


def resampled_verdicts(
    d: NDArray[np.float64], effect: float, count: int, design: Design, benchmarks: int, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Return the verdicts of `count` checks on resampled pairs, their sides exchanged at random, an effect on the log-ratio added."""
    size = (count, design.looks[-1])
    drawn = rng.choice(d, size) * rng.choice((-1.0, 1.0), size) + effect
    found, before = np.full(count, Verdict.INCONCLUSIVE, dtype="U16"), 0
    for look in design.looks:
        undecided = found == Verdict.INCONCLUSIVE
        seen = drawn[undecided, :look]
        level = design.level(look, before, look == design.looks[-1], benchmarks)
        mean, reach = seen.mean(1), t_quantile(level, look - 1) * (seen.std(1, ddof=1) / math.sqrt(look))
        found[undecided] = verdicts(mean - reach, mean + reach, design)
        before = look
    return found
