"""Markdown: text that stays text, and tables."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

__all__ = ["escape", "table"]

_ESCAPES = str.maketrans({sign: f"\\{sign}" for sign in "\\|`*"})


def escape(text: str) -> str:
    """Return text that stays text in a Markdown table cell, whatever a failed run's reason holds."""
    return " ".join(html.escape(text, quote=False).translate(_ESCAPES).replace("](", "]\\(").split())


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: Collection[int] = ()) -> str:
    """Return a table whose `numeric` columns are right-aligned; the caller escapes the cells."""
    rule = ["---:" if index in numeric else ":---" for index in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))
