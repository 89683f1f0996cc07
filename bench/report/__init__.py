"""From stored results to what a reader sees: Markdown with figures, a page of HTML, LaTeX, JSON, CSV, a table on the terminal.

A kind makes blocks of a section (`bench.<kind>.blocks`), `page` puts them together, and a renderer per form shows them. Importing this
package costs nothing: pandas, matplotlib and jinja2 come in when a report is made, and torch never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.results.frame import Results

__all__ = ["FORMATS", "render", "write_report"]

FORMATS = {"markdown": "md", "html": "html", "json": "json", "csv": "csv", "latex": "tex"}
"""Formats of a report with the endings of their files."""


def write_report(results: Results | pd.DataFrame, out: Path, format: str = "markdown") -> Path:  # noqa: A002
    """Write a report and, for Markdown, its figures beside it in `<name>-figures/`.

    Args:
        results: what `bench.results.frame.scan` returns; for json and csv its summary will do.
        out: the file to write, or a folder, in which it is then named `report.md` (`.html`, `.json`, `.csv`, `.tex`).
        format: one of `FORMATS`.

    Returns:
        The file written.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the format is unknown or the results break their contract.
    """
    from bench.files import write_output

    ending = f".{FORMATS.get(format)}"
    path = out if out.suffix == ending and not out.is_dir() else out / f"report{ending}"
    text = render(results, format, path)
    write_output(path, text.encode())
    return path


def render(results: Results | pd.DataFrame, format: str = "markdown", path: Path | None = None) -> str:  # noqa: A002
    """Return the report's text; Markdown is without its figures unless the path of the report says where they go.

    Raises:
        NothingToReportError: if there is no run.
        TypeError: if there is no more than a summary, and that is not enough.
        ValueError: if the format is unknown or the results break their contract.
    """
    if format not in FORMATS:
        raise ValueError(f"no report format '{format}'; there are {', '.join(FORMATS)}")
    from bench.results.frame import Results

    if format in ("json", "csv"):
        from bench.results.summary import render_csv, render_json

        summary = results.summary if isinstance(results, Results) else results
        return render_json(summary) if format == "json" else render_csv(summary)
    if not isinstance(results, Results):
        raise TypeError(f"a report as {format} is made of results, not of a summary")
    from bench.machine import no_collection
    from bench.report.page import make_page

    with no_collection():
        page = make_page(results)
    if format == "html":
        from bench.report.html import render_html

        return render_html(page)
    if format == "latex":
        from bench.report.latex import render_latex

        return render_latex(page)
    from bench.report.markdown import render_markdown

    return render_markdown(page, path)
