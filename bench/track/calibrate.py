"""A/A: the working tree against itself on this machine, to know how the rule behaves here before anyone trusts it.

Pairs of processes of the same code are measured once and then resampled into many checks. Both members of a pair are the same code, so
a pair counts with its sides exchanged, too, which makes the true effect exactly zero. How often such checks say "regressed" is the
false-alarm rate; how often they do with a slowdown added is the power. The intervals come from resampling the measured pairs first (an
outer bootstrap), so they know that only so many were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.track.decide import POWER, Design, Verdict, judge

__all__ = ["Calibration", "calibrate"]

CHECKS = 200
OUTER = 30
EFFECTS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.12, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50, 0.75, 1.0)


@dataclass(frozen=True)
class Calibration:
    """How the rule behaves on one benchmark of this machine.

    Attributes:
        pairs: how many were measured.
        spread: standard deviation of the log-ratio of a pair.
        false_alarms: share of resampled A/A checks that say "regressed" of this benchmark, with a 95 % interval.
        fine: share of them that say "fine".
        detectable: smallest slowdown of a list that is called regressed in four of five checks, as a share, with a 95 % interval;
            infinite where even the largest is not.
    """

    pairs: int
    spread: float
    false_alarms: tuple[float, float, float]
    fine: float
    detectable: tuple[float, float, float]


def calibrate(log_ratios: Sequence[float], design: Design, benchmarks: int, seed: int = 0) -> Calibration:
    """The rule's behaviour on resampled A/A pairs.

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
    verdicts = outcomes(d, 0.0, CHECKS * 5, design, benchmarks, rng)
    alarms = verdicts.count(Verdict.REGRESSED)
    outer = [rng.choice(d, len(d)) for _ in range(OUTER)]
    rates = [share(outcomes(sample, 0.0, CHECKS, design, benchmarks, rng), Verdict.REGRESSED) for sample in outer]
    exact = stats.binomtest(alarms, len(verdicts)).proportion_ci(0.95)
    effects = [detectable(sample, design, benchmarks, rng) for sample in outer]
    return Calibration(
        len(d),
        float(d.std(ddof=1)),
        (
            alarms / len(verdicts),
            min(float(exact.low), float(np.quantile(rates, 0.025))),
            max(float(exact.high), float(np.quantile(rates, 0.975))),
        ),
        share(verdicts, Verdict.FINE),
        (
            detectable(d, design, benchmarks, rng),
            float(np.quantile(effects, 0.025, method="lower")),
            float(np.quantile(effects, 0.975, method="higher")),
        ),
    )


def share(verdicts: Sequence[Verdict], wanted: Verdict) -> float:
    """How many of the verdicts are that one."""
    return verdicts.count(wanted) / len(verdicts)


def detectable(d: NDArray[np.float64], design: Design, benchmarks: int, rng: np.random.Generator) -> float:
    """The smallest effect of the list that is caught often enough, by bisection; infinite if none is."""
    low, high = 0, len(EFFECTS)
    while low < high:
        middle = (low + high) // 2
        caught = outcomes(d, math.log1p(EFFECTS[middle]), CHECKS, design, benchmarks, rng)
        if share(caught, Verdict.REGRESSED) >= POWER:
            high = middle
        else:
            low = middle + 1
    return EFFECTS[low] if low < len(EFFECTS) else math.inf


def outcomes(
    d: NDArray[np.float64], effect: float, count: int, design: Design, benchmarks: int, rng: np.random.Generator
) -> list[Verdict]:
    """The verdicts of so many checks on resampled pairs, each with its sides exchanged at random, an effect added."""
    size = (count, design.looks[-1])
    drawn = rng.choice(d, size) * rng.choice((-1.0, 1.0), size) + effect
    return [outcome(row, design, benchmarks) for row in drawn.tolist()]


def outcome(d: Sequence[float], design: Design, benchmarks: int) -> Verdict:
    """The verdict of one check of one benchmark, look by look."""
    before, verdict = 0, Verdict.INCONCLUSIVE
    for look in design.looks:
        level = design.level(look, before, look == design.looks[-1], benchmarks)
        verdict = judge(d[:look], level, design).verdict
        if verdict is not Verdict.INCONCLUSIVE:
            break
        before = look
    return verdict
