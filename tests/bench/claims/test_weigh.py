"""Laws of verdicts: the level of a whole report, of likelihoods with rows drawn anew, and of what lost seeds may do."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.claims import Claim, Comparison, judge
from bench.claims.weigh import weigh
from bench.results.losses import Lost
from bench.stats import mean_interval, t_tail

from .test_judge import DENSITY, OWN_BASE, densities, estimate

BETTER = Claim.model_validate(OWN_BASE | {"metric": "log-likelihood"})
REACHES = Claim.model_validate(DENSITY | {"sides": "both"})


def lost(count: int, n: int) -> Comparison:
    """Seeds lost besides n that there are."""
    return Comparison(losses=(Lost("gebm", set(range(n + count)), set(range(n, n + count)), set(), set()),))


def test_p_values_decide_exactly_where_intervals_do() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        gains = rng.normal(1.0, 1.0, 4)
        found, interval = weigh(BETTER, Comparison(), gains), mean_interval(gains)
        assert ((found.p_value or 0.0) <= 0.05) == (interval.side() != "unclear")
        assert found.estimate == interval


def test_a_lost_seed_is_as_bad_as_any_seed_is_good() -> None:
    gains = np.random.default_rng(2).normal(1.0, 0.3, 9)
    found = weigh(BETTER, lost(2, 9), gains)
    worst = mean_interval([*gains, -np.abs(gains).max(), -np.abs(gains).max()])
    assert found.holds == pytest.approx(t_tail(worst, 0.0, "above"))
    assert found.fails == weigh(BETTER, Comparison(), gains).fails
    assert found.estimate == mean_interval(gains)
    margin = weigh(REACHES, lost(1, 9), gains / 100)
    ends = [mean_interval([*side, -0.1 - np.abs(side + 0.1).max()]) for side in (gains / 100, -gains / 100)]
    assert margin.holds == pytest.approx(max(t_tail(each, -0.1, "above") for each in ends))


@pytest.mark.parametrize("rows", [0, 50])
def test_lost_seeds_never_help(rows: int) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        gains = rng.normal(rng.normal(0, 2), 1.0, (5, rows) if rows else 5)
        holds = [weigh(BETTER, lost(count, 5), gains).holds for count in range(4)]
        assert holds[0] <= min(holds[1:])


def test_four_seeds_never_make_up_for_a_fifth() -> None:
    rng = np.random.default_rng(4)
    assert all(weigh(BETTER, lost(1, 4), rng.uniform(0.5, 9, 4)).holds > 0.025 for _ in range(200))


def test_a_report_about_nothing_has_a_verdict_in_at_most_one_of_twenty(made: Any) -> None:
    """6 claims of 3 readouts each that share a base, 4 seeds, 150 reports: at most 0.05, standard deviation 0.018, band of 3.

    By intervals alone, each taken by itself, half of them would have one.
    """
    rng, rows = np.random.default_rng(5), []
    for report, model, seed in itertools.product(range(150), range(6), range(4)):
        place = {"model": f"gebm{model}", "seed": seed, "dataset": f"report{report}"}
        rows.append(made.row(**place, value=rng.normal()))
        rows += [
            made.row(**place, **made.chain(1.0, 300, sampler=each), value=rng.normal()) for each in ("a", "b", "c")
        ]
    claims = [OWN_BASE | {"id": f"c{model}", "treatment": {"model": f"gebm{model}"}} for model in range(6)]
    parsed = [Claim.model_validate(claim) for claim in claims]
    reports = [judge([section], parsed) for section in made.results(rows).sections()]
    assert {len(each.comparisons) for found in reports for each in found} == {3}
    wrong = np.mean([any(each.verdict in ("supported", "contradicted") for each in found) for found in reports])
    alone = [any((c.p_value or 0.0) <= 0.05 for each in found for c in each.comparisons) for found in reports]
    assert wrong <= 0.05 + 3 * 0.018
    assert np.mean(alone) > 0.4


def test_rows_drawn_anew_decide_no_more_often_than_they_may() -> None:
    """No difference over new rows, 5 seeds of 80 rows, 400 draws: at most 0.05, standard deviation 0.011, band of 3."""
    rng, by_rows, by_seeds = np.random.default_rng(8), 0, 0
    for _ in range(400):
        cells = rng.standard_t(5, 80) + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 0.5, (5, 80))
        by_rows += (weigh(BETTER, Comparison(), cells).p_value or 0.0) <= 0.05
        by_seeds += (weigh(BETTER, Comparison(), cells.mean(1)).p_value or 0.0) <= 0.05
    assert by_rows / 400 <= 0.05 + 3 * 0.011
    assert by_seeds / 400 > 0.2


def stored(made: Any, folder: Path, gains: np.ndarray, partition: dict[str, Any] | None = None) -> Any:
    """Likelihood readouts on disk: a GEBM's log-densities differ from the flow's by gains[seed, row]."""
    rows, arrays = densities(made, gains.mean(1).tolist()), {}
    for row in rows:
        exact, seed = row["model"] == "flow-realnvp", row["seed"]
        path = folder / f"{row['model']}-{seed}.npy"
        np.save(path, np.full(gains.shape[1], row["value"]) if exact else -5.0 - seed + gains[seed])
        arrays[row["run"], row["sampler"], row["beta"], row["steps"]] = {"points": path}
        about = {"exact": exact}, None if exact else partition
        row["about"] = {"row": dict(zip(("likelihood", "log_partition"), about, strict=True))}
    return made.results(rows, None, arrays).sections()


def test_likelihoods_are_compared_over_rows_too(made: Any, tmp_path: Path) -> None:
    """Seeds agree, since they share few rows that differ widely: an interval over seeds alone is certain, and wrong."""
    rng = np.random.default_rng(6)
    gains = 0.2 + rng.normal(0, 2.0, 60) + rng.normal(0, 0.01, (4, 60))
    claim = Claim.model_validate(DENSITY | {"rule": "difference", "margin": None})
    (finding,) = judge(stored(made, tmp_path, gains), [claim])
    (compared,) = finding.comparisons
    assert (finding.verdict, compared.interval_kind) == ("inconclusive", "seeds and rows")
    (by_seeds,) = judge(made.results(densities(made, gains.mean(1).tolist())).sections(), [claim])
    assert by_seeds.verdict != "inconclusive"
    low, high = estimate(finding).ci_low, estimate(finding).ci_high
    assert low is not None
    assert high is not None
    assert (high - low) / 2 == pytest.approx(1.96 * 2.0 / 60**0.5, rel=0.25)


def test_what_is_less_than_the_error_of_log_z_decides_nothing(made: Any, tmp_path: Path) -> None:
    gains = 0.2 + np.random.default_rng(7).normal(0, 0.01, (4, 60))
    claim = Claim.model_validate(DENSITY | {"rule": "difference", "margin": None})
    for error, expected in ((0.1, "supported"), (0.3, "inconclusive")):
        partition = {"estimate": 0.0, "standard_error": error, "reportable": True}
        (finding,) = judge(stored(made, tmp_path, gains, partition), [claim])
        assert (finding.verdict, finding.comparisons[0].interval_kind) == (expected, "seeds and rows")
        assert ("log Z is uncertain by 0.3 nats" in finding.reason) == (expected == "inconclusive")
