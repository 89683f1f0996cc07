"""Fréchet distances at several numbers of images and extrapolated to infinitely many: how much of a score is its finite sample."""

from __future__ import annotations

from math import inf
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.metrics import base_name
from bench.report.blocks import Cell, Table, table_of
from bench.report.comparisons import headline_metric, reading_order
from bench.report.tables import count_cell, number_cell
from bench.report.text import number, readout_text
from bench.results.sources import records, source_of

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["frechet_table"]

_COLUMNS = 5


def frechet_table(section: Section) -> Table | None:
    """Return a line per base, longest chain and held-out real data, a column per number of images; None where nothing was recorded."""
    groups: dict[Any, dict[Any, list[Any]]] = {}
    for row in _longest(section):
        if curve := _curve(row):
            groups.setdefault(tuple(curve), {}).setdefault(source_of(row), []).append((row, curve))
    if not groups:
        return None
    sizes, found = max(groups.items(), key=lambda group: sum(map(len, group[1].values())))
    lines = [
        (own[0][0], {size: fmean(curve[size] for _, curve in own) for size in sizes}, len(own))
        for own in found.values()
    ]
    steps = (len(sizes) - 2) / (_COLUMNS - 1)
    last = sizes[-2]
    rows = [
        {
            "model": Cell(code=row.label),
            "samples from": Cell(readout_text(row)),
            **{
                f"N\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{size:,}": Cell(number(means[size], means[last]), means[size])
                for size in dict.fromkeys(sizes[round(i * steps)] for i in range(_COLUMNS))
            },
            "N → ∞": Cell(number(means[inf], means[last]), means[inf]),
            f"bias at {last:,}": number_cell(means[last] - means[inf]),
            "n": count_cell(n),
        }
        for row, means, n in reading_order(lines, lambda line: line[0])
    ]
    notes = [
        f"{headline_metric(section) or 'distance'} of the first N images, mean over seeds. N → ∞ is where the least-squares line of the "
        "distance against 1/N ends: without the bias of finitely many generated images; that of the real ones stays."
    ]
    if len(lines) > 1:
        orders = [sorted(range(len(lines)), key=lambda i: lines[i][1][size]) for size in (last, inf)]
        words = (
            "is that at infinitely many."
            if orders[0] == orders[1]
            else "is not that at infinitely many: too few for a ranking."
        )
        notes.append(f"The order of the rows at {last:,} images {words}")
    return table_of("Fréchet distance against the number of images", rows, notes)


def _longest(section: Section) -> list[Any]:
    """Return readouts that count: of every chain of a run only the longest."""
    longest = section.counted_readouts.sort_values("steps", ascending=False, kind="stable")
    return records(longest.drop_duplicates(["run", "sampler", "beta", "step_size"]).sort_index())


def _curve(readout: Any) -> dict[float, float]:
    """Return the distance by number of images, the last one infinite; empty where it was not recorded."""
    scores = readout.row.get("scores", {}).items()
    limit = next((value for name, value in scores if base_name(name) in ("fid-infinity", "fd-infinity")), None)
    curve: dict[float, float] = {
        int(size): float(distance) for size, distance in readout.row.get("frechet_curve") or ()
    }
    return {**curve, inf: limit} if len(curve) > 1 and limit is not None else {}
