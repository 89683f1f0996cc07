"""Tables of numbers as datasets: readers, affine maps fitted to rows, splits by position, equal rows counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Array, Dataset, DatasetError, Duplicates, TableFacts
from bench.data.hygiene import concerns_of
from bench.data.reading import readable

__all__ = [
    "LEAST_ROWS",
    "Affine",
    "count_duplicates",
    "last_tenths",
    "numbers",
    "read_npy",
    "standardising",
    "tabular",
    "whitening",
]

LEAST_ROWS = 100


@dataclass(frozen=True)
class Affine:
    """The map rows → (rows − mean) @ matrix."""

    mean: Array
    matrix: Array

    def __call__(self, rows: Array) -> Array:
        mapped: Array = (rows - self.mean) @ self.matrix
        return mapped

    @property
    def log_det(self) -> float:
        """log|det W| in nats: log-likelihood of raw rows = log-likelihood of mapped rows + log_det."""
        return float(np.linalg.slogdet(self.matrix).logabsdet)


def standardising(rows: Array, ddof: int = 0) -> Affine:
    """Return the map to mean 0 and standard deviation 1 in every column of (n, d) rows; `ddof` as in `numpy.std`.

    Raises:
        DatasetError: naming the first column (counted from 0) that is constant.
    """
    deviation = rows.std(axis=0, ddof=ddof)
    if constant := np.flatnonzero(deviation == 0).tolist():
        raise DatasetError(f"column {constant[0]} is constant in the rows it is standardised by; drop it")
    return Affine(rows.mean(axis=0), np.diag(1 / deviation))


def whitening(rows: Array, mean: Array | None = None) -> Affine:
    """Return the map to principal components of variance 1, fitted to (n, d) rows; about `mean`, by default their own.

    Raises:
        DatasetError: if columns are linearly dependent, so that no density exists.
    """
    centre = rows.mean(axis=0) if mean is None else mean
    _, singular, axes = np.linalg.svd(rows - centre, full_matrices=False)
    if len(singular) < rows.shape[1] or singular[-1] <= singular[0] * 1e-12:
        raise DatasetError("columns are linearly dependent: a density needs columns that none of the others determine")
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    axes *= np.sign(largest)[:, None]  # or the sign is the machine's choice
    return Affine(centre, axes.T / singular * np.sqrt(len(rows)))


def last_tenths(rows: Array, test: int | None = None, most_validation: int | None = None) -> dict[str, Array]:
    """Split by position: the last tenth tests (or the last `test`), the last tenth of the rest (at most so many) validates."""
    rest = len(rows) - (len(rows) // 10 if test is None else test)
    validation = min(rest // 10, most_validation or rest)
    train, valid, tests = np.split(rows, [rest - validation, rest])
    return {"train": train, "validation": valid, "test": tests}


def numbers(path: Path, columns: int, delimiter: str) -> Array:
    """Return the rows of a text file of numbers below a line of names, (n, columns); a `DatasetError` if it is not of this form."""
    with readable(path, "a table of numbers"):
        rows: Array = np.loadtxt(path, delimiter=delimiter, skiprows=1, ndmin=2)
    if rows.shape[1] != columns:
        raise DatasetError(f"{path} has {rows.shape[1]} columns; expected {columns}")
    if len(rows) < LEAST_ROWS:
        raise DatasetError(f"{path} has {len(rows)} rows; at least {LEAST_ROWS} are needed")
    return rows


def read_npy(path: Path, columns: int | None = None) -> Array:
    """Return the rows of a .npy file of numbers, float64 (n, d); nothing is unpickled.

    Raises:
        DatasetError: if it is not of this form, or has not so many columns.
    """
    with readable(path, "a .npy file of numbers"):
        rows = np.load(path, allow_pickle=False)
    if not isinstance(rows, np.ndarray):
        raise DatasetError(f"{path} holds an archive; expected numbers of shape (rows, columns)")
    if rows.ndim != 2 or rows.dtype.kind not in "fiub" or (columns is not None and rows.shape[1] != columns):
        raise DatasetError(
            f"{path} holds {rows.dtype} of shape {rows.shape}; expected numbers of shape (rows, {columns or 'columns'})"
        )
    with np.errstate(over="ignore"):  # a wider type's largest values become infinite
        return np.asarray(rows, dtype=np.float64)


def tabular(
    name: str,
    rows: Mapping[str, Array],
    affine: Affine | None = None,
    *,
    protocol: str,
    provenance: str,
    originals: Mapping[str, Array] | None = None,
    features: Sequence[str] = (),
    truth: str = "",
    inspected: bool = False,
) -> Dataset:
    """Return a tabular dataset of float32 values: rows, split → (n, d), as they are or mapped.

    Equal rows are counted among `originals`, the rows as in the file, where `rows` are something else. A table of unknown origin is
    `inspected` for what makes a density meaningless.
    """
    names = tuple(features) or tuple(f"x{i}" for i in range(rows["train"].shape[1]))
    duplicates = count_duplicates(originals or rows)
    facts = TableFacts(
        features=names,
        log_det=affine.log_det if affine else 0.0,
        duplicates=duplicates,
        truth=truth,
        concerns=tuple(concerns_of(names, originals or rows, duplicates)) if inspected else (),
    )
    values = {split: affine(each) if affine else each for split, each in rows.items()}
    splits = {split: np.ascontiguousarray(each, dtype=np.float32) for split, each in values.items()}
    return Dataset(name, "tabular", splits, protocol, provenance, table=facts)


def count_duplicates(splits: Mapping[str, Array]) -> Duplicates:
    """Count equal rows within and across splits, by pandas' 64-bit hash of each (a false match has probability below n²/2⁶⁵)."""
    import pandas as pd

    keys = {
        split: pd.util.hash_pandas_object(pd.DataFrame(rows + 0.0), index=False)  # + 0: −0 and 0 are equal
        for split, rows in splits.items()
    }
    in_train = {split: int(key.isin(keys["train"]).sum()) for split, key in keys.items() if split != "train"}
    return Duplicates(int(pd.concat(keys.values()).duplicated().sum()), in_train)
