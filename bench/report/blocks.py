"""What a report is made of, as data: a page has sections, one per dataset, and a section has blocks.

All texts are plain: whoever writes a block escapes nothing, whoever renders it escapes everything. A new type of block is a class here
with a `kind`, and a function or macro of that name in each renderer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = [
    "READING_TONES",
    "Answer",
    "Block",
    "Cell",
    "Column",
    "Commands",
    "Effect",
    "Figure",
    "Finding",
    "Page",
    "PageSection",
    "Table",
    "TextBlock",
    "Tone",
    "Verdict",
]

Tone = Literal["good", "bad", "open", "plain"]
"""How a text is coloured: in favour, against or a fault, undecided, neither."""

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
    """A piece of a section; an empty title continues the block before it. `terminal` says whether a terminal shows it, too."""

    kind: ClassVar[str]
    title: str
    terminal: Literal["never", "titled", "untitled"] = field(default="never", kw_only=True)


@dataclass(frozen=True)
class TextBlock(Block):
    """Paragraphs, then a list; a tone other than "plain" makes it a notice."""

    kind = "text"
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    tone: Tone = "plain"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        numeric: whether it is right-aligned and sorted by value.
        terminal: whether a terminal shows it: "always", while there is "room", or "never".
    """

    name: str
    numeric: bool = False
    terminal: Literal["always", "room", "never"] = "room"


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: what is read.
        value: what a numeric column is sorted by; None is missing and goes last.
        detail: what belongs to the text and is less important, such as an interval.
        code: a name, set as code before the text.
        tone: its colour.
        short: what a terminal shows instead of all this, where that is something else.
    """

    text: str
    value: float | None = None
    detail: str = ""
    code: str = ""
    tone: Tone = "plain"
    short: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".strip()


@dataclass(frozen=True)
class Table(Block):
    """Rows of as many cells as there are columns, then notes in one paragraph and a legend as a list.

    `remarks` are what a terminal prints below it instead of notes and legend, each with its tone.
    """

    kind = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    legend: Sequence[str] = ()
    remarks: Sequence[tuple[str, Tone]] = ()


@dataclass(frozen=True)
class Figure(Block):
    """A chart, drawn when a renderer wants it.

    Attributes:
        name: of the file beside a Markdown report, unique within a section.
        text: for those who do not see it.
        draw: returns the chart, or None where there is nothing to draw; then the block is left out.
        raster: whether it is made of pixels, such as sheets of samples.
        note: what is said below it.
    """

    kind = "figure"
    name: str
    text: str
    draw: Callable[[], matplotlib.figure.Figure | None]
    raster: bool = False
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
    """One line of a finding: `subject` is `reading`, by `text`, on the grounds of `detail`; `firm` ones are set in bold."""

    subject: str
    reading: str
    tone: Tone
    text: str = ""
    detail: str = ""
    effect: Effect | None = None
    firm: bool = True


@dataclass(frozen=True)
class Finding:
    """Answers that belong together, such as all about one temperature, and facts beside them.

    `sentence` says all of it where there is room for text only.
    """

    title: str
    subtitle: str = ""
    answers: Sequence[Answer] = ()
    facts: Sequence[tuple[str, str]] = ()
    sentence: str = ""


@dataclass(frozen=True)
class Verdict(Block):
    """A question, its answer in one or two sentences, and the findings that the answer rests on."""

    kind = "verdict"
    question: str
    lead: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    points: Sequence[str] = ()
    note: str = ""

    def lines(self) -> Iterator[tuple[int, str, str, Tone]]:
        """Yield the answer for text only: depth of the item, what is set in bold, the rest of it, and its tone."""
        if not any(finding.sentence for finding in self.findings):
            yield from ((0, "", sentence, "plain") for sentence in self.lead)
        for finding in self.findings:
            if finding.sentence:
                head, colon, rest = finding.sentence.partition("): ")
                bold = f"{head})" if colon and head.startswith("At ") else ""
                yield 0, bold, f": {rest}" if bold else finding.sentence, "plain"
            elif finding.answers:
                yield 0, "", f"{finding.subtitle}: {finding.title}", "plain"
                for answer in finding.answers:
                    said = ": " + "; ".join(filter(None, (answer.subject, answer.text, answer.detail)))
                    yield 1, *((answer.reading, said) if answer.firm else ("", answer.reading + said)), answer.tone
                yield from ((1, "", f"{name}: {value}", "plain") for name, value in finding.facts)
        yield from ((0, "", point, "plain") for point in self.points)


@dataclass(frozen=True)
class PageSection:
    """A dataset's part of a page, or what spans datasets; `place` is suite, profile and dataset, and `verdicts` are read first."""

    title: str
    subtitle: str
    place: Sequence[str]
    blocks: Sequence[Block]
    verdicts: Sequence[Verdict] = ()

    @property
    def name(self) -> str:
        """What files and references are named after."""
        return re.sub(r"[^a-z0-9]+", "-", "-".join(self.place).lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A whole report: the sections with their verdicts, what all of them say about claims, and what holds for all of them."""

    title: str
    subtitle: str
    sections: Sequence[PageSection]
    claims: Verdict | None = None
    back: Sequence[Block] = ()
