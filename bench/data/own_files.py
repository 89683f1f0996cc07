"""A user's own table as a dataset: `csv:PATH`, `npy:PATH`, `parquet:PATH`.

Rows are shuffled with the split seed, 80 % train, 10 % validate and 10 % test, and values are standardised by the training rows. What no
density can be fitted to is refused in one line that names the column or row: missing and infinite values, words, columns that are
constant or determined by others, too few rows. What makes a density meaningless is named (`bench.data.hygiene`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError
from bench.data.reading import check_unpacked, optional, readable
from bench.data.sources import Source
from bench.data.table import LEAST_ROWS, read_npy, standardising, tabular
from bench.words import plural

__all__ = ["load_file"]

MOST_COLUMNS = 4096
ROWS_PER_COLUMN = 10
SPREAD = (1e-100, 1e100)  # of a column; outside, its variance leaves the range of a float64
MOST_DEVIATIONS = 1e6  # of a standardised value; a density that has one this far out underflows, or says nothing else
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")  # in lower case


def load_file(source: Source) -> Dataset:
    """Load a user's file.

    Raises:
        DatasetError: if it cannot be read, or is no table that a density can be fitted to.
    """
    path = Path(source.where)
    if not path.is_file():
        raise DatasetError(f"no file {path}")
    with readable(path, "a table that can be read"):
        names, rows = READERS[source.kind](path)
    _check_table(path, names, rows)
    rows = rows[np.random.default_rng(source.split).permutation(len(rows))]
    tenth = len(rows) // 10
    splits = dict(zip(("train", "validation", "test"), np.split(rows, [-2 * tenth, -tenth]), strict=True))
    if (constant := np.ptp(splits["train"], axis=0) == 0).any():
        name = names[int(constant.argmax())]
        raise DatasetError(f"{path}: column '{name}' is constant in the training rows of split {source.split}; drop it")
    affine = standardising(splits["train"])
    for split, values in splits.items():
        if (furthest := np.abs(affine(values)).max(axis=0)).max() > MOST_DEVIATIONS:
            name = names[int(furthest.argmax())]
            raise DatasetError(
                f"{path}: column '{name}' has a {split} value {furthest.max():.0e} standard deviations from the mean, too far for any "
                "density; drop the row, or take logarithms"
            )
    return tabular(
        source.label,
        splits,
        affine,
        features=names,
        protocol=f"shuffled with seed {source.split}, 80/10/10 %, standardised by the training rows",
        provenance=f"the user's own file {path.name}",
        inspected=True,
    )


def _read_csv(path: Path) -> tuple[list[str], Array]:
    """Return names and values of a table delimited by commas, semicolons or tabs; a first line of numbers is data, not names."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = ((i, line) for i, line in enumerate(file) if line.strip())
            (start, line), (_, below) = next(lines, (0, "")), next(lines, (0, ""))
        if not line:
            raise DatasetError(f"{path} is empty")
        delimiter = max(",;\t", key=line.count)
        _check_width(path, max(line.count(delimiter), below.count(delimiter)) + 1)
        first = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        headless = all(map(_is_number, first))
        names = [f"column {i + 1}" for i in range(len(first))] if headless else first
        options = {"sep": delimiter, "header": None, "skiprows": start + (not headless), "encoding": "utf-8-sig"}
        try:
            rows = pd.read_csv(path, na_values=MISSING, dtype=np.float64, **options).to_numpy()  # type: ignore[call-overload]
        except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError):
            raise
        except (ValueError, OverflowError):
            _refuse_words(path, names, options)
            raise
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except pd.errors.EmptyDataError as error:
        raise DatasetError(f"{path} has a line of names and no rows") from error
    if rows.shape[1] != len(names):
        raise DatasetError(f"{path}: the line of names has {len(names)} columns, the rows have {rows.shape[1]}")
    return names, rows


def _is_number(cell: str) -> bool:
    """Return whether a cell holds a number or marks a missing one."""
    try:
        float(cell)
    except ValueError:
        return cell.lower() in MISSING
    return True


def _refuse_words(path: Path, names: Sequence[str], options: dict[str, Any]) -> None:
    """Raise a `DatasetError` that names the first cell of a table which is not a number."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    for name, (_, cells) in zip(names, frame.items(), strict=False):
        cells = cells.fillna("").str.strip()
        wrong = pd.to_numeric(cells, errors="coerce").isna() & ~cells.str.lower().isin(MISSING)
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise DatasetError(
                f"{path}: '{cells.iloc[row]}' in column '{name}', row {row + 1}, is not a number; drop the column or encode it"
            )


def _read_numpy(path: Path) -> tuple[list[str], Array]:
    rows = read_npy(path)
    return [f"column {i + 1}" for i in range(rows.shape[1])], rows


def _read_parquet(path: Path) -> tuple[list[str], Array]:
    pa, parquet = (optional(library, "tabular", path) for library in ("pyarrow", "pyarrow.parquet"))
    with readable(path, "a Parquet file"):
        file = parquet.ParquetFile(path)
        _check_width(path, len(file.schema_arrow.names))
        for name, kind in zip(file.schema_arrow.names, file.schema_arrow.types, strict=True):
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise DatasetError(f"{path}: column '{name}' holds {kind}, not numbers; drop the column or encode it")
        check_unpacked(path, file.metadata.num_rows * len(file.schema_arrow.names) * 8)
        table = file.read()
    rows = np.empty((table.num_rows, table.num_columns))
    for i in range(table.num_columns):
        rows[:, i] = table.column(i).cast(pa.float64(), safe=False).to_numpy()
    return table.column_names, rows


READERS = {"csv": _read_csv, "npy": _read_numpy, "parquet": _read_parquet}


def _check_width(path: Path, columns: int) -> None:
    """Raise a `DatasetError` for a table of more columns than are worth reading."""
    if columns > MOST_COLUMNS:
        raise DatasetError(f"{path} has {columns:,} columns; {MOST_COLUMNS:,} are the most that a density is fitted to")


def _check_table(path: Path, names: Sequence[str], rows: Array) -> None:
    """Raise a `DatasetError` for the first thing that no density can be fitted to."""
    _check_width(path, len(names))
    if twins := [name for i, name in enumerate(names) if name in names[:i]]:
        raise DatasetError(f"{path}: two columns are called '{twins[0]}'; names must differ")
    if len(names) < 2:
        raise DatasetError(f"{path} has {len(names)} column{'' if names else 's'}; at least 2 are needed")
    needed = max(LEAST_ROWS, ROWS_PER_COLUMN * len(names))
    if len(rows) < needed:
        raise DatasetError(f"{path} has {plural(len(rows), 'row')}; {needed} are needed for {len(names)} columns")
    for name, column in zip(names, rows.T, strict=True):
        _check_column(f"{path}: column '{name}'", column)
    seen: dict[bytes, str] = {}
    for name, column in zip(names, rows.T, strict=True):
        if (twin := seen.setdefault(column.tobytes(), name)) != name:
            raise DatasetError(f"{path}: columns '{twin}' and '{name}' are equal; drop one, or no density exists")
    triangle = np.linalg.qr((rows - rows.mean(axis=0)) / rows.std(axis=0), mode="r")  # with the same spread and axes
    _, spread, axes = np.linalg.svd(triangle)
    if spread[-1] < 1e-10 * spread[0]:
        name = names[int(np.abs(axes[-1]).argmax())]
        raise DatasetError(f"{path}: column '{name}' is a linear combination of others; drop it, or no density exists")


def _check_column(where: str, column: Array) -> None:
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
