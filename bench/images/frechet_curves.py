"""Fréchet distances at several numbers of images and extrapolated to infinitely many: how much of a score is its finite sample."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.metrics import base_name
from bench.report.blocks import Cell, Column, Table
from bench.report.comparisons import headline_metric, reading_order
from bench.report.text import number, readout_text
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["frechet_table"]

_SIZES = 5


class _Line(NamedTuple):
    """One readout: its distance at every size and extrapolated, means over seeds."""

    readout: Any
    distances: list[float]
    infinity: float
    seeds: int


def frechet_table(section: Section) -> Table | None:
    """Return a line per base, longest chain and held-out real data, a column per number of images; None where nothing was recorded."""
    found = _recorded(section)
    if not found:
        return None
    sizes = Counter(tuple(size for size, _ in curve) for _, curve, _ in found).most_common(1)[0][0]
    lines = _means([each for each in found if tuple(size for size, _ in each[1]) == sizes])
    shown = sorted({round(i * (len(sizes) - 1) / (_SIZES - 1)) for i in range(_SIZES)})
    cells = [
        [
            Cell("", code=line.readout.label),
            Cell(readout_text(line.readout.sampler, line.readout.beta, line.readout.step_size, line.readout.steps)),
            *(Cell(number(line.distances[i], line.distances[-1]), line.distances[i]) for i in shown),
            Cell(number(line.infinity, line.distances[-1]), line.infinity),
            Cell(number(line.distances[-1] - line.infinity), line.distances[-1] - line.infinity),
            Cell(str(line.seeds), line.seeds),
        ]
        for line in lines
    ]
    names = [f"N\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{sizes[i]:,}" for i in shown]
    names += ["N → ∞", f"bias at {sizes[-1]:,}", "n"]
    columns = [Column("model"), Column("samples from"), *(Column(name, numeric=True) for name in names)]
    metric = headline_metric(section) or "distance"
    notes = [
        f"{metric} of the first N images, mean over seeds. N → ∞ is where the least-squares line of the distance against 1/N ends: "
        "without the bias of finitely many generated images; that of the real ones stays."
    ]
    if len(lines) > 1:
        by_size = sorted(range(len(lines)), key=lambda i: lines[i].distances[-1])
        same = by_size == sorted(range(len(lines)), key=lambda i: lines[i].infinity)
        words = "is that at infinitely many." if same else "is not that at infinitely many: too few for a ranking."
        notes.append(f"The order of the rows at {sizes[-1]:,} images {words}")
    return Table("Fréchet distance against the number of images", columns, cells, notes)


def _recorded(section: Section) -> list[tuple[Any, list[tuple[int, float]], float]]:
    """Return readouts that count with their curves and limits: of every chain of a run only the longest."""
    longest: dict[tuple[Any, ...], Any] = {}
    for row in records(section.readouts):
        place = (row.run, row.sampler, row.beta, row.step_size)
        if not row.stale and row.status != "unfinished" and (place not in longest or row.steps > longest[place].steps):
            longest[place] = row
    found = []
    for row in longest.values():
        limits = [
            value
            for name, value in row.row.get("scores", {}).items()
            if base_name(name) in ("fid-infinity", "fd-infinity")
        ]
        curve = [(int(size), float(distance)) for size, distance in row.row.get("frechet_curve") or ()]
        if len(curve) > 1 and limits and limits[0] is not None:
            found.append((row, curve, limits[0]))
    return found


def _means(found: list[tuple[Any, list[tuple[int, float]], float]]) -> list[_Line]:
    """Return a line per readout: models in their order, bases before chains, real data last."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for each in found:
        row = each[0]
        groups.setdefault((row.label, row.sampler, row.beta, row.step_size, row.steps), []).append(each)
    lines = [
        _Line(
            members[0][0],
            [
                fmean(column)
                for column in zip(*([distance for _, distance in curve] for _, curve, _ in members), strict=True)
            ],
            fmean([limit for *_, limit in members]),
            len(members),
        )
        for members in groups.values()
    ]
    return reading_order(lines, lambda line: line.readout)
