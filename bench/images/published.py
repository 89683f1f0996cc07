"""Published scores of images beside ours: the paper's verified cells, each side's protocol, and in words why the two may not compare.

The numbers and what is known of how they were made are in `published_images.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.metrics import INCEPTION
from bench.report.blocks import Cell, Column, Table, Tone
from bench.report.chapters import Chapter
from bench.report.comparisons import headline_metric, longest_readouts
from bench.report.rows import Keys, read_keys
from bench.report.text import arrow, estimate_text, listed, readout_text
from bench.results.facts import ReadoutFacts, RunFacts
from bench.results.scores import UNFINISHED
from bench.results.summary import SummaryRow

__all__ = [
    "Orientation",
    "PaperCells",
    "Protocol",
    "orientation_table",
    "published_cells",
    "published_images_table",
    "published_sentence",
]

_FILE = Path(__file__).with_name("published_images.toml")
_FAMILIES = {"sngan": "SNGAN ConvNet", "sngan-resnet": "SNGAN ResNet", "mlp": "fully connected networks"}


@dataclass(frozen=True)
class Protocol:
    """What is known of how the paper made its cells; `unverified` says in words what is not known."""

    source: str
    networks: str
    families: Sequence[str]
    width: int
    base_steps: int
    batch_size: int
    beta: float
    chain_steps: int
    unverified: str


@dataclass(frozen=True)
class PaperCells:
    """A dataset of the paper: the FIDs of its GEBMs that could be verified, perhaps none, and of which networks they are.

    `stand_ins` are datasets of ours that resemble it, each with what it is.
    """

    name: str
    title: str
    fid: Sequence[float] = ()
    networks: str = ""
    stand_ins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Orientation:
    """A score that others published, with its error where they gave one."""

    dataset: str
    model: str
    inception_score: float
    fid: float
    source: str = ""
    inception_score_error: float | None = None
    fid_error: float | None = None


@dataclass(frozen=True)
class _Published:
    paper: Protocol
    datasets: Sequence[PaperCells]
    orientation: Sequence[Orientation]


@cache
def _published() -> _Published:
    """The file of published numbers."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return _Published(
        Protocol(**read["paper"]),
        [PaperCells(**each) for each in read["datasets"]],
        [Orientation(**each) for each in read["orientation"]],
    )


def published_cells(dataset: str) -> PaperCells | None:
    """What the paper has on a dataset, or on the one that it stands in for; None where it has nothing."""
    return next((each for each in _published().datasets if dataset == each.name or dataset in each.stand_ins), None)


def published_images_table(chapter: Chapter) -> Table | None:
    """The paper's cells of this dataset beside our scores, a line each of ours; None for a dataset that the paper does not have."""
    cells = published_cells(chapter.section.dataset_name)
    metric = headline_metric(chapter.section)
    if cells is None or metric is None:
        return None
    keys = read_keys(chapter.rows)
    ours = list(_ours(chapter, metric))
    if not ours:
        return None
    first = next((row for _, row in ours if _is_papers(row)), None)
    lines = [
        [
            Cell(what),
            _paper_cell(cells) if row is first else Cell("the same" if cells.fid and _is_papers(row) else "—"),
            Cell("", code=row.label),
            Cell(readout_text(row.sampler, row.beta, row.step_size, row.steps)),
            _our_cell(row, keys),
        ]
        for what, row in ours
    ]
    if first is None:
        lines.insert(0, [Cell(_as_the_paper()), _paper_cell(cells), Cell("—"), Cell("not run"), Cell("—")])
    columns = [
        Column("model"),
        Column(f"published FID on {cells.title} ↓"),
        Column("ours"),
        Column("samples from"),
        Column(f"ours, {arrow(metric)}", numeric=True),
    ]
    notes = [_comparable(chapter, cells, metric, [row for _, row in ours])]
    return Table("Published scores beside ours", columns, lines, notes, [*_protocols(chapter, [r for _, r in ours])])


def published_sentence(chapter: Chapter) -> str:
    """What the paper has on this dataset and whether ours compares, in a sentence or two; empty where it has nothing."""
    cells, metric = published_cells(chapter.section.dataset_name), headline_metric(chapter.section)
    ours = [row for _, row in _ours(chapter, metric)] if metric else []
    if cells is None or metric is None or not ours:
        return ""
    paper = _published().paper
    found = f"FID {_paper_cell(cells)}" if cells.fid else "no verified FID"
    return f"{paper.source} on {cells.title}: {found}. {_comparable(chapter, cells, metric, ours)}"


def orientation_table(chapter: Chapter) -> Table | None:
    """What others published on this dataset; None where nothing is known."""
    cells = published_cells(chapter.section.dataset_name)
    found = [each for each in _published().orientation if cells is not None and each.dataset == cells.name]
    if cells is None or not found:
        return None
    lines = [
        [
            Cell(each.model),
            Cell(each.source or "—"),
            _with_error(each.inception_score, each.inception_score_error),
            _with_error(each.fid, each.fid_error),
        ]
        for each in found
    ]
    columns = [
        Column("model"),
        Column("source"),
        Column("Inception Score ↑", numeric=True),
        Column("FID ↓", numeric=True),
    ]
    notes = [
        "Numbers of others, for orientation only. FID moves more with protocol than with method, and how many images each of them scored "
        "was not verified."
    ]
    return Table(f"Published by others on {cells.title}", columns, lines, notes)


def _ours(chapter: Chapter, metric: str) -> Iterator[tuple[str, SummaryRow]]:
    """Our scores with what each is: GEBMs at the paper's temperature, at others, their bases, and models without a chain."""
    rows = [row for row in chapter.rows if row.metric == metric and row.mean is not None and row.status != "stale"]
    longest = set(longest_readouts(chapter.section))
    chains = [
        row
        for row in rows
        if (row.label, row.sampler, row.beta, row.step_size, row.steps) in longest and row.sampler is not None
    ]
    for row in sorted(chains, key=lambda row: (row.label, not _is_papers(row))):
        yield _as_the_paper() if _is_papers(row) else f"GEBM, β={row.beta:g}", row
    with_chains = {row.label for row in chains}
    bases = [row for row in rows if row.sampler == "base"]
    yield from (("base of the GEBM, alone", row) for row in bases if row.label in with_chains)
    yield from (("model without a chain", row) for row in bases if row.label not in with_chains)


def _as_the_paper() -> str:
    return f"GEBM, energy × {_published().paper.beta:g}"


def _is_papers(row: SummaryRow) -> bool:
    return row.beta == _published().paper.beta


def _paper_cell(cells: PaperCells) -> Cell:
    return Cell(f"{listed([f'{value:g}' for value in cells.fid])} ({cells.networks})" if cells.fid else "—")


def _our_cell(row: SummaryRow, keys: Keys) -> Cell:
    text, interval, rest = estimate_text(row.estimate).partition(" [")
    said = [
        f"[{rest}" if interval else "one seed" if row.n == 1 else "",
        row.reason if row.status == UNFINISHED else row.status.replace("done", ""),
        keys.mark(row),
    ]
    tone: Tone = "plain" if row.status == "done" else "bad"
    return Cell(text, row.mean, ", ".join(part.strip() for part in said if part), tone=tone)


def _with_error(value: float, error: float | None) -> Cell:
    return Cell(f"{value:g}" + (f" ± {error:g}" if error is not None else ""), value)


def _comparable(chapter: Chapter, cells: PaperCells, metric: str, ours: Sequence[SummaryRow]) -> str:
    """Whether the columns may be compared, in words."""
    unverified = f"Of the paper's cells it could not be verified {_published().paper.unverified}"
    why = list(_differences(chapter, cells, metric, ours))
    if not why:
        return f"The same data, networks, steps and extractor. {unverified}; FID moves with all of it."
    return f"The two do not compare: {'; '.join(why)}. {unverified}."


def _differences(chapter: Chapter, cells: PaperCells, metric: str, ours: Sequence[SummaryRow]) -> Iterator[str]:
    """What is known to differ between the paper's protocol and ours."""
    paper, name = _published().paper, chapter.section.dataset_name
    if name in cells.stand_ins:
        yield f"{name} is not {cells.title} ({cells.stand_ins[name]})"
    if metric != "fid":
        yield f"{metric} is no FID: another extractor than Inception"
    runs = [run for runs in chapter.networks.values() for run in runs if run.network]
    if not runs:
        yield "networks and training of ours are not recorded"
    if networks := dict.fromkeys(_network(run) for run in runs if not _is_published(run)):
        yield f"{listed([*networks])} instead of {paper.networks}"
    if steps := {run.base_steps for run in runs if run.base_steps is not None} - {paper.base_steps}:
        yield f"{_range(steps)} base steps instead of {paper.base_steps:,}"
    if lengths := {row.steps for row in ours if _is_papers(row) and row.steps is not None} - {paper.chain_steps}:
        yield f"chains of {_range(lengths)} steps instead of {paper.chain_steps:,}"


def _protocols(chapter: Chapter, ours: Sequence[SummaryRow]) -> Iterator[str]:
    """How the numbers of each side were made, a line each."""
    paper = _published().paper
    yield (
        f"Published: {paper.source}. {paper.networks}, {paper.base_steps:,} base steps of batch {paper.batch_size}; chains of "
        f"{paper.chain_steps:,} steps at the energy times {paper.beta:g}; FID by Inception. Not verified: {paper.unverified}. "
        "Cells that could not be verified are —."
    )
    labels = {row.label for row in ours}
    said: dict[str, list[str]] = {}
    for label, runs in chapter.networks.items():
        if label in labels:
            for words in dict.fromkeys(filter(None, map(_made, runs))):
                said.setdefault(words, []).append(label)
    yield from (f"Ours, {listed(names)}: {words}." for words, names in said.items())


def _made(run: RunFacts) -> str:
    """A run's side of the protocol."""
    trained = [_network(run)] if run.network else []
    if run.base_steps is not None:
        trained.append(f"{run.base_steps:,} base steps of batch {run.batch_size}")
    return "; ".join(part for part in (", ".join(trained), *dict.fromkeys(map(_scored, run.readouts))) if part)


def _scored(readout: ReadoutFacts) -> str:
    extractor = "Inception" if readout.extractor == INCEPTION else readout.extractor
    return f"{readout.samples:,} images against the {readout.reference} split by {extractor}"


def _is_published(run: RunFacts) -> bool:
    paper = _published().paper
    return run.network.get("family") in paper.families and run.network.get("width") == paper.width


def _network(run: RunFacts) -> str:
    family, width = str(run.network.get("family", "")), run.network.get("width")
    published = width is None or _is_published(run)
    return _FAMILIES.get(family, family) + ("" if published else f" of width {width}")


def _range(values: Collection[int]) -> str:
    """One count, or the least and the greatest of several."""
    return " to ".join(f"{value:,}" for value in dict.fromkeys((min(values), max(values))))
