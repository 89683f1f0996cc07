"""Cells and tables that every kind's section may have: failures, time, log Z, training; and score keys told apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from bench.report.blocks import MISSING, Cell, Table, TextBlock, Tone, table_of
from bench.report.certificate import networks
from bench.report.comparisons import reading_order
from bench.report.text import changes_text, interval_text, metric_order, number, readout_text
from bench.results.frame import once
from bench.results.sources import records
from bench.words import plural

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.frame import Section

__all__ = [
    "count_cell",
    "environment",
    "failure_table",
    "footnotes",
    "marked_scores",
    "mean_cell",
    "mean_seconds",
    "mixed_devices",
    "number_cell",
    "other_settings",
    "partition_table",
    "said_apart",
    "stale_note",
    "time_table",
]

SHORT_REASON = 90
_NUMBER = re.compile(r"(\d[\d.,]*(?<![.,]))")
_STATUS_TONES: Mapping[str, Tone] = {"missing": "plain", "partial": "open", "unfinished": "open"}


def number_cell(value: float | None) -> Cell:
    """Return a number as a cell; a dash where it is missing or not finite."""
    return MISSING if value is None or not math.isfinite(value) else Cell(number(value), value)


def count_cell(value: int | None) -> Cell:
    """Return a count as a cell."""
    return MISSING if value is None else Cell(f"{value:,}", value)


def mean_cell(row: Any, missing: str = "—", *also: str) -> Cell:
    """Return a summary row's mean as a cell, its interval and other remarks as the detail."""
    if row is None or row.mean is None:
        return Cell(missing)
    text, ends = interval_text(row.mean, row.ci_low, row.ci_high)
    tone: Tone = "bad" if row.status == "collapsed" or row.stale else "plain"
    return Cell(text, row.mean, ", ".join(filter(None, (ends, *also))), tone=tone)


def said_apart(row: Any) -> str:
    """Return what is wrong with a summary row, in words; empty for a done one. Stale rows carry a dagger."""
    stale = "†" if row.stale else ""
    if row.status == "done" and not row.reason:
        return stale
    return f"{stale}{'COLLAPSED' if row.status == 'collapsed' else row.status}: {row.reason}".rstrip(": ")


def stale_note(rows: Iterable[Any]) -> str:
    """Return the footnote of a table with daggers: what changed since those rows were made; empty without any."""
    changed = "; ".join(dict.fromkeys(row.stale for row in rows if row.stale))
    return changed and (
        f"† Made before a change: {changed}. Such rows enter no mean, comparison, claim or figure; `bench run` redoes stale "
        "readouts, `bench run --retrain` stale training."
    )


@once
def marked_scores(section: Section) -> tuple[pd.DataFrame, list[str]]:
    """Return the summary's scores with `mark`, which tells keys that are not comparable apart, and the keys in full.

    Rows with the key that most rows of their metric have are not marked; real data, often fewer images than were generated, never decide
    which one that is.
    """
    scores = section.summary[section.summary["metric"].notna()]
    scores = scores.assign(key=scores["key"].fillna(""))
    votes = (scores["sampler"] != "data").groupby([scores["metric"], scores["key"]], sort=False).sum()
    main = dict(votes.groupby(level=0, sort=False).idxmax().tolist())
    others = list(dict.fromkeys(key for metric, key in votes.index if key != main[metric]))
    alike: dict[str, list[str]] = {}
    for metric in sorted(main, key=metric_order):
        alike.setdefault(main[metric] or "not recorded", []).append(metric)
    legend = [f"Score key of {', '.join(names)}: {key}" for key, names in alike.items()]
    legend += [f"Key {i}, not comparable with the others: {key or 'not recorded'}" for i, key in enumerate(others, 2)]
    pairs = zip(scores["metric"], scores["key"], strict=True)
    marks = ["" if key == main[metric] else f"(key {others.index(key) + 2})" for metric, key in pairs]
    return scores.assign(mark=marks), legend


def failure_table(section: Section, *, apart: bool = False) -> Table | None:
    """Return the runs and readouts that gave no score, and why; with `apart` also runs whose scores are stale or unfinished; or None."""
    summary = section.summary
    left_out = (summary["stale"] != "") | (summary["status"] == "unfinished") if apart else summary["metric"].isna()
    found: dict[tuple[str, ...], Any] = {}
    for row in records(summary[summary["metric"].isna() | left_out]):
        what = readout_text(row) if row.metric is None and row.sampler else "the run"
        found.setdefault((what, row.label, row.status, row.reason, row.stale), row)
    readouts = any(what != "the run" for what, *_ in found)
    rows = [
        {
            "model": Cell(code=row.label),
            **({"of what": Cell(what)} if readouts else {}),
            "status": Cell(f"{row.status}{'†' if row.stale else ''}", tone=_STATUS_TONES.get(row.status, "bad")),
            "reason": _reason_cell(row.reason if row.metric is None or not row.stale else f"{row.stale} since"),
        }
        for (what, *_), row in found.items()
    ]
    title = f"Runs{' and readouts' * readouts} without scores{' that count' * bool(apart and left_out.any())}"
    return table_of(
        title, rows, [stale_note(found.values())], ("model", "of what", "status", "reason"), terminal="titled"
    )


def _reason_cell(reason: str) -> Cell:
    """Return a reason in full, on a terminal its beginning."""
    return Cell(reason, short=f"{reason[:SHORT_REASON].rstrip()} …" if len(reason) > SHORT_REASON + 2 else "")


@once
def mean_seconds(section: Section) -> dict[str, dict[str, float]]:
    """Return the mean seconds per run by model and phase, phases that no run of the model recorded left out."""
    found: dict[str, dict[str, float]] = {}
    for label, runs in networks(section).items():
        for phase in ("training", "sampling", "scoring"):
            spent = [getattr(run, f"seconds_{phase}") for run in runs]
            if any(value is not None for value in spent):
                found.setdefault(label, {})[phase] = fmean([value or 0.0 for value in spent])
    return found


def time_table(section: Section, note: str = "") -> Table | None:
    """Return the mean seconds of every phase per run; None where none was recorded."""
    found, runs = mean_seconds(section), networks(section)
    phases = list(dict.fromkeys(phase for spent in found.values() for phase in spent))
    rows = [
        {
            "model": Cell(code=label),
            **{f"{phase}, s": number_cell(spent.get(phase, 0.0)) for phase in phases},
            "total, s": number_cell(sum(spent.values())),
            "runs": count_cell(len(runs[label])),
        }
        for label, spent in found.items()
    ]
    return table_of("Time, mean per run", rows, [note])


def partition_table(section: Section) -> Table | None:
    """Return every estimate of log Z with what it is worth, a line per run; None where there is none."""
    with_estimate = section.readouts["row"].map(lambda row: bool(row.get("log_partition"))).astype(bool)
    found = reading_order(records(section.readouts[with_estimate]), labels=section.readouts["label"].unique())
    stated = [(row, row.row["log_partition"]) for row in found if row.row["log_partition"].get("estimate") is not None]
    with_bracket, with_upper = (any(each.get(part) for _, each in stated) for part in ("bracket", "upper"))
    several = len({readout.beta for readout, _ in stated}) > 1
    rows = []
    marks, remarks = footnotes([each.get("warnings") or () for _, each in stated])
    for (readout, each), mark in zip(stated, marks, strict=True):
        scores, sound = readout.row.get("scores", {}), bool(each.get("reportable"))
        cells = {
            "model": Cell(code=readout.label),
            **({"β": number_cell(readout.beta)} if several else {}),
            "seed": Cell(str(readout.seed), readout.seed),
            "log Z, nats": number_cell(each["estimate"]),
            "standard error": number_cell(each.get("standard_error")),
            "ESS/M": number_cell(scores.get("ess-fraction")),
            "Pareto k̂": number_cell(each.get("pareto_k")),
            "gain L(E), nats": number_cell(scores.get("likelihood-gain")),
        }
        if with_bracket:
            cells["bracket of the log-likelihood, nats"] = _bracket_cell(each.get("bracket"))
        if with_upper:
            cells["from the data's side"] = _upper_cell(each.get("upper"))
            cells["beyond reach"] = _share_cell(each.get("horizon"))
        cells["usable"] = Cell("yes" if sound else "no", detail=mark, tone="plain" if sound else "bad")
        rows.append(cells)
    notes = [
        "log Z is the log-partition of the energy over its base. With Pareto k̂ below 0.5 and ESS/M near 1 importance sampling is "
        "reliable; from k̂ = 0.7 on, or with an ESS below 100, the number is not used as a result.",
        (
            "k̂ and ESS/M are those of an independent run, which admits or refuses the estimate. “From the data's side” is reverse "
            "annealing from held-out rows: high on average where rows are the model's own, otherwise an opinion. “Beyond reach” is the "
            "share of held-out rows with a lower energy than any draw; above 0.5 % the number is not used."
        )
        * with_upper,
        "A bracket holds the held-out log-likelihood between its ends; it is sorted by its width." * with_bracket,
    ]
    keys = dict.fromkeys(f"Protocol: {readout.row['key']}" for readout, _ in stated if readout.row.get("key"))
    return table_of("Calibration of log Z", rows, notes, legend=[*remarks, *keys])


def footnotes(remarks: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the mark of every row's remarks, and each remark said once; numbers in which rows differ are left to their columns.

    Example:
        >>> footnotes([["k = 0.7 is not below 0.5"], ["k = 0.8 is not below 0.5"], []])
        (['(a)', '(a)', ''], ['(a) k = … is not below 0.5'])
    """
    forms: dict[str, list[list[str]]] = {}
    for text in (text for own in remarks for text in own):
        forms.setdefault(_NUMBER.sub("#", text), []).append(_NUMBER.split(text))
    letters = {form: ascii_lowercase[index % 26] * (1 + index // 26) for index, form in enumerate(forms)}
    marks = [", ".join(dict.fromkeys(letters[_NUMBER.sub("#", text)] for text in own)) for own in remarks]
    said = (
        "".join(part[0] if len(set(part)) == 1 else "…" for part in zip(*texts, strict=True))
        for texts in forms.values()
    )
    return [f"({mark})" if mark else "" for mark in marks], [
        f"({letters[form]}) {text}" for form, text in zip(forms, said, strict=True)
    ]


def _upper_cell(upper: Mapping[str, Any] | None) -> Cell:
    if not upper or not upper.get("reportable"):
        return MISSING
    return Cell(f"{number(upper['estimate'])} ± {number(upper['standard_error'])}", upper["estimate"])


def _share_cell(share: float | None) -> Cell:
    return MISSING if share is None else Cell(f"{share:.1%}", share)


def _bracket_cell(bracket: Sequence[float] | None) -> Cell:
    if not bracket:
        return MISSING
    low, high = bracket
    return Cell(f"[{number(low)}, {number(high)}]", high - low)


def mixed_devices(section: Section) -> list[TextBlock]:
    """Return a notice where runs of a section were trained on different kinds of device; nothing where they were not."""
    trained = section.runs[section.runs["trained_on"] != ""]
    kinds = trained.groupby("trained_on")
    if len(kinds) < 2:
        return []
    said = [f"{', '.join(dict.fromkeys(own['label']))} on {kind} ({plural(len(own), 'run')})" for kind, own in kinds]
    text = f"Trained on different kinds of device: {'; '.join(said)}. One seed draws other numbers on each, so that they are not paired."
    return [TextBlock("Not a comparison of equals", items=[text], tone="bad", terminal="untitled")]


def other_settings(section: Section) -> list[TextBlock]:
    """Return what was set in the place of a profile's own settings, a sentence for each model; nothing where nothing was."""
    runs = records(section.runs)
    said = {run.label: changes_text(run.changes) for run in runs if run.changes}
    items = [f"{label}: {text}" for label, text in said.items()]
    return [TextBlock("Other settings than the profile's", items=items, terminal="titled")] if items else []


def environment(sections: Iterable[Section]) -> list[TextBlock]:
    """Return the machines and versions behind the runs, a sentence each; nothing where none was recorded."""
    places = {}
    for section in sections:
        for run in records(section.runs[section.runs["device"] != ""]):
            versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
            places[run.run] = "; ".join(filter(None, (run.device, versions)))
    items = [f"{plural(count, 'run')}: {place}" for place, count in Counter(places.values()).items()]
    return [TextBlock("Environment", items=items)] if items else []
