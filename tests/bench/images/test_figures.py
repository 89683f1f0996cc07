"""Sheets of samples and along the chain: one latent per row, one length per column, the base first; and scores against cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.images.figures import chain_sheets, draw_scores, sample_sheets, shortened
from bench.report.blocks import Figure

Place = tuple[str, float | None, int, float | None]
BASE: Place = ("base", None, 0, None)


def image(seed: int, channels: int = 3, side: int = 8, n: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


class Kept:
    """A readout as the report reads it."""

    def __init__(self, folder: Path, number: int, place: Place) -> None:
        self.label, self.seed = "gebm", 0
        self.sampler, self.beta, self.steps, self.step_size = place
        self.arrays = {"samples": folder / f"{number}.npy"}
        np.save(self.arrays["samples"], image(number))


def kept(folder: Path, places: list[Place]) -> list[Kept]:
    return [Kept(folder, number, place) for number, place in enumerate(places)]


def test_rows_are_latents_and_columns_rising_lengths_from_the_base(tmp_path: Path) -> None:
    (sheet,) = chain_sheets(kept(tmp_path, [("ula", 1.0, 100, 1e-2), ("ula", 1.0, 10, 1e-2), BASE]))
    assert sheet.heads == ["base", "10", "100"]
    assert sheet.images.shape == (6, 3, 3, 8, 8)
    for column, number in enumerate((2, 1, 0)):
        assert np.array_equal(sheet.images[:, column], image(number)[:6])


def test_chains_that_differ_in_a_setting_have_sheets_of_their_own(tmp_path: Path) -> None:
    chains = [("ula", 100.0, 1e-4), ("ula", 1.0, 1e-2), ("ula", 1.0, 1e-3), ("mala", 1.0, 1e-2)]
    files = kept(tmp_path, [BASE, *((name, beta, 10, size) for name, beta, size in chains)])
    assert [sheet.title for sheet in chain_sheets(files)] == [
        "gebm: mala β=1 (model)",
        "gebm: ula β=1 (model), step 0.001",
        "gebm: ula β=1 (model), step 0.01",
        "gebm: ula β=100 (paper)",
    ]


def test_a_missing_or_unfitting_picture_drops_that_sheet_only(tmp_path: Path) -> None:
    files = kept(tmp_path, [BASE, *(("ula", beta, 10, 1e-2) for beta in (1.0, 10.0, 20.0, 100.0))])
    files[1].arrays["samples"].unlink()
    np.save(files[2].arrays["samples"], image(0, side=4))
    np.save(files[3].arrays["samples"], image(0)[:0])  # rejection has accepted none
    assert [sheet.title for sheet in chain_sheets(files)] == ["gebm: ula β=100 (paper)"]
    assert chain_sheets(files[:1]) == []


def test_sample_sheets_hold_the_longest_chains_of_the_first_seed(made: Any, tmp_path: Path) -> None:
    from bench.images.blocks import blocks
    from bench.images.figures import _kept

    (section,) = made.study_on_disk(tmp_path, made.study(2), 2).sections()
    titles = [sheet.title for sheet in sample_sheets(_kept(section))]
    assert titles[:4] == ["real data, held out", "gan-hinge: base alone", "gan-ns: base alone", "gebm: base alone"]
    assert [("β=1 (model)" in t, "β=100 (paper)" in t, "300 steps" in t) for t in titles[4:]] == [
        (True, False, True),
        (False, True, True),
    ]
    names = [block.name for block in blocks(section) if isinstance(block, Figure)]
    assert names == ["score", "samples", "along-chain", "other-scores", "training"]


def test_more_chains_than_colours_are_still_drawn_apart(made: Any) -> None:
    rows = [made.row(**made.chain(beta, 10), value=beta) for beta in range(1, 13)]
    figure = draw_scores(made.section(rows), [made.FD])
    lines = figure.axes[0].lines
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines) == 12


def test_bases_without_a_chain_are_no_curve(made: Any) -> None:
    assert draw_scores(made.section([made.row()]), [made.FD]) is None


def test_what_is_not_drawn_does_not_set_the_height(made: Any) -> None:
    exact = made.row(sampler="exact", beta=5.0, value=1000.0)
    figure = draw_scores(made.section([made.row(), made.row(**made.chain(1.0, 10)), exact]), [made.FD])
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] < 100


def test_the_legend_of_long_names_fits(made: Any) -> None:
    name = "gebm[" + ",".join(f"training.setting_{i}={i}" for i in range(9)) + "]"
    figure = draw_scores(made.section([made.row(name), made.row(name, **made.chain(1.0, 10))]), [made.FD])
    assert figure is not None
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1


def test_a_title_that_is_too_long_loses_its_middle() -> None:
    assert shortened("gebm: base alone", 16) == "gebm: base alone"
    assert shortened("gebm[width=4,samples=100]: base alone", 21) == "gebm[width…base alone"
