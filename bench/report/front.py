"""The first screen: one table of questions × sections, in which every cell is a sign, what was read, and where it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.blocks import MISSING, READING_TONES, Cell, Column, PageSection, Reply, Table
from bench.stats import holm_of

__all__ = ["front_table"]

_SIGNS: Mapping[str, str] = {
    **dict.fromkeys(("better", "gain", "at its target"), "✓"),
    **dict.fromkeys(("worse", "loss"), "✗"),
    **dict.fromkeys(("no clear difference", "no clear gain"), "≈"),
    **dict.fromkeys(("no verdict", "cannot tell"), "?"),
    "on its way": "→",
}
_LEGEND: Mapping[str, str] = {
    "✓": "✓ yes, ",
    "✗": "✗ no, ",
    "≈": "≈ no clear difference, which is not equality, ",
    "?": "? too little to tell, ",
    "→": "→ not there yet, ",
}
LEVEL = 0.05


def front_table(found: Sequence[tuple[PageSection, Sequence[Reply]]]) -> Table | None:
    """Return a row per question and a column per section that answers any; None where none does.

    What its section decides stands firm where it still does after Holm's correction over all intervals of the table; otherwise its sign
    is in brackets.
    """
    found = [(section, replies) for section, replies in found if replies]
    every = [reply for _, replies in found for reply in replies]
    adjusted = dict(zip(map(id, every), holm_of(reply.estimate for reply in every), strict=True))
    rows: dict[str, dict[str, Cell]] = {question: {} for question in _in_order(found)}
    signs: dict[str, None] = {}
    for section, replies in found:
        for reply in replies:
            p_holm, sign = adjusted[id(reply)], _SIGNS.get(reply.reading, "")
            if sign in ("✓", "✗") and p_holm is not None and p_holm > LEVEL:
                sign = f"({sign})"
            signs[sign.strip("()")] = None
            rows[reply.question][section.name] = Cell(
                f"{sign} {reply.reading}".strip(),
                detail=reply.text,
                tone=READING_TONES.get(reply.reading, "plain"),
                aside=reply.where,
                link=f"{section.name} {reply.to}".strip(),
            )
    if not rows:
        return None
    several = len({section.subtitle for section, _ in found}) > 1
    names = [f"{section.title} ({section.subtitle})" if several else section.title for section, _ in found]
    columns = [Column(name, terminal="always") for name in ("question", *names)]
    lines = [[Cell(question), *(own.get(each.name, MISSING) for each, _ in found)] for question, own in rows.items()]
    known = "".join(words for sign, words in _LEGEND.items() if sign in signs).removesuffix(", ")
    intervals = sum(p_holm is not None for p_holm in adjusted.values())
    correction = (
        "Differences are paired by seed, [95 % interval]. A sign in brackets holds in its own section, but not after Holm's correction "
        f"over all {intervals} intervals of this table."
    )
    return Table("At a glance", columns, lines, [f"{known}." * bool(known), correction * bool(intervals)])


def _in_order(found: Sequence[tuple[PageSection, Sequence[Reply]]]) -> list[str]:
    """Return every question once, those that only some sections ask behind what precedes them there."""
    order: list[str] = []
    for _, replies in found:
        place = 0
        for reply in replies:
            if reply.question not in order:
                order.insert(place, reply.question)
            place = order.index(reply.question) + 1
    return order
