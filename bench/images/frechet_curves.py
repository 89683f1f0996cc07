"""Fréchet distances at several numbers of images and extrapolated to infinitely many: how much of a score is its finite sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report.blocks import Cell, Column, Table
from bench.report.chapters import Chapter
from bench.report.comparisons import headline_metric
from bench.report.text import number, readout_text
from bench.results.facts import DATA, ReadoutFacts

__all__ = ["frechet_table"]

_SIZES = 5


@dataclass(frozen=True)
class _Line:
    """One readout: its distance at every size and extrapolated, means over seeds."""

    label: str
    readout: ReadoutFacts
    distances: Sequence[float]
    infinity: float
    seeds: int

    @property
    def bias(self) -> float:
        """What the finite number of images adds."""
        return self.distances[-1] - self.infinity


def frechet_table(chapter: Chapter) -> Table | None:
    """A line each base, longest chain and held-out real data, a column a number of images; None where nothing was recorded."""
    found = list(_recorded(chapter))
    if not found:
        return None
    sizes = Counter(sizes for _, _, sizes in found).most_common(1)[0][0]
    lines = _means([(label, readout) for label, readout, own in found if own == sizes])
    shown = sorted({round(i * (len(sizes) - 1) / (_SIZES - 1)) for i in range(_SIZES)})
    cells = [
        [
            Cell("", code=line.label),
            Cell(readout_text(line.readout.sampler, line.readout.beta, line.readout.step_size, line.readout.steps)),
            *(Cell(number(line.distances[i], line.distances[-1]), line.distances[i]) for i in shown),
            Cell(number(line.infinity, line.distances[-1]), line.infinity),
            Cell(number(line.bias), line.bias),
            Cell(str(line.seeds), line.seeds),
        ]
        for line in lines
    ]
    names = [
        *(f"N\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{sizes[i]:,}" for i in shown),
        "N → ∞",
        f"bias at {sizes[-1]:,}",
        "n",
    ]
    columns = [Column("model"), Column("samples from"), *(Column(name, numeric=True) for name in names)]
    metric = headline_metric(chapter.section) or "distance"
    notes = [
        f"{metric} of the first N images, mean over seeds. N → ∞ is where the least-squares line of the distance against 1/N ends: "
        "without the bias of finitely many generated images; that of the real ones stays.",
        _ranking(lines, sizes[-1]),
    ]
    return Table("Fréchet distance against the number of images", columns, cells, notes)


def _recorded(chapter: Chapter) -> Iterator[tuple[str, ReadoutFacts, tuple[int, ...]]]:
    """Curves of runs of the present code with their labels and sizes: of every chain only the longest."""
    stale = {score.run for score in chapter.section.scores if score.status == "stale"}
    for facts in chapter.facts:
        longest: dict[tuple[object, ...], ReadoutFacts] = {}
        for readout in facts.readouts:
            place = (readout.sampler, readout.beta, readout.step_size)
            if place not in longest or readout.steps > longest[place].steps:
                longest[place] = readout
        for readout in longest.values():
            if facts.run not in stale and len(readout.frechet_curve) > 1 and readout.frechet_infinity is not None:
                sizes = tuple(size for size, _ in readout.frechet_curve)
                yield chapter.labels.get(facts.run, DATA), readout, sizes


def _means(found: Sequence[tuple[str, ReadoutFacts]]) -> list[_Line]:
    """A line a readout: models in their order, bases before chains, real data last."""
    groups: dict[tuple[object, ...], list[tuple[str, ReadoutFacts]]] = {}
    for label, readout in found:
        groups.setdefault((label, *readout[:4]), []).append((label, readout))
    lines = [
        _Line(
            members[0][0],
            members[0][1],
            [fmean(each) for each in zip(*([d for _, d in r.frechet_curve] for _, r in members), strict=True)],
            fmean([readout.frechet_infinity or 0.0 for _, readout in members]),
            len(members),
        )
        for members in groups.values()
    ]
    models = list(dict.fromkeys(line.label for line in lines))
    return sorted(
        lines,
        key=lambda line: (
            line.label == DATA,
            models.index(line.label),
            line.readout.sampler != "base",
            line.readout.beta or 0.0,
            line.readout.sampler,
            line.readout.step_size or 0.0,
        ),
    )


def _ranking(lines: Sequence[_Line], size: int) -> str:
    """Whether the finite number of images decides who is ahead."""
    if len(lines) < 2:
        return ""
    finite = sorted(range(len(lines)), key=lambda i: lines[i].distances[-1])
    infinite = sorted(range(len(lines)), key=lambda i: lines[i].infinity)
    if finite == infinite:
        return f"The order of the rows at {size:,} images is that at infinitely many."
    return f"The order of the rows at {size:,} images is not that at infinitely many: too few for a ranking."
