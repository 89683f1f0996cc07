"""Tables in the protocol of deep kernel exponential families (Wenliang et al. 2019), which the GEBM paper follows.

In this order, from one seeded stream: rows are shuffled; wines get noise U(−Δ, Δ), Δ the median gap between distinct values of a column;
columns are permuted; rows are whitened by principal components; the last tenth of the rows tests, the last tenth of the rest, 1,000 at
most, validates. The stream is NumPy's legacy one, as in the public code (https://github.com/kevin-w-li/deep-kexpfam), so that a seed gives
the published split.

Whitening is fitted to the training rows. The public code fits it to all rows, test included (the mean of all, the axes of the first
10,000); datasets named `…-original` do the same. They are datasets of their own because their likelihoods do not compare with the
others': a table or a folder can then never show one for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.data import Array, Dataset
from bench.data.files import Found, find
from bench.data.maf import MOST_CORRELATION, read_hepmass, read_miniboone, uncorrelated_columns
from bench.data.table import last_tenths, numbers, tabular, whitening

__all__ = [
    "HEPMASS",
    "HEPMASS_ORIGINAL",
    "MINIBOONE",
    "MINIBOONE_ORIGINAL",
    "PARKINSONS",
    "PARKINSONS_ORIGINAL",
    "REDWINE",
    "REDWINE_ORIGINAL",
    "WHITEWINE",
    "WHITEWINE_ORIGINAL",
    "DkefTable",
]

MOST_VALIDATION = 1000
ORIGINAL_AXES_ROWS = 10_000
HEPMASS_DISCRETE = [5, 9, 13, 17, 21]


@dataclass(frozen=True)
class DkefTable:
    """A dataset of this protocol.

    Arguments:
        name: as registered.
        read: the rows of its files.
        quantised: whether values are rounded, so that noise is added.
        test: number of test rows where it is not a tenth.
        original: whiten with all rows, as the public code does.
    """

    name: str
    read: Callable[[Found], Array]
    quantised: bool = False
    test: int | None = None
    original: bool = False

    def __call__(self, root: Path | None, split: int = 0) -> Dataset:
        """The dataset with split seed `split`.

        Raises:
            DatasetError: if its files are missing or not what they should be.
        """
        found = find(self.name, root)
        raw = self.read(found)
        rng = np.random.RandomState(split)
        order = np.arange(len(raw))
        rng.shuffle(order)
        raw = raw[order]
        rows = dithered(raw, rng) if self.quantised else raw
        rows = rows[:, rng.permutation(raw.shape[1])]
        splits = last_tenths(rows, self.test, MOST_VALIDATION)
        fitted_to = (rows[:ORIGINAL_AXES_ROWS], rows.mean(axis=0)) if self.original else (splits["train"], None)
        affine = whitening(*fitted_to)
        noise = "uniform noise of a median gap, " if self.quantised else ""
        fitted = "all rows, test included" if self.original else "the training rows"
        return tabular(
            self.name + (f"@{split}" if split else ""),
            {key: affine(values) for key, values in splits.items()},
            originals=last_tenths(raw, self.test, MOST_VALIDATION),
            features=[f"pc{i + 1}" for i in range(raw.shape[1])],
            log_det=affine.log_det,
            protocol=f"DKEF: shuffled with seed {split}, {noise}columns permuted, PCA-whitened with {fitted}",
            provenance=found.provenance,
            unverified=found.unverified,
        )


def dithered(rows: Array, rng: np.random.RandomState) -> Array:
    """Rows with U(−Δ, Δ) added, Δ the median gap between distinct values of a column."""
    columns = []
    for column in rows.T:
        gap = np.median(np.diff(np.unique(column)))
        columns.append(column + (rng.rand(len(column)) * 2 - 1) * gap)
    return np.stack(columns, axis=1)


def read_wine(found: Found) -> Array:
    """The 11 measured properties of a wine, without its quality."""
    return numbers(found.paths[0], columns=12, delimiter=";")[:, :-1]


def read_parkinsons(found: Found) -> Array:
    """Columns from the fourth on, without one of each pair that correlates above 0.98."""
    rows = numbers(found.paths[0], columns=22, delimiter=",")[:, 3:]
    return rows[:, less_correlated_columns(rows)]


def less_correlated_columns(rows: Array) -> list[int]:
    """As `maf.uncorrelated_columns`, but by |correlation| for the first column to go, as the public code does."""
    partners = (np.abs(np.corrcoef(rows, rowvar=False)) > MOST_CORRELATION).sum(axis=1)
    first = np.flatnonzero(partners > 1)
    if not len(first):
        return list(range(rows.shape[1]))
    kept = [i for i in range(rows.shape[1]) if i != first[0]]
    return [kept[i] for i in uncorrelated_columns(rows[:, kept])]


def read_hepmass_signal(found: Found) -> Array:
    """Signal rows of both files without jet count and b-tags."""
    rows = np.concatenate(read_hepmass(found))
    return np.delete(rows, HEPMASS_DISCRETE, axis=1)


REDWINE = DkefTable("redwine", read_wine, quantised=True)
WHITEWINE = DkefTable("whitewine", read_wine, quantised=True)
PARKINSONS = DkefTable("parkinsons", read_parkinsons)
HEPMASS = DkefTable("hepmass-dkef", read_hepmass_signal, test=174_900)
MINIBOONE = DkefTable("miniboone-dkef", read_miniboone)
REDWINE_ORIGINAL, WHITEWINE_ORIGINAL, PARKINSONS_ORIGINAL, HEPMASS_ORIGINAL, MINIBOONE_ORIGINAL = (
    replace(table, name=f"{table.name}-original", original=True)
    for table in (REDWINE, WHITEWINE, PARKINSONS, HEPMASS, MINIBOONE)
)
