"""Tables in the protocol of masked autoregressive flows (Papamakarios et al. 2017), made as their public code makes them.

The code is https://github.com/gpapamak/maf, the files its authors' archive. Splits are by position: the last tenth of the rows tests, the
last tenth of the rest validates. Values are standardised by training and validation rows together, but GAS by all rows, and BSDS300 is as
it is in the file: published numbers are of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError, Inputs
from bench.data.files import File, needs
from bench.data.old_pickle import read_frame
from bench.data.reading import check_unpacked, optional, readable
from bench.data.table import last_tenths, read_npy, standardising, tabular
from gebm.components import component

__all__ = [
    "HEPMASS",
    "MINIBOONE",
    "bsds300",
    "continuous_columns",
    "gas",
    "hepmass",
    "miniboone",
    "miniboone_small",
    "power",
    "read_hepmass",
    "uncorrelated_columns",
]

ARCHIVE = File("maf/data.tar.gz", "https://zenodo.org/record/1161203/files/", "md5:9b9c9b0375315ad270eba4ce80c093ab")
HEPMASS = tuple(File(f"maf/hepmass/1000_{part}.csv", archive=ARCHIVE) for part in ("train", "test"))
MINIBOONE = File("maf/miniboone/data.npy", archive=ARCHIVE)
HEPMASS_FEATURES = 27
MINIBOONE_FEATURES = 43
POWER_DROPPED = [1, 3]  # global reactive power, global intensity
POWER_FEATURES = ("global active power", "voltage", *(f"sub-metering {i}" for i in (1, 2, 3)), "time")
POWER_SEED = 42
GAS_NOT_SENSORS = ("Meth", "Eth", "Time")
MOST_CORRELATION = 0.98
MOST_REPEATS = 5
PATCH = 63


@component("datasets", "miniboone", "MINIBOONE, D = 43, MAF protocol", kind="tabular")
@needs(MINIBOONE)
def miniboone(inputs: Inputs) -> Dataset:
    """Load MINIBOONE: signal events; outliers and columns that repeat are missing from the archive's file already."""
    rows = read_npy(inputs.paths[0], MINIBOONE_FEATURES)
    return standardised(inputs, last_tenths(rows), "signal class, not shuffled")


@component("datasets", "miniboone-small", "MINIBOONE, D = 43; MAF's validation split trains", kind="tabular")
@needs(
    File("miniboone/val.npy", "", "sha256:104f35c387c982cd550e5d6142e8b4075d746001508e65c1a90efcb83301839d"),
    File("miniboone/test.npy", "", "sha256:01b3fc605f334e951fed477a09a7fcd69cdc440d9204111ca253ecdf0e7590de"),
)
def miniboone_small(inputs: Inputs) -> Dataset:
    """Load MAF's validation and test splits of MINIBOONE, standardised as MAF has them."""
    rows, test = (read_npy(path, MINIBOONE_FEATURES) for path in inputs.paths)
    return tabular(
        inputs.label,
        last_tenths(rows, test=0) | {"test": test},
        protocol="MAF's validation split without its last tenth trains, that tenth validates, MAF's test split tests; MAF's values",
        provenance="MiniBooNE signal events (UCI), in the splits of Papamakarios et al. 2017",
    )


@component("datasets", "hepmass", "HEPMASS, D = 21, MAF protocol", kind="tabular")
@needs(*HEPMASS)
def hepmass(inputs: Inputs) -> Dataset:
    """Load HEPMASS: signal events of mass 1000, columns that repeat dropped (27 → 21); test rows have their own file."""
    rows, test = (read_hepmass(path) for path in inputs.paths)
    kept = continuous_columns(rows)
    return standardised(
        inputs,
        last_tenths(rows[:, kept], test=0) | {"test": test[:, kept]},
        "mass 1000, label 1, columns that repeat dropped, not shuffled",
        ddof=1,
        features=[f"f{i}" for i in kept],
    )


def read_hepmass(path: Path) -> Array:
    """Return the signal rows (label 1) of a file, (n, 27); columns after the features (the test file's mass) are left out, as in MAF."""
    import pandas as pd

    with readable(path, f"HEPMASS's table of a label and {HEPMASS_FEATURES} features"):
        rows = pd.read_csv(path, index_col=False, usecols=range(HEPMASS_FEATURES + 1)).to_numpy(dtype=np.float64)
    signal: Array = rows[rows[:, 0] == 1, 1:]
    return signal


@component("datasets", "power", "POWER, D = 6, MAF protocol", kind="tabular")
@needs(File("maf/power/data.npy", archive=ARCHIVE))
def power(inputs: Inputs) -> Dataset:
    """Load POWER: shuffled with seed 42, two columns dropped, uniform noise as wide as a column's resolution."""
    rows = read_npy(inputs.paths[0], 8)
    rng = np.random.RandomState(POWER_SEED)
    order = np.arange(len(rows))
    rng.shuffle(order)
    rows = np.delete(rows[order], POWER_DROPPED, axis=1)
    voltage, active = 0.01 * rng.rand(len(rows), 1), 0.001 * rng.rand(len(rows), 1)
    metering = rng.rand(len(rows), 3)
    noise = np.hstack([active, voltage, metering, np.zeros((len(rows), 1))])
    return standardised(
        inputs,
        last_tenths(rows + noise),
        f"shuffled with seed {POWER_SEED}, uniform noise of each column's resolution",
        features=POWER_FEATURES,
        originals=last_tenths(rows),
    )


@component("datasets", "gas", "GAS, D = 8, MAF protocol", kind="tabular")
@needs(File("maf/gas/ethylene_CO.pickle", archive=ARCHIVE))
def gas(inputs: Inputs) -> Dataset:
    """Load GAS: sensors of ethylene in CO, one of each pair correlated above 0.98 dropped; standardised by all rows, as published."""
    names, rows = read_frame(inputs.paths[0])
    if absent := [name for name in GAS_NOT_SENSORS if name not in names]:
        raise DatasetError(
            f"{inputs.paths[0]} has no column '{absent[0]}'; it is not the archive's table of ethylene in CO"
        )
    sensors = [i for i, name in enumerate(names) if name not in GAS_NOT_SENSORS]
    kept = [sensors[i] for i in uncorrelated_columns(rows[:, sensors])]
    return tabular(
        inputs.label,
        last_tenths(rows[:, kept]),
        standardising(rows[:, kept], ddof=1),
        features=[names[i] for i in kept],
        protocol="MAF: one of each pair of columns correlated above 0.98 dropped, not shuffled, standardised by all rows, test included",
        provenance=inputs.source,
    )


@component("datasets", "bsds300", "BSDS300 patches, D = 63, MAF protocol", kind="tabular")
@needs(File("maf/BSDS300/BSDS300.hdf5", archive=ARCHIVE))
def bsds300(inputs: Inputs) -> Dataset:
    """Load BSDS300: patches of 8×8 pixels without their mean, the last pixel left out; splits and values are the file's."""
    path = inputs.paths[0]
    h5py = optional("h5py", "tabular", path)
    with readable(path, "the archive's HDF5 file of three splits"), h5py.File(path, "r") as file:
        stored = {split: file[split] for split in ("train", "validation", "test")}
        for split, rows in stored.items():
            if rows.ndim != 2 or rows.shape[1] != PATCH or rows.dtype.kind != "f":
                raise DatasetError(f"{path}: split '{split}' has shape {rows.shape}; expected rows of {PATCH} numbers")
        check_unpacked(path, sum(rows.nbytes for rows in stored.values()))
        splits = {split: np.asarray(rows) for split, rows in stored.items()}
    protocol = "MAF: splits and values of the archive's file"
    return tabular(inputs.label, splits, protocol=protocol, provenance=inputs.source)


def standardised(inputs: Inputs, splits: Mapping[str, Array], how: str, ddof: int = 0, **facts: Any) -> Dataset:
    """Return a dataset whose values are standardised by training and validation rows together; facts as `tabular` takes them."""
    affine = standardising(np.concatenate([splits["train"], splits["validation"]]), ddof)
    protocol = f"MAF: {how}, standardised by train+validation"
    return tabular(inputs.label, splits, affine, protocol=protocol, provenance=inputs.source, **facts)


def continuous_columns(rows: Array) -> list[int]:
    """Return the columns of (n, d) rows that do not repeat themselves: those whose smallest value occurs at most 5 times.

    MAF's code means to drop columns with too many equal values, and counts the smallest one alone; published results are of what it does.
    """
    repeats = np.count_nonzero(rows == rows.min(axis=0), axis=0)
    return np.flatnonzero(repeats <= MOST_REPEATS).tolist()


def uncorrelated_columns(rows: Array) -> list[int]:
    """Return the columns of (n, d) rows left when the first that correlates above 0.98 with another is dropped, again and again."""
    kept = list(range(rows.shape[1]))
    while len(kept) > 1:
        partners = (np.corrcoef(rows[:, kept], rowvar=False) > MOST_CORRELATION).sum(axis=1)
        if not np.any(partners > 1):
            break
        kept.pop(int(np.argmax(partners > 1)))
    return kept
