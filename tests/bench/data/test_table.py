"""Affine maps, splits by position and equal rows."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data import DatasetError
from bench.data.table import count_duplicates, last_tenths, standardising, tabular, whitening


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4)) + [1, -2, 3, 10]


def test_whitening_gives_unit_covariance_and_the_volume_it_changed(rows: np.ndarray) -> None:
    affine = whitening(rows)
    np.testing.assert_allclose(np.cov(affine(rows).T, ddof=0), np.eye(4), atol=1e-10)
    np.testing.assert_allclose(affine(rows).mean(axis=0), 0, atol=1e-12)
    assert affine.log_det == pytest.approx(-0.5 * np.linalg.slogdet(np.cov(rows.T, ddof=0)).logabsdet)


def test_log_likelihood_in_raw_units_is_that_of_the_values_plus_log_det(rows: np.ndarray) -> None:
    from scipy.stats import multivariate_normal

    raw = multivariate_normal(rows.mean(axis=0), np.cov(rows.T)).logpdf(rows)
    for affine in (whitening(rows), standardising(rows)):
        values = affine(rows)
        mapped = multivariate_normal(values.mean(axis=0), np.cov(values.T)).logpdf(values)
        np.testing.assert_allclose(mapped + affine.log_det, raw)


def test_maps_that_cannot_be_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(DatasetError, match="linearly dependent"):
        whitening(np.column_stack([rows, rows @ [1, 1, 0, 0]]))
    with pytest.raises(DatasetError, match="column 4 is constant"):
        standardising(np.column_stack([rows, np.ones(500)]))


DKEF, MAF = 1000, None  # the most rows that validate


@pytest.mark.parametrize(
    ("most", "rows", "sizes"),
    [
        pytest.param(DKEF, 1599, (1296, 144, 159), id="RedWine"),
        pytest.param(DKEF, 4898, (3969, 440, 489), id="WhiteWine"),
        pytest.param(DKEF, 5875, (4760, 528, 587), id="Parkinsons"),
        pytest.param(DKEF, 36488, (31840, 1000, 3648), id="MINIBOONE, DKEF"),
        pytest.param(MAF, 36488, (29556, 3284, 3648), id="MINIBOONE, MAF"),
        pytest.param(MAF, 2_049_280, (1_659_917, 184_435, 204_928), id="POWER"),
        pytest.param(MAF, 1_052_065, (852_174, 94_685, 105_206), id="GAS"),
    ],
)
def test_sizes_of_the_protocols(most: int | None, rows: int, sizes: tuple[int, ...]) -> None:
    splits = last_tenths(np.arange(rows), most_validation=most)
    assert tuple(map(len, splits.values())) == sizes
    assert np.array_equal(np.concatenate(list(splits.values())), np.arange(rows))


def test_equal_rows_are_counted_within_and_across_splits() -> None:
    train = np.array([[1.0, 2], [1, 2], [3, 4], [0.0, 5]])
    validation = np.array([[1.0, 2], [9, 9], [9, 9]])
    test = np.array([[-0.0, 5], [7, 7], [2, 1]])
    found = count_duplicates({"train": train, "validation": validation, "test": test})
    assert found == (4, {"validation": 1, "test": 1})


def test_rows_that_differ_are_not_counted() -> None:
    """Rows of small integers in all orders, whose sums and products coincide, must not collide in the hash."""
    grid = np.stack(np.meshgrid(*[np.arange(8.0)] * 5), axis=-1).reshape(-1, 5)
    assert count_duplicates({"train": grid}).total == 0
    assert count_duplicates({"train": np.nextafter(grid, 9), "test": grid}).in_train == {"test": 0}


def test_rows_are_stored_in_single_precision(rows: np.ndarray) -> None:
    assert tabular("x", last_tenths(rows), protocol="p", provenance="q").splits["train"].dtype == np.float32
