"""Verdicts follow intervals, directions and margins; what cannot be compared is not, and is said to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.claims import Claim, Judgement, judge, load_claims, to_json
from bench.results.sources import Source
from bench.stats import Estimate, holm

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


def estimate(finding: Judgement) -> Estimate:
    """That of the comparison on which the verdict rests."""
    assert finding.decisive is not None
    assert finding.decisive.estimate is not None
    return finding.decisive.estimate


def treatments(finding: Judgement) -> list[Source | None]:
    return [each.treatment for each in finding.comparisons]


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
        ([-10.0, -11.0], FD, "not enough seeds"),
        ([-10.0], FD, "not enough seeds"),
    ],
)
def test_a_difference_is_read_in_the_better_direction(
    made: Any, gains: list[float], metric: str, expected: str
) -> None:
    (finding,) = judged(made, duel(made, gains, metric), OWN_BASE | {"metric": [metric.partition("[")[0]]})
    assert finding.verdict == expected
    assert estimate(finding).mean == pytest.approx(np.mean(gains))
    assert [each.runs for each in finding.comparisons] == [tuple(f"digits-gebm-{seed}" for seed in range(len(gains)))]
    if len(gains) < 3:
        reason = f"{len(gains)} paired seed{'s' * (len(gains) > 1)}, fewer than 3"
        assert (finding.reason, finding.p_value, finding.p_holm) == (reason, None, None)


@pytest.mark.parametrize(
    ("gains", "both", "worse"),
    [
        ([0.00, 0.01, -0.01], "supported", "supported"),
        ([-0.30, -0.31, -0.32], "contradicted", "contradicted"),
        ([0.30, 0.31, 0.32], "contradicted", "supported"),
        ([-0.15, 0.02, 0.05], "inconclusive", "inconclusive"),
        ([0.05, 0.10, 0.15], "inconclusive", "supported"),
        ([0.0], "not enough seeds", "not enough seeds"),
    ],
)
def test_a_margin_needs_the_whole_interval(made: Any, gains: list[float], both: str, worse: str) -> None:
    for sides, expected in (("both", both), ("worse", worse)):
        (finding,) = judged(made, densities(made, gains), DENSITY | {"sides": sides})
        assert finding.verdict == expected, sides
        if finding.p_value is not None:
            assert (finding.p_value <= 0.05) == (expected != "inconclusive")
            assert finding.p_holm == finding.p_value  # of one alone


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
    assert estimate(finding).mean == pytest.approx(slope, abs=0.2)
    (short,) = judged(made, [row for row in rows if row["steps"] == 300], TREND)
    assert (short.verdict, short.reason) == ("not run", "chains of one length only, 300 steps")


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
    assert (finding.verdict, [source and source.steps for source in treatments(finding)]) == ("contradicted", [300])
    rows = [row | {"model": "gebm-dv", "identity": "other"} for row in best]
    (finding,) = judged(made, [*duel(made, [10.0, 11.0, 12.0]), *rows], OWN_BASE | {"treatment": {"model": "gebm*"}})
    assert (finding.verdict, len(finding.comparisons)) == ("contradicted", 1)
    assert finding.not_run == ("gebm-dv: no fd here, or not at the length that is judged",)


def test_seeds_are_paired_and_the_rest_counted(made: Any) -> None:
    rivals = [made.row("gan-ns", seed, value=500.0 + seed) for seed in (1, 2, 7)]
    claim = OWN_BASE | {"reference": {"model": "gan-ns", "sampler": "base"}}
    (finding,) = judged(made, [*duel(made, [-10.0, -11.0, -12.0]), *rivals], claim)
    (compared,) = finding.comparisons
    assert (estimate(finding).n, compared.dropped) == (2, 2)
    assert compared.runs == ("digits-gebm-1", "digits-gebm-2", "digits-gan-ns-1", "digits-gan-ns-2")
    assert (finding.verdict, finding.reason) == ("not enough seeds", "2 paired seeds, fewer than 3")


def test_a_claim_is_one_verdict_about_all_that_it_selects(made: Any) -> None:
    """It is supported if it holds for all, contradicted if it fails for any, by the smallest p-value times their number."""

    def study(*gains: Sequence[float]) -> list[dict[str, Any]]:
        rows = duel(made, gains[0])
        for sampler, own in zip(("mala", "hmc"), gains[1:], strict=False):
            rows += [row | {"sampler": sampler} for row in duel(made, own) if row["sampler"] == "ula"]
        return rows

    good, better, bad, vague = [-9.0, -10.0, -11.2], [-19.0, -20.0, -21.0], [9.0, 10.0, 11.1], [-9.0, 1.0, 8.0]
    for gains, verdict, decisive in (
        ((good, better), "supported", good),
        ((good, bad, better), "contradicted", bad),
        ((good, vague), "inconclusive", vague),
    ):
        (finding,) = judged(made, study(*gains), OWN_BASE)
        assert (finding.verdict, len(finding.comparisons)) == (verdict, len(gains))
        assert estimate(finding).mean == pytest.approx(np.mean(decisive))
    alone = judged(made, study(bad), OWN_BASE)[0]
    among = judged(made, study(good, bad, better), OWN_BASE)[0]
    assert among.fails == pytest.approx(3 * alone.fails)
    (supported,) = judged(made, study(good, better), OWN_BASE)
    assert supported.holds == judged(made, study(good), OWN_BASE)[0].holds
    both = OWN_BASE | {"treatment": {"model": "gebm", "beta": [1, 100]}}
    (finding,) = judged(made, study(good), both)
    assert (finding.verdict, len(finding.not_run)) == ("supported", 1)
    assert "gebm at β=100" in finding.not_run[0]


def lose(rows: list[dict[str, Any]], seed: int, made: Any, how: Any) -> list[dict[str, Any]]:
    """The chains of one seed lost: their run failed, or the readout was refused."""
    kept = [row for row in rows if row["seed"] != seed]
    if how == "diverged":
        return [*kept, made.unscored("gebm", seed, "failed", "diverged at step 812")]
    base, chain = (row for row in rows if row["seed"] == seed)
    return [*kept, base, chain | {"metric": None, "value": np.nan, "status": "refused", "refused": True}]


@pytest.mark.parametrize("how", ["diverged", "refused"])
def test_a_lost_seed_counts_against_a_claim(made: Any, how: str) -> None:
    """Four seeds that agree cannot make up for a fifth at its worst; fourteen can for a fifteenth."""
    for seeds, expected in ((5, "inconclusive"), (15, "supported")):
        rows = lose(duel(made, [-10.0 - 0.1 * seed for seed in range(seeds)]), 1, made, how)
        (finding,) = judged(made, rows, OWN_BASE)
        assert finding.verdict == expected
        assert {name for name in ("refused", "diverged", "collapsed") if finding.seeds(name)} == {how}
        assert finding.seeds(how) == {1}
        assert len(finding.seeds("asked")) == seeds
        assert finding.reason == "would hold without the 1 lost, not with them at their worst" * (seeds == 5)
    (against,) = judged(made, lose(duel(made, [10.0, 10.1, 10.2, 10.3, 10.4]), 1, made, how), OWN_BASE)
    assert against.verdict == "contradicted"


def test_a_claim_whose_seeds_are_all_lost_is_not_unread(made: Any) -> None:
    rows = duel(made, [-10.0, -11.0, -12.0])
    refused = rows
    for seed in range(3):
        refused = lose(refused, seed, made, "refused")
    (finding,) = judged(made, refused, OWN_BASE)
    assert (finding.verdict, finding.seeds("refused")) == ("not enough seeds", {0, 1, 2})
    failed = [made.unscored("gebm-dv", seed, "failed", "diverged") | {"identity": "other"} for seed in range(3)]
    (finding,) = judged(made, [*rows, *failed], OWN_BASE | {"treatment": {"model": "gebm*", "beta": 1}})
    assert (finding.verdict, finding.seeds("diverged")) == ("inconclusive", {0, 1, 2})
    assert finding.not_run == ("gebm-dv at β=1: seed 0 failed: diverged",)


@pytest.mark.parametrize(("side", "verdict"), [("treatment", "inconclusive"), ("reference", "supported")])
def test_a_collapsed_seed_is_used_and_counts_against_the_treatment(made: Any, side: str, verdict: str) -> None:
    rows = duel(made, [-10.0, -11.0, -12.0])
    collapsed = rows[5 if side == "treatment" else 4]
    collapsed |= {"collapsed": True, "status": "collapsed"}
    (finding,) = judged(made, rows, OWN_BASE)
    assert (finding.verdict, estimate(finding).n, finding.seeds("collapsed")) == (verdict, 3, {2})
    assert to_json(finding)["collapsed"] == 1


@pytest.mark.parametrize(
    ("rows", "change", "why"),
    [
        ("duel", {"suites": "density*"}, "no run of suite density* here"),
        ("duel", {"datasets": "faces"}, "no run on faces here"),
        ("duel", {"treatment": {"model": "gebm-dv"}}, "no run of gebm-dv"),
        ("duel", {"treatment": {"model": "gebm", "sampler": "hmc"}}, "gebm: no fd here"),
        ("duel", {"metric": "kid"}, "gebm at β=1: no kid here"),
        ("duel", {"reference": {"model": "gan-ns", "sampler": "base"}}, "no score of gan-ns base to compare with"),
        ("missing", {}, "gebm at β=1: seed 0 missing"),
        ("stale", {}, "made by other code or library versions: torch 2 → 3"),
        ("keys", {}, "not comparable: scored under different keys"),
    ],
)
def test_what_was_not_run_says_why(made: Any, rows: str, change: dict[str, Any], why: str) -> None:
    content = {
        "duel": duel(made, [-1.0, -1.1, -1.2]),
        "missing": [made.unscored("gebm", 0, "missing", "")],
        "stale": [row | {"stale": "torch 2 → 3"} for row in duel(made, [-1.0, -1.1, -1.2])],
        "keys": [row | ({"key": "other"} if row["sampler"] == "base" else {}) for row in duel(made, [-1.0, -1.1])],
    }[rows]
    (finding,) = judged(made, content, OWN_BASE | change)
    assert (finding.verdict, finding.comparisons) == ("not run", ())
    assert why in finding.reason


def test_a_value_can_be_the_reference(made: Any) -> None:
    treatment = {"model": "gebm", "sampler": "likelihood"}
    claim = OWN_BASE | {"metric": "likelihood-gain", "treatment": treatment, "reference": {"value": 0.5}}
    (finding,) = judged(made, made.study(seeds=6), claim)
    assert finding.verdict == "supported"
    assert estimate(finding).mean == pytest.approx(0.36, abs=0.15)


def test_what_is_judged_together_is_corrected_together(made: Any) -> None:
    claims = [OWN_BASE | {"id": f"c{beta}", "treatment": {"model": "gebm", "beta": beta}} for beta in (1, 100)]
    found = judged(made, made.study(), *claims)
    assert [f.p_holm for f in found] == pytest.approx(holm([f.p_value or 0.0 for f in found]))
    near = duel(made, [-10.0, -11.0, -16.0, -30.0])  # p = 0.035 alone
    (alone,) = judged(made, near, OWN_BASE)
    twice = judged(made, near, OWN_BASE, OWN_BASE | {"id": "again"})
    assert (alone.verdict, {each.verdict for each in twice}) == ("supported", {"inconclusive"})


def test_the_papers_claims_on_a_study(made: Any) -> None:
    found = judge(made.results(made.study(seeds=8)).sections(), load_claims())
    verdicts = {f.claim.id: f.verdict for f in found}
    assert verdicts["better-than-own-base"] == "contradicted"
    assert verdicts["better-than-own-base-cold"] == "supported"
    assert verdicts["longer-chains-score-better"] == "contradicted"
    assert verdicts["energy-gains-likelihood"] == "supported"
    assert verdicts["reaches-maximum-likelihood"] == "not run"
    assert [to_json(finding)["claim"] for finding in found] == [claim.id for claim in load_claims()]
    assert judge([], load_claims())[0].verdict == "not run"


def test_json_has_what_scripts_rely_on(made: Any) -> None:
    found = [to_json(each) for each in judge(made.results(made.study(seeds=8)).sections(), load_claims())]
    promised = {
        *("claim", "sentence", "dataset", "suite", "profile", "verdict", "effect", "interval", "interval_kind", "n"),
        *("seeds_asked", "refused", "collapsed", "diverged", "p", "p_holm", "comparisons"),
    }
    assert all(each.keys() >= promised for each in found)
    assert json.loads(json.dumps(found, allow_nan=False)) is not None
    own = next(each for each in found if each["claim"] == "better-than-own-base-cold")
    assert (own["dataset"], own["n"], own["seeds_asked"], own["interval_kind"]) == ("digits", 8, 8, "seeds")
    assert own["interval"][0] < own["effect"] < own["interval"][1] < 0
    assert own["p"] <= own["p_holm"] <= 0.05
    assert [each["metric"] for each in own["comparisons"]] == [FD]


def test_a_variant_is_judged_only_where_a_claim_writes_out_its_label(made: Any) -> None:
    plain = duel(made, [-10.0, -11.0, -12.0])
    other = {"label": "gebm[penalty=1]", "identity": "other"}
    variant = [row | other | {"run": f"varied-{row['seed']}"} for row in duel(made, [10.0, 11.0, 12.0])]
    for model, expected in (("gebm", "supported"), ("gebm*", "supported"), ("gebm[penalty=1]", "contradicted")):
        claim = OWN_BASE | {"treatment": OWN_BASE["treatment"] | {"model": model}}
        (finding,) = judged(made, plain + variant, claim)
        assert finding.verdict == expected
        assert len(finding.comparisons) == 1
    (finding,) = judged(made, variant, OWN_BASE)
    assert (finding.verdict, finding.reason) == ("not run", "no run of gebm")
