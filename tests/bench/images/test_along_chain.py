"""Sheets along the chain: one latent a row, one length a column, the base first, and every pixel as it was kept."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from bench.images.along_chain import ChainSheet, chain_sheets, chain_sheets_chart
from bench.report import SampleFile, render
from bench.report.chapters import read_chapters
from bench.report.plots import chart_png


def image(seed: int, channels: int = 3, side: int = 8, n: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def kept(folder: Path, places: list[tuple[str, float | None, int, float | None]]) -> list[SampleFile]:
    """Files of random images, each of its own."""
    files = []
    for number, (sampler, beta, steps, size) in enumerate(places):
        path = folder / f"{number}.npy"
        np.save(path, image(number))
        files.append(SampleFile(sampler, beta, steps, path, step_size=size))
    return files


def sheets_of(made: Any, files: list[SampleFile], seed: int = 0) -> list[ChainSheet]:
    facts = [made.facts("gebm", seed, samples=files)]
    (chapter,) = read_chapters(made.frame([made.row(seed=seed)]), facts)
    return chain_sheets(chapter)


def test_rows_are_latents_and_columns_rising_lengths_from_the_base(made: Any, tmp_path: Path) -> None:
    files = kept(tmp_path, [("ula", 1.0, 100, 1e-2), ("ula", 1.0, 10, 1e-2), ("base", None, 0, None)])
    (sheet,) = sheets_of(made, files)
    assert sheet.steps == [0, 10, 100]
    assert sheet.images.shape == (6, 3, 3, 8, 8)
    for column, number in enumerate((2, 1, 0)):
        assert np.array_equal(sheet.images[:, column], image(number)[:6])


def test_chains_that_differ_in_a_setting_have_sheets_of_their_own(made: Any, tmp_path: Path) -> None:
    chains = [("ula", 100.0, 1e-4), ("ula", 1.0, 1e-2), ("ula", 1.0, 1e-3), ("mala", 1.0, 1e-2)]
    files = kept(tmp_path, [("base", None, 0, None), *((name, beta, 10, size) for name, beta, size in chains)])
    assert [sheet.title for sheet in sheets_of(made, files)] == [
        "gebm: mala, β=1, the model",
        "gebm: ula, β=1, the model, step 0.001",
        "gebm: ula, β=1, the model, step 0.01",
        "gebm: ula, β=100, the paper's protocol",
    ]


def test_a_missing_or_unfitting_picture_drops_that_sheet_only(made: Any, tmp_path: Path) -> None:
    places: list[tuple[str, float | None, int, float | None]] = [("base", None, 0, None)]
    files = kept(tmp_path, [*places, *(("ula", beta, 10, 1e-2) for beta in (1.0, 10.0, 100.0))])
    files[1].path.unlink()
    np.save(files[2].path, image(0, side=4))
    assert [sheet.title for sheet in sheets_of(made, files)] == ["gebm: ula, β=100, the paper's protocol"]
    assert sheets_of(made, files[:1]) == []


def test_every_pixel_is_drawn_as_it_is() -> None:
    for channels in (1, 3):
        images = np.stack([image(number, channels, n=2) for number in range(3)], axis=1)
        png = chart_png(chain_sheets_chart([ChainSheet("a", [0, 10, 100], images)], factor=4))
        assert png is not None
        page = np.round(imread(io.BytesIO(png))[..., :3] * 255).astype(np.uint8)
        whole = np.broadcast_to(images[1, 2], (3, 8, 8)).transpose(1, 2, 0).repeat(4, 0).repeat(4, 1)
        windows = np.lib.stride_tricks.sliding_window_view(page, whole.shape)[:, :, 0]
        assert (windows == whole).all(axis=(2, 3, 4)).sum() == 1


def test_no_sheets_no_figure() -> None:
    assert chain_sheets_chart([]) is None


def test_the_page_has_them_with_their_pixels(made: Any, tmp_path: Path) -> None:
    page = render(made.frame(made.study(1)), made.study_facts(tmp_path, 1), "html")
    part = page[page.index("Samples along the chain") : page.index("Score against compute")]
    assert part.count("<figure>") == 2
    assert ">base</text>" in part
    embedded = re.findall(r'href="data:image/png;base64,([^"]*)"', part)
    assert len(embedded) == 2
    shapes = {imread(io.BytesIO(base64.b64decode(each))).shape[:2] for each in embedded}
    assert shapes == {(6 * 9 - 1, 3 * 9 - 1)}
