"""Intervals of log Z hold the truth as often as they say, among all estimates and among those reported.

Forty repeats of some cases of `log_z_coverage.py`; results/density/log-z.md has 200 of each. A bound would be missed in 0.3 % of fresh
seeds at a true coverage of 0.90.
"""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from gebm.partition import log_partition_from_weights

from .log_z_coverage import cases, coverage

REPEATS = 40
CASES = {f"{each.law}, {each.estimator}": each for each in cases()}
HOPELESS = [
    "log-normal weights, σ = 2.5, importance sampling, M = 2,000",  # worth 4 draws
    "linear-Gaussian, d = 20, importance sampling, M = 20,000",
    "linear-Gaussian, d = 20, SMC, 32 islands of 64, one untuned move",
]
SOUND = [
    *(f"log-normal weights, σ = {sigma:g}, importance sampling, M = 2,000" for sigma in (0.5, 1.0)),
    "bounded critic, d = 20, importance sampling, M = 20,000",
    "bounded critic, d = 20, SMC, 32 islands of 64",
    "linear-Gaussian, d = 20, SMC, 32 islands of 64",
]


def enough(hits: int, repeats: int) -> bool:
    return hits >= stats.binom(repeats, 0.90).ppf(0.003)


@pytest.mark.parametrize("name", SOUND)
def test_intervals_cover_among_all_estimates_and_among_those_reported(name: str) -> None:
    found = coverage(CASES[name], REPEATS)
    reported = round((1 - found.refused) * REPEATS)
    assert reported > REPEATS / 2
    assert enough(round(found.covered * REPEATS), REPEATS)
    assert enough(round(found.covered_reported * reported), reported)


@pytest.mark.parametrize("name", HOPELESS)
def test_what_cannot_be_estimated_is_refused(name: str) -> None:
    assert coverage(CASES[name], REPEATS).refused > 0.9


def test_weights_that_judge_themselves_are_admitted_where_they_missed_the_tail() -> None:
    """Log-normal weights of σ = 2, 300 pairs of runs: those that their own k̂ and ESS admit cover less than 0.85, those that another
    run's admit as often as any.
    """
    generator = torch.Generator().manual_seed(0)
    own, independent = [], []
    for _ in range(300):
        one, other = (
            log_partition_from_weights(2 * torch.randn(2000, generator=generator) - 2.0, "weights", 0, 0)
            for _ in range(2)
        )
        for judged, hits in ((one, own), (one.admitted_by(other), independent)):
            low, high = judged.interval()
            if judged.reportable:
                hits.append(low <= 0.0 <= high)
    assert len(own) > 50
    assert sum(own) < 0.85 * len(own)
    assert len(independent) > 50
    assert enough(sum(independent), len(independent))
