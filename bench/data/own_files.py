"""A user's own table as a dataset: `csv:PATH`, `npy:PATH`, `parquet:PATH`.

Rows are shuffled with the split seed, 80 % train, 10 % validate and 10 % test, and values are standardised by the training rows. What a
density cannot be fitted to is refused in a line that names the column or row: missing and infinite values, words, columns that are
constant or that others determine, too few rows.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data import Array, Dataset, DatasetError
from bench.data.sources import Source
from bench.data.table import LEAST_ROWS, standardising, tabular

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_file"]

ROWS_A_COLUMN = 10


def load_file(source: Source) -> Dataset:
    """The dataset of a user's file.

    Raises:
        DatasetError: if it cannot be read, or is not a table that a density can be fitted to.
    """
    path = Path(source.where)
    if not path.is_file():
        raise DatasetError(f"no file {path}")
    names, rows = READERS[source.kind](path)
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
    return tabular(
        source.label,
        {split: affine(values) for split, values in splits.items()},
        originals=splits,
        features=names,
        log_det=affine.log_det,
        protocol=f"shuffled with seed {source.split}, 80/10/10 %, standardised by the training rows",
        provenance=f"the user's own file {path.name}",
    )


def read_csv(path: Path) -> tuple[list[str], Array]:
    """Names and values of a text table whose delimiter is a comma, semicolon or tab; a first line of numbers is data, not names."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start, line = next(((i, line) for i, line in enumerate(file) if line.strip()), (0, ""))
        if not line:
            raise DatasetError(f"{path} is empty")
        delimiter = max(",;\t", key=line.count)
        first = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        headless = all(is_missing(cell) or is_number(cell) for cell in first)
        try:
            frame = read_cells(path, delimiter, start + (not headless), dtype=np.float64)
        except ValueError as error:
            if isinstance(error, (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError)):
                raise
            frame = read_cells(path, delimiter, start + (not headless), dtype=str, keep_default_na=False)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except pd.errors.EmptyDataError as error:
        raise DatasetError(f"{path} has a line of names and no rows") from error
    except pd.errors.ParserError as error:
        raise DatasetError(f"{path} is not a table: {str(error).strip()}") from error
    names = [f"column {i + 1}" for i in range(len(first))] if headless else first
    if frame.shape[1] != len(names):
        raise DatasetError(f"{path}: the line of names has {len(names)} columns, the rows have {frame.shape[1]}")
    columns = [to_numbers(path, name, frame.iloc[:, i].to_numpy()) for i, name in enumerate(names)]
    return names, np.stack(columns, axis=1)


def read_cells(path: Path, delimiter: str, skipped: int, **options: Any) -> pd.DataFrame:
    """The cells below the line of names."""
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(
        path, sep=delimiter, header=None, skiprows=skipped, encoding="utf-8-sig", **options
    )
    return frame


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in ("", "na", "n/a", "nan", "null", "none", "?")


def to_numbers(path: Path, name: str, cells: Array) -> Array:
    """A column's numbers; a missing cell becomes NaN, for `check_table` to name.

    Raises:
        DatasetError: naming the first cell that is neither.
    """
    if cells.dtype.kind == "f":
        return cells
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        text = str(cell).strip()
        if not is_missing(text) and not is_number(text):
            raise DatasetError(
                f"{path}: '{text}' in column '{name}', row {row + 1}, is not a number; drop the column or encode it"
            )
        values[row] = np.nan if is_missing(text) else float(text)
    return values


def read_npy(path: Path) -> tuple[list[str], Array]:
    """Values of a .npy file, with column numbers as names."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(f"{path} is not a .npy file of numbers") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind not in "fiub":
        what = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else "an archive"
        raise DatasetError(f"{path} holds {what}; expected numbers of shape (rows, columns)")
    return [f"column {i + 1}" for i in range(rows.shape[1])], rows.astype(np.float64)


def read_parquet(path: Path) -> tuple[list[str], Array]:
    """Names and values of a Parquet file."""
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
        raise DatasetError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DatasetError(f"{path}: column '{name}' holds {kind}, not numbers; drop the column or encode it")
        columns.append(column.cast(pa.float64()).to_numpy())
    if not columns:
        raise DatasetError(f"{path} has no columns")
    return list(table.column_names), np.stack(columns, axis=1)


READERS: dict[str, Callable[[Path], tuple[list[str], Array]]] = {
    "csv": read_csv,
    "npy": read_npy,
    "parquet": read_parquet,
}


def check_table(path: Path, names: Sequence[str], rows: Array) -> None:
    """Raise DatasetError for the first thing that a density cannot be fitted to."""
    if twins := [name for i, name in enumerate(names) if name in names[:i]]:
        raise DatasetError(f"{path}: two columns are called '{twins[0]}'; names must differ")
    if len(names) < 2:
        raise DatasetError(f"{path} has {len(names)} column; at least 2 are needed")
    needed = max(LEAST_ROWS, ROWS_A_COLUMN * len(names))
    if len(rows) < needed:
        raise DatasetError(f"{path} has {len(rows)} rows; {needed} are needed for {len(names)} columns")
    for name, column in zip(names, rows.T, strict=True):
        for wrong, what, remedy in (
            (np.isnan, "missing", "fill it or drop the row"),
            (np.isinf, "infinite", "drop the row"),
        ):
            if len(where := np.flatnonzero(wrong(column))):
                more = f" (and {len(where) - 1} more)" if len(where) > 1 else ""
                raise DatasetError(
                    f"{path}: column '{name}' has a value that is {what}, in row {where[0] + 1}{more}; {remedy}"
                )
        if column.min() == column.max():
            raise DatasetError(f"{path}: column '{name}' is constant; a density needs columns that vary, drop it")
    seen: dict[bytes, str] = {}
    for name, column in zip(names, rows.T, strict=True):
        if (twin := seen.setdefault(column.tobytes(), name)) != name:
            raise DatasetError(f"{path}: columns '{twin}' and '{name}' are equal; drop one, or no density exists")
    _, spread, axes = np.linalg.svd((rows - rows.mean(axis=0)) / rows.std(axis=0), full_matrices=False)
    if spread[-1] < 1e-10 * spread[0]:
        name = names[int(np.abs(axes[-1]).argmax())]
        raise DatasetError(f"{path}: column '{name}' is a linear combination of others; drop it, or no density exists")
