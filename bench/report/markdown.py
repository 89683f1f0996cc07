"""The Markdown report: the answer first, then the tables and figures that it rests on. Made to be read on GitHub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from bench.files import write_output
from bench.markdown import escape, table
from bench.report.blocks import Block, Cell, Commands, Figure, Page, Runs, Table, TextBlock, Verdict
from bench.report.figures import png_of

__all__ = ["render_markdown"]


def render_markdown(page: Page, report: Path | None = None) -> str:
    """Return the report's text; with the path of the report, draw its figures beside it into `<name>-figures/`."""
    parts = [f"# {escape(page.title)}", escape(page.subtitle)]
    if page.front:
        parts += _block(page.front, "##")
    for section in page.sections:
        parts += [f'<a id="{section.name}"></a>', f"## {escape(section.title)}"]
        parts.append(escape(section.subtitle[:1].upper() + section.subtitle[1:]))
        for block in section.blocks:
            parts += _figure(block, section.name, report) if isinstance(block, Figure) else _block(block, "###")
    if page.claims:
        parts += [f"## {escape(page.claims.question)}", *_texts(page.claims)]
    for block in page.back:
        parts += _block(block, "##")
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, level: str) -> Iterator[str]:
    """Yield a block's paragraphs."""
    if isinstance(block, Runs):
        return
    if isinstance(block, TextBlock) and block.tone != "plain":
        yield "\n".join(f"> **{escape(block.title)}**: {escape(text)}" for _, _, text, _ in block.lines())
        return
    if isinstance(block, Verdict):
        yield f"**{escape(block.question)}**"
    elif block.title:
        yield f"{level} {escape(block.title)}"
    if isinstance(block, Table):
        shown, every = block.unfolded, range(len(block.columns))
        yield _table(block, shown)
        if len(shown) < len(every):
            yield f"<details><summary>All {len(every)} columns</summary>"
            yield _table(block, every)
            yield "</details>"
        yield escape(" ".join(block.notes))
        yield "\n".join(f"- {escape(line)}" for line in block.legend)
    elif isinstance(block, Commands):
        yield "\n".join(["```sh", *block.commands, "```"])
        yield escape(block.note)
    else:
        yield from _texts(block)


def _table(block: Table, shown: Sequence[int]) -> str:
    """Return these columns of a table."""
    columns = [block.columns[index] for index in shown]
    numeric = [place for place, column in enumerate(columns) if column.numeric]
    return table(
        [escape(column.name) for column in columns],
        [[_cell(row[index]) for index in shown] for row in block.rows],
        numeric,
    )


def _cell(cell: Cell) -> str:
    """Return a cell; words about a fault are bold, numbers at fault carry a mark of their own."""
    text = escape(str(cell))
    if cell.link:
        return text.replace(escape(cell.text), f"[{escape(cell.text)}](#{cell.link.partition(' ')[0]})", 1)
    if cell.tone == "bad" and cell.value is None and text:
        text = f"**{text}**"
    return f"`{escape(cell.code)}` {text}".rstrip() if cell.code else text


def _texts(block: Block) -> Iterator[str]:
    """Yield a block's paragraphs and lists."""
    for listed, lines in groupby(block.lines(), key=lambda line: line[0] > 0):
        texts = [
            "  " * (depth - 1) + "- " * listed + (f"**{escape(bold)}**" if bold else "") + escape(text)
            for depth, bold, text, _ in lines
        ]
        yield ("\n" if listed else "\n\n").join(texts)


def _figure(block: Figure, section: str, report: Path | None) -> Iterator[str]:
    figure = block.draw() if report else None
    if report and figure:
        folder = report.with_name(f"{report.stem}-figures")
        path = folder / f"{section}-{block.name}.png"
        write_output(path, png_of(figure))
        yield f"### {escape(block.title)}\n\n![{escape(block.text)}]({quote(folder.name)}/{path.name})"
        yield escape(block.note)
