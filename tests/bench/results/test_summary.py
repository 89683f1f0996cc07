"""Laws of the summary: nothing is averaged across keys or settings, nothing that failed disappears."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.results.frame import NothingToReportError
from bench.results.summary import render_csv, render_json

PROMISED = {
    *("suite", "dataset", "model", "sampler", "beta", "steps", "metric", "key", "mean", "ci_low", "ci_high", "n"),
    *("status", "reason", "stale", "steps_done", "steps_asked", "collapsed", "refused"),
}


def summary(made: Any, rows: Sequence[dict[str, Any]]) -> list[Any]:
    return [row for section in made.results(rows).sections() for row in section.summary.itertuples()]


def test_a_mean_is_over_the_seeds_of_one_readout_under_one_key(made: Any) -> None:
    rows = made.study(seeds=4)
    for line in summary(made, rows):
        place = (line.model, line.metric, line.key, line.steps, line.sampler)
        same = [
            r["value"]
            for r in rows
            if (r["model"], r["metric"], r["key"], r["steps"], r["sampler"]) == place
            if r["beta"] == line.beta or (math.isnan(r["beta"]) and math.isnan(line.beta))
        ]
        assert line.mean == pytest.approx(np.mean(same))
        assert (line.n, line.status, line.reason) == (1 if line.model == "data" else 4, "done", "")
        assert line.model == "data" or line.ci_low <= line.mean <= line.ci_high


@pytest.mark.parametrize("gone", [0, 1])
def test_models_of_which_nothing_is_to_be_said_are_averaged_as_all_others_are(
    made: Any, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = [row for row in made.study(seeds=4) if row["model"] != "data"]
    rows = study[gone:]  # the first model lacks a score of one seed
    quick = [section.summary for section in made.results(rows).sections()]
    monkeypatch.setattr("bench.results.summary._is_plain", lambda frame: np.zeros(len(frame), bool))
    for each, section in zip(quick, made.results(rows).sections(), strict=True):
        pd.testing.assert_frame_equal(each, section.summary)
        assert (each["status"] == "partial").sum() == gone


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other"},
        {"identity": "other", "run": "other"},
        {"beta": 100.0},
        {"steps": 30},
        {"step_size": 0.5},
        {"sampler": "mala"},
        {"dataset": "fashion"},
        {"profile": "paper"},
        {"suite": "mine"},
        {"stale": "gebm.model changed"},
        {"status": "unfinished", "reason": "after 1 of 2 steps"},
    ],
)
def test_what_differs_is_never_averaged_together(made: Any, change: dict[str, Any]) -> None:
    place = made.chain(1.0, 10)
    rows = [made.row(seed=0, **place, value=1.0), made.row(seed=1, **place | change, value=3.0)]
    lines = [line for line in summary(made, rows) if line.metric]
    assert sorted(line.mean for line in lines) == [1.0, 3.0]
    assert all(line.n == 1 and math.isnan(line.ci_low) for line in lines)
    apart = {"stale", "unfinished"} & {"stale" if "stale" in change else change.get("status")}
    assert apart <= {line.status for line in lines}


def test_the_order_of_rows_changes_no_number(made: Any) -> None:
    rows = made.study()
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]

    def numbers(lines: list[Any]) -> set[tuple[Any, ...]]:
        return {(x.label, x.sampler, str(x.beta), x.steps, x.metric, round(x.mean, 9), x.n) for x in lines}

    assert numbers(summary(made, rows)) == numbers(summary(made, shuffled))


def test_failed_seeds_are_counted_and_named(made: Any) -> None:
    rows = [made.row("gan-ns", 0), made.row("gan-ns", 2), made.unscored("gan-ns", 1, "failed", "diverged at step 812")]
    scored, failed = summary(made, rows)
    assert (scored.n, scored.planned, scored.status) == (2, 3, "partial")
    assert scored.reason == "2 of 3 seeds; seed 1 diverged at step 812"
    assert (failed.metric, failed.sampler, failed.n, failed.status) == (None, None, 0, "failed")
    assert failed.reason == "seed 1 diverged at step 812"
    assert math.isnan(failed.mean)


def test_every_unscored_run_is_in_some_row(made: Any) -> None:
    reasons = (("failed", "out of memory"), ("missing", ""), ("partial", "unfinished"), ("failed", "killed"))
    lines = summary(made, [made.unscored("gebm", seed, *why) for seed, why in enumerate(reasons)])
    text = " | ".join(f"{line.status} {line.reason}" for line in lines)
    assert all(f"seed {seed} {reason or 'not run yet'}" in text for seed, (_, reason) in enumerate(reasons))
    assert {line.status for line in lines} == {"failed", "missing", "partial"}
    (line,) = summary(made, [made.unscored("data", 0, "failed", "extractor missing")])
    assert (line.model, line.status) == ("data", "failed")


@pytest.mark.parametrize(
    ("change", "mean", "n", "status", "reason"),
    [
        ({"status": "collapsed", "reason": "1 of 10"}, 20.0, 3, "collapsed", "seed 2 collapsed: 1 of 10"),
        ({"value": math.inf}, 5.0, 2, "partial", "2 of 3 seeds; seed 2 gave a value that is not finite"),
        ({"key": "other"}, 5.0, 2, "partial", "2 of 3 seeds; seed 2 was scored under another key (shown apart)"),
        ({"stale": "torch 1 → 2"}, 5.0, 2, "partial", "2 of 3 seeds; seed 2 is stale (shown apart)"),
        ({"status": "unfinished"}, 5.0, 2, "partial", "2 of 3 seeds; seed 2 is unfinished (shown apart)"),
        ({"metric": "other"}, 5.0, 2, "partial", "2 of 3 seeds; seed 2 has no such score yet"),
        (
            {"metric": None, "sampler": "exact", "status": "refused", "refused": True, "reason": "of another readout"},
            5.0,
            2,
            "partial",
            "2 of 3 seeds; seed 2 has no such score yet",
        ),
    ],
)
def test_a_third_seed_that_differs_is_counted_marked_or_explained(
    made: Any, change: dict[str, Any], mean: float, n: int, status: str, reason: str
) -> None:
    """A collapsed seed stays in the mean: dropping it would flatter."""
    rows = [made.row(seed=0, value=0.0), made.row(seed=1, value=10.0), made.row(seed=2, **{"value": 50.0} | change)]
    first = summary(made, rows)[0]
    assert (first.mean, first.n, first.status, first.reason) == (mean, n, status, reason)


def test_a_refused_readout_is_counted_named_and_marked(made: Any) -> None:
    """What a refused readout still knows counts; the score that it leaves out is named, and neither row is called done."""
    place = {"sampler": "likelihood", "beta": 1.0}
    refused = {"status": "refused", "reason": "log Z is not reportable; heavy tail"}
    rows = [made.row(seed=seed, **place, metric="log-likelihood", value=-1.0) for seed in range(2)]
    rows += [
        made.row(seed=seed, **place, metric="ess-fraction", value=0.5, **refused if seed == 2 else {})
        for seed in range(3)
    ]
    likelihood, share = summary(made, [*rows, made.row(seed=0)])[:2]
    why = "seed 2 refused: log Z is not reportable; heavy tail"
    assert (likelihood.n, likelihood.status, likelihood.reason) == (2, "partial", f"2 of 3 seeds; {why}")
    assert (share.n, share.mean, share.status, share.reason) == (3, 0.5, "refused", why)
    assert (likelihood.refused, share.refused, likelihood.collapsed) == (True, True, False)
    collapsed = summary(made, [made.row(seed=0), made.row(seed=1, status="collapsed", reason="1 of 10")])
    assert [(line.status, line.collapsed, line.refused) for line in collapsed] == [("collapsed", True, False)]


def test_real_data_scored_again_is_not_more_data(made: Any) -> None:
    rows = [made.row(model, seed, sampler="data", value=15.1) for model in ("gebm", "gan-ns") for seed in range(3)]
    (line,) = summary(made, rows)
    assert (line.model, line.mean, line.n) == ("data", 15.1, 1)
    assert math.isnan(line.ci_low)


def test_json_and_csv_have_what_was_promised_and_no_nan(made: Any) -> None:
    rows = [*made.study(1), made.unscored("gan-ns", 1, "failed", "diverged")]
    found = made.results(rows).summary
    records = json.loads(render_json(found), parse_constant=lambda name: pytest.fail(name))
    assert len(records) == len(found)
    assert all(record.keys() >= PROMISED for record in records)
    assert [record["mean"] for record in records if record["metric"] is None] == [None]
    first, *others = render_csv(found).splitlines()
    assert set(first.split(",")) == records[0].keys()
    assert len(others) == len(records)


def test_contradictions_are_refused(made: Any) -> None:
    with pytest.raises(ValueError, match="there twice"):
        summary(made, [made.row(), made.row(value=3.0)])
    with pytest.raises(ValueError, match="β=100"):
        summary(made, [made.row(**made.chain(100.0, 10), metric="log-likelihood", value=1.0)])
    with pytest.raises(NothingToReportError, match="nothing to report yet"):
        summary(made, [])
