"""A page as one HTML file that asks nobody for anything: style, script and pictures are in it, and its policy forbids requests.

Templates escape every text; the only markup let through is this module's own and the SVG of matplotlib, which escapes its texts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from bench import __version__
from bench.report.blocks import Block, Figure, Page, PageSection, Runs, Verdict
from bench.report.figures import png_of, svg_of

__all__ = ["render_html"]


def render_html(page: Page) -> str:
    """Return the file's text; equal pages give equal text."""
    script = _read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    places = _Places()
    shown = replace(page, sections=[places.section(section) for section in page.sections])
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=shown,
            places=places,
            version=__version__,
            style=_read("report.css"),
            script=script,
            script_digest=digest,
        )
    )


@dataclass
class _Places:
    """Where everything is on the page: ids by section and title, pictures, and the folds of runs by section and model."""

    ids: dict[int, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    pictures: dict[int, Markup] = field(default_factory=dict)
    runs: dict[str, dict[str, str]] = field(default_factory=dict)

    def section(self, section: PageSection) -> PageSection:
        """Return a section without figures that have nothing to draw, and remember where its parts are."""
        blocks = [
            block for number, block in enumerate(section.blocks) if self._drawn(block, f"{section.name}-{number}")
        ]
        self.named[section.name] = section.name
        for each in _parts(blocks):
            name = f"{section.name}-{_slug(each.title)}"
            twins = sum(known == name or known.startswith(f"{name}--") for known in self.ids.values())
            self.ids[id(each)] = f"{name}--{twins + 1}" if twins else name
            self.named.setdefault(f"{section.name} {each.title}", self.ids[id(each)])
        for block in blocks:
            if isinstance(block, Runs):
                place = self.ids[id(block)]
                self.runs[section.name] = {label: f"{place}-{number}" for number, label in enumerate(block.models)}
        return replace(section, blocks=blocks)

    def _drawn(self, block: Block, name: str) -> bool:
        """Draw a figure; whether there is something to show."""
        if isinstance(block, Figure):
            figure = block.draw()
            if figure is None:
                return False
            self.pictures[id(block)] = _picture(block, figure, name)
        return True

    def at(self, part: Any) -> str:
        """Return the id of a block or finding; empty for one without."""
        return self.ids.get(id(part), "")

    def picture(self, figure: Figure) -> Markup:
        """Return the element of a figure."""
        return self.pictures[id(figure)]

    def to(self, link: str) -> str:
        """Return the id that a cell's link leads to, at least to its section; empty for none."""
        return self.named.get(link) or self.named.get(link.partition(" ")[0], "")

    def of(self, section: PageSection) -> dict[str, str]:
        """Return the ids of a section's runs by model."""
        return self.runs.get(section.name, {})

    @property
    def models(self) -> list[str]:
        """All models of the page."""
        return list(dict.fromkeys(label for own in self.runs.values() for label in own))


def _parts(blocks: list[Block]) -> Iterator[Any]:
    """Yield every block and finding that has a title."""
    for block in blocks:
        yield from [block] if block.title else []
        yield from block.findings if isinstance(block, Verdict) else ()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.replace("β̂", "fitted").lower()).strip("-") or "x"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"place": _place, "scales": _scales, "exact": "{:.10g}".format}
    return environment


def _read(name: str) -> str:
    return (resources.files("bench.report") / "templates" / name).read_text(encoding="utf-8")


def _picture(block: Figure, figure: Any, name: str) -> Markup:
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
