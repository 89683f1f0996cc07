"""What a report page is made of, as data: a page has parts, a part has blocks.

All texts are plain: whoever writes a block escapes nothing, whoever renders it escapes everything. Markdown shows the tables; `html`
shows every block. A new kind of block is a class here with a `kind`, and a macro of that name in `templates/blocks.html.j2`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

__all__ = [
    "READING_TONES",
    "Answer",
    "Block",
    "Cell",
    "Column",
    "Commands",
    "Effect",
    "Finding",
    "LegendEntry",
    "Page",
    "Part",
    "Picture",
    "Pictures",
    "Table",
    "TextBlock",
    "Tone",
    "Verdict",
]

Tone = Literal["good", "bad", "open", "plain"]
"""How a line is coloured: in favour, against or a fault, undecided, neither."""

READING_TONES: Mapping[str, Tone] = {
    "better": "good",
    "worse": "bad",
    "no clear difference": "open",
    "no verdict": "open",
    "gains": "good",
    "loses": "bad",
    "no clear gain": "open",
}
"""Tones of the readings of comparisons and of likelihood gains; of any other reading the tone is plain."""


@dataclass(frozen=True)
class Block:
    """A piece of a part with a title; an empty one continues the block before it."""

    kind: ClassVar[str]
    title: str


@dataclass(frozen=True)
class TextBlock(Block):
    """Paragraphs, then a list; a tone other than "plain" makes it a notice."""

    kind = "text"
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    tone: Tone = "plain"


@dataclass(frozen=True)
class Column:
    """A column of a table; numeric ones are set right and sorted by value."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: what is read.
        value: what a numeric column is sorted by; None is missing and goes last.
        detail: what belongs to the text and is less important, such as an interval.
        code: a name, set as code before the text.
        tone: its colour.
    """

    text: str
    value: float | None = None
    detail: str = ""
    code: str = ""
    tone: Tone = "plain"

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".strip()


@dataclass(frozen=True)
class Table(Block):
    """Rows of as many cells as there are columns, then notes in one paragraph and a legend as a list."""

    kind = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    legend: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A picture: either an SVG element of ours, with nothing in it that was not escaped, or PNG bytes.

    `text` is for those who do not see it; `caption` for those who do.
    """

    text: str
    caption: str = ""
    svg: str = ""
    png: bytes = b""


@dataclass(frozen=True)
class LegendEntry:
    """A line or a mark with its meaning; `dashes` as SVG's stroke-dasharray has it, None without a line; `mark` is a character."""

    label: str
    colour: str
    dashes: str | None = ""
    mark: str = ""


@dataclass(frozen=True)
class Pictures(Block):
    """Pictures side by side as the window allows, under one legend.

    `layout` is "charts", "wide" (one chart a line, scrolling where the window is narrow) or "sheets" (small pictures, pixel by pixel).
    """

    kind = "pictures"
    pictures: Sequence[Picture]
    layout: Literal["charts", "wide", "sheets"] = "charts"
    legend: Sequence[LegendEntry] = ()
    note: str = ""


@dataclass(frozen=True)
class Commands(Block):
    """Lines for a shell."""

    kind = "commands"
    lines: Sequence[str]
    note: str = ""


@dataclass(frozen=True)
class Effect:
    """An effect with its interval, turned so that above 0 is better; `unit` says which effects share a scale."""

    mean: float
    low: float | None
    high: float | None
    unit: str


@dataclass(frozen=True)
class Answer:
    """One line of a finding: `subject` is `reading`, by `text`, on the grounds of `detail`."""

    subject: str
    reading: str
    tone: Tone
    text: str = ""
    detail: str = ""
    effect: Effect | None = None


@dataclass(frozen=True)
class Finding:
    """Answers that belong together, such as all about one temperature, and facts beside them."""

    title: str
    subtitle: str = ""
    answers: Sequence[Answer] = ()
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Verdict(Block):
    """A question, its answer in one or two sentences, and the findings that the answer rests on."""

    kind = "verdict"
    question: str
    lead: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    points: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A chapter of a page."""

    title: str
    subtitle: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report: what is read first, the parts it rests on, and what holds for all of them."""

    title: str
    subtitle: str
    front: Sequence[Block]
    parts: Sequence[Part]
    back: Sequence[Block] = field(default_factory=tuple)
