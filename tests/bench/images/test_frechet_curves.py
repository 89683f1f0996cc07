"""Fréchet distances against the number of images: means over seeds, the longest chains, and whether the ranking holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.images.frechet_curves import frechet_table
from bench.report.blocks import Table
from bench.report.chapters import read_chapters
from bench.results.facts import ReadoutFacts

SIZES = (100, 200, 400, 800)


def readout(
    limit: float, slope: float, chain: tuple[str, float | None, float | None, int] = ("base", None, None, 0),
    sizes: Sequence[int] = SIZES,
) -> ReadoutFacts:  # fmt: skip
    """A distance that is exactly a line in 1/N."""
    curve = tuple((size, limit + slope / size) for size in sizes)
    return ReadoutFacts(*chain, sizes[-1], "train", "digits-cnn", curve, limit)


def table_of(made: Any, readouts: dict[tuple[str, int], list[ReadoutFacts]], status: str = "done") -> Table | None:
    rows = [made.row(model, seed, status=status) for model, seed in readouts]
    facts = [made.facts(model, seed, readouts=found) for (model, seed), found in readouts.items()]
    (chapter,) = read_chapters(made.frame(rows), facts)
    return frechet_table(chapter)


def test_means_over_seeds_and_what_the_finite_number_adds(made: Any) -> None:
    table = table_of(made, {("gebm", 0): [readout(10.0, 800.0)], ("gebm", 1): [readout(20.0, 800.0)]})
    assert table is not None
    (line,) = table.rows
    assert [cell.value for cell in line[2:]] == [23.0, 19.0, 17.0, 16.0, 15.0, 1.0, 2]


def test_only_the_longest_of_each_chain_is_shown(made: Any) -> None:
    chains = [("ula", 1.0, 1e-2, steps) for steps in (10, 100)] + [("ula", 100.0, 1e-4, 10)]
    table = table_of(made, {("gebm", 0): [readout(5.0, 1.0), *(readout(4.0, 1.0, chain) for chain in chains)]})
    assert table is not None
    assert [row[1].text for row in table.rows] == [
        "base alone",
        "ula, β=1, the model, step 0.01, 100 steps",
        "ula, β=100, the paper's protocol, step 0.0001, 10 steps",
    ]


def test_a_ranking_that_the_number_of_images_decides_is_called_one(made: Any) -> None:
    steady = table_of(made, {("gebm", 0): [readout(10.0, 100.0)], ("gan-ns", 0): [readout(11.0, 100.0)]})
    turning = table_of(made, {("gebm", 0): [readout(10.0, 2000.0)], ("gan-ns", 0): [readout(11.0, 100.0)]})
    assert steady is not None
    assert turning is not None
    assert "is that at infinitely many" in steady.notes[-1]
    assert "too few for a ranking" in turning.notes[-1]


def test_other_numbers_of_images_are_left_out(made: Any) -> None:
    found = {("gebm", seed): [readout(10.0, 100.0)] for seed in (0, 1)}
    table = table_of(made, found | {("gan-ns", 0): [readout(1.0, 1.0, sizes=(50, 60))]})
    assert table is not None
    assert [row[0].code for row in table.rows] == ["gebm"]


def test_nothing_recorded_or_stale_is_no_table(made: Any) -> None:
    bare = ReadoutFacts("base", None, None, 0, 1000, "train", "digits-cnn")
    assert table_of(made, {("gebm", 0): [bare]}) is None
    assert table_of(made, {("gebm", 0): [readout(1.0, 1.0)]}, status="stale") is None
