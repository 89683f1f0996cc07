"""The main table on the terminal, at the end of `bench run`: as many metrics as the window has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.chains.blocks import chain_sentences, grids
from bench.densities.blocks import LIKELIHOOD_QUESTION, likelihood_notes, likelihood_sentences, likelihood_table
from bench.images.published import published_sentence
from bench.images.sampler_table import SAMPLER_COSTS, sampler_tables
from bench.metrics import base_name
from bench.report.comparisons import headline_metric
from bench.report.rows import Keys, TableRow, read_keys, table_rows
from bench.report.text import PAPER_BETA, about_density, arrow, readout_name
from bench.report.verdict import QUESTION, footnote, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bench.report.blocks import Table as Block
    from bench.report.chapters import Chapter

__all__ = ["print_chapters"]

_STYLES = {
    "collapsed": "bold red",
    "failed": "red",
    "missing": "dim",
    "stale": "yellow",
    "unfinished": "yellow",
    "partial": "yellow",
}
_FIXED, _COLUMN = 78, 10  # characters for the columns that always stand, and for each further metric


def print_chapters(chapters: Sequence[Chapter], console: Console) -> None:
    """Of every chapter the table, what is wrong with rows, and the answer. Names and reasons are text, never markup."""
    for chapter in chapters:
        section = chapter.section
        console.print()
        console.print(Text(f"{section.suite} · {section.profile} · {section.dataset}", style="bold"))
        if chapter.about_chains:
            _print_chains(chapter, console)
            continue
        if chapter.about_likelihoods:
            _print_likelihoods(chapter, console)
            continue
        keys = read_keys(chapter.rows)
        rows = table_rows(chapter.rows)
        if rows:
            console.print(_table(rows, keys, headline_metric(section), console.width))
        _print_notes(chapter, rows, keys, console)
        console.print(Text(QUESTION, style="bold"))
        matches = chapter.matches
        for sentence in verdict(section, matches[0] if matches else None):
            console.print(Text(f"• {sentence}"))
        for match in matches:
            if match.compared > 1 and not match.matched:
                console.print(Text(match.sentence, style="bold red"))
        console.print(Text(footnote(section), style="dim"))
        if published := published_sentence(chapter):
            console.print(Text(published, style="dim"))
    for table in sampler_tables(chapters):
        console.print()
        console.print(Text(table.title, style="bold"))
        scores = [index for index, column in enumerate(table.columns) if column.name not in SAMPLER_COSTS]
        _print_block(table, console, scores[: max(4, (console.width - 20) // 20)])


def _print_likelihoods(chapter: Chapter, console: Console) -> None:
    """The table as far as there is room, failures, and the answers."""
    block = likelihood_table(chapter)
    if block is not None:
        _print_block(block, console, range(max(3, (console.width - 30) // 18) + 1))
    for row in chapter.rows:
        if row.metric is None:
            console.print(Text(f"{row.label}: {row.status}: {row.reason}", style=_STYLES.get(row.status, "")))
    console.print(Text(LIKELIHOOD_QUESTION, style="bold"))
    for sentence in likelihood_sentences(chapter):
        console.print(Text(f"• {sentence}"))
    for note in likelihood_notes(chapter):
        console.print(Text(note, style="dim"))


def _print_chains(chapter: Chapter, console: Console) -> None:
    """Grids with as many columns as there is room for, failures, and the answers."""
    for grid in grids(chapter.rows):
        console.print(Text(grid.title, style="italic"))
        _print_block(grid, console, range(max(2, (console.width - 18) // 13)))
    for row in chapter.rows:
        if row.metric is None:
            console.print(Text(f"{row.label}: {row.status}: {row.reason}", style=_STYLES.get(row.status, "")))
    for sentence in chain_sentences(chapter.rows):
        console.print(Text(f"• {sentence}"))


def _print_block(block: Block, console: Console, shown: Sequence[int]) -> None:
    """These columns of a table, as far as it has them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [index for index in shown if index < len(block.columns)]
    for column in (block.columns[index] for index in shown):
        table.add_column(Text(column.name), justify="right" if column.numeric else "left")
    for line in block.rows:
        table.add_row(*(Text(f"{line[index].code} {line[index]}".strip()) for index in shown))
    console.print(table)


def _table(rows: Sequence[TableRow], keys: Keys, headline: str | None, width: int) -> Table:
    others = [name for name in keys.metrics if name != headline and not about_density(name)]
    metrics = [*([headline] if headline else []), *others[: max(0, (width - _FIXED) // _COLUMN)]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("samples from", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    for metric in metrics:
        name = arrow(metric if metric == headline else base_name(metric))
        table.add_column(Text(name), justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True, min_width=6)
    for row in rows:
        cells = [Text(row.text(metric, keys, interval=metric == headline)) for metric in metrics]
        steps = "" if row.steps is None else str(row.steps)
        table.add_row(Text(row.label), Text(_short_name(row)), steps, *cells, row.n, _status(row))
    return table


def _short_name(row: TableRow) -> str:
    if row.beta is None or row.sampler is None:
        return readout_name(row.sampler, row.beta)
    meaning = {1.0: " (model)", PAPER_BETA: " (paper)"}.get(row.beta, "")
    size = f" step {row.step_size:g}" if row.ambiguous else ""
    return f"{row.sampler} β={row.beta:g}{meaning}{size}"


def _print_notes(chapter: Chapter, rows: Sequence[TableRow], keys: Keys, console: Console) -> None:
    """Reasons, each once, and the score keys."""
    said: dict[str, str] = {}
    for row in rows:
        for status in row.statuses - {"done"}:
            said.setdefault(f"{row.label}: {row.status}", status)
    for summary in chapter.rows:
        if summary.metric is None:
            said.setdefault(f"{summary.label}: {summary.status}: {summary.reason}", summary.status)
    for line, status in said.items():
        console.print(Text(line, style=_STYLES.get(status, "")))
    for line in keys.legend():
        console.print(Text(line, style="dim"))


def _status(row: TableRow) -> Text:
    status = next((status for status in _STYLES if status in row.statuses), "done")
    return Text("COLLAPSED" if status == "collapsed" else status, style=_STYLES.get(status, ""))
