"""From stored results to what a reader sees: Markdown with figures, a page of HTML, LaTeX, JSON, CSV, a table on the terminal.

A kind makes blocks of a section (`bench.<kind>.blocks`), `page` puts them together, and a renderer per form shows them. Importing this
package costs nothing: pandas, matplotlib and rich come in when a report is made, and torch never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from bench.results.frame import Results

__all__ = ["FORMATS", "render", "terminal_table", "write_report"]

FORMATS = {"markdown": "md", "html": "html", "json": "json", "csv": "csv", "latex": "tex"}
"""Formats of a report with the endings of their files."""


def write_report(results: Results, out: Path, format: str = "markdown") -> Path:  # noqa: A002
    """Write a report and, for Markdown, its figures beside it in `<name>-figures/`.

    Args:
        results: what `bench.results.frame.scan` returns.
        out: the file to write, or a folder, in which it is then named `report.md` (`.html`, `.json`, `.csv`, `.tex`).
        format: one of `FORMATS`.

    Returns:
        The file written.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the format is unknown or the results break their contract.
    """
    _check_format(format)
    from bench.files import write_bytes

    ending = f".{FORMATS[format]}"
    path = out if out.suffix == ending and not out.is_dir() else out / f"report{ending}"
    text = _text(results, format, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())
    return path


def render(results: Results, format: str = "markdown") -> str:  # noqa: A002
    """Return the report's text for a pipe: Markdown without its figures, any other form whole.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the format is unknown or the results break their contract.
    """
    _check_format(format)
    return _text(results, format, None)


def terminal_table(results: Results, console: Console) -> None:
    """Print the main table of every dataset and the answer that it gives.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the results break their contract.
    """
    from bench.report.page import make_page
    from bench.report.terminal import print_page

    print_page(make_page(results), console)


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise ValueError(f"no report format '{name}'; there are {', '.join(FORMATS)}")


def _text(results: Results, name: str, path: Path | None) -> str:
    if name in ("json", "csv"):
        from bench.results.summary import render_csv, render_json

        summaries = [section.summary for section in results.sections()]
        return render_json(summaries) if name == "json" else render_csv(summaries)
    from bench.report.page import make_page

    page = make_page(results)
    if name == "markdown":
        from bench.report.markdown import render_markdown

        return render_markdown(page, path)
    if name == "html":
        from bench.report.html import render_html

        return render_html(page)
    from bench.report.latex import render_latex

    return render_latex(page)
