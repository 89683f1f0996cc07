"""A user's own table as a dataset: `csv:PATH`, `npy:PATH`, `parquet:PATH`.

Rows are shuffled with the split seed, 80 % train, 10 % validate and 10 % test, and values are standardised by the training rows. What no
density can be fitted to is refused in one line that names the column or row: missing and infinite values, words, columns that are
constant or determined by others, too few rows.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError
from bench.data.sources import Source
from bench.data.table import LEAST_ROWS, read_npy, standardising, tabular

__all__ = ["load_file"]

ROWS_PER_COLUMN = 10
SPREAD = (1e-100, 1e100)  # of a column; outside, its variance leaves the range of a float64
MOST_DEVIATIONS = 1e30  # of a standardised value; beyond lies the end of float32
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")  # in lower case


def load_file(source: Source) -> Dataset:
    """Load a user's file.

    Raises:
        DatasetError: if it cannot be read, or is no table that a density can be fitted to.
    """
    path = Path(source.where)
    if not path.is_file():
        raise DatasetError(f"no file {path}")
    try:
        names, rows = READERS[source.kind](path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    check_table(path, names, rows)
    rows = rows[np.random.default_rng(source.split).permutation(len(rows))]
    tenth = len(rows) // 10
    splits = dict(zip(("train", "validation", "test"), np.split(rows, [-2 * tenth, -tenth]), strict=True))
    for name, column in zip(names, splits["train"].T, strict=True):
        if column.min() == column.max():
            raise DatasetError(
                f"{path}: column '{name}' is constant in the training rows of split {source.split}; drop it"
            )
    affine = standardising(splits["train"])
    mapped = {split: affine(values) for split, values in splits.items()}
    for split, values in mapped.items():
        if (furthest := np.abs(values).max(axis=0)).max() > MOST_DEVIATIONS:
            name = names[int(furthest.argmax())]
            raise DatasetError(
                f"{path}: column '{name}' has a {split} value {furthest.max():.0e} standard deviations from the mean; drop the row"
            )
    return tabular(
        source.label,
        mapped,
        originals=splits,
        features=names,
        log_det=affine.log_det,
        protocol=f"shuffled with seed {source.split}, 80/10/10 %, standardised by the training rows",
        provenance=f"the user's own file {path.name}",
    )


def read_csv(path: Path) -> tuple[list[str], Array]:
    """Return names and values of a table delimited by commas, semicolons or tabs; a first line of numbers is data, not names."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start, line = next(((i, line) for i, line in enumerate(file) if line.strip()), (0, ""))
        if not line:
            raise DatasetError(f"{path} is empty")
        delimiter = max(",;\t", key=line.count)
        first = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        headless = all(is_number(cell) for cell in first)
        names = [f"column {i + 1}" for i in range(len(first))] if headless else first
        options: dict[str, Any] = {
            "sep": delimiter,
            "header": None,
            "skiprows": start + (not headless),
            "encoding": "utf-8-sig",
        }
        try:
            rows = pd.read_csv(path, na_values=MISSING, dtype=np.float64, **options).to_numpy()
        except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError):
            raise
        except (ValueError, OverflowError) as error:
            raise not_numbers(path, names, options, error) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except pd.errors.EmptyDataError as error:
        raise DatasetError(f"{path} has a line of names and no rows") from error
    except (pd.errors.ParserError, csv.Error) as error:
        raise DatasetError(f"{path} is not a table: {first_line(error)}") from error
    if rows.shape[1] != len(names):
        raise DatasetError(f"{path}: the line of names has {len(names)} columns, the rows have {rows.shape[1]}")
    return names, rows


def is_number(cell: str) -> bool:
    """Return whether a cell holds a number, or says that there is none."""
    try:
        float(cell)
    except ValueError:
        return cell.lower() in MISSING
    return True


def not_numbers(path: Path, names: Sequence[str], options: dict[str, Any], error: Exception) -> DatasetError:
    """Return the error that names the first cell of a table which is not a number."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    for name, (_, cells) in zip(names, frame.items(), strict=False):
        wrong = pd.to_numeric(cells, errors="coerce").isna() & ~cells.str.strip().str.lower().isin(MISSING)
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            text = cells.iloc[row].strip()
            return DatasetError(
                f"{path}: '{text}' in column '{name}', row {row + 1}, is not a number; drop the column or encode it"
            )
    return DatasetError(f"{path} is not a table of numbers: {first_line(error)}")


def first_line(error: Exception) -> str:
    """Return the first line of an error."""
    return str(error).strip().partition("\n")[0]


def read_numpy(path: Path) -> tuple[list[str], Array]:
    """Return the values of a .npy file, with column numbers as names."""
    rows = read_npy(path)
    return [f"column {i + 1}" for i in range(rows.shape[1])], rows


def read_parquet(path: Path) -> tuple[list[str], Array]:
    """Return names and values of a Parquet file."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise DatasetError(
            f'{path} needs pyarrow, which is not installed: pip install "gebm-bench[tabular]"'
        ) from error
    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} is not a Parquet file: {first_line(error)}") from error
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DatasetError(f"{path}: column '{name}' holds {kind}, not numbers; drop the column or encode it")
        columns.append(column.cast(pa.float64(), safe=False).to_numpy())
    if not columns:
        raise DatasetError(f"{path} has no columns")
    return list(table.column_names), np.stack(columns, axis=1)


READERS: dict[str, Callable[[Path], tuple[list[str], Array]]] = {
    "csv": read_csv,
    "npy": read_numpy,
    "parquet": read_parquet,
}


def check_table(path: Path, names: Sequence[str], rows: Array) -> None:
    """Raise a `DatasetError` for the first thing that no density can be fitted to."""
    if twins := [name for i, name in enumerate(names) if name in names[:i]]:
        raise DatasetError(f"{path}: two columns are called '{twins[0]}'; names must differ")
    if len(names) < 2:
        raise DatasetError(f"{path} has {len(names)} column; at least 2 are needed")
    needed = max(LEAST_ROWS, ROWS_PER_COLUMN * len(names))
    if len(rows) < needed:
        raise DatasetError(f"{path} has {len(rows)} rows; {needed} are needed for {len(names)} columns")
    for name, column in zip(names, rows.T, strict=True):
        check_column(f"{path}: column '{name}'", column)
    seen: dict[bytes, str] = {}
    for name, column in zip(names, rows.T, strict=True):
        if (twin := seen.setdefault(column.tobytes(), name)) != name:
            raise DatasetError(f"{path}: columns '{twin}' and '{name}' are equal; drop one, or no density exists")
    _, spread, axes = np.linalg.svd((rows - rows.mean(axis=0)) / rows.std(axis=0), full_matrices=False)
    if spread[-1] < 1e-10 * spread[0]:
        name = names[int(np.abs(axes[-1]).argmax())]
        raise DatasetError(f"{path}: column '{name}' is a linear combination of others; drop it, or no density exists")


def check_column(where: str, column: Array) -> None:
    """Raise a `DatasetError` for a column with missing or infinite values, or without a spread that a float64 can square."""
    for wrong, what, remedy in (
        (np.isnan(column), "missing", "fill it or drop the row"),
        (np.isinf(column), "infinite", "drop the row"),
    ):
        if rows := np.flatnonzero(wrong).tolist():
            more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
            raise DatasetError(f"{where} has a value that is {what}, in row {rows[0] + 1}{more}; {remedy}")
    if column.min() == column.max():
        raise DatasetError(f"{where} is constant; a density needs columns that vary, drop it")
    spread = column.max() / 2 - column.min() / 2
    if not SPREAD[0] < spread < SPREAD[1]:
        raise DatasetError(f"{where} spreads over {2 * spread:.1g}, outside {SPREAD[0]:g} to {SPREAD[1]:g}; rescale it")
