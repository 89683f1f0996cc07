"""A check as text for a terminal, Markdown for a pull request, and JSON for scripts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bench.markdown import escape, table
from bench.track.check import NEW, OLD, BenchmarkResult, Check
from bench.track.checkouts import Checkout
from bench.track.decide import Verdict

__all__ = ["Report", "rates"]

SCHEMA = 1
MARKS = dict(zip(Verdict, "❌🚀✅❔➖💥", strict=True))


@dataclass(frozen=True)
class Report:
    """A finished check, and what it was of.

    Attributes:
        check: the check.
        sides: "old" and "new".
        device, threads, seconds: what was measured on, and how long it took in all.
    """

    check: Check
    sides: Mapping[str, Checkout]
    device: str
    threads: int
    seconds: float

    @property
    def frame(self) -> pd.DataFrame:
        """One row per benchmark; the bounds are named after the confidence of the whole check."""
        bounds = f"{self.check.design.confidence * 100:g} % bounds"
        columns = ["benchmark", "verdict", "new side", "ratio", bounds, "detectable", "pairs"]
        return pd.DataFrame([cells(result) for result in self.check.results], columns=columns)

    @property
    def headline(self) -> str:
        """The outcome in a sentence."""
        verdicts = [result.verdict for result in self.check.results]
        return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)

    @property
    def explanation(self) -> list[str]:
        """What was compared, how, and what to keep in mind, one sentence each."""
        check, design = self.check, self.check.design
        end = "; the time budget ended before all were decided." if check.out_of_time else "."
        lines = [
            f"Old: {self.sides[OLD]}. New: {self.sides[NEW]}.",
            "Ratio: seconds of new over old, above 1 is slower; bounds hold one-sided, for all benchmarks and looks together. "
            f"Regressed: lower bound above {1 + design.margin:g}. Fine: upper bound below {1 + design.tolerance:g}. "
            "Detectable: the slowdown that would be called regressed four times in five.",
            f"{check.pairs} pairs of processes on {self.device}, {self.threads} threads, {self.seconds / 60:.1f} minutes{end}",
        ]
        old, new = (check.environments.get(side, {}).get("packages", {}) for side in (OLD, NEW))
        if old != new:
            lines.append(f"The sides have other libraries: old {old}, new {new}.")
        return lines

    def text(self) -> str:
        """Return the check for a terminal."""
        notes = [f"{result.name}: {result.note}" for result in self.check.results if result.note]
        return "\n".join([self.frame.to_string(index=False), "", *notes, *self.explanation, self.headline]) + "\n"

    def markdown(self) -> str:
        """Return the check as a comment for a pull request."""
        marked = self.frame.assign(
            benchmark=lambda frame: "`" + frame["benchmark"] + "`",
            verdict=lambda frame: [f"{MARKS[Verdict(verdict)]} {verdict}" for verdict in frame["verdict"]],
        )
        notes = [f"- `{result.name}`: {escape(result.note)}" for result in self.check.results if result.note]
        parts = [
            f"### Throughput: {self.headline}",
            table([*map(str, marked)], marked.to_numpy().tolist(), range(2, len(marked.columns))),
            "\n".join(notes),
            "<details><summary>How to read this</summary>",
            "\n".join(self.explanation),
            "</details>",
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything, raw samples included."""
        return {
            "schema": SCHEMA,
            "kind": "check",
            "design": asdict(self.check.design),
            "pairs": self.check.pairs,
            "out_of_time": self.check.out_of_time,
            "seconds": self.seconds,
            "device": self.device,
            "threads": self.threads,
            "sides": {
                side: {
                    "label": checkout.label,
                    "commit": checkout.commit,
                    "dirty": checkout.dirty,
                    "environment": self.check.environments.get(side, {}),
                }
                for side, checkout in self.sides.items()
            },
            "benchmarks": {
                result.name: asdict(result) | {"rates": {side: rates(result, side) for side in (OLD, NEW)}}
                for result in self.check.results
            },
        }


def cells(result: BenchmarkResult) -> tuple[str, ...]:
    """Return a row of the table; three significant digits without an exponent."""
    speed, ratio, bounds, detectable, pairs = "—", "—", "—", "—", len(result.log_ratios)
    if rate := rates(result, NEW).get("per_second"):
        digits = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
        speed = f"{digits} {result.details[NEW].get('unit', '')}/s"
    if last := result.judgement:
        ratio, bounds = f"{last.ratio:.3f}", f"[{last.lower:.3f}, {last.upper:.3f}]"
        detectable, pairs = f"{last.detectable:.0%}", last.pairs
    return result.name, str(result.verdict), speed, ratio, bounds, detectable, str(pairs)


def rates(result: BenchmarkResult, side: str) -> dict[str, float]:
    """Return a side's rates: units, gradient and forward evaluations per second, and the share of the matrix-product peak.

    Seconds per step are the median over processes of the median over turns.
    """
    if not result.seconds[side]:
        return {}
    seconds, details = statistics.median(map(statistics.median, result.seconds[side])), result.details[side]
    found = {"per_second": details["amount"] / seconds}
    for key in ("gradient_evaluations", "forward_evaluations"):
        if details.get(key):
            found[f"{key}_per_second"] = details[key] / seconds
    if details.get("peak") and details.get("flops"):
        found["of_matmul_peak"] = details["flops"] / seconds / details["peak"]
    return found
