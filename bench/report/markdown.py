"""The Markdown report: the answer first, then the tables and figures that it rests on. Made to be read on GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from bench.files import write_bytes
from bench.report.blocks import Block, Cell, Commands, Figure, Page, PageSection, Table, TextBlock, Verdict
from bench.report.text import escape, table

__all__ = ["render_markdown"]


def render_markdown(page: Page, report: Path | None = None) -> str:
    """Return the report's text; with the path of the report, draw its figures beside it into `<name>-figures/`."""
    parts = [f"# {escape(page.title)}", escape(page.subtitle)]
    if page.claims:
        parts += [f"## {escape(page.claims.question)}", *_answers(page.claims)]
    for section in page.sections:
        parts += [f"## {escape(section.title)}", escape(section.subtitle[:1].upper() + section.subtitle[1:])]
        for verdict in section.verdicts:
            parts += [f"**{escape(verdict.question)}**", *_answers(verdict)]
        for block in section.blocks:
            parts += _figure(block, section, report) if isinstance(block, Figure) else _block(block, "###")
    for block in page.back:
        parts += _block(block, "##")
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, level: str) -> Iterator[str]:
    """Yield a block's paragraphs."""
    notice = isinstance(block, TextBlock) and block.tone != "plain"
    if block.title and not notice:
        yield f"{level} {escape(block.title)}"
    if isinstance(block, Table):
        numeric = (
            len(block.columns) - 1 - max((i for i, each in enumerate(block.columns) if not each.numeric), default=-1)
        )
        yield table(
            [escape(each.name) for each in block.columns], [list(map(_cell, row)) for row in block.rows], numeric
        )
        yield escape(" ".join(block.notes))
        yield "\n".join(f"- {escape(line)}" for line in block.legend)
    elif isinstance(block, Commands):
        yield "\n".join(["```sh", *block.lines, "```"])
        yield escape(block.note)
    elif isinstance(block, TextBlock):
        yield from map(escape, block.paragraphs)
        mark = f"> **{escape(block.title)}**: " if notice else "- "
        yield "\n".join(f"{mark}{escape(item)}" for item in block.items)


def _cell(cell: Cell) -> str:
    """Return a cell; words about a fault are bold, numbers at fault carry a mark of their own."""
    text = escape(str(cell))
    if cell.tone == "bad" and cell.value is None and text:
        text = f"**{text}**"
    return f"`{escape(cell.code)}` {text}".rstrip() if cell.code else text


def _answers(verdict: Verdict) -> Iterator[str]:
    lines = [
        "  " * depth + "- " + (f"**{escape(bold)}**" if bold else "") + escape(text)
        for depth, bold, text, _ in verdict.lines()
    ]
    yield "\n".join(lines)
    yield escape(verdict.note)


def _figure(block: Figure, section: PageSection, report: Path | None) -> Iterator[str]:
    if report is None:
        return
    from bench.report.figures import png_of

    figure = block.draw()
    if figure is not None:
        folder = report.with_name(f"{report.stem}-figures")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{section.name}-{block.name}.png"
        write_bytes(path, png_of(figure))
        yield f"### {escape(block.title)}\n\n![{escape(block.text)}]({quote(folder.name)}/{path.name})"
        yield escape(block.note)
