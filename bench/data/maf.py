"""Tables in the protocol of masked autoregressive flows (Papamakarios et al. 2017), made as their public code makes them.

The code is https://github.com/gpapamak/maf, the files its authors' archive. Splits are by position: the last tenth of the rows tests, the
last tenth of the rest validates. Values are standardised by training and validation rows together, but GAS by all rows, and BSDS300 is as
it is in the file: published numbers are of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.data import Array, Dataset, DatasetError
from bench.data.files import Found, find
from bench.data.old_pickle import read_frame
from bench.data.table import last_tenths, standardising, tabular

__all__ = [
    "HEPMASS_FEATURES",
    "bsds300",
    "continuous_columns",
    "gas",
    "hepmass",
    "miniboone",
    "miniboone_small",
    "power",
    "read_hepmass",
    "read_miniboone",
]

HEPMASS_FEATURES = 27
MINIBOONE_FEATURES = 43
POWER_KEPT = {
    "global active power": 0,
    "voltage": 2,
    "sub-metering 1": 4,
    "sub-metering 2": 5,
    "sub-metering 3": 6,
    "time": 7,
}
POWER_SEED = 42
GAS_NOT_SENSORS = ("Meth", "Eth", "Time")
MOST_CORRELATION = 0.98
MOST_REPEATS = 5
PATCH = 63


def miniboone(root: Path | None) -> Dataset:
    """MINIBOONE: signal events, outliers and columns that repeat taken out already in the archive's file."""
    found = find("miniboone", root)
    return standardised("miniboone", found, last_tenths(read_miniboone(found)), "signal class, not shuffled")


def read_miniboone(found: Found) -> Array:
    """The archive's 36,488 rows of 43 features."""
    return read_npy(found.paths[0], MINIBOONE_FEATURES)


def miniboone_small(root: Path | None) -> Dataset:
    """MINIBOONE where only MAF's validation and test splits are at hand, standardised as MAF has them.

    The last tenth of the validation split validates and the rest of it trains; the test split is MAF's own.
    """
    found = find("miniboone-small", root)
    rows, test = (read_npy(path, MINIBOONE_FEATURES) for path in found.paths)
    validation = len(rows) // 10
    return tabular(
        "miniboone-small",
        {"train": rows[:-validation], "validation": rows[-validation:], "test": test},
        protocol="MAF's validation split without its last tenth trains, that tenth validates, MAF's test split tests; MAF's values",
        provenance="MiniBooNE signal events (UCI), in the splits of Papamakarios et al. 2017",
        unverified=found.unverified,
    )


def hepmass(root: Path | None) -> Dataset:
    """HEPMASS: signal events of mass 1000, columns that repeat dropped (27 → 21); test rows have their own file."""
    found = find("hepmass", root)
    rows, test = read_hepmass(found)
    kept = continuous_columns(rows)
    validation = len(rows) // 10
    splits = {"train": rows[:-validation], "validation": rows[-validation:], "test": test}
    return standardised(
        "hepmass",
        found,
        {split: values[:, kept] for split, values in splits.items()},
        "mass 1000, label 1, columns that repeat dropped, not shuffled",
        ddof=1,
        features=[f"f{i}" for i in kept],
    )


def read_hepmass(found: Found) -> tuple[Array, Array]:
    """Signal rows of the training and of the test file, (n, 27) each.

    Raises:
        DatasetError: if a file is not a table of a label and 27 features.
    """
    train, test = (read_signal(path) for path in found.paths)
    return train, test


def read_signal(path: Path) -> Array:
    """Rows of label 1, without it; what follows the 27 features (the test file's mass) is left out, as MAF does."""
    import pandas as pd

    try:
        rows = pd.read_csv(path, index_col=False, usecols=range(HEPMASS_FEATURES + 1)).to_numpy(dtype=np.float64)
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} is not HEPMASS's table of a label and {HEPMASS_FEATURES} features: {error}"
        ) from error
    signal: Array = rows[rows[:, 0] == 1, 1:]
    return signal


def power(root: Path | None) -> Dataset:
    """POWER: shuffled with seed 42, two columns dropped, uniform noise as wide as a column's resolution."""
    found = find("power", root)
    rows = read_npy(found.paths[0], 8)
    rng = np.random.RandomState(POWER_SEED)
    order = np.arange(len(rows))
    rng.shuffle(order)
    rows = rows[order][:, list(POWER_KEPT.values())]
    voltage, active = 0.01 * rng.rand(len(rows), 1), 0.001 * rng.rand(len(rows), 1)
    metering = rng.rand(len(rows), 3)
    noise = np.hstack([active, voltage, metering, np.zeros((len(rows), 1))])
    return standardised(
        "power",
        found,
        last_tenths(rows + noise),
        f"shuffled with seed {POWER_SEED}, uniform noise of each column's resolution",
        features=list(POWER_KEPT),
        originals=last_tenths(rows),
    )


def gas(root: Path | None) -> Dataset:
    """GAS: the sensors of ethylene in CO, one of each pair correlated above 0.98 dropped; standardised by all rows, as published."""
    found = find("gas", root)
    names, rows = read_frame(found.paths[0])
    if absent := [name for name in GAS_NOT_SENSORS if name not in names]:
        raise DatasetError(
            f"{found.paths[0]} has no column '{absent[0]}'; it is not the archive's table of ethylene in CO"
        )
    sensors = [i for i, name in enumerate(names) if name not in GAS_NOT_SENSORS]
    kept = [sensors[i] for i in uncorrelated_columns(rows[:, sensors])]
    affine = standardising(rows[:, kept], ddof=1)
    return tabular(
        "gas",
        last_tenths(affine(rows[:, kept])),
        originals=last_tenths(rows[:, kept]),
        features=[names[i] for i in kept],
        log_det=affine.log_det,
        protocol="MAF: one of each pair of columns correlated above 0.98 dropped, not shuffled, standardised by all rows, test included",
        provenance=found.provenance,
        unverified=found.unverified,
    )


def bsds300(root: Path | None) -> Dataset:
    """BSDS300: patches of 8×8 pixels without their mean, the last pixel left out; splits and values are the file's."""
    found = find("bsds300", root)
    return tabular(
        "bsds300",
        read_patches(found.paths[0]),
        protocol="MAF: splits and values of the archive's file",
        provenance=found.provenance,
        unverified=found.unverified,
    )


def read_patches(path: Path) -> dict[str, Array]:
    """The three splits of the archive's HDF5 file, (n, 63) each.

    Raises:
        DatasetError: if h5py is not installed, or the file is not of this form.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise DatasetError(
            'bsds300 is an HDF5 file, and h5py is not installed: pip install "gebm-bench[tabular]"'
        ) from error
    try:
        with h5py.File(path, "r") as file:
            splits = {split: np.asarray(file[split]) for split in ("train", "validation", "test")}
    except (OSError, KeyError) as error:
        raise DatasetError(f"{path} is not the archive's HDF5 file of three splits: {error}") from error
    for split, rows in splits.items():
        if rows.ndim != 2 or rows.shape[1] != PATCH or rows.dtype.kind != "f":
            raise DatasetError(f"{path}: split '{split}' has shape {rows.shape}; expected rows of {PATCH} numbers")
    return splits


def standardised(
    name: str,
    found: Found,
    splits: Mapping[str, Array],
    how: str,
    *,
    ddof: int = 0,
    features: Sequence[str] = (),
    originals: Mapping[str, Array] | None = None,
) -> Dataset:
    """A dataset whose values are standardised by training and validation rows together."""
    affine = standardising(np.concatenate([splits["train"], splits["validation"]]), ddof)
    return tabular(
        name,
        {split: affine(rows) for split, rows in splits.items()},
        originals=originals or splits,
        features=features,
        log_det=affine.log_det,
        protocol=f"MAF: {how}, standardised by train+validation",
        provenance=found.provenance,
        unverified=found.unverified,
    )


def read_npy(path: Path, columns: int) -> Array:
    """The rows of a .npy file of numbers, (n, columns).

    Raises:
        DatasetError: if it is not of this form.
    """
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DatasetError(f"{path} is not a .npy file of numbers: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != columns or rows.dtype.kind != "f":
        raise DatasetError(f"{path} has shape {rows.shape}; expected rows of {columns} numbers")
    return np.asarray(rows, dtype=np.float64)


def continuous_columns(rows: Array) -> list[int]:
    """The columns of (n, d) rows that do not repeat themselves: those whose smallest value occurs at most 5 times.

    MAF's code means to drop columns with too many equal values, and counts the smallest one alone; published results are of what it does.
    """
    repeats = np.count_nonzero(rows == rows.min(axis=0), axis=0)
    return np.flatnonzero(repeats <= MOST_REPEATS).tolist()


def uncorrelated_columns(rows: Array) -> list[int]:
    """What is left of the columns of (n, d) rows when the first that correlates above 0.98 with another is dropped, again and again."""
    kept = list(range(rows.shape[1]))
    while len(kept) > 1:
        partners = (np.corrcoef(rows[:, kept], rowvar=False) > MOST_CORRELATION).sum(axis=1)
        if not np.any(partners > 1):
            break
        kept.pop(int(np.argmax(partners > 1)))
    return kept
