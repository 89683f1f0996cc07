"""A comparison as text, Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.track import report
from bench.track.check import NEW, OLD, Check, Line, exit_code, run_check
from bench.track.compare import Comparison
from bench.track.decide import Design, Verdict
from bench.track.sides import Side

from .simulation import TURNS, SimulatedMachine


@pytest.fixture
def comparison() -> Comparison:
    """One benchmark a quarter slower, one that fails, one that was changed."""
    lines = [
        Line("slow"),
        Line("broken", Verdict.FAILED, "fails on the new side: ValueError: a | b"),
        Line("changed", Verdict.NOT_COMPARABLE, "the benchmark's own code changed between the sides"),
    ]
    check = run_check(Design(), lines, SimulatedMachine(0.25, np.random.default_rng(0)))
    sides = {OLD: Side("main", Path("/old"), "a" * 40), NEW: Side("working tree", Path("/new"), "b" * 40, dirty=True)}
    environments = {OLD: {"packages": {"torch": "2"}}, NEW: {"packages": {"torch": "3"}}}
    return Comparison(check, sides, environments, "cpu", 2, 90.0)


def test_text_says_what_was_compared_and_what_came_out(comparison: Comparison) -> None:
    said = report.text(comparison)
    (row,) = [line for line in said.splitlines() if line.startswith("slow")]
    judged = comparison.check.lines[0].judgement
    assert judged is not None
    assert f"{judged.ratio:.3f}" in row
    assert f"[{judged.lower:.3f}, {judged.upper:.3f}]" in row
    assert "regressed" in row
    assert "99 % bounds" in said
    assert f"Old: main ({'a' * 12}). New: working tree ({'b' * 12}) with uncommitted changes." in said
    assert "broken: fails on the new side: ValueError" in said
    assert "other libraries" in said
    assert said.endswith("1 regressed, 1 not comparable, 1 failed\n")


def test_markdown_is_a_table_with_a_row_a_benchmark(comparison: Comparison) -> None:
    said = report.markdown(comparison)
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    assert {row.count("|") for row in rows} == {8}
    assert "a &#124; b" in said
    assert said.startswith("### Throughput: 1 regressed")


def test_json_keeps_raw_samples_and_rates(comparison: Comparison) -> None:
    said = json.loads(json.dumps(report.as_json(comparison), allow_nan=False))
    slow = said["benchmarks"]["slow"]
    assert len(slow["seconds"]["old"]) == slow["judgement"]["pairs"] == 8
    assert len(slow["seconds"]["old"][0]) == len(slow["seconds"]["new"][0]) == TURNS
    ratio = slow["rates"]["old"]["per_second"] / slow["rates"]["new"]["per_second"]
    assert ratio == pytest.approx(1.25, rel=0.1)
    assert said["sides"]["new"]["dirty"]
    assert said["benchmarks"]["broken"]["judgement"] is None


def test_rates_of_a_chain() -> None:
    said = {
        "amount": 64,
        "gradient_evaluations": 128,
        "forward_evaluations": 0,
        "flops": 4e9,
        "peak": 1e10,
        "unit": "s",
    }
    line = Line("chain", pairs={OLD: [[0.5, 0.4, 0.6]], NEW: [[1.0]]}, details={OLD: said, NEW: said})
    assert report.rates(line, OLD) == {
        "per_second": 128,
        "gradient_evaluations_per_second": 256,
        "of_matmul_peak": 0.8,
    }


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([Verdict.FINE, Verdict.IMPROVED, Verdict.INCONCLUSIVE, Verdict.NOT_COMPARABLE], 0),
        ([Verdict.FINE, Verdict.FAILED], 3),
        ([Verdict.FAILED, Verdict.REGRESSED], 1),
        ([], 0),
    ],
)
def test_only_a_regression_ends_with_1(verdicts: list[Verdict], code: int) -> None:
    lines = tuple(Line(str(index), verdict) for index, verdict in enumerate(verdicts))
    assert exit_code(Check(Design(), lines, 8, False)) == code
