"""A comparison as text for a terminal, Markdown for a pull request, and JSON for machines."""

from __future__ import annotations

from typing import Any

from bench.track.calibrate import Calibration
from bench.track.check import NEW, OLD, Line
from bench.track.compare import Comparison
from bench.track.decide import Verdict

__all__ = ["as_json", "calibration_line", "headline", "markdown", "text"]

SCHEMA = 1
COLUMNS = ("benchmark", "new side", "ratio", "99 % bounds", "verdict", "detectable", "pairs")
MARKS = {
    Verdict.REGRESSED: "❌",
    Verdict.IMPROVED: "🚀",
    Verdict.FINE: "✅",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.NOT_COMPARABLE: "➖",
    Verdict.FAILED: "💥",
}


def rates(line: Line, side: str) -> dict[str, float]:
    """What one side makes a second: units, gradient and forward evaluations, and the share of the matrix-product peak."""
    seconds, said = line.seconds(side), line.details.get(side)
    if seconds is None or said is None or "amount" not in said:
        return {}
    found = {"per_second": said["amount"] / seconds}
    for key in ("gradient_evaluations", "forward_evaluations"):
        if said.get(key):
            found[f"{key}_per_second"] = said[key] / seconds
    if said.get("peak") and said.get("flops"):
        found["of_matmul_peak"] = said["flops"] / seconds / said["peak"]
    return found


def row(line: Line) -> tuple[str, ...]:
    """A line of the table."""
    rate, unit = rates(line, NEW), line.details.get(NEW, {}).get("unit", "")
    speed = f"{significant(rate['per_second'])} {unit}/s" if rate else "—"
    judged, verdict = line.judgement, str(line.verdict)
    if judged is None:
        return (line.name, speed, "—", "—", verdict, "—", str(len(line.log_ratios)))
    bounds = f"[{judged.lower:.3f}, {judged.upper:.3f}]"
    return (line.name, speed, f"{judged.ratio:.3f}", bounds, verdict, f"{judged.detectable:.0%}", str(judged.pairs))


def significant(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def columns(comparison: Comparison) -> tuple[str, ...]:
    """Headings; the bounds are named after the confidence of the whole check."""
    confidence = f"{comparison.check.design.confidence * 100:g} % bounds"
    return tuple(confidence if name == "99 % bounds" else name for name in COLUMNS)


def headline(comparison: Comparison) -> str:
    """The outcome in a sentence."""
    counts = {verdict: sum(line.verdict is verdict for line in comparison.check.lines) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "nothing to compare"


def about(comparison: Comparison) -> list[str]:
    """What was compared, how, and what to keep in mind, a sentence each."""
    design, check = comparison.check.design, comparison.check
    old, new = comparison.sides[OLD], comparison.sides[NEW]
    lines = [
        f"Old: {old}. New: {new}.",
        f"Ratio: seconds of new over old, above 1 is slower; bounds hold one-sided, for all benchmarks and looks of this check together. "
        f"Regressed: lower bound above {1 + design.margin:g}. Fine: upper bound below {1 + design.tolerance:g}. "
        f"Detectable: the slowdown that would be called regressed four times in five.",
        f"{check.pairs} pairs of processes on {comparison.device}, {comparison.threads} threads, {comparison.seconds / 60:.1f} minutes"
        + ("; the time budget ended before all were decided." if check.out_of_time else "."),
    ]
    packages = [comparison.environments.get(side, {}).get("packages", {}) for side in (OLD, NEW)]
    if packages[0] != packages[1]:
        lines.append(f"The sides have other libraries: old {packages[0]}, new {packages[1]}.")
    return lines


def text(comparison: Comparison) -> str:
    """For a terminal."""
    rows = [columns(comparison), *map(row, comparison.check.lines)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(COLUMNS))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    notes = [f"{line.name}: {line.note}" for line in comparison.check.lines if line.note]
    return "\n".join([*table, "", *notes, *about(comparison), headline(comparison)]) + "\n"


def markdown(comparison: Comparison) -> str:
    """For a comment on a pull request."""
    heading = f"### Throughput: {headline(comparison)}"
    head = ["| " + " | ".join(columns(comparison)) + " |", "|---|---:|---:|---:|---|---:|---:|"]
    rows = []
    for line in comparison.check.lines:
        cells = list(row(line))
        cells[0] = f"`{cells[0]}`"
        cells[4] = f"{MARKS[line.verdict]} {cells[4]}" if line.verdict else cells[4]
        rows.append("| " + " | ".join(cells) + " |")
    notes = [f"- `{line.name}`: {line.note.replace('|', '&#124;')}" for line in comparison.check.lines if line.note]
    details = ["<details><summary>How to read this</summary>", "", *about(comparison), "", "</details>"]
    return "\n".join([heading, "", *head, *rows, "", *notes, *([""] if notes else []), *details]) + "\n"


def calibration_line(name: str, found: Calibration) -> str:
    """How the rule behaves on a benchmark, in a line."""
    rate, low, high = found.false_alarms
    effect, least, most = (f"{value:.0%}" if value < float("inf") else "> 100%" for value in found.detectable)
    return (
        f"{name}: a pair's log-ratio has a standard deviation of {found.spread:.1%} ({found.pairs} pairs); false alarms {rate:.2%} "
        f"[{low:.2%}, {high:.2%}] of checks, fine {found.fine:.0%}; a slowdown of {effect} [{least}, {most}] is caught four times in five"
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """For machines: everything, raw samples included."""
    check = comparison.check
    return {
        "schema": SCHEMA,
        "kind": "check",
        "design": {
            "confidence": check.design.confidence,
            "margin": check.design.margin,
            "tolerance": check.design.tolerance,
            "looks": list(check.design.looks),
        },
        "pairs": check.pairs,
        "out_of_time": check.out_of_time,
        "seconds": comparison.seconds,
        "device": comparison.device,
        "threads": comparison.threads,
        "sides": {
            key: {
                "label": side.label,
                "commit": side.commit,
                "dirty": side.dirty,
                "environment": comparison.environments.get(key, {}),
            }
            for key, side in comparison.sides.items()
        },
        "benchmarks": {line.name: benchmark_json(line) for line in check.lines},
    }


def benchmark_json(line: Line) -> dict[str, Any]:
    """One benchmark's part."""
    judged = line.judgement
    return {
        "verdict": str(line.verdict),
        "note": line.note,
        "judgement": None
        if judged is None
        else {
            "ratio": judged.ratio,
            "lower": judged.lower,
            "upper": judged.upper,
            "detectable": judged.detectable,
            "pairs": judged.pairs,
            "level": judged.level,
        },
        "seconds": line.pairs,
        "rates": {side: rates(line, side) for side in (OLD, NEW)},
        "details": line.details,
    }
