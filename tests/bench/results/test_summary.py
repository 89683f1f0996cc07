"""Laws of the summary: nothing is averaged across keys or settings, nothing that failed disappears."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.results.scores import NothingToReportError, read_scores
from bench.results.summary import SummaryRow, summarise, to_json

PROMISED = {
    *("suite", "dataset", "model", "sampler", "beta", "steps", "metric", "key", "mean", "ci_low", "ci_high", "n"),
    *("status", "reason"),
}


def summary(made: Any, rows: Sequence[dict[str, Any]]) -> list[SummaryRow]:
    return summarise(read_scores(made.frame(rows)))


def test_a_mean_is_over_the_seeds_of_one_readout_under_one_key(made: Any) -> None:
    rows = made.study(seeds=4)
    for line in summary(made, rows):
        same = [
            r["value"]
            for r in rows
            if (r["model"], r["metric"], r["key"], r["steps"], r["sampler"])
            == (line.model, line.metric, line.key, line.steps, line.sampler)
            if math.isnan(r["beta"]) == (line.beta is None)
            if line.beta is None or r["beta"] == line.beta
        ]
        assert line.mean == pytest.approx(np.mean(same))
        assert (line.n, line.status, line.reason) == (1 if line.model == "data" else 4, "done", "")
        if line.model != "data":
            assert line.ci_low is not None
            assert line.ci_high is not None
            assert line.ci_low <= line.mean <= line.ci_high


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other"},
        {"identity": "other"},
        {"beta": 100.0},
        {"steps": 30},
        {"step_size": 0.5},
        {"sampler": "mala"},
        {"dataset": "fashion"},
        {"profile": "paper"},
        {"suite": "mine"},
        {"status": "stale"},
    ],
)
def test_what_differs_is_never_averaged_together(made: Any, change: dict[str, Any]) -> None:
    place = made.chain(1.0, 10)
    rows = [made.row(seed=0, **place, value=1.0), made.row(seed=1, **place | change, value=3.0)]
    lines = [line for line in summary(made, rows) if line.metric]
    assert sorted(line.mean for line in lines if line.mean is not None) == [1.0, 3.0]
    assert all(line.n == 1 and line.ci_low is None for line in lines)


def test_the_order_of_rows_changes_no_number(made: Any) -> None:
    rows = made.study()
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]

    def numbers(lines: list[SummaryRow]) -> set[tuple[Any, ...]]:
        return {(x.label, x.sampler, x.beta, x.steps, x.metric, round(x.mean or 0, 9), x.n) for x in lines}

    assert numbers(summary(made, rows)) == numbers(summary(made, shuffled))


def test_failed_seeds_are_counted_and_named(made: Any) -> None:
    rows = [made.row("gan-ns", 0), made.row("gan-ns", 2), made.unscored("gan-ns", 1, "failed", "diverged at step 812")]
    scored, failed = summary(made, rows)
    assert (scored.n, scored.planned, scored.status) == (2, 3, "partial")
    assert scored.reason == "2 of 3 seeds; seed 1 diverged at step 812"
    assert (failed.metric, failed.sampler, failed.mean, failed.n, failed.status) == (None, None, None, 0, "failed")
    assert failed.reason == "seed 1 diverged at step 812"


def test_every_unscored_run_is_in_some_row(made: Any) -> None:
    reasons = {
        0: ("failed", "out of memory"),
        1: ("missing", ""),
        2: ("partial", "unfinished"),
        3: ("failed", "killed"),
    }
    lines = summary(made, [made.unscored("gebm", seed, *why) for seed, why in reasons.items()])
    text = " | ".join(f"{line.status} {line.reason}" for line in lines)
    assert all(f"seed {seed} {reason or 'not run yet'}" in text for seed, (_, reason) in reasons.items())
    assert {line.status for line in lines} == {"failed", "missing", "partial"}


def test_failed_real_data_is_not_lost(made: Any) -> None:
    (line,) = summary(made, [made.unscored("data", 0, "failed", "extractor missing")])
    assert (line.model, line.status) == ("data", "failed")


def test_a_collapsed_seed_stays_in_the_mean_and_is_marked(made: Any) -> None:
    rows = [made.row(seed=0, value=10.0), made.row(seed=1, value=90.0, status="collapsed", reason="1 of 10 classes")]
    (line,) = summary(made, rows)
    assert (line.mean, line.n, line.status, line.reason) == (50.0, 2, "collapsed", "seed 1 collapsed: 1 of 10 classes")


def test_a_score_that_is_not_finite_is_a_hole_with_a_reason(made: Any) -> None:
    rows = [made.row(seed=0), made.row(seed=1), made.row(seed=2, value=float("inf"))]
    (line,) = summary(made, rows)
    assert (line.n, line.status) == (2, "partial")
    assert line.reason == "2 of 3 seeds; seed 2 gave a value that is not finite"


def test_a_seed_under_another_key_is_said_to_be(made: Any) -> None:
    rows = [made.row(seed=0), made.row(seed=1), made.row(seed=2, key="other")]
    first = summary(made, rows)[0]
    assert first.reason == "2 of 3 seeds; seed 2 was scored under another key (shown apart)"


def test_real_data_scored_again_is_not_more_data(made: Any) -> None:
    rows = [made.row(model, seed, sampler="data", value=15.1) for model in ("gebm", "gan-ns") for seed in range(3)]
    (line,) = summary(made, rows)
    assert (line.model, line.mean, line.n, line.ci_low) == ("data", 15.1, 1, None)


def test_json_rows_have_what_was_promised_and_no_nan(made: Any) -> None:
    rows = [*made.study(1), made.unscored("gan-ns", 1, "failed", "diverged")]
    records = [to_json(line) for line in summary(made, rows)]
    assert all(record.keys() >= PROMISED for record in records)
    assert json.loads(json.dumps(records, allow_nan=False)) == records


def test_a_score_that_is_there_twice_is_refused(made: Any) -> None:
    with pytest.raises(ValueError, match="there twice"):
        summary(made, [made.row(), made.row(value=3.0)])


def test_a_likelihood_beside_another_temperature_is_refused(made: Any) -> None:
    with pytest.raises(ValueError, match="β=100"):
        summary(made, [made.row(**made.chain(100.0, 10), metric="likelihood-gain", value=1.0)])


def test_an_empty_frame_and_a_missing_column_are_named(made: Any) -> None:
    with pytest.raises(NothingToReportError, match="nothing to report yet"):
        read_scores(made.frame([]))
    with pytest.raises(ValueError, match="gradient_evaluations"):
        read_scores(made.frame([made.row()]).drop(columns="gradient_evaluations"))
