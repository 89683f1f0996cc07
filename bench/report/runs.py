"""Every run by itself: what it was made with, how it ended, what it cost and what was scored, as folds behind the names of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.report.blocks import Finding, Runs
from bench.report.text import changes_text, number, readout_text, setting_text, short_count
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["runs_block"]


def runs_block(section: Section) -> Runs:
    """Return the block of all runs of a section by model, seeds ascending."""
    return Runs("Every run by itself", lambda: _findings(section))


def _findings(section: Section) -> dict[str, list[Finding]]:
    scores: dict[str, dict[str, list[str]]] = {}
    known = section.scores[section.scores["metric"].notna()]
    for row in records(known.drop(columns=["beta_used"], errors="ignore")):
        scores.setdefault(row.run, {}).setdefault(readout_text(row), []).append(f"{row.metric} {number(row.value)}")
    models: dict[str, list[Finding]] = {}
    for run in sorted(records(section.runs), key=lambda run: run.seed):
        state = ", ".join(filter(None, (f"{run.status}{'†' if run.stale else ''}", run.reason, run.stale)))
        facts = [*_facts(run), *((name, ", ".join(said)) for name, said in scores.get(run.run, {}).items())]
        models.setdefault(run.label, []).append(Finding(run.run, state, facts=facts))
    order = dict.fromkeys(section.runs["label"])
    return {label: models[label] for label in order}


def _facts(run: Any) -> Iterator[tuple[str, str]]:
    """Yield what is recorded of a run, as far as it is."""
    if run.changes:
        yield "other settings than the profile's", changes_text(run.changes)
    if run.steps_done is not None:
        yield "steps", f"{int(run.steps_done):,} of {int(run.steps_asked or 0):,}"
    spent = {name: getattr(run, f"seconds_{name}") for name in ("training", "sampling", "scoring")}
    if said := [f"{name} {number(value)} s" for name, value in spent.items() if value is not None]:
        yield "time", ", ".join(said)
    if run.peak_memory:
        yield "peak memory", ", ".join(f"{name} {short_count(value)}B" for name, value in run.peak_memory.items())
    for name in ("parameters", "flops"):
        if counts := getattr(run, name):
            yield name, ", ".join(f"{part} {short_count(value)}" for part, value in counts.items())
    if run.device:
        yield "device", run.device
    if run.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    if run.code:
        yield "code", run.code
    for name, value in (run.spec.get("config") or {}).items():
        yield name, setting_text(value)
