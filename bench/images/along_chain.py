"""Samples along latent chains: a sheet a chain, the same latents in the same rows, a column a length; column 0 is the base alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.report.chapters import Chapter
from bench.report.plots import DPI, INK, Chart
from bench.report.sample_files import chains_of, first_seed, load_images, title_of

__all__ = ["ChainSheet", "chain_sheets", "chain_sheets_chart"]

_LATENTS = 6
_SIDE_BY_SIDE = 2
_CAPTION = 620  # pixels that the title of a sheet needs
_TITLE, _HEADS, _MARGIN = 36, 40, 24  # pixels for a sheet's title, for the heads of its columns, and around it
_GAP = 1  # pixels of the images between them


@dataclass(frozen=True)
class ChainSheet:
    """One chain of one model: `images` are uint8, (latents, lengths, channels, height, width), `steps` the lengths, from 0."""

    title: str
    steps: Sequence[int]
    images: NDArray[np.uint8]


def chain_sheets(chapter: Chapter) -> list[ChainSheet]:
    """The sheets of the first seed with pictures; a chain without two lengths, or whose pictures do not match, has none."""
    sheets = []
    for label, facts in first_seed(chapter):
        base = [file for file in facts.samples if file.sampler == "base"][:1]
        for chain in chains_of(facts.samples):
            files = [*base, *chain]
            loaded = [images for file in files if (images := load_images(file)) is not None]
            shapes = {images.shape[1:] for images in loaded}
            if len(files) > 1 and len(loaded) == len(files) and len(shapes) == 1:
                latents = min(_LATENTS, *(len(images) for images in loaded))
                grid = np.stack([images[:latents] for images in loaded], axis=1)
                title = title_of(label, chain[0], facts.samples)
                sheets.append(ChainSheet(title, [file.steps for file in files], grid))
    return sheets


def chain_sheets_chart(
    sheets: Sequence[ChainSheet], factor: int | None = None, columns: int = 1, titles: bool = True
) -> Chart | None:
    """All sheets in one figure, two in a line, every pixel of an image `factor` pixels wide; None without sheets.

    Arguments:
        sheets: what to draw.
        factor: None for images of about 96 pixels, whatever their own size.
        columns: each sheet gets the room of as many at least.
        titles: whether to write them above the sheets.
    """
    if not sheets:
        return None
    side = max(max(sheet.images.shape[3:]) for sheet in sheets)
    factor = factor or -(-96 // side)
    mosaics = [_mosaic(sheet.images) for sheet in sheets]
    across = min(_SIDE_BY_SIDE, len(sheets))
    room = max(columns, *(len(sheet.steps) for sheet in sheets)) * (side + _GAP) * factor
    width = max(_CAPTION * titles, room) + _MARGIN
    head = _HEADS + _TITLE * titles
    height = max(mosaic.shape[0] * factor for mosaic in mosaics) + head + _MARGIN
    whole = (across * width, -(-len(sheets) // across) * height)
    figure = Figure(figsize=(whole[0] / DPI, whole[1] / DPI), dpi=DPI, facecolor="white")
    for number, (sheet, mosaic) in enumerate(zip(sheets, mosaics, strict=True)):
        left, top = number % across * width + _MARGIN / 2, number // across * height + head
        extent = (mosaic.shape[1] * factor, mosaic.shape[0] * factor)
        panel = figure.add_axes(
            (left / whole[0], 1 - (top + extent[1]) / whole[1], extent[0] / whole[0], extent[1] / whole[1])
        )
        _draw(panel, sheet, mosaic)
        if titles:
            panel.set_title(sheet.title, loc="left", fontsize=9, color=INK, pad=20)
    return Chart(figure, {})


def _draw(panel: Axes, sheet: ChainSheet, mosaic: NDArray[np.uint8]) -> None:
    panel.imshow(mosaic, interpolation="none", aspect="auto")
    width = sheet.images.shape[4] + _GAP
    heads = ["base" if not steps else f"{steps:,}" for steps in sheet.steps]
    panel.set_xticks([i * width + (width - _GAP) / 2 - 0.5 for i in range(len(heads))], heads)
    panel.xaxis.tick_top()
    panel.set_yticks([])
    panel.tick_params(length=0, labelsize=9, colors=INK)
    panel.spines[:].set_visible(False)


def _mosaic(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All images of a sheet as one of (height, width, 4), nothing between them."""
    latents, lengths, _, height, width = images.shape
    page = np.zeros((latents * (height + _GAP) - _GAP, lengths * (width + _GAP) - _GAP, 4), np.uint8)
    for row in range(latents):
        for column in range(lengths):
            y, x = row * (height + _GAP), column * (width + _GAP)
            page[y : y + height, x : x + width, :3] = images[row, column].transpose(1, 2, 0)
            page[y : y + height, x : x + width, 3] = 255
    return page
