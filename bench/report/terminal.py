"""The main tables and verdicts on the terminal, at the end of `bench run`: as many columns as the window has room for, all in a pipe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bench.report.blocks import Block, Cell, Table, Tone, Verdict
from bench.report.page import make_page

if TYPE_CHECKING:
    from bench.results.frame import Results

__all__ = ["print_block", "terminal_table"]

_PIPE = 10_000  # columns that no table has
_STYLES: dict[Tone, str] = {"good": "green", "bad": "bold red", "open": "yellow", "plain": ""}


def terminal_table(results: Results, console: Console) -> None:
    """Print of every section the brief tables, then the answer. Names and reasons are text, never markup.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the results break their contract.
    """
    for section in make_page(results).sections:
        shown = [block for block in section.blocks if block.terminal != "never" or isinstance(block, Verdict)]
        if shown:
            console.print()
            console.print(Text(" · ".join(section.place), style="bold"))
        for block in sorted(shown, key=lambda block: not isinstance(block, Table)):
            print_block(block, console)


def print_block(block: Block, console: Console, *, soft_wrap: bool = False) -> None:
    """Print one block."""

    def say(text: str, style: str = "") -> None:
        if text:
            console.print(Text(text, style=style), soft_wrap=soft_wrap)

    if isinstance(block, Verdict):
        block = replace(block, findings=[finding for finding in block.findings if finding.brief])
        say(block.question, "bold")
    elif block.terminal == "titled":
        say(block.title, "bold")
    if isinstance(block, Table):
        wide = console if console.is_terminal else Console(file=console.file, width=_PIPE)
        wide.print(_grid(block, wide.width))
        for remark, tone in block.remarks:
            say(remark, _STYLES[tone])
        for line in block.legend:
            say(line, "dim")
    for depth, bold, text, tone in block.lines():
        bullet = "  " * (depth - 1) + "• " if depth else ""
        say(f"{bullet}{bold}{text}".rstrip(), _STYLES[tone] or ("" if depth else "dim"))


def _grid(block: Table, width: int) -> Grid:
    """Return the columns that are always shown, and of the others from the left as many as fit."""
    rows = block.rows if block.brief is None else [block.rows[number] for number in block.brief]
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    widths = [
        2 + max(cell_len(text) for text in (column.name, *(_text(row[index]) for row in rows)))
        for index, column in enumerate(block.columns)
    ]
    kept = {index for index, column in enumerate(block.columns) if column.terminal == "always"}
    for index, column in enumerate(block.columns):
        if column.terminal == "room":
            if sum(widths[each] for each in kept) + widths[index] - 2 > width:
                break
            kept.add(index)
    for index in sorted(kept):
        column = block.columns[index]
        grid.add_column(Text(column.name), justify="right" if column.numeric else "left", no_wrap=index > 0)
    for row in rows:
        grid.add_row(*(Text(_text(row[index]), style=_STYLES[row[index].tone]) for index in sorted(kept)))
    return grid


def _text(cell: Cell) -> str:
    return cell.short or f"{cell.code} {cell}".strip()
