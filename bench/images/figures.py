"""Figures about images: score against gradient evaluations, sample sheets, and the same latents along their chains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.report.blocks import Figure
from bench.report.comparisons import counted, headline_metric, metrics_of, step_text
from bench.report.tables import read_keys
from bench.report.text import arrow, readout_name
from bench.results.sources import Source, records, source_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawn
    from matplotlib.lines import Line2D

    from bench.results.frame import Section

__all__ = ["chain_sheets", "chain_sheets_figure", "draw_sheets", "sample_sheets", "samples_figure", "score_figures"]

OTHER_PANELS = 6
_CHAINS = ("#D55E00", "#0072B2", "#E69F00", "#56B4E9")
_RIVALS = ("#009E73", "#CC79A7", "#8B6F00", "#5E3C99")
_MARKERS, _CHAIN_DASHES = "osD^", ("-", "--", ":", "-.")  # dashes for every four chains, whose colours come round again
_DASHES = ("--", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (3, 3)))
_LATENTS, _COLUMNS, _ROWS = 6, 16, 2


@dataclass(frozen=True)
class Sheet:
    """Images in rows and columns: uint8, (rows, columns, channels, height, width); `heads` stand above the columns, if any."""

    title: str
    images: NDArray[np.uint8]
    heads: Sequence[str] = ()


def score_figures(section: Section) -> Iterator[Figure]:
    """Yield the headline metric against cost, then the others together."""
    headline = headline_metric(section)
    others = [name for name in metrics_of(section, density=False) if name != headline][:OTHER_PANELS]
    note = (
        "Chains start at their own base, at 0 evaluations. Bands are 95 % intervals over seeds, clipped where few seeds make them "
        "taller than everything else; one seed has none."
    )
    for title, name, metrics in (("Score", "score", [headline]), ("Other scores", "other-scores", others)):
        shown = [metric for metric in metrics if metric is not None]
        if shown:
            text = f"{', '.join(shown)} against gradient evaluations per sample on {section.dataset}"
            draw = partial(draw_scores, section, shown)
            yield Figure(f"{title} against cost", name, text, draw, note=note if name == "score" else "")


def draw_scores(section: Section, metrics: Sequence[str]) -> Drawn | None:
    """Draw a panel per metric; None where no chain has a score.

    Chains start at their own base (0 evaluations); bases, GANs and real data are horizontal.
    """
    from bench.report.figures import INK, figure_of, legend_above

    keys, rows = read_keys(section.summary), records(counted(section.summary))
    shown = [row for row in rows if row.metric in metrics and (keys.is_main(row) or row.sampler == "data")]
    if not any(row.steps for row in shown):
        return None
    columns = min(2, len(metrics))
    figure = figure_of(*((7.6, 4.4) if len(metrics) == 1 else (9.6, 2.9 * -(-len(metrics) // columns))))
    panels = list(figure.subplots(-(-len(metrics) // columns), columns, squeeze=False).flat)
    handles: dict[str, Line2D] = {}
    for panel, metric in zip(panels, metrics, strict=False):
        own = [row for row in shown if row.metric == metric]
        handles |= _levels(panel, own, shown, keys.main)
        handles = _chain_lines(panel, own, shown) | handles
        _dress(panel, own, metric)
    for empty in panels[len(metrics) :]:
        empty.set_visible(False)
    for panel in panels[: len(metrics)][-columns:]:
        panel.set_xlabel("gradient evaluations per sample", fontsize=10, color=INK)
    legend_above(figure, handles)
    return figure


def _chain_lines(panel: Axes, rows: Sequence[Any], everything: Sequence[Any]) -> dict[str, Line2D]:
    """Draw every chain with its band, fainter where many bands lie on each other."""
    chains = list(dict.fromkeys(_chain_of(row) for row in everything if row.steps))
    handles = {}
    for i, chain in enumerate(chains):
        points = sorted((row for row in rows if row.steps and _chain_of(row) == chain), key=_cost)
        if not points:
            continue
        points = [*(row for row in rows if row.sampler == "base" and row.label == chain.label), *points]
        style: dict[str, Any] = {
            "marker": _MARKERS[i % 4],
            "linestyle": _CHAIN_DASHES[i // 4 % 4],
            "color": _CHAINS[i % 4],
        }
        name = f"{chain.label}, {readout_name(chain.sampler, chain.beta)}{step_text(chain, chains)}"
        (handles[name],) = panel.plot(
            [*map(_cost, points)], [row.mean for row in points], markersize=5, linewidth=1.8, **style
        )
        sure = [row for row in points if row.ci_low is not None]
        lows, highs = [row.ci_low for row in sure], [row.ci_high for row in sure]
        alpha = 0.16 * min(1.0, 2 / len(chains))
        panel.fill_between([*map(_cost, sure)], lows, highs, color=style["color"], alpha=alpha, linewidth=0)
    return handles


def _chain_of(row: Any) -> Source:
    return source_of(row)._replace(steps=0)


def _cost(row: Any) -> int:
    return row.gradient_evaluations or 0


def _levels(panel: Axes, rows: Sequence[Any], everything: Sequence[Any], main: Mapping[str, str]) -> dict[str, Line2D]:
    """Draw bases, models without a chain and real data as horizontal lines with their intervals."""
    with_chains = {row.label for row in everything if row.steps}
    bases = list(dict.fromkeys(row.label for row in everything if row.sampler == "base"))
    own, rivals = ([label for label in bases if (label in with_chains) is here] for here in (True, False))
    handles: dict[str, Line2D] = {}
    look: tuple[str, Any]
    for row in rows:
        if row.sampler == "base" and row.label in own:
            name, look = f"{row.label}, base alone", ("#000000", (":", (0, (1, 4)))[own.index(row.label) % 2])
        elif row.sampler == "base":
            name, look = row.label, (_RIVALS[rivals.index(row.label) % 4], _DASHES[rivals.index(row.label) % 4])
        elif row.sampler == "data":
            name, look = "real data, held out" + " (other score key)" * (main[row.metric] != row.key), ("#666666", "-")
        else:
            continue
        handles[name] = panel.axhline(row.mean, color=look[0], linewidth=1.5, linestyle=look[1])
        if row.ci_low is not None:
            panel.axhspan(row.ci_low, row.ci_high, color=look[0], alpha=0.06, linewidth=0)
    return handles


def _dress(panel: Axes, rows: Sequence[Any], metric: str) -> None:
    """Put 0 on the logarithmic axis, and let means, not wide intervals, set the height."""
    from bench.report.figures import INK, THOUSANDS, plain_axes

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
    means = [row.mean for row in rows]
    if means:
        room = (max(means) - min(means)) or abs(means[0]) or 1.0
        lows, highs = (
            [end for row in rows if (end := getattr(row, name)) is not None] for name in ("ci_low", "ci_high")
        )
        bottom = max(min([*means, *lows]), min(means) - 0.6 * room)
        top = min(max([*means, *highs]), max(means) + 0.6 * room)
        panel.set_ylim(bottom - 0.06 * room, top + 0.06 * room)
    better = {"↓": ", lower is better", "↑": ", higher is better"}.get(arrow(metric)[-1:], "")
    panel.set_title(f"{metric}{better}", loc="left", fontsize=10, color=INK)
    plain_axes(panel)


def samples_figure(section: Section) -> Figure | None:
    """Return the sheets of the first seed side by side; None without pictures."""
    files = _kept(section)
    if not files:
        return None
    note = (
        "First seed with pictures, nothing chosen. What is generated starts from the same latents in the same places; chains are the "
        "longest of the suite."
    )
    text = f"Sample sheets on {section.dataset}"
    return Figure(
        "Samples of the first seed, one latent in one place", "samples", text,
        lambda: draw_sheets(sample_sheets(files), factor=56, across=1), raster=True, note=note,
    )  # fmt: skip


def chain_sheets_figure(section: Section) -> Figure | None:
    """Return the same latents along every chain; None without pictures of chains."""
    files = _kept(section)
    if not any(_is_chain(row) for row in files):
        return None
    text = (
        f"The same latents of the first seed along every chain on {section.dataset}, from the base alone to its longest"
    )
    note = "A row is one latent of the first seed, none chosen; a column is a number of steps, from the base alone."
    return Figure(
        "Samples along the chain", "along-chain", text,
        lambda: draw_sheets(chain_sheets(files), factor=96, across=2), raster=True, note=note,
    )  # fmt: skip


def _kept(section: Section) -> list[Any]:
    """Return the readouts with pictures of the first seed that has some."""
    readouts = section.readouts
    if readouts.empty:
        return []
    readouts = readouts[[bool(arrays and "samples" in arrays) for arrays in readouts["arrays"]]]
    return records(readouts[readouts["seed"] == readouts["seed"].min()])


def _is_chain(row: Any) -> bool:
    return row.sampler not in ("base", "data")


def _chains(files: Iterable[Any]) -> list[list[Any]]:
    """Return the readouts of each latent chain by rising length; chains by β, sampler and step size."""
    chains: dict[tuple[float, str, float], list[Any]] = {}
    for row in files:
        if _is_chain(row):
            chains.setdefault((row.beta or 0.0, row.sampler, row.step_size or 0.0), []).append(row)
    return [sorted(chains[chain], key=lambda row: row.steps) for chain in sorted(chains)]


def _by_label(files: Sequence[Any]) -> dict[str, list[Any]]:
    return {label: [row for row in files if row.label == label] for label in dict.fromkeys(row.label for row in files)}


def sample_sheets(files: Sequence[Any]) -> list[Sheet]:
    """Return real data, models without a chain, then bases and longest chains; image i of every sheet is of one latent."""
    found = []
    for label, own in sorted(_by_label(files).items(), key=lambda pair: any(map(_is_chain, pair[1]))):
        for row in [*[row for row in own if not _is_chain(row)][:1], *(chain[-1] for chain in _chains(own))]:
            images = _load(row.arrays["samples"])
            if images is not None and len(images):
                images = images[: _COLUMNS * _ROWS]
                whole = np.full((-(-len(images) // _COLUMNS) * _COLUMNS, *images.shape[1:]), 255, np.uint8)
                whole[: len(images)] = images
                title = _title(label, row, own, full=True) + (f" ({row.steps} steps)" if row.steps else "")
                found.append((row.sampler == "data", Sheet(title, whole.reshape(-1, _COLUMNS, *images.shape[1:]))))
    return [sheet for real, sheet in found if real][:1] + [sheet for real, sheet in found if not real]


def chain_sheets(files: Sequence[Any]) -> list[Sheet]:
    """Return a sheet per chain; one without two lengths, or whose pictures do not match, has none."""
    sheets = []
    for label, own in _by_label(files).items():
        base = [row for row in own if row.sampler == "base"][:1]
        for chain in _chains(own):
            loaded = [_load(row.arrays["samples"]) for row in (*base, *chain)]
            whole = [images for images in loaded if images is not None]
            if 1 < len(whole) == len(loaded) and len({images.shape[1:] for images in whole}) == 1:
                latents = min(_LATENTS, *map(len, whole))
                heads = [f"{row.steps:,}" if row.steps else "base" for row in (*base, *chain)]
                grid = np.stack([images[:latents] for images in whole], axis=1)
                sheets.append(Sheet(_title(label, chain[0], own), grid, heads))
    return sheets


def _title(label: str, row: Any, own: Sequence[Any], *, full: bool = False) -> str:
    name = readout_name(row.sampler, row.beta, full=full)
    if row.sampler == "data":
        return name
    return f"{label}: {name}{step_text(source_of(row), map(source_of, own))}"


def _load(path: Path) -> NDArray[np.uint8] | None:
    """Return the images, or None where the file is absent, damaged or of another shape: a picture is no reason to fail."""
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return images if images.dtype == np.uint8 and images.ndim == 4 and images.shape[1] in {1, 3} else None


def draw_sheets(sheets: Sequence[Sheet], factor: int, across: int) -> Drawn | None:
    """Draw all sheets, `across` side by side, images at least `factor` pixels wide in whole multiples of their own; None without any."""
    from matplotlib.figure import Figure as Drawn

    from bench.report.figures import DPI, INK

    if not sheets:
        return None
    scale = -(-factor // max(sheet.images.shape[4] for sheet in sheets))
    mosaics = [_mosaic(sheet.images).repeat(scale, 0).repeat(scale, 1) for sheet in sheets]
    width = max(620, *(mosaic.shape[1] for mosaic in mosaics)) + 32
    height = max(mosaic.shape[0] for mosaic in mosaics) + (74 if sheets[0].heads else 46)
    across = min(across, len(sheets))
    size = (across * width, -(-len(sheets) // across) * height)
    page = np.full((size[1], size[0], 3), 255, np.uint8)
    figure = Drawn(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    for number, (sheet, mosaic) in enumerate(zip(sheets, mosaics, strict=True)):
        left, top = number % across * width + 16, number // across * height + 28
        style: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "baseline"}
        figure.text(left / size[0], 1 - top / size[1], sheet.title, **style)
        top += 34 if sheet.heads else 8
        for column, head in enumerate(sheet.heads):
            middle = left + (column + 0.5) * mosaic.shape[1] / len(sheet.heads)
            figure.text(middle / size[0], 1 - (top - 8) / size[1], head, ha="center", **style)
        page[top : top + mosaic.shape[0], left : left + mosaic.shape[1]] = mosaic
    figure.figimage(page, origin="upper", zorder=-1)
    return figure


def _mosaic(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (rows, columns, channels, height, width) as one image of (height, width, 3), a white pixel between neighbours."""
    colour = np.broadcast_to(images, (*images.shape[:2], 3, *images.shape[3:]))
    padded = np.pad(colour, ((0, 0),) * 3 + ((0, 1),) * 2, constant_values=255)
    rows, columns, _, height, width = padded.shape
    return padded.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)[:-1, :-1]
