"""Tables on which joint training has run away, or might: written as CSV files; afterwards what a store says of them, in one table.

python results/density/hard_tables.py tables WINEQUALITY-RED.CSV
python results/density/hard_tables.py tables --store STORE
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def whitewine_like(red: Rows, rng: np.random.Generator) -> Rows:
    """4,898 × 11: rows of RedWine drawn again, moved by a fifth of a standard deviation and rounded as the file is."""
    rows = red[rng.integers(len(red), size=4898)]
    rows = rows + 0.2 * red.std(0) * rng.standard_normal(rows.shape)
    unit = 10.0 ** -np.array([1, 2, 2, 1, 3, 0, 0, 4, 2, 2, 1])
    return np.round(rows / unit) * unit


def parkinsons_like(_: Rows, rng: np.random.Generator) -> Rows:
    """5,875 × 22: 42 people with columns that are one number each, two that are linear in time, 16 heavy-tailed ones of three factors."""
    person = rng.integers(42, size=5875)
    age, sex, slope = rng.integers(36, 86, 42), rng.integers(0, 2, 42), rng.normal(0, 0.02, 42)
    time = rng.uniform(-4, 215, 5875)
    motor = (rng.uniform(5, 40, 42)[person] + slope[person] * time).round(3)
    total = (1.3 * motor + rng.normal(0, 2, 42)[person]).round(3)
    factors = rng.standard_normal((42, 3))[person] + 0.7 * rng.standard_normal((5875, 3))
    voice = np.exp(factors @ rng.normal(0, 0.5, (3, 14)) + 0.15 * rng.standard_normal((5875, 14)) - 4).round(5)
    multiples = (3 * voice[:, :2] + rng.normal(0, 5e-6, (5875, 2))).round(5)
    return np.column_stack([person, age[person], sex[person], time.round(3), motor, total, voice, multiples])


def near_duplicates(_: Rows, rng: np.random.Generator) -> Rows:
    """3,000 × 10: pairs of columns a thousandth apart, counts and a rare flag with hardly any noise."""
    x = rng.standard_normal((3000, 3))
    counts = rng.poisson(2, (3000, 3)) + 0.01 * rng.standard_normal((3000, 3))
    flag = (rng.random(3000) < 0.02) + 1e-3 * rng.standard_normal(3000)
    return np.column_stack([x, x + 1e-3 * rng.standard_normal(x.shape), counts, flag])


def heavy_tails(_: Rows, rng: np.random.Generator) -> Rows:
    """4,000 × 8: Student-t of two degrees of freedom, mixed and cubed in part."""
    x = rng.standard_t(2, (4000, 8)) @ rng.normal(0, 0.5, (8, 8))
    x[:, :2] = np.sign(x[:, :2]) * np.abs(x[:, :2]) ** 1.5
    return x


def many_columns(_: Rows, rng: np.random.Generator) -> Rows:
    """4,000 × 200: eight factors, bent, and noise."""
    factors = rng.standard_normal((4000, 8))
    return np.tanh(factors @ rng.normal(0, 0.6, (8, 200))) + 0.3 * rng.standard_normal((4000, 200))


def few_rows(red: Rows, rng: np.random.Generator) -> Rows:
    """300 × 6: as many rows of RedWine, and six of its columns."""
    return red[rng.permutation(len(red))[:300]][:, [0, 1, 6, 7, 9, 10]] + 1e-3 * rng.standard_normal((300, 6))


TABLES = (whitewine_like, parkinsons_like, near_duplicates, heavy_tails, many_columns, few_rows)


def write(folder: Path, red_wine: Path) -> None:
    """Write every table as FOLDER/NAME.csv."""
    red = np.loadtxt(red_wine, delimiter=";", skiprows=1)[:, :11]
    folder.mkdir(parents=True, exist_ok=True)
    for number, make in enumerate(TABLES):
        rows = make(red, np.random.default_rng(number))
        names = ",".join(f"x{i}" for i in range(rows.shape[1]))
        np.savetxt(folder / f"{make.__name__}.csv", rows, "%.9g", ",", header=names, comments="")


def read(store: Path) -> None:
    """Print a line per dataset and seed of the GEBMs trained jointly: its start, its end, what was kept of training."""
    from bench.core.store import Store
    from bench.results.frame import scan
    from bench.results.sources import records

    print(
        "dataset              seed  start(test)  end(test)  difference    ± log Z  step  restarts  log Z usable  status"
    )
    for row in records(scan(Store(store)).readouts):
        facts, partition = row.row["likelihood"].get("warm_start"), row.row.get("log_partition") or {}
        if facts is None:
            continue
        end = row.row["scores"].get("log-likelihood", float("nan"))
        error, usable = partition.get("standard_error") or float("nan"), partition.get("reportable")
        print(
            f"{row.dataset:20} {row.seed:4} {facts['test']:12.2f} {end:10.2f} {end - facts['test']:11.2f} {error:10.3f} "
            f"{facts['step']:5} {facts['restarts']:9} {usable!s:>13}  {row.status}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("red_wine", type=Path, nargs="?")
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    if given.store:
        read(given.store)
    elif given.red_wine:
        write(given.folder, given.red_wine)
    else:
        sys.exit("give RedWine's file to write the tables, or --store to read what was found")
