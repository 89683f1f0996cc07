"""Tables of what is due to the base's training and what to the energy's, and what either is worth beside its price."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.images.attribution import Contrast, Square, post_hoc_contrasts, same_seconds, two_by_two
from bench.report.blocks import MISSING, READING_TONES, Cell, Table, table_of
from bench.report.text import interval_text, number

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["attribution_table", "post_hoc_table", "seconds_table"]


def attribution_table(section: Section) -> Table | None:
    """Return a line per GAN and readout: the four cells, the two main effects and the interaction; None without such models."""
    rows = []
    for square in two_by_two(section):
        heads = ("KALE, own", "KALE, post-hoc", "GAN, own", "GAN, post-hoc")
        rows.append(
            {
                "bases": Cell(f"{square.joint} and {square.gan}"),
                "at": Cell(square.spot.name),
                **{head: _mean_cell(square, index) for index, head in enumerate(heads)},
                **{effect.name: _effect_cell(effect) for effect in square.effects},
                "n": Cell(str(n), n) if (n := _pairs(square.effects)) else MISSING,
            }
        )
    notes = [
        "Rows: the base trained by KALE with its energy, or as a GAN. Energies: own, trained with the base (a GAN's own is its "
        "discriminator), or a KALE energy fitted afterwards on the frozen base. Effects are paired by seed, [95 % interval]: main effects "
        "average over the other factor, the interaction is (own − post-hoc on KALE) − (own − post-hoc on the GAN). The base's effect "
        "includes how good the base is by itself. p is corrected by Holm's method over this table; coloured where "
        "p ≤ 0.05.",
        "A likelihood gain is over each model's own base, so the base's effect on it says where more was left to gain, not which "
        "is better.",
    ]
    return table_of("Whose merit is it: base training × energy", rows, notes)


def _mean_cell(square: Square, index: int) -> Cell:
    label, value = square.labels[index], square.cells[index]
    if value is None:
        return Cell("no such model" if label is None else "no score", tone="open")
    return Cell(number(value), value)


def _effect_cell(effect: Contrast) -> Cell:
    if effect.estimate is None:
        return Cell("—", detail=f"({effect.why_not})")
    text, ends = interval_text(effect.estimate.mean, effect.estimate.ci_low, effect.estimate.ci_high)
    sure = effect.p_holm is not None and effect.p_holm <= 0.05
    tone = READING_TONES.get(effect.reading, "plain") if sure else "plain"
    return Cell(text, effect.estimate.mean, f"{ends} {said(effect)}".strip(), tone=tone)


def said(effect: Contrast) -> str:
    """Return a reading with its corrected p-value: "better, p 0.02"."""
    return f"{effect.reading}, p {number(effect.p_holm)}" if effect.p_holm is not None else effect.reading


def _pairs(effects: Iterable[Contrast]) -> int:
    return max((each.estimate.n for each in effects if each.estimate), default=0)


def post_hoc_table(section: Section) -> Table | None:
    """Return whether a KALE energy fitted on a GAN does as well as the GEBM; None without both."""
    found = post_hoc_contrasts(section)
    rows = [
        {
            "difference": Cell(code=each.name),
            "at": Cell(each.spot.name),
            each.spot.metric: _effect_cell(each),
            "n": Cell(str(each.estimate.n), each.estimate.n) if each.estimate else MISSING,
        }
        for each in found
    ]
    note = "Paired by seed, [95 % interval]; p corrected by Holm's method over this table. No clear difference is not equality."
    return table_of("Does a post-hoc energy on a GAN do as well?", rows, [note])


def seconds_table(section: Section) -> Table | None:
    """Return what the same seconds of longer training buy instead of an energy; None without a GAN that was trained longer."""
    rows = [
        {
            "difference": Cell(code=each.difference.name),
            "at": Cell(each.difference.spot.name),
            each.difference.spot.metric: _effect_cell(each.difference),
            "training of the longer GAN, s": _seconds_cell(each.seconds[0]),
            "of base and energy, s": _seconds_cell(each.seconds[1]),
        }
        for each in same_seconds(section)
    ]
    note = (
        "The base of a GAN trained longer, alone, minus samples of the GAN with an energy fitted afterwards, whose "
        "seconds are those of its base's run and its own. Paired by seed, [95 % interval]; p corrected by Holm's method over this "
        "table. Seconds are of training only: chains cost more at every sample."
    )
    return table_of("What would the same seconds of training buy?", rows, [note])


def _seconds_cell(value: float | None) -> Cell:
    return Cell("not recorded") if value is None else Cell(number(value), value)
