"""A page as one HTML file that asks nobody for anything: style, script and pictures are in it, and its policy forbids requests.

Templates escape every text; the only markup let through is this module's own and the SVG of matplotlib, which escapes its texts.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from bench import __version__
from bench.report.blocks import Effect, Figure, Page, Verdict
from bench.report.figures import png_of, svg_of

__all__ = ["render_html"]


def render_html(page: Page) -> str:
    """Return the file's text; equal pages give equal text."""
    script = _read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html.j2").render(
        page=page, version=__version__, style=_read("report.css"), script=script, script_digest=digest
    )  # fmt: skip


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"drawn": _drawn, "place": _place}
    environment.globals |= {"scales": _scales}
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
    return Markup('<div class="chart" role="img" aria-label="{}" tabindex="0">{}</div>').format(
        block.text, Markup(svg_of(figure, name))  # noqa: S704  (matplotlib escapes its texts)
    )  # fmt: skip


def _scales(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Return, by unit, the largest value that an interval of the verdicts must have room for."""
    found: dict[str, float] = {}
    for verdict in verdicts:
        for effect in (answer.effect for finding in verdict.findings for answer in finding.answers):
            if effect is not None:
                found[effect.unit] = max([found.get(effect.unit, 0.0), *map(abs, _ends(effect))])
    return found


def _ends(effect: Effect) -> list[float]:
    return [end for end in (effect.low, effect.mean, effect.high) if end is not None]


def _place(value: float, scale: float) -> float:
    """Return where a value stands on an axis from 4 to 156 with 0 in its middle."""
    return round(80 + 76 * (value / scale if scale else 0.0), 2)
