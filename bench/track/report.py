"""A check as text for a terminal, Markdown for a pull request, and JSON for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.track.check import NEW, OLD, BenchmarkResult, Check
from bench.track.checkouts import Checkout
from bench.track.decide import Verdict

__all__ = ["Report"]

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
    def columns(self) -> tuple[str, ...]:
        """Headings; the bounds are named after the confidence of the whole check."""
        bounds = f"{self.check.design.confidence * 100:g} % bounds"
        return ("benchmark", "new side", "ratio", bounds, "verdict", "detectable", "pairs")

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
        import pandas as pd

        table = pd.DataFrame([cells(result) for result in self.check.results], columns=self.columns)
        notes = [f"{result.name}: {result.note}" for result in self.check.results if result.note]
        return "\n".join([table.to_string(index=False), "", *notes, *self.explanation, self.headline]) + "\n"

    def markdown(self) -> str:
        """Return the check as a comment for a pull request."""
        rows = [f"| {' | '.join(self.columns)} |", "|---|---:|---:|---:|---|---:|---:|"]
        notes = []
        for result in self.check.results:
            name, *numbers, verdict, detectable, pairs = cells(result)
            mark = MARKS[result.verdict] if result.verdict else ""
            rows.append(f"| {' | '.join([f'`{name}`', *numbers, f'{mark} {verdict}', detectable, pairs])} |")
            if result.note:
                notes.append(f"- `{name}`: {result.note.replace('|', '&#124;')}")
        details = ["<details><summary>How to read this</summary>", "", *self.explanation, "", "</details>"]
        heading = f"### Throughput: {self.headline}"
        return "\n".join([heading, "", *rows, "", *notes, *([""] if notes else []), *details]) + "\n"

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
                name: {
                    "label": checkout.label,
                    "commit": checkout.commit,
                    "dirty": checkout.dirty,
                    "environment": self.check.environments.get(name, {}),
                }
                for name, checkout in self.sides.items()
            },
            "benchmarks": {result.name: benchmark_json(result) for result in self.check.results},
        }


def benchmark_json(result: BenchmarkResult) -> dict[str, Any]:
    """Return one benchmark's part."""
    return {
        "verdict": str(result.verdict),
        "note": result.note,
        "judgement": asdict(result.judgement) if result.judgement else None,
        "seconds": result.samples,
        "rates": {side: rates(result, side) for side in (OLD, NEW)},
        "details": result.details,
    }


def cells(result: BenchmarkResult) -> tuple[str, ...]:
    """Return a row of the table."""
    rate, unit = rates(result, NEW), result.details.get(NEW, {}).get("unit", "")
    speed = f"{significant(rate['per_second'])} {unit}/s" if rate else "—"
    last, verdict = result.judgement, str(result.verdict)
    if last is None:
        return (result.name, speed, "—", "—", verdict, "—", str(len(result.log_ratios)))
    bounds = f"[{last.lower:.3f}, {last.upper:.3f}]"
    return (result.name, speed, f"{last.ratio:.3f}", bounds, verdict, f"{last.detectable:.0%}", str(last.pairs))


def rates(result: BenchmarkResult, side: str) -> dict[str, float]:
    """Return a side's rates: units, gradient and forward evaluations per second, and the share of the matrix-product peak."""
    seconds, details = result.seconds(side), result.details.get(side)
    if seconds is None or details is None:
        return {}
    found = {"per_second": details["amount"] / seconds}
    for key in ("gradient_evaluations", "forward_evaluations"):
        if details.get(key):
            found[f"{key}_per_second"] = details[key] / seconds
    if details.get("peak") and details.get("flops"):
        found["of_matmul_peak"] = details["flops"] / seconds / details["peak"]
    return found


def significant(value: float) -> str:
    """Return three significant digits without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
