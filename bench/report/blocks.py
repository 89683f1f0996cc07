"""What a report is made of, as data: a page has sections, one per dataset, and a section has blocks.

All texts are plain: whoever writes a block escapes nothing, whoever renders it escapes everything. A new type of block is a class here
with a `kind`, and a macro of that name in the HTML templates; forms without markup show its `lines`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import matplotlib.figure

    from bench.stats import Estimate

__all__ = [
    "MISSING",
    "MOST_COLUMNS",
    "READING_TONES",
    "Answer",
    "Block",
    "Cell",
    "Column",
    "Commands",
    "Figure",
    "Finding",
    "Page",
    "PageSection",
    "Reply",
    "Runs",
    "Table",
    "TextBlock",
    "Tone",
    "Verdict",
    "table_of",
]

Tone = Literal["good", "bad", "open", "plain"]
"""How a text is coloured: in favour, against or a fault, undecided, neither."""

Line = tuple[int, str, str, Tone]
"""A line of text: depth in a list (0 is a paragraph), what is set in bold, the rest of it, its tone."""

READING_TONES: Mapping[str, Tone] = {
    **dict.fromkeys(("better", "gain", "supported", "at its target"), "good"),
    **dict.fromkeys(("worse", "loss", "contradicted", "on its way"), "bad"),
    **dict.fromkeys(("no clear difference", "no clear gain", "no verdict", "inconclusive", "not enough seeds"), "open"),
    "cannot tell": "open",
}
"""Tones of the readings of comparisons, of likelihood gains, of claims and of chains; of any other reading the tone is plain."""

MOST_COLUMNS = 8
"""Columns that a page shows of a table before its reader asks for all."""


@dataclass(frozen=True)
class Block:
    """A piece of a section; an empty title continues the block before it. `terminal` says whether a terminal shows it, too."""

    kind: ClassVar[str]
    title: str
    terminal: Literal["never", "titled", "untitled"] = field(default="never", kw_only=True)

    def lines(self) -> Iterator[Line]:
        """Yield what is shown below the title where there is no markup; nothing for a table."""
        yield from ()


@dataclass(frozen=True)
class TextBlock(Block):
    """Paragraphs, then a list; a tone other than "plain" makes it a notice."""

    kind = "text"
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    tone: Tone = "plain"

    def lines(self) -> Iterator[Line]:
        yield from ((0, "", paragraph, self.tone) for paragraph in self.paragraphs)
        yield from ((1, "", item, self.tone) for item in self.items)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        numeric: whether it is right-aligned and sorted by value.
        terminal: whether a terminal shows it: "always", while there is "room", or "never". Pages fold columns away in that order, too.
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
        aside: what else is to be known, below the detail.
        link: `PageSection.name`, a space and the title of the block or finding that the cell was taken from.
    """

    text: str = ""
    value: float | None = None
    detail: str = ""
    code: str = ""
    tone: Tone = "plain"
    short: str = ""
    aside: str = ""
    link: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, (f"{self.text} {self.detail}".strip(), self.aside)))


MISSING = Cell("—")


@dataclass(frozen=True)
class Table(Block):
    """Rows of as many cells as there are columns, then notes in one paragraph and a legend as a list.

    `remarks` are what a terminal prints below it instead of the notes, each with its tone; `brief` are the rows that it shows, by their
    numbers, None for all.
    """

    kind = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    legend: Sequence[str] = ()
    remarks: Sequence[tuple[str, Tone]] = ()
    brief: Sequence[int] | None = None

    @property
    def unfolded(self) -> list[int]:
        """The numbers of the columns that a page shows at once: all, or of many those that matter most, from the left."""
        order = ("always", "room", "never")
        ranked = sorted(range(len(self.columns)), key=lambda index: order.index(self.columns[index].terminal))
        return sorted(ranked[:MOST_COLUMNS])


def table_of(
    title: str,
    rows: Sequence[Mapping[str, Cell]],
    notes: Sequence[str] = (),
    always: Container[str] = (),
    never: Container[str] = (),
    **parts: Any,
) -> Table | None:
    """Return the table of rows given as cells by heading; None without a row.

    A column is numeric where a cell has a value; empty notes are left out. A terminal shows the columns `always` whatever its width, those
    in `never` not at all; `parts` are others of `Table`.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, MISSING) for name in names] for row in rows]
    columns = [
        Column(
            name,
            any(cell.value is not None for cell in column),
            "always" if name in always else "never" if name in never else "room",
        )
        for name, *column in zip(names, *cells, strict=True)
    ]
    return Table(title, columns, cells, [*filter(None, notes)], **parts) if rows else None


@dataclass(frozen=True)
class Figure(Block):
    """A chart, drawn when a renderer wants it.

    Attributes:
        name: of the file beside a Markdown report, unique within a section.
        text: for those who do not see it.
        draw: returns the chart, or None where there is nothing to draw; then the block is left out.
        raster: whether it is made of pixels, such as sheets of samples.
        note: text below it.
    """

    kind = "figure"
    name: str
    text: str
    draw: Callable[[], matplotlib.figure.Figure | None]
    raster: bool = False
    note: str = ""

    def lines(self) -> Iterator[Line]:
        yield 0, "", f"Figure, in the HTML and Markdown forms: {self.text}.", "plain"


@dataclass(frozen=True)
class Runs(Block):
    """Every run by itself, looked up when a renderer wants it. Forms without folds leave it out.

    Attributes:
        find: returns, by model, a finding per run whose facts are all that is known of it.
    """

    kind = "runs"
    find: Callable[[], Mapping[str, Sequence[Finding]]]

    @cached_property
    def models(self) -> Mapping[str, Sequence[Finding]]:
        """What `find` found."""
        return self.find()


@dataclass(frozen=True)
class Commands(Block):
    """Shell commands, and a note below them."""

    kind = "commands"
    commands: Sequence[str]
    note: str = ""

    def lines(self) -> Iterator[Line]:
        yield from ((0, "", text, "plain") for text in (*self.commands, self.note))


@dataclass(frozen=True)
class Answer:
    """One line of a finding: `subject` is `reading`, by `text`, on the grounds of `detail`; `firm` ones are set in bold.

    `effect` is turned so that above 0 is better; `unit` says which effects share a scale.
    """

    reading: str
    subject: str
    text: str = ""
    detail: str = ""
    effect: Estimate | None = None
    unit: str = ""
    firm: bool = True

    @property
    def tone(self) -> Tone:
        """How the reading is coloured."""
        return READING_TONES.get(self.reading, "plain")


@dataclass(frozen=True)
class Finding:
    """Answers that belong together, such as all about one temperature, and facts beside them; a terminal shows those in `brief` only."""

    title: str
    subtitle: str = ""
    answers: Sequence[Answer] = ()
    facts: Sequence[tuple[str, str]] = ()
    brief: bool = True


@dataclass(frozen=True)
class Verdict(Block):
    """A question, its answer in one or two sentences, and the findings that the answer rests on."""

    kind = "verdict"
    question: str
    lead: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    points: Sequence[str] = ()
    note: str = ""

    def lines(self) -> Iterator[Line]:
        yield from ((1, "", sentence, "plain") for sentence in self.lead)
        for finding in (each for each in self.findings if each.answers):
            yield 1, "", ": ".join(filter(None, (finding.title, finding.subtitle))), "plain"
            for answer in finding.answers:
                head = f"{answer.reading} {answer.subject}".strip()
                rest = ", ".join(filter(None, (answer.text, answer.detail)))
                rest = f": {rest}" if rest else ""
                yield 2, *((head, rest) if answer.firm else ("", head + rest)), answer.tone
            yield from ((2, "", f"{name}: {value}", "plain") for name, value in finding.facts)
        yield from ((1, "", point, "plain") for point in self.points)
        yield 0, "", self.note, "plain"


@dataclass(frozen=True)
class Reply:
    """What one section says to a question of the first screen; sections that ask the same stand in one row.

    Attributes:
        reading: in the words of `READING_TONES`, or any others.
        text: the numbers that it rests on.
        where: what was read.
        to: title of the block or finding that it was taken from.
        estimate: the difference or gain that the reading is of, where it is of one.
    """

    question: str
    reading: str
    text: str = ""
    where: str = ""
    to: str = ""
    estimate: Estimate | None = None


@dataclass(frozen=True)
class PageSection:
    """A dataset's part of a page, or what spans datasets; `place` is suite, profile and dataset."""

    title: str
    subtitle: str
    place: Sequence[str]
    blocks: Sequence[Block]

    @property
    def name(self) -> str:
        """What files and references are named after."""
        return re.sub(r"[^a-z0-9]+", "-", "-".join(self.place).lower()).strip("-")

    @property
    def groups(self) -> list[list[Block]]:
        """The blocks, each with those that continue it."""
        found: list[list[Block]] = []
        for block in self.blocks:
            found = [*found[:-1], [*found[-1], block]] if found and not block.title else [*found, [block]]
        return found

    @property
    def open(self) -> int:
        """How many of the groups are read first: up to the main table, which a terminal shows, too; all where there is none."""
        main = (
            i for i, (block, *_) in enumerate(self.groups, 1) if isinstance(block, Table) and block.terminal != "never"
        )
        return next(main, len(self.groups))


@dataclass(frozen=True)
class Page:
    """A whole report: answers at a glance, the sections that they rest on, what these say about claims, and what holds for all."""

    title: str
    subtitle: str
    sections: Sequence[PageSection]
    front: Table | None = None
    claims: Verdict | None = None
    back: Sequence[Block] = ()
