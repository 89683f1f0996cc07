"""The main tables and verdicts on the terminal, at the end of `bench run`: as many columns as the window has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table as Grid
from rich.text import Text

from bench.report.blocks import Block, Cell, Commands, Figure, Page, Table, TextBlock, Tone, Verdict

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_block", "print_page"]

_STYLES: dict[Tone, str] = {"good": "green", "bad": "bold red", "open": "yellow", "plain": ""}


def print_page(page: Page, console: Console) -> None:
    """Print of every section the brief tables and the answer. Names and reasons are text, never markup."""
    for section in page.sections:
        shown = [block for block in section.blocks if block.terminal != "never"]
        if not shown and not section.verdicts:
            continue
        console.print()
        console.print(Text(" · ".join(section.place), style="bold"))
        tables = [block for block in shown if isinstance(block, Table)]
        for block in [*tables, *section.verdicts, *(each for each in shown if each not in tables)]:
            print_block(block, console)


def print_block(block: Block, console: Console, *, soft_wrap: bool = False) -> None:
    """Print one block."""

    def say(text: str, style: str = "") -> None:
        if text:
            console.print(Text(text, style=style), soft_wrap=soft_wrap)

    if isinstance(block, Verdict):
        say(block.question, "bold")
    elif block.terminal == "titled":
        say(block.title, "bold")
    if isinstance(block, Table):
        _print_table(block, console)
        for remark, tone in block.remarks:
            say(remark, _STYLES[tone])
        for line in block.legend:
            say(line, "dim")
    elif isinstance(block, Verdict):
        for depth, bold, text, tone in block.lines():
            say(f"{'  ' * depth}• {bold}{text}", _STYLES[tone])
        say(block.note, "dim")
    elif isinstance(block, TextBlock):
        for line in (*block.paragraphs, *block.items):
            say(line, _STYLES[block.tone] or "dim")
    elif isinstance(block, Commands):
        for line in block.lines:
            say(line)
    elif isinstance(block, Figure):
        say(f"figure in the HTML and Markdown forms: {block.text}", "dim")


def _print_table(block: Table, console: Console) -> None:
    """Print the columns that are always shown, and of the others from the left as many as fit."""
    widths = [
        max([cell_len(column.name), *(cell_len(_text(row[index])) for row in block.rows)]) + 2
        for index, column in enumerate(block.columns)
    ]
    shown = {index for index, column in enumerate(block.columns) if column.terminal == "always"}
    for index, column in enumerate(block.columns):
        if column.terminal == "room" and sum(widths[each] for each in shown) + widths[index] - 2 > console.width:
            break
        if column.terminal == "room":
            shown.add(index)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for index in sorted(shown):
        column = block.columns[index]
        grid.add_column(Text(column.name), justify="right" if column.numeric else "left", no_wrap=index > 0)
    for row in block.rows:
        grid.add_row(*(Text(_text(row[index]), style=_STYLES[row[index].tone]) for index in sorted(shown)))
    console.print(grid)


def _text(cell: Cell) -> str:
    return cell.short or f"{cell.code} {cell}".strip()
