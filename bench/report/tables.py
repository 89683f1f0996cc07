"""Cells and tables that every kind's section may have: failures, time, log Z, training; and score keys told apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.metrics import base_name
from bench.report.blocks import Cell, Column, Table, TextBlock, Tone
from bench.report.certificate import networks
from bench.report.comparisons import reading_order
from bench.report.text import interval_text, metric_order, number
from bench.results.sources import records

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.frame import Section

__all__ = [
    "Keys",
    "count_cell",
    "environment",
    "failure_table",
    "log_partitions",
    "mean_cell",
    "mean_seconds",
    "number_cell",
    "partition_table",
    "read_keys",
    "said_apart",
    "stale_note",
    "time_table",
]

_STATUS_TONES: Mapping[str, Tone] = {"missing": "plain", "partial": "open", "unfinished": "open"}


def number_cell(value: float | None) -> Cell:
    """Return a number as a cell; a dash where it is missing or not finite."""
    return Cell("—") if value is None or not math.isfinite(value) else Cell(number(value), value)


def count_cell(value: int | None) -> Cell:
    """Return a count as a cell."""
    return Cell("—") if value is None else Cell(f"{value:,}", value)


def mean_cell(row: Any, missing: str = "—", *also: str) -> Cell:
    """Return a summary row's mean as a cell, its interval and what else is said of it as the detail."""
    if row is None or row.mean is None:
        return Cell(missing)
    text, ends = interval_text(row.mean, row.ci_low, row.ci_high)
    tone: Tone = "bad" if row.status == "collapsed" or row.stale else "plain"
    return Cell(text, row.mean, ", ".join(filter(None, (ends, *also))), tone=tone)


def said_apart(row: Any) -> str:
    """Return what is wrong with a summary row, in words; empty for a done one. Stale rows carry a dagger."""
    stale = "†" if row.stale else ""
    if row.status == "unfinished":
        return f"{stale}unfinished: {row.reason}"
    if row.status == "done" and not row.reason:
        return stale
    return f"{stale}{'COLLAPSED' if row.status == 'collapsed' else row.status}: {row.reason}".rstrip(": ")


def stale_note(rows: Iterable[Any]) -> str:
    """Return the footnote of a table with daggers: what changed since those rows were made."""
    changed = dict.fromkeys(row.stale for row in rows if row.stale)
    if not changed:
        return ""
    return (
        f"† Made before a change: {'; '.join(changed)}. Such rows enter no mean, comparison, claim or figure; `bench run` redoes stale "
        "readouts, `bench run --retrain` stale training."
    )


@dataclass(frozen=True)
class Keys:
    """The score keys of a table: for every metric the one that most rows have, and numbers for all others."""

    main: Mapping[str, str]
    others: Mapping[str, int]

    @property
    def metrics(self) -> list[str]:
        """The metrics in the catalogue's order."""
        return sorted(self.main, key=metric_order)

    def is_main(self, row: Any) -> bool:
        """Whether the row may stand beside most others of its metric."""
        return self.main.get(row.metric or "") == (row.key or "")

    def mark(self, row: Any) -> str:
        """What is added to a value whose key is not its metric's main one, and which therefore is not comparable."""
        return "" if self.is_main(row) else f"(key {self.others[row.key or '']})"

    def legend(self) -> list[str]:
        """The keys in full."""
        by_key: dict[str, list[str]] = {}
        for metric in self.metrics:
            by_key.setdefault(self.main[metric], []).append(metric)
        lines = [f"Score key of {_together(names)}: {key or 'not recorded'}" for key, names in by_key.items()]
        other = "Key {}, not comparable with the others: {}"
        return lines + [other.format(index, key or "not recorded") for key, index in self.others.items()]


def _together(names: Sequence[str]) -> str:
    """Names of metrics in a row, an extractor that they share named once: "fd, is, kid [digits-cnn]"."""
    extractors = {name.partition("[")[2] for name in names}
    if len(names) < 2 or len(extractors) > 1 or extractors == {""}:
        return ", ".join(names)
    return f"{', '.join(map(base_name, names))} [{extractors.pop()}"


def read_keys(summary: pd.DataFrame) -> Keys:
    """Find the keys; real data, often fewer images than were generated, never decide which one is the main one."""
    counts: dict[str, Counter[str]] = {}
    for row in records(summary[summary["metric"].notna()]):
        counts.setdefault(row.metric, Counter())[row.key or ""] += 0 if row.sampler == "data" else 1
    main = {metric: counter.most_common(1)[0][0] for metric, counter in counts.items()}
    others = dict.fromkeys(key for metric, counter in counts.items() for key in counter if key != main[metric])
    return Keys(main, {key: index for index, key in enumerate(others, start=2)})


def failure_table(section: Section, *, apart: bool = False) -> Table | None:
    """Return the runs that gave no score, and why; with `apart` also those whose scores are stale or unfinished; None without any."""
    summary = section.summary
    left_out = (summary["stale"] != "") | (summary["status"] == "unfinished") if apart else summary["metric"].isna()
    rows = summary[summary["metric"].isna() | left_out].drop_duplicates(["label", "status", "reason", "stale"])
    lines = [
        [
            Cell("", code=row.label),
            Cell(f"{row.status}{'†' if row.stale else ''}", tone=_STATUS_TONES.get(row.status, "bad")),
            Cell(row.reason if row.metric is None or not row.stale else f"{row.stale} since"),
        ]
        for row in records(rows)
    ]
    columns = [Column(name, terminal="always") for name in ("model", "status", "reason")]
    notes = [note] if (note := stale_note(records(rows))) else []
    title = "Runs without scores that count" if apart and left_out.any() else "Runs without scores"
    return Table(title, columns, lines, notes, terminal="titled") if lines else None


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
    lines = [
        [
            Cell("", code=label),
            *(number_cell(value) for value in (*(spent.get(phase, 0.0) for phase in phases), sum(spent.values()))),
            count_cell(len(runs[label])),
        ]
        for label, spent in found.items()
    ]
    names = [*(f"{phase}, s" for phase in phases), "total, s", "runs"]
    columns = [Column("model"), *(Column(name, numeric=True) for name in names)]
    return Table("Time, mean per run", columns, lines, [note] if note else []) if lines else None


def log_partitions(section: Section) -> list[tuple[Any, Mapping[str, Any]]]:
    """Return the estimates of log Z, each with the readout that it is of."""
    found: list[tuple[Any, Mapping[str, Any]]] = []
    for readout in reading_order(records(section.readouts)):
        stated = readout.row.get("log_partition")
        if stated and stated.get("estimate") is not None:
            scores = {"ess-fraction": None, "likelihood-gain": None} | readout.row.get("scores", {})
            found.append((readout, {**stated, **scores, "key": readout.row.get("key", "")}))
    return found


def partition_table(section: Section) -> Table | None:
    """Return every estimate of log Z with what it is worth, a line per run; None where there is none."""
    stated = log_partitions(section)
    if not stated:
        return None
    with_bracket = any(each.get("bracket") for _, each in stated)
    lines = []
    for readout, each in stated:
        names = ("estimate", "standard_error", "ess-fraction", "pareto_k", "likelihood-gain")
        usable = Cell("yes") if each.get("reportable") else Cell("no", tone="bad")
        usable = Cell(usable.text, detail="; ".join(each.get("warnings") or ()), tone=usable.tone)
        lines.append(
            [
                Cell("", code=readout.label),
                Cell(str(readout.seed), readout.seed),
                *(number_cell(each.get(name)) for name in names),
                *([_bracket_cell(each.get("bracket"))] if with_bracket else []),
                usable,
            ]
        )
    heads = ["seed", "log Z, nats", "standard error", "ESS/M", "Pareto k̂", "gain L(E), nats"]
    heads += ["bracket of the log-likelihood, nats"] if with_bracket else []
    columns = [Column("model"), *(Column(name, numeric=True) for name in heads), Column("usable")]
    notes = [
        "log Z is the log-partition of the energy over its base. With Pareto k̂ below 0.5 and ESS/M near 1 importance sampling is "
        "reliable; from k̂ = 0.7 on the number is not used as a result."
    ]
    if with_bracket:
        notes.append("A bracket holds the held-out log-likelihood between its ends; it is sorted by its width.")
    keys = dict.fromkeys(each["key"] for _, each in stated if each["key"])
    return Table("Calibration of log Z", columns, lines, notes, [f"Protocol: {key}" for key in keys])


def _bracket_cell(bracket: Sequence[float] | None) -> Cell:
    if not bracket:
        return Cell("—")
    return Cell(f"[{number(bracket[0])}, {number(bracket[1])}]", bracket[1] - bracket[0])


def environment(sections: Iterable[Section]) -> TextBlock | None:
    """Return the machines and versions behind the runs, a sentence each; None where none was recorded."""
    places = {
        run.run: "; ".join(
            filter(None, (run.device, ", ".join(f"{name} {each}" for name, each in sorted(run.versions.items()))))
        )
        for section in sections
        for run in records(section.runs[section.runs["device"] != ""])
    }
    items = [
        f"{count} run{'s' * (count > 1)}: {place or 'not recorded'}"
        for place, count in Counter(places.values()).items()
    ]
    return TextBlock("Environment", items=items) if items else None
