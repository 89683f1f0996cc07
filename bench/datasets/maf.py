"""Tables in the protocol of masked autoregressive flows (Papamakarios et al. 2017), as their public code makes them.

Splits are by position: the last tenth of the rows tests, the last tenth of the rest validates; values are standardised by training and
validation rows together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets import Array, Dataset, DatasetError
from bench.datasets.files import find
from bench.datasets.table import tabular

__all__ = ["continuous_columns", "miniboone_small"]


def read_npy(path: Path, columns: int) -> Array:
    """The rows of a .npy file of numbers, (n, columns).

    Raises:
        DatasetError: if it is not of this form.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DatasetError(f"{path} is not a .npy file of numbers: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise DatasetError(f"{path} has shape {rows.shape}; expected rows of {columns} numbers")
    return np.asarray(rows, dtype=np.float64)


def miniboone_small(root: Path | None) -> Dataset:
    """MINIBOONE where only MAF's validation and test splits are at hand, standardised as MAF has them.

    The last tenth of the validation split validates and the rest of it trains; the test split is MAF's own.
    """
    found = find("miniboone-small", root)
    rows, test = (read_npy(path, 43) for path in found.paths)
    validation = len(rows) // 10
    return tabular(
        "miniboone-small",
        {"train": rows[:-validation], "validation": rows[-validation:], "test": test},
        protocol="MAF's validation split without its last tenth trains, that tenth validates, MAF's test split tests; MAF's values",
        provenance="MiniBooNE signal events (UCI), in the splits of Papamakarios et al. 2017",
        unverified=found.unverified,
    )


def continuous_columns(rows: Array) -> list[int]:
    """The columns of (n, d) rows that do not repeat themselves: those whose smallest value occurs at most 5 times.

    MAF's code means to drop columns with too many equal values, and looks at the smallest one alone; published results are of what it does.
    """
    return [i for i, column in enumerate(rows.T) if np.count_nonzero(column == column.min()) <= 5]
