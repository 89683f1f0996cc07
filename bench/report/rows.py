"""Summary rows laid out for reading: a line a model × readout, a column a metric, keys told apart by marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.metrics import base_name
from bench.report.text import about_density, estimate_text, metric_order, number
from bench.results.facts import DATA
from bench.results.scores import NOT_COUNTED
from bench.results.summary import SummaryRow

__all__ = ["Keys", "TableRow", "read_keys", "table_rows"]


@dataclass(frozen=True)
class Keys:
    """The score keys of a table: of every metric the one that most rows have, and numbers for all others."""

    main: Mapping[str, str]
    others: Mapping[str, int]

    @property
    def metrics(self) -> list[str]:
        """The metrics in the catalogue's order."""
        return sorted(self.main, key=metric_order)

    def mark(self, row: SummaryRow) -> str:
        """What is added to a value whose key is not its metric's main one, and which therefore is not comparable."""
        return "" if self.is_main(row) else f" (key {self.others[row.key or '']})"

    def is_main(self, row: SummaryRow) -> bool:
        """Whether the row may stand beside most others of its metric."""
        return self.main.get(row.metric or "") == (row.key or "")

    def legend(self) -> list[str]:
        """The keys in full, as plain text."""
        by_key: dict[str, list[str]] = {}
        for metric in self.metrics:
            by_key.setdefault(self.main[metric], []).append(metric)
        lines = [f"Score key of {_together(names)}: {key or 'not recorded'}" for key, names in by_key.items()]
        return lines + [
            f"Key {index}, not comparable with the others: {key or 'not recorded'}"
            for key, index in self.others.items()
        ]


def _together(names: Sequence[str]) -> str:
    """Names of metrics in a row, an extractor that they share named once: "fd, is, kid [digits-cnn]"."""
    extractors = {name.partition("[")[2] for name in names}
    if len(names) < 2 or len(extractors) > 1 or extractors == {""}:
        return ", ".join(names)
    return f"{', '.join(map(base_name, names))} [{extractors.pop()}"


def read_keys(rows: Iterable[SummaryRow]) -> Keys:
    """Find the keys; real data, often fewer images than were generated, never decide which one is the main one."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        if row.metric is not None:
            counts.setdefault(row.metric, Counter())[row.key or ""] += 0 if row.sampler == DATA else 1
    main = {metric: counter.most_common(1)[0][0] for metric, counter in counts.items()}
    others = dict.fromkeys(key for metric, counter in counts.items() for key in counter if key != main[metric])
    return Keys(main, {key: index for index, key in enumerate(others, start=2)})


@dataclass
class TableRow:
    """One readout of one model with its summaries by metric, one for each score key.

    `gains` are what is known of the model's density rather than of one chain's samples.
    """

    label: str
    sampler: str | None
    beta: float | None
    step_size: float | None
    steps: int | None
    gradient_evaluations: int | None
    ambiguous: bool = False
    cells: dict[str, list[SummaryRow]] = field(default_factory=dict)
    gains: dict[str, list[SummaryRow]] = field(default_factory=dict)

    @property
    def target(self) -> tuple[str, str | None, float | None]:
        """What the samples are meant to follow."""
        return (self.label, self.sampler, self.beta)

    def text(self, metric: str, keys: Keys, *, interval: bool = True) -> str:
        """The cell: mean, interval where asked for, mark of the key. Densities stand beside β=1 and nothing else."""
        texts = [
            (estimate_text(row.estimate) if interval else number(row.mean)) + keys.mark(row)
            for row in self.shown(metric)
        ]
        return "; ".join(texts) or "—"

    def shown(self, metric: str) -> list[SummaryRow]:
        """What the cell is made of, one summary for each key."""
        found = self.cells.get(metric, [])
        if about_density(metric):
            return (found or self.gains.get(metric, [])) if self.beta == 1.0 else []
        return found

    @property
    def n(self) -> str:
        """How many seeds are behind the cells; a range where they differ."""
        counts = sorted({row.n for rows in self.cells.values() for row in rows})
        return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"

    @property
    def statuses(self) -> set[str]:
        """Of all cells."""
        return {row.status for rows in self.cells.values() for row in rows}

    @property
    def status(self) -> str:
        """Status and reason of the cells, each reason once; collapse is shouted."""
        cells = [row for rows in self.cells.values() for row in rows]
        said = {(row.status, row.reason): None for row in cells if row.status != "done" or row.reason}
        parts = [f"{'COLLAPSED' if s == 'collapsed' else s}: {r}".rstrip(": ") for s, r in said]
        return "; ".join(parts) or "done"


def table_rows(rows: Sequence[SummaryRow]) -> list[TableRow]:
    """Lines in reading order: of each model its base, then chains by β and length; real data last.

    What was stated about a model's density rather than about a chain goes to the model's rows at β=1.
    """
    lines: dict[tuple[object, ...], TableRow] = {}
    gains: dict[tuple[str, tuple[str, str]], dict[str, list[SummaryRow]]] = {}
    for row in rows:
        if row.metric is None:
            continue
        if about_density(row.metric) and not row.steps:
            gains.setdefault((row.label, _apart(row)), {}).setdefault(row.metric, []).append(row)
            continue
        place = (row.label, row.sampler, row.beta, row.step_size, row.steps, *_apart(row))
        fresh = TableRow(row.label, row.sampler, row.beta, row.step_size, row.steps, row.gradient_evaluations)
        lines.setdefault(place, fresh).cells.setdefault(row.metric, []).append(row)
    for (label, apart), stated in gains.items():
        hosts = [
            line for place, line in lines.items() if (line.label, place[-2:]) == (label, apart) and line.beta == 1.0
        ]
        for line in hosts:
            line.gains = stated
        if not hosts:
            lines[label, "energy", *apart] = TableRow(label, "energy", 1.0, None, None, None, cells=stated)
    return _in_order(list(lines.values()))


def _apart(row: SummaryRow) -> tuple[str, str]:
    """What keeps a line apart from those that count."""
    return (row.status, row.reason) if row.status in NOT_COUNTED else ("", "")


def _in_order(lines: list[TableRow]) -> list[TableRow]:
    models = list(dict.fromkeys(line.label for line in lines))
    sizes: dict[tuple[object, ...], set[float | None]] = {}
    for line in lines:
        sizes.setdefault(line.target, set()).add(line.step_size)
    for line in lines:
        line.ambiguous = len(sizes[line.target]) > 1

    def place(line: TableRow) -> tuple[object, ...]:
        start = (line.sampler == DATA, models.index(line.label), line.sampler != "base")
        return (*start, line.beta or 0.0, line.sampler or "", line.step_size or 0.0, line.steps or 0)

    return sorted(lines, key=place)
