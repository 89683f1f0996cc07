"""The summary for other programs: JSON and CSV, one row for each model × readout × metric × score key."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields

from bench.report.chapters import Chapter
from bench.results.summary import SummaryRow, to_json

__all__ = ["render_csv", "render_json"]


def render_json(chapters: Sequence[Chapter]) -> str:
    """A JSON list of rows; what is missing is null, and NaN does not occur."""
    rows = [to_json(row) for chapter in chapters for row in chapter.rows]
    return json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def render_csv(chapters: Sequence[Chapter]) -> str:
    """The same rows as CSV; what is missing is an empty field, and numbers keep all their digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(SummaryRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_json(row) for chapter in chapters for row in chapter.rows)
    return buffer.getvalue()
