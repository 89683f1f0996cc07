"""A comparison as text, Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.track.check import NEW, OLD, BenchmarkResult, Check
from bench.track.checkouts import Checkout
from bench.track.decide import Design, Verdict
from bench.track.report import Report, rates

from .simulation import TURNS, SimulatedMachine


@pytest.fixture(scope="module")
def report() -> Report:
    """One benchmark a quarter slower, one that fails, one that was changed."""
    results = [
        BenchmarkResult("slow"),
        BenchmarkResult("broken", Verdict.FAILED, "fails on the new side: ValueError: a | b"),
        BenchmarkResult("changed", Verdict.NOT_COMPARABLE, "the benchmark's own code changed between the sides"),
    ]
    check = Check(Design(), results)
    check.run(SimulatedMachine(0.25, np.random.default_rng(0)))
    check.environments = {OLD: {"packages": {"torch": "2"}}, NEW: {"packages": {"torch": "3"}}}
    old = Checkout("main", Path("/old"), "a" * 40)
    return Report(check, {OLD: old, NEW: Checkout("working tree", Path("/new"), "b" * 40, dirty=True)}, "cpu", 2, 90.0)


def test_text_says_what_was_compared_and_what_came_out(report: Report) -> None:
    said = report.text()
    (row,) = [line for line in said.splitlines() if line.split()[:1] == ["slow"]]
    judged = report.check.results[0].judgement
    assert judged is not None
    assert f"{judged.ratio:.3f}" in row
    assert f"[{judged.lower:.3f}, {judged.upper:.3f}]" in row
    assert "regressed" in row
    assert "99 % bounds" in said
    assert f"Old: main ({'a' * 12}). New: working tree ({'b' * 12}) with uncommitted changes." in said
    assert "broken: fails on the new side: ValueError" in said
    assert "other libraries" in said
    assert said.endswith("1 regressed, 1 not comparable, 1 failed\n")


def test_markdown_is_a_table_with_a_row_a_benchmark(report: Report) -> None:
    said = report.markdown()
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 5
    assert {row.count("|") for row in rows} == {8}
    assert r"a \| b" in said
    assert said.startswith("### Throughput: 1 regressed")


def test_json_keeps_raw_samples_and_rates(report: Report) -> None:
    said = json.loads(json.dumps(report.as_json(), allow_nan=False))
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
    result = BenchmarkResult("chain", seconds={OLD: [[0.5, 0.4, 0.6]], NEW: [[1.0]]}, details={OLD: said, NEW: said})
    assert rates(result, OLD) == {
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
    assert Check(Design(), [BenchmarkResult("step", verdict) for verdict in verdicts]).exit_code == code
