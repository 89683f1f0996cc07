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

import numpy as np

from bench.data import Array, Dataset, Inputs, maf
from bench.data.files import File, needs
from bench.data.table import last_tenths, numbers, read_npy, tabular, whitening
from gebm.components import component

__all__ = ["dithered", "dkef", "hepmass_dkef", "miniboone_dkef", "parkinsons", "redwine", "whitewine"]

WINES = "https://archive.ics.uci.edu/ml/machine-learning-databases/wine-quality/"
VOICES = "https://archive.ics.uci.edu/ml/machine-learning-databases/parkinsons/telemonitoring/"
HEPMASS_DISCRETE = [5, 9, 13, 17, 21]  # jet count and b-tags
HEPMASS_TEST = 174_900
MOST_VALIDATION = 1000
ORIGINAL_AXES_ROWS = 10_000
WINE_COLUMNS = 12  # the last is quality


@component("datasets", "redwine-original", "whitened with all rows, test included", kind="tabular", seeded=True)
@component("datasets", "redwine", "UCI red wine, D = 11, DKEF protocol", kind="tabular", seeded=True)
@needs(File("winequality-red.csv", WINES, "sha256:4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e"))
def redwine(inputs: Inputs) -> Dataset:
    """Load the 11 measured properties of red wines."""
    return dkef(inputs, numbers(inputs.paths[0], WINE_COLUMNS, ";")[:, :-1], quantised=True)


@component("datasets", "whitewine-original", "whitened with all rows, test included", kind="tabular", seeded=True)
@component("datasets", "whitewine", "UCI white wine, D = 11, DKEF protocol", kind="tabular", seeded=True)
@needs(File("winequality-white.csv", WINES, "md5:5d9ff0f7f716dace19e3ab4578775fd7"))
def whitewine(inputs: Inputs) -> Dataset:
    """Load the 11 measured properties of white wines."""
    return dkef(inputs, numbers(inputs.paths[0], WINE_COLUMNS, ";")[:, :-1], quantised=True)


@component("datasets", "parkinsons-original", "whitened with all rows, test included", kind="tabular", seeded=True)
@component("datasets", "parkinsons", "UCI Parkinsons telemonitoring, D = 15, DKEF", kind="tabular", seeded=True)
@needs(File("parkinsons_updrs.data", VOICES, "sha256:f2c7d5025dec4e92e7feae367a5f7ccf58789a10ac6b54bdf15976c599f9dd39"))
def parkinsons(inputs: Inputs) -> Dataset:
    """Load the columns from the fourth on, without one of each pair that correlates above 0.98.

    As in the public code, the first column is dropped by |correlation|, the others as in `maf.uncorrelated_columns`.
    """
    rows = numbers(inputs.paths[0], 22, ",")[:, 3:]
    partners = (np.abs(np.corrcoef(rows, rowvar=False)) > maf.MOST_CORRELATION).sum(axis=1)
    if len(correlated := np.flatnonzero(partners > 1)):
        rows = np.delete(rows, correlated[0], axis=1)
        rows = rows[:, maf.uncorrelated_columns(rows)]
    return dkef(inputs, rows)


@component("datasets", "hepmass-dkef-original", "whitened with all rows, test included", kind="tabular", seeded=True)
@component("datasets", "hepmass-dkef", "HEPMASS, D = 22, DKEF protocol", kind="tabular", seeded=True)
@needs(*maf.HEPMASS)
def hepmass_dkef(inputs: Inputs) -> Dataset:
    """Load the signal rows of both files without jet count and b-tags."""
    rows = np.concatenate([maf.read_hepmass(path) for path in inputs.paths])
    return dkef(inputs, np.delete(rows, HEPMASS_DISCRETE, axis=1), test=HEPMASS_TEST)


@component("datasets", "miniboone-dkef-original", "whitened with all rows, test included", kind="tabular", seeded=True)
@component("datasets", "miniboone-dkef", "MINIBOONE, D = 43, DKEF protocol", kind="tabular", seeded=True)
@needs(maf.MINIBOONE)
def miniboone_dkef(inputs: Inputs) -> Dataset:
    """Load the rows of the MAF archive's file."""
    return dkef(inputs, read_npy(inputs.paths[0], maf.MINIBOONE_FEATURES))


def dkef(inputs: Inputs, raw: Array, *, quantised: bool = False, test: int | None = None) -> Dataset:
    """Return the dataset that the protocol makes of the rows of a file, (n, d); '-original' in its name asks for whitening with all rows.

    Noise is added to values that are rounded (`quantised`). `test` is the number of test rows, where it is not a tenth.
    """
    original = inputs.name.endswith("-original")
    rng = np.random.RandomState(inputs.split)
    order = np.arange(len(raw))
    rng.shuffle(order)
    raw = raw[order]
    rows = dithered(raw, rng) if quantised else raw
    rows = rows[:, rng.permutation(raw.shape[1])]
    splits = last_tenths(rows, test, MOST_VALIDATION)
    affine = whitening(rows[:ORIGINAL_AXES_ROWS], rows.mean(axis=0)) if original else whitening(splits["train"])
    noise = "uniform noise of a median gap, " if quantised else ""
    fitted = "all rows, test included" if original else "the training rows"
    return tabular(
        inputs.label,
        splits,
        affine,
        originals=last_tenths(raw, test, MOST_VALIDATION),
        features=[f"pc{i + 1}" for i in range(raw.shape[1])],
        protocol=f"DKEF: shuffled with seed {inputs.split}, {noise}columns permuted, PCA-whitened with {fitted}",
        provenance=inputs.source,
    )


def dithered(rows: Array, rng: np.random.RandomState) -> Array:
    """Add U(−Δ, Δ) to rows, Δ the median gap between distinct values of a column."""
    columns = []
    for column in rows.T:
        gap = np.median(np.diff(np.unique(column)))
        columns.append(column + (rng.rand(len(column)) * 2 - 1) * gap)
    return np.stack(columns, axis=1)
