"""Fréchet distances against the number of images: means over seeds, the longest chains, and whether the ranking holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.images.frechet_curves import frechet_table

SIZES = (100, 200, 400, 800)
Row = dict[str, Any]


def line(limit: float, slope: float, sizes: Sequence[int] = SIZES) -> Row:
    """A row of a readout whose distance is exactly a line in 1/N."""
    curve = [[size, limit + slope / size] for size in sizes]
    return {"about": {"row": {"frechet_curve": curve, "scores": {"fd-infinity[digits-cnn]": limit}}}}


def table_of(made: Any, *rows: Row) -> Any:
    return frechet_table(made.section(rows))


def test_means_over_seeds_and_what_the_finite_number_adds(made: Any) -> None:
    table = table_of(made, made.row(**line(10.0, 800.0)), made.row(seed=1, **line(20.0, 800.0)))
    (row,) = table.rows
    assert [cell.value for cell in row[2:]] == [23.0, 19.0, 17.0, 16.0, 15.0, 1.0, 2]


def test_only_the_longest_of_each_chain_is_shown(made: Any) -> None:
    chains = [made.row(**made.chain(1.0, steps), **line(4.0, 1.0)) for steps in (10, 100)]
    table = table_of(made, made.row(**line(5.0, 1.0)), *chains, made.row(**made.chain(100.0, 10), **line(4.0, 1.0)))
    assert [row[1].text for row in table.rows] == [
        "base alone",
        "ula β=1 (model), step 0.01, 100 steps",
        "ula β=100 (paper), step 0.0001, 10 steps",
    ]


def test_a_ranking_that_the_number_of_images_decides_is_called_one(made: Any) -> None:
    for slope, words in ((100.0, "is that at infinitely many"), (2000.0, "too few for a ranking")):
        table = table_of(made, made.row(**line(10.0, slope)), made.row("gan-ns", **line(11.0, 100.0)))
        assert words in table.notes[-1]


def test_other_numbers_of_images_are_left_out(made: Any) -> None:
    rows = [made.row(seed=seed, **line(10.0, 100.0)) for seed in (0, 1)]
    table = table_of(made, *rows, made.row("gan-ns", **line(1.0, 1.0, sizes=(50, 60))))
    assert [row[0].code for row in table.rows] == ["gebm"]


def test_nothing_recorded_stale_or_unfinished_is_no_table(made: Any) -> None:
    assert table_of(made, made.row()) is None
    for change in ({"stale": "gebm.objectives changed"}, {"status": "unfinished"}):
        assert table_of(made, made.row(**line(1.0, 1.0), **change)) is None
