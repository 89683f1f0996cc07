"""Verdicts follow intervals, directions and margins; what cannot be compared is not, and is said to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.claims import Claim, Judgement, judge, load_claims, to_json
from bench.claims.judge import decide
from bench.stats import holm, mean_interval, simultaneous_confidence

FD = "fd[digits-cnn]"
OWN_BASE = {
    "id": "own-base",
    "sentence": "better than its own base",
    "source": "a test",
    "suites": "images",
    "metric": "fd",
    "rule": "difference",
    "treatment": {"model": "gebm", "beta": 1},
    "reference": {"sampler": "base"},
}
DENSITY = {
    "id": "reaches",
    "sentence": "reaches maximum likelihood",
    "source": "a test",
    "suites": "density",
    "metric": "log-likelihood",
    "rule": "margin",
    "margin": 0.1,
    "treatment": {"model": "gebm-flow-kale", "sampler": "likelihood", "beta": 1},
    "reference": {"model": "flow-realnvp"},
}
TREND = {key: value for key, value in OWN_BASE.items() if key != "reference"} | {
    "id": "longer",
    "rule": "trend",
    "treatment": {"model": "gebm", "steps": "all"},
}


def judged(made: Any, rows: Sequence[dict[str, Any]], *claims: dict[str, Any]) -> list[Judgement]:
    return judge(made.results(rows).sections(), [Claim.model_validate(claim) for claim in claims])


def duel(made: Any, gains: Sequence[float], metric: str = FD) -> list[dict[str, Any]]:
    """A GEBM whose chain moves the score of seed i by gains[i]; bases differ by 50 a seed."""
    rows = []
    for seed, gain in enumerate(gains):
        rows.append(made.row(seed=seed, metric=metric, value=100.0 + 50 * seed))
        rows.append(made.row(seed=seed, metric=metric, value=100.0 + 50 * seed + gain, **made.chain(1.0, 300)))
    return rows


def densities(made: Any, gains: Sequence[float]) -> list[dict[str, Any]]:
    """A GEBM whose log-likelihood differs from the flow's by gains[i] at seed i."""
    place = {"suite": "density", "dataset": "rings", "sampler": "likelihood", "beta": 1.0, "metric": "log-likelihood"}
    rows = []
    for seed, gain in enumerate(gains):
        rows.append(made.row("flow-realnvp", seed, **place, value=-5.0 - seed))
        rows.append(made.row("gebm-flow-kale", seed, **place, value=-5.0 - seed + gain))
    return rows


@pytest.mark.parametrize(
    ("gains", "metric", "expected"),
    [
        ([-10.0, -11.0, -12.0], FD, "supported"),
        ([10.0, 11.0, 12.0], FD, "contradicted"),
        ([10.0, 11.0, 12.0], "is[digits-cnn]", "supported"),
        ([-10.0, 1.0, 8.0], FD, "inconclusive"),
        ([0.0, 0.0, 0.0], FD, "inconclusive"),
        ([-10.0], FD, "inconclusive"),
    ],
)
def test_a_difference_is_read_in_the_better_direction(
    made: Any, gains: list[float], metric: str, expected: str
) -> None:
    (finding,) = judged(made, duel(made, gains, metric), OWN_BASE | {"metric": [metric.partition("[")[0]]})
    assert finding.verdict == expected
    assert finding.estimate is not None
    assert finding.estimate.mean == pytest.approx(np.mean(gains))
    assert finding.runs == tuple(f"digits-gebm-{seed}" for seed in range(len(gains)))
    if len(gains) == 1:
        assert (finding.reason, finding.p_value, finding.together) == ("one seed: no interval", None, None)


@pytest.mark.parametrize(
    ("gains", "both", "worse"),
    [
        ([0.00, 0.01, -0.01], "supported", "supported"),
        ([-0.30, -0.31, -0.32], "contradicted", "contradicted"),
        ([0.30, 0.31, 0.32], "contradicted", "supported"),
        ([-0.15, 0.02, 0.05], "inconclusive", "inconclusive"),
        ([0.05, 0.10, 0.15], "inconclusive", "supported"),
        ([0.0], "inconclusive", "inconclusive"),
    ],
)
def test_a_margin_needs_the_whole_interval(made: Any, gains: list[float], both: str, worse: str) -> None:
    for sides, expected in (("both", both), ("worse", worse)):
        (finding,) = judged(made, densities(made, gains), DENSITY | {"sides": sides})
        assert finding.verdict == expected, sides
        if finding.p_value is not None:
            assert (finding.p_value <= 0.05) == (expected != "inconclusive")


@pytest.mark.parametrize(("slope", "expected"), [(-3.0, "supported"), (3.0, "contradicted"), (0.0, "inconclusive")])
def test_a_trend_is_the_slope_over_tenfold_lengths(made: Any, slope: float, expected: str) -> None:
    rng = np.random.default_rng(1)
    rows = [
        made.row(seed=seed, value=50 * seed + slope * np.log10(steps) + rng.normal(0, 0.1), **made.chain(1.0, steps))
        for seed in range(4)
        for steps in (10, 30, 100, 300)
    ]
    (finding,) = judged(made, rows, TREND)
    assert finding.verdict == expected
    assert finding.estimate is not None
    assert finding.estimate.mean == pytest.approx(slope, abs=0.2)
    (short,) = judged(made, [row for row in rows if row["steps"] == 300], TREND)
    assert (short.verdict, short.reason) == ("not run", "chains of one length only, 300 steps")


def test_p_values_decide_exactly_where_intervals_do() -> None:
    # The two ways of saying it must agree for every sample; 400 samples around the boundary.
    rng = np.random.default_rng(1)
    for _ in range(200):
        gains = rng.normal(1.0, 1.0, 4)
        for claim, effect in ((OWN_BASE, mean_interval(gains)), (DENSITY, mean_interval(gains / 10))):
            found = decide(Judgement(Claim.model_validate(claim)), effect)
            assert found.p_value is not None
            assert (found.p_value <= 0.05) == (found.verdict != "inconclusive")


def test_claims_and_the_reports_sentences_agree(made: Any) -> None:
    rng = np.random.default_rng(2)
    from bench.report.comparisons import compare

    words = {"supported": "better", "contradicted": "worse", "inconclusive": "no clear difference"}
    seen = set()
    for _ in range(20):
        rows = duel(made, list(rng.normal(rng.choice([-2.0, 0.0, 2.0]), 1.0, 4)))
        (finding,) = judged(made, rows, OWN_BASE)
        (section,) = made.results(rows).sections()
        (comparison,) = compare(section, [FD])
        assert comparison.reading == words[finding.verdict]
        seen.add(finding.verdict)
    assert seen == set(words)


def test_the_longest_chain_is_judged_not_the_best(made: Any) -> None:
    best = [made.row(seed=seed, value=0.1, **made.chain(1.0, 30)) for seed in range(3)]
    (finding,) = judged(made, [*duel(made, [10.0, 11.0, 12.0]), *best], OWN_BASE)
    assert (finding.verdict, finding.treatment and finding.treatment.steps) == ("contradicted", 300)
    rows = [row | {"model": "gebm-dv", "identity": "other"} for row in best]
    findings = judged(made, [*duel(made, [10.0, 11.0, 12.0]), *rows], OWN_BASE | {"treatment": {"model": "gebm*"}})
    assert [finding.verdict for finding in findings] == ["contradicted", "not run"]
    assert "gebm-dv: no fd here, or not at the length that is judged" in findings[1].reason


def test_seeds_are_paired_and_the_rest_counted(made: Any) -> None:
    rivals = [made.row("gan-ns", seed, value=500.0 + seed) for seed in (1, 2, 7)]
    claim = OWN_BASE | {"reference": {"model": "gan-ns", "sampler": "base"}}
    (finding,) = judged(made, [*duel(made, [-10.0, -11.0, -12.0]), *rivals], claim)
    assert finding.estimate is not None
    assert (finding.estimate.n, finding.dropped) == (2, 2)
    assert finding.runs == ("digits-gebm-1", "digits-gebm-2", "digits-gan-ns-1", "digits-gan-ns-2")
    assert "two seeds" in finding.reason


def test_every_beta_asked_for_gets_a_finding(made: Any) -> None:
    claim = OWN_BASE | {"treatment": {"model": "gebm", "beta": [1, 100]}}
    both = judged(made, made.study(), claim)
    assert [finding.treatment and finding.treatment.beta for finding in both] == [1.0, 100.0]
    one, other = judged(made, duel(made, [-1.0, -1.1, -1.2]), claim)
    assert (one.verdict, other.verdict) == ("supported", "not run")
    assert "gebm at β=100" in other.reason


@pytest.mark.parametrize(
    ("rows", "change", "why"),
    [
        ("duel", {"suites": "density*"}, "no run of suite density* here"),
        ("duel", {"datasets": "faces"}, "no run on faces here"),
        ("duel", {"treatment": {"model": "gebm-dv"}}, "no run of gebm-dv"),
        ("duel", {"treatment": {"model": "gebm", "sampler": "hmc"}}, "gebm: no fd here"),
        ("duel", {"metric": "kid"}, "gebm at β=1: no kid here"),
        ("duel", {"reference": {"model": "gan-ns", "sampler": "base"}}, "no score of gan-ns base to compare with"),
        ("failed", {}, "gebm at β=1: seed 0 failed: diverged at step 812"),
        ("missing", {}, "gebm at β=1: seed 0 missing"),
        ("stale", {}, "made by other code or library versions: torch 2 → 3"),
        ("keys", {}, "not comparable: scored under different keys"),
    ],
)
def test_what_was_not_run_says_why(made: Any, rows: str, change: dict[str, Any], why: str) -> None:
    content = {
        "duel": duel(made, [-1.0, -1.1, -1.2]),
        "failed": [made.unscored("gebm", 0, "failed", "diverged at step 812")],
        "missing": [made.unscored("gebm", 0, "missing", "")],
        "stale": [row | {"stale": "torch 2 → 3"} for row in duel(made, [-1.0, -1.1, -1.2])],
        "keys": [row | ({"key": "other"} if row["sampler"] == "base" else {}) for row in duel(made, [-1.0, -1.1])],
    }[rows]
    (finding,) = judged(made, content, OWN_BASE | change)
    assert (finding.verdict, finding.estimate) == ("not run", None)
    assert why in finding.reason


def test_a_value_can_be_the_reference(made: Any) -> None:
    treatment = {"model": "gebm", "sampler": "likelihood"}
    claim = OWN_BASE | {"metric": "likelihood-gain", "treatment": treatment, "reference": {"value": 0.5}}
    (finding,) = judged(made, made.study(seeds=6), claim)
    assert finding.verdict == "supported"
    assert finding.estimate is not None
    assert finding.estimate.mean == pytest.approx(0.36, abs=0.15)


def test_what_is_judged_together_is_corrected_together(made: Any) -> None:
    claims = [OWN_BASE | {"id": f"c{beta}", "treatment": {"model": "gebm", "beta": beta}} for beta in (1, 100)]
    found = judged(made, made.study(), *claims)
    assert [f.p_holm for f in found] == pytest.approx(holm([f.p_value or 0.0 for f in found]))
    for finding in found:
        assert finding.estimate is not None
        assert finding.together == finding.estimate.at(simultaneous_confidence(2))


def test_the_papers_claims_on_a_study(made: Any) -> None:
    found = judge(made.results(made.study(seeds=8)).sections(), load_claims())
    verdicts = {(f.claim.id, f.treatment.beta if f.treatment else None): f.verdict for f in found}
    assert verdicts["better-than-own-base", 1.0] == "contradicted"
    assert verdicts["better-than-own-base", 100.0] == "supported"
    assert verdicts["longer-chains-score-better", 1.0] == "contradicted"
    assert verdicts["energy-gains-likelihood", 1.0] == "supported"
    assert verdicts["reaches-maximum-likelihood", None] == "not run"
    assert {to_json(finding)["claim"]["id"] for finding in found} == {claim.id for claim in load_claims()}
    assert judge([], load_claims())[0].verdict == "not run"
