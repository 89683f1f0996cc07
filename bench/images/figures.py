"""Figures about images: score against gradient evaluations, sample sheets, and the same latents along their chains."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bench.files import CorruptFileError, read_array
from bench.report.blocks import Figure
from bench.report.comparisons import counted, headline_metric, metrics_of, step_text
from bench.report.figures import DPI, INK, THOUSANDS, figure_of, legend_above, plain_axes
from bench.report.tables import marked_scores
from bench.report.text import direction, readout_name
from bench.results.sheets import in_rows, mosaic
from bench.results.sources import Source, beta_order, records, source_of

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = [
    "chain_sheets",
    "draw_scores",
    "draw_sheets",
    "dress",
    "grid_of",
    "sample_sheets",
    "score_figures",
    "sheet_figures",
]

OTHER_PANELS = 6
MOST_CURVES = 10  # that one panel holds
_NOTE = (
    "Chains start at their own base, at 0 evaluations. Bands are 95 % intervals over seeds, clipped where few seeds make them "
    "taller than everything else; one seed has none."
)
_PANELS_NOTE = (
    "Means over seeds; intervals are in the table. Evaluations of the potential with and without gradient count alike. Stars are exact "
    "samples at the work that they took; dotted, the base alone."
)
CHAIN_COLOURS = ("#D55E00", "#0072B2", "#E69F00", "#56B4E9")
RIVAL_COLOURS = ("#009E73", "#CC79A7", "#8B6F00", "#5E3C99")
_MARKERS, _CHAIN_DASHES = "osD^", ("-", "--", ":", "-.")  # dashes for every four chains, whose colours come round again
_DASHES = ("--", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (3, 3)))
_LATENTS, _COLUMNS, _ROWS = 6, 16, 2


@dataclass(frozen=True)
class Sheet:
    """Images in rows and columns: uint8, (rows, columns, channels, height, width); `heads` stand above the columns, if any."""

    title: str
    images: NDArray[np.uint8]
    heads: Sequence[str] = ()


def score_figures(section: Section, quoted: Collection[Source] = ()) -> Iterator[Figure]:
    """Yield the headline metric against cost, a panel per model where there are many chains, then the other metrics together.

    Where there are many chains the other metrics show those like `quoted` only, of whatever length.
    """
    from bench.images.panels import draw_panels

    headline = headline_metric(section)
    others = [name for name in metrics_of(section) if name != headline][:OTHER_PANELS]
    chains = {source._replace(steps=0) for _, source in section.by_source if source.steps}
    shown = {source._replace(steps=0) for source in quoted} if len(chains) > MOST_CURVES else None
    note = _NOTE if shown is None else _PANELS_NOTE
    for title, name, metrics in (("Score", "score", [headline]), ("Other scores", "other-scores", others)):
        asked = [metric for metric in metrics if metric is not None]
        if asked:
            many = name == "score" and shown is not None
            text = f"{', '.join(asked)} against {'all' if many else 'gradient'} evaluations per sample on {section.dataset}"
            draw = partial(draw_panels, section, asked[0]) if many else partial(draw_scores, section, asked, shown)
            yield Figure(f"{title} against cost", name, text, draw, note=note if name == "score" else "")


def draw_scores(section: Section, metrics: Sequence[str], only: Collection[Source] | None = None) -> Drawn | None:
    """Draw a panel per metric; None where no chain has a score. Of chains `only` these, at all lengths, or all.

    Chains start at their own base (0 evaluations); bases, GANs and real data are horizontal.
    """
    rows = records(counted(marked_scores(section)[0]))
    shown = [row for row in rows if row.metric in metrics and (not row.mark or row.sampler == "data")]
    if only is not None:
        labels, with_chains = {source.label for source in only}, {row.label for row in shown if row.steps}
        shown = [row for row in shown if not row.steps or source_of(row)._replace(steps=0) in only]
        shown = [row for row in shown if row.label in labels or row.label not in with_chains]
    if not any(row.steps for row in shown):
        return None
    figure, panels = grid_of(len(metrics))
    curves = _chain_curves(shown) | _levels(shown)
    handles: dict[str, Line2D] = {}
    for panel, metric in zip(panels, metrics, strict=False):
        for name, curve in curves.items():
            own = [row for row in curve.rows if row.metric == metric]
            if own and ("marker" not in curve.look or any(row.steps for row in own)):
                handles[name] = _draw_curve(panel, curve._replace(rows=own))
        drawn = [row for curve in curves.values() for row in curve.rows if row.metric == metric]
        _dress_costs(panel, drawn, metric)
    for panel in panels[-2:]:
        panel.set_xlabel("gradient evaluations per sample", fontsize=10, color=INK)
    legend_above(figure, {name: handles[name] for name in curves if name in handles})
    return figure


def grid_of(count: int) -> tuple[Drawn, list[Axes]]:
    """Return a figure of so many panels, two in a row."""
    across = min(2, count)
    down = -(-count // across)
    figure = figure_of(*((7.6, 4.4) if count == 1 else (9.6, 2.9 * down)))
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for empty in panels[count:]:
        empty.set_visible(False)
    return figure, panels[:count]


class _Curve(NamedTuple):
    """A chain or a level: its rows in all metrics, how its line looks, and the opacity of its intervals."""

    rows: list[Any]
    look: dict[str, Any]
    opacity: float


def _chain_curves(rows: Sequence[Any]) -> dict[str, _Curve]:
    """Return every chain with its own base in front; bands are fainter where many lie on each other."""
    chains = list(dict.fromkeys(source_of(row)._replace(steps=0) for row in rows if row.steps))
    found: dict[str, _Curve] = {}
    for i, chain in enumerate(chains):
        name = f"{chain.label}, {readout_name(chain.sampler, chain.beta)}{step_text(chain, chains)}"
        base = [row for row in rows if row.sampler == "base" and row.label == chain.label]
        own = [row for row in rows if row.steps and source_of(row)._replace(steps=0) == chain]
        look = {"color": CHAIN_COLOURS[i % 4], "linestyle": _CHAIN_DASHES[i // 4 % 4], "marker": _MARKERS[i % 4]}
        found[name] = _Curve([*base, *sorted(own, key=_cost)], look | {"zorder": 2.5}, 0.16 * min(1.0, 2 / len(chains)))
    return found


def _levels(rows: Sequence[Any]) -> dict[str, _Curve]:
    """Return bases, models without a chain, and real data."""
    with_chains = {row.label for row in rows if row.steps}
    bases = dict.fromkeys(row.label for row in rows if row.sampler == "base")
    own, rivals = ([label for label in bases if (label in with_chains) is here] for here in (True, False))
    found: dict[str, _Curve] = {}
    for row in rows:
        if row.sampler == "data":
            name = "real data, held out" + " (other score key)" * bool(row.mark)
            look: dict[str, Any] = {"color": "#666666", "linestyle": "-"}
        elif row.sampler == "base" and row.label in own:
            name = f"{row.label}, base alone"
            look = {"color": "#000000", "linestyle": (":", (0, (1, 4)))[own.index(row.label) % 2]}
        elif row.sampler == "base":
            name, place = row.label, rivals.index(row.label) % 4
            look = {"color": RIVAL_COLOURS[place], "linestyle": _DASHES[place]}
        else:
            continue
        found.setdefault(name, _Curve([], look, 0.06)).rows.append(row)
    return found


def _draw_curve(panel: Axes, curve: _Curve) -> Line2D:
    """Draw a chain against cost, or a level, with its intervals."""
    rows, look, _ = curve
    sure = [row for row in rows if row.ci_low is not None]
    band: dict[str, Any] = {"color": look["color"], "alpha": curve.opacity, "linewidth": 0}
    if "marker" not in look:
        for row in sure:
            panel.axhspan(row.ci_low, row.ci_high, **band)
        return panel.axhline(rows[0].mean, linewidth=1.5, **look)
    panel.fill_between([*map(_cost, sure)], [row.ci_low for row in sure], [row.ci_high for row in sure], **band)
    (line,) = panel.plot([*map(_cost, rows)], [row.mean for row in rows], markersize=5, linewidth=1.8, **look)
    return line


def _cost(row: Any) -> int:
    return row.gradient_evaluations or 0


def _dress_costs(panel: Axes, rows: Sequence[Any], metric: str) -> None:
    """Put 0 on the logarithmic axis."""
    evaluations = sorted({_cost(row) for row in rows if row.steps})
    if evaluations:
        first, ticks = max(1, evaluations[0]), [0]
        for tick in evaluations:
            ticks += [tick] if tick >= 1.4 * max(ticks[-1], 1) or len(ticks) == 1 else []
        panel.set_xscale("symlog", linthresh=first, linscale=0.6)
        panel.set_xticks(ticks)
        panel.set_xlim(-0.12 * first, evaluations[-1] * 1.25)
        panel.xaxis.set_major_formatter(THOUSANDS)
        panel.minorticks_off()
    dress(panel, rows, metric)


def dress(panel: Axes, rows: Sequence[Any], metric: str) -> None:
    """Name a panel by its metric, and let means, not wide intervals, set its height; rows have `mean`, `ci_low` and `ci_high`."""
    means = [row.mean for row in rows]
    if means:
        room = (max(means) - min(means)) or abs(means[0]) or 1.0
        ends = [*means, *(end for row in rows for end in (row.ci_low, row.ci_high) if end is not None)]
        low, high = max(min(ends), min(means) - 0.6 * room), min(max(ends), max(means) + 0.6 * room)
        panel.set_ylim(low - 0.06 * room, high + 0.06 * room)
    better = ("", ", higher is better", ", lower is better")[direction(metric)]
    panel.set_title(f"{metric}{better}", loc="left", fontsize=10, color=INK)
    plain_axes(panel)


def sheet_figures(section: Section, quoted: Collection[Source] = ()) -> Iterator[Figure]:
    """Yield the sheets of the first seed, those of the models in `quoted` and of models without a chain apart from the others', then the
    same latents along every chain; nothing without pictures.

    Where there are many chains only those like `quoted` are shown, and of bases theirs and those of models without a chain.
    """
    files = _shown(_kept(section), quoted)
    own, with_chains = {source.label for source in quoted}, {row.label for row in files if row.steps}
    others = with_chains - own if own & with_chains else set()
    first = [row for row in files if row.label not in others]
    if first:
        yield _sheet(section, "Samples of the first seed, one latent in one place", "samples", first)
    if others:
        rest = [row for row in files if row.label in others]
        yield _sheet(section, "Samples with the other energies, likewise", "samples-others", rest)
    if any(row.steps for row in files):
        yield Figure(
            "Samples along the chain",
            "along-chain",
            f"The same latents of the first seed along every chain on {section.dataset}, from the base alone to its longest",
            lambda: draw_sheets(chain_sheets(files), factor=96, across=2),
            raster=True,
            note="A row is one latent of the first seed, none chosen; a column is a number of steps, from the base alone.",
        )


def _sheet(section: Section, title: str, name: str, files: Sequence[Any]) -> Figure:
    return Figure(
        title,
        name,
        f"Sample sheets on {section.dataset}",
        lambda: draw_sheets(sample_sheets(files), factor=56, across=1),
        raster=True,
        note="First seed with pictures, nothing chosen. What is generated starts from the same latents in the same places; chains "
        "are the longest of the suite, and exact samples have draws of their own.",
    )


def _kept(section: Section) -> list[Any]:
    """Return the readouts with pictures of the first seed that has some."""
    with_pictures = section.readouts["arrays"].map(lambda arrays: "samples" in (arrays or ())).astype(bool)
    found = section.readouts[with_pictures]
    return records(found[found["seed"] == found["seed"].min()])


def _shown(files: Sequence[Any], quoted: Collection[Source]) -> list[Any]:
    if len({source_of(row)._replace(steps=0) for row in files if row.steps}) <= MOST_CURVES:
        return list(files)
    only, own = {source._replace(steps=0) for source in quoted}, {source.label for source in quoted}
    with_chains = {row.label for row in files if row.steps}
    return [
        row
        for row in files
        if source_of(row)._replace(steps=0) in only
        or (not _is_chain(row) and (row.label in own or row.label not in with_chains))
    ]


def _by_model(files: Sequence[Any]) -> Iterator[tuple[list[Any], list[list[Any]]]]:
    """Yield of each model what is no chain's, and its chains by β, sampler and step size, each by rising length."""
    for label in dict.fromkeys(row.label for row in files):
        own = [row for row in files if row.label == label]
        chains = sorted((row for row in own if _is_chain(row)), key=lambda row: (*_target(row), row.steps))
        yield [row for row in own if not _is_chain(row)], [list(chain) for _, chain in groupby(chains, _target)]


def _is_chain(row: Any) -> bool:
    return source_of(row).is_chain


def _target(row: Any) -> tuple[float, str, float]:
    return beta_order(row.beta), row.sampler, row.step_size or 0.0


def sample_sheets(files: Sequence[Any]) -> list[Sheet]:
    """Return real data, models without a chain, then bases and longest chains; image i of every sheet is of one latent."""
    models = sorted(
        _by_model(files), key=lambda model: (all(row.sampler != "data" for row in model[0]), bool(model[1]))
    )
    sheets = []
    for others, chains in models:
        for row in [*others[:1], *(chain[-1] for chain in chains)]:
            images = _load(row.arrays["samples"])
            if images is not None and len(images):
                length = f", {row.steps:,} steps" if row.steps else ""
                sheets.append(Sheet(_title(row, files) + length, in_rows(images[: _COLUMNS * _ROWS], _COLUMNS)))
    return sheets


def chain_sheets(files: Sequence[Any]) -> list[Sheet]:
    """Return a sheet per chain; one without two lengths, or whose pictures do not match or are too few for a row, has none."""
    sheets = []
    for others, chains in _by_model(files):
        base = [row for row in others if row.sampler == "base"][:1]
        for rows in ([*base, *chain] for chain in chains if chain[0].steps):
            loaded = [images for row in rows if (images := _load(row.arrays["samples"])) is not None]
            latents = min([_LATENTS, *map(len, loaded)])
            if latents and 1 < len(rows) == len(loaded) and len({images.shape[1:] for images in loaded}) == 1:
                grid = np.stack([images[:latents] for images in loaded], axis=1)
                heads = [f"{row.steps:,}" if row.steps else "base" for row in rows]
                sheets.append(Sheet(_title(rows[-1], files), grid, heads))
    return sheets


def _title(row: Any, files: Iterable[Any]) -> str:
    name = readout_name(row.sampler, row.beta) + step_text(source_of(row), map(source_of, files))
    return name if row.sampler == "data" else f"{row.label}: {name}"


def _load(path: str | Path) -> NDArray[np.uint8] | None:
    """Return the images, or None where the file is absent, damaged or of another shape: a picture is no reason to fail."""
    try:
        images = read_array(path)
    except (OSError, CorruptFileError):
        return None
    return images if images.dtype == np.uint8 and images.ndim == 4 and images.shape[1] in {1, 3} else None


def shortened(title: str, room: int) -> str:
    """Return a title of at most so many characters, its middle left out."""
    half = (room - 1) // 2
    return title if len(title) <= room else f"{title[:half]}…{title[-half:]}"


def draw_sheets(sheets: Sequence[Sheet], factor: int, across: int) -> Drawn | None:
    """Draw all sheets, `across` side by side, images at least `factor` pixels wide in whole multiples of their own; None without any."""
    if not sheets:
        return None
    scale = -(-factor // max(sheet.images.shape[4] for sheet in sheets))
    mosaics = [mosaic(sheet.images).repeat(scale, 0).repeat(scale, 1) for sheet in sheets]
    across, head = min(across, len(sheets)), 34 if sheets[0].heads else 8
    width = max(620, *(mosaic.shape[1] for mosaic in mosaics)) + 32
    height = max(mosaic.shape[0] for mosaic in mosaics) + 40 + head
    total = np.array([across * width, -(-len(sheets) // across) * height])
    figure = Drawn(figsize=tuple(total / DPI), dpi=DPI, facecolor="white")
    style: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "baseline"}
    for number, (sheet, drawn) in enumerate(zip(sheets, mosaics, strict=True)):
        left, top = number % across * width + 16, total[1] - number // across * height - 28
        figure.text(left / total[0], top / total[1], shortened(sheet.title, (width - 32) // 10), **style)
        figure.figimage(drawn, left, top - head - drawn.shape[0], origin="upper", zorder=-1)
        for column, words in enumerate(sheet.heads):
            middle = left + (column + 0.5) * drawn.shape[1] / len(sheet.heads)
            figure.text(middle / total[0], (top - head + 8) / total[1], words, ha="center", **style)
    return figure
