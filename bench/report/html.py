"""A page as one HTML file that asks nobody for anything: style, script and pictures are in it, and its policy forbids requests.

Templates escape every text; the only markup let through is this module's own and the SVG of matplotlib, which escapes its texts.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from bench import __version__
from bench.report.blocks import Figure, Page, Verdict
from bench.report.figures import png_of, svg_of

__all__ = ["render_html"]


def render_html(page: Page) -> str:
    """Return the file's text; equal pages give equal text."""
    script = _read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = _environment().get_template("page.html.j2")
    return template.render(
        page=page, version=__version__, style=_read("report.css"), script=script, script_digest=digest
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"drawn": _drawn, "place": _place, "scales": _scales}
    return environment


def _read(name: str) -> str:
    return (resources.files("bench.report") / "templates" / name).read_text(encoding="utf-8")


def _drawn(block: Figure, name: str) -> Markup | None:
    """Return the element of a figure; None where there is nothing to draw."""
    figure = block.draw()
    if figure is None:
        return None
    if block.raster:
        png = base64.b64encode(png_of(figure)).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(block.text, png)
    svg = Markup(svg_of(figure, name))  # noqa: S704  (matplotlib escapes its texts)
    return Markup('<div class="chart" role="img" aria-label="{}" tabindex="0">{}</div>').format(block.text, svg)


def _scales(verdict: Verdict) -> dict[str, float]:
    """Return, by unit, the largest value that an interval of the verdict must have room for."""
    found: dict[str, float] = {}
    for answer in (answer for finding in verdict.findings for answer in finding.answers):
        if each := answer.effect:
            ends = [abs(end) for end in (each.mean, each.ci_low, each.ci_high) if end is not None]
            found[answer.unit] = max(found.get(answer.unit, 0.0), *ends)
    return found


def _place(value: float, scale: float) -> float:
    """Return where a value stands on an axis from 4 to 156 with 0 in its middle."""
    return round(80 + 76 * (value / scale if scale else 0.0), 2)
