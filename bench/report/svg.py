"""A matplotlib figure as an SVG element that stands inside a page: its text is text, its inks follow the page's light or dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.blocks import LegendEntry

__all__ = ["INKS", "legend_entries", "svg_of"]

INKS = {
    "#000000": "var(--ink)",
    "#333333": "var(--ink)",
    "#666666": "var(--soft)",
    "#777777": "var(--soft)",
    "#888888": "var(--soft)",
    "#999999": "var(--faint)",
    "#e4e4e4": "var(--line)",
    "#0072b2": "var(--blue)",
    "#5e3c99": "var(--violet)",
}
"""Colours of the figures that do not show on every background, and the theme's that stand for them."""

_DASHES = {"--": "6 3", "-.": "6 3 1.5 3", ":": "1.5 3", "None": None}
_MARKS = dict(zip("osD^vP*X<>h", "●■◆▲▼✚★✖◀▶⬢", strict=True))


def svg_of(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element without a background; equal figures of one name give equal text.

    Arguments:
        figure: what to draw; its texts come out escaped.
        name: distinguishes this element's ids from those of the others on the page.
    """
    buffer = io.StringIO()
    undated = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=undated)
    text = buffer.getvalue()
    svg = re.sub(r".*?<svg\b[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg \1>", text, count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda ink: INKS.get(ink[0], ink[0]), svg)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg).replace("xlink:href", "href")
    return _own_ids(re.sub(r"\s*\n\s*", "\n", svg), name)


def _own_ids(svg: str, name: str) -> str:
    """Only ids that something refers to, made the figure's own."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))

    def rename(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', rename, svg)
    return re.sub(r'(href="#|url\(#)([^")]+)', rf"\1{name}-\2", svg)


def legend_entries(handles: Mapping[str, Line2D]) -> list[LegendEntry]:
    """What the lines of a figure stand for."""
    entries = []
    for label, line in handles.items():
        colour, dashes = str(line.get_color()), _DASHES.get(str(line.get_linestyle()), "")
        entries.append(
            LegendEntry(label, INKS.get(colour.lower(), colour), dashes, _MARKS.get(str(line.get_marker()), ""))
        )
    return entries
