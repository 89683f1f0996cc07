"""Tables of numbers as datasets: affine maps fitted to rows, equal rows counted, likelihood bookkeeping kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Array, Dataset, DatasetError, Duplicates, TableFacts

__all__ = [
    "LEAST_ROWS",
    "Affine",
    "count_duplicates",
    "last_tenths",
    "numbers",
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
        """log|det W| in nats, to be added to a log-likelihood of mapped rows for that of the rows themselves."""
        return float(np.linalg.slogdet(self.matrix).logabsdet)


def standardising(rows: Array, ddof: int = 0) -> Affine:
    """The map to mean 0 and standard deviation 1 in every column of (n, d) rows; `ddof` as in `numpy.std`.

    Raises:
        DatasetError: naming the first column (counted from 0) that is constant.
    """
    deviation = rows.std(axis=0, ddof=ddof)
    if constant := np.flatnonzero(deviation == 0).tolist():
        raise DatasetError(f"column {constant[0]} is constant in the rows it is standardised by; drop it")
    return Affine(rows.mean(axis=0), np.diag(1 / deviation))


def whitening(rows: Array, mean: Array | None = None) -> Affine:
    """The map to principal components of variance 1, fitted to (n, d) rows; about `mean`, by default their own.

    Raises:
        DatasetError: if columns are linearly dependent, so that no density exists.
    """
    centre = rows.mean(axis=0) if mean is None else mean
    _, singular, axes = np.linalg.svd(rows - centre, full_matrices=False)
    if len(singular) < rows.shape[1] or singular[-1] <= singular[0] * 1e-12:
        raise DatasetError("columns are linearly dependent: a density needs columns that none of the others determine")
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[
        :, None
    ]  # or the sign is the machine's choice
    return Affine(centre, axes.T / singular * np.sqrt(len(rows)))


def last_tenths(rows: Array, test: int | None = None, most_validation: int | None = None) -> dict[str, Array]:
    """Splits by position: the last tenth tests (or the last `test`), the last tenth of the rest (at most so many) validates."""
    held_out = len(rows) // 10 if test is None else test
    rest = len(rows) - held_out
    validation = min(rest // 10, most_validation or rest)
    train, valid, tests = np.split(rows, [rest - validation, rest])
    return {"train": train, "validation": valid, "test": tests}


def numbers(path: Path, columns: int, delimiter: str) -> Array:
    """The rows of a text file of numbers with a line of names, (n, columns).

    Raises:
        DatasetError: if it is not of this form.
    """
    try:
        rows: Array = np.loadtxt(path, delimiter=delimiter, skiprows=1, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not a table of numbers: {error}") from error
    if rows.shape[1] != columns:
        raise DatasetError(f"{path} has {rows.shape[1]} columns; expected {columns}")
    if len(rows) < LEAST_ROWS:
        raise DatasetError(f"{path} has {len(rows)} rows; at least {LEAST_ROWS} are needed")
    return rows


def tabular(
    name: str,
    splits: Mapping[str, Array],
    *,
    protocol: str,
    provenance: str,
    originals: Mapping[str, Array] | None = None,
    features: Sequence[str] = (),
    log_det: float = 0.0,
    unverified: bool = False,
    truth: str = "",
) -> Dataset:
    """A tabular dataset of float32 rows; `originals` are the rows as they were in the file, among which equal ones are counted."""
    width = splits["train"].shape[1]
    facts = TableFacts(
        features=tuple(features) or tuple(f"x{i}" for i in range(width)),
        log_det=log_det,
        duplicates=count_duplicates(originals or splits),
        unverified=unverified,
        truth=truth,
    )
    return Dataset(
        name=name,
        kind="tabular",
        splits={split: np.ascontiguousarray(rows, dtype=np.float32) for split, rows in splits.items()},
        protocol=protocol,
        provenance=provenance + ("; NOT the official file, accepted unverified" if unverified else ""),
        table=facts,
    )


def count_duplicates(splits: Mapping[str, Array]) -> Duplicates:
    """Equal rows within and across splits, by a 64-bit hash of each (a false match has probability below n²/2⁶⁵)."""
    keys = {split: np.sort(row_keys(rows)) for split, rows in splits.items()}
    return Duplicates(
        total=repeated(np.sort(np.concatenate(list(keys.values())))),
        within={split: repeated(found) for split, found in keys.items()},
        in_train={split: among(found, keys["train"]) for split, found in keys.items() if split != "train"},
    )


def repeated(keys: Array) -> int:
    """How many of sorted keys equal an earlier one."""
    return int(np.count_nonzero(keys[1:] == keys[:-1]))


def among(keys: Array, others: Array) -> int:
    """How many keys are among the others, which are sorted."""
    places = np.searchsorted(others, keys).clip(max=len(others) - 1)
    return int(np.count_nonzero(others[places] == keys))


def row_keys(rows: Array) -> Array:
    """A 64-bit hash of each row of (n, d) floats; −0 and 0 are equal."""
    bits = (np.ascontiguousarray(rows, dtype=np.float64) + 0.0).view(np.uint64)
    keys = np.zeros(len(bits), np.uint64)
    for column in bits.T:  # a multiplication and a fold a column (splitmix64's finaliser)
        keys = (keys ^ column) * np.uint64(0xBF58476D1CE4E5B9)
        keys ^= keys >> np.uint64(31)
    return keys
