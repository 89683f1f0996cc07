"""From one tidy frame of scores to what a reader sees: Markdown with figures, a page of HTML, LaTeX, JSON, CSV, a table on the terminal.

Importing this package costs nothing: pandas, matplotlib and rich come in when a report is made, and torch never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.results.facts import RunFacts, SampleFile

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from bench.report.chapters import Chapter
    from bench.report.markdown import Figure

__all__ = ["FORMATS", "RunFacts", "SampleFile", "render", "terminal_table", "write_report"]

FORMATS = {"markdown": "md", "html": "html", "json": "json", "csv": "csv", "latex": "tex"}
"""Formats of a report with the endings of their files."""


def write_report(frame: pd.DataFrame, facts: Sequence[RunFacts], out: Path, format: str = "markdown") -> Path:  # noqa: A002
    """Write a report and, for Markdown, its figures beside it in `<name>-figures/`.

    Args:
        frame: one row for each run × readout × metric, as `bench.results.scores.COLUMNS` has it.
        facts: what is known about the runs besides their scores; may be empty.
        out: the file to write, or a folder, in which it is then named `report.md` (`.html`, `.json`, `.csv`, `.tex`).
        format: one of `FORMATS`.

    Returns:
        The file written.

    Raises:
        NothingToReportError: if the frame has no row.
        ValueError: if the format is unknown or the frame breaks its contract.
    """
    _check_format(format)
    from bench.core.files import write_bytes
    from bench.core.machine import cores
    from bench.report.chapters import read_chapters

    chapters = read_chapters(frame, facts)
    ending = f".{FORMATS[format]}"
    path = out if out.suffix == ending and not out.is_dir() else out / f"report{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = None
    if format == "markdown":
        from bench.report.pictures import write_all_figures

        figures = write_all_figures(chapters, path, cores())
    text = _text(chapters, format, figures)
    write_bytes(path, text.encode())
    return path


def render(frame: pd.DataFrame, facts: Sequence[RunFacts] = (), format: str = "markdown") -> str:  # noqa: A002
    """The report's text for a pipe: that of Markdown without its figures, any other one whole.

    Raises:
        NothingToReportError: if the frame has no row.
        ValueError: if the format is unknown or the frame breaks its contract.
    """
    _check_format(format)
    from bench.core.machine import no_collection
    from bench.report.chapters import read_chapters

    with no_collection():
        return _text(read_chapters(frame, facts), format, None)


def terminal_table(frame: pd.DataFrame, console: Console, facts: Sequence[RunFacts] = ()) -> None:
    """Print the main table of every dataset and the answer that it gives.

    Raises:
        NothingToReportError: if the frame has no row.
        ValueError: if the frame breaks its contract.
    """
    from bench.report.chapters import read_chapters
    from bench.report.terminal import print_chapters

    print_chapters(read_chapters(frame, facts), console)


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise ValueError(f"no report format '{name}'; there are {', '.join(FORMATS)}")


def _text(chapters: list[Chapter], name: str, figures: list[list[Figure]] | None) -> str:
    if name == "markdown":
        from bench.report.markdown import render as render_markdown

        return render_markdown(chapters, figures or [[] for _ in chapters])
    if name == "html":
        from bench.report.html import render_page
        from bench.report.page import make_page

        return render_page(make_page(chapters))
    if name == "latex":
        from bench.report.latex import render_latex

        return render_latex(chapters)
    from bench.results.exports import render_csv, render_json

    return render_json(chapters) if name == "json" else render_csv(chapters)
