"""A user's own table: every kind of file gives the same dataset, and what cannot be used is said in a line that names it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data import DatasetError, load_dataset
from bench.data.own_files import READERS

from .conftest import facts

ROWS = np.random.default_rng(0).gamma(2.0, 1.0, (200, 3)) * [1, 10, 100]
A, B, C = ROWS.T
TAB, BLANK_LINES = "\t", "\n\n"


def write_csv(path: Path, rows: np.ndarray = ROWS, header: str | None = "a,b,c", delimiter: str = ",") -> Path:
    lines = [delimiter.join(map(repr, map(float, row))) for row in rows]
    path.write_text("\n".join([*([header] if header is not None else []), *lines]) + "\n")
    return path


def test_rows_are_shuffled_split_and_standardised_by_the_training_rows(tmp_path: Path) -> None:
    dataset = load_dataset(f"csv:{write_csv(tmp_path / 'my table.csv')}", None)
    assert (dataset.name, dataset.kind) == ("csv-my_table", "tabular")
    assert [rows.shape for rows in dataset.splits.values()] == [(160, 3), (20, 3), (20, 3)]
    train = dataset.splits["train"]
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-6)
    assert facts(dataset).features == ("a", "b", "c")
    rows = np.concatenate(list(dataset.splits.values()))
    order = np.argsort(rows[:, 0])
    scale = ROWS[np.argsort(ROWS[:, 0])]
    slope = np.ptp(scale, axis=0) / np.ptp(rows, axis=0)
    np.testing.assert_allclose(rows[order] * slope - scale, (rows[order] * slope - scale)[:1].repeat(200, 0), atol=1e-3)
    assert facts(dataset).log_det == pytest.approx(-np.log(slope).sum(), abs=1e-5)


def test_numbers_of_a_text_are_read_to_the_last_bit(tmp_path: Path) -> None:
    """A dataset is identified by its content; pandas before 3.1 was off by a bit."""
    assert (READERS["csv"](write_csv(tmp_path / "t.csv"))[1] == ROWS).all()


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", ROWS)
    write_parquet(tmp_path / "t.parquet", dict(zip("abc", ROWS.T, strict=True)))
    sources = [
        f"csv:{write_csv(tmp_path / 't.csv')}",
        f"csv:{write_csv(tmp_path / 'headless.csv', header=None)}",
        f"csv:{write_csv(tmp_path / 'late.csv', header=BLANK_LINES + 'a,b,c')}",
        f"csv:{write_csv(tmp_path / 'semicolons.csv', header='a;b;c', delimiter=';')}",
        f"csv:{write_csv(tmp_path / 'tabs.txt', header=TAB.join('abc'), delimiter=TAB)}",
        f"npy:{tmp_path / 't.npy'}",
        f"parquet:{tmp_path / 't.parquet'}",
    ]
    found = [load_dataset(source, None) for source in sources]
    assert len({dataset.digest for dataset in found}) == 1
    assert [dataset.name for dataset in found][-2:] == ["npy-t", "parquet-t"]


def write_parquet(path: Path, columns: dict[str, Any]) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table(columns), path)


def test_numbers_and_truth_values_of_parquet_are_numbers(tmp_path: Path) -> None:
    columns = {"whole": np.arange(200), "true": np.arange(200) % 3 == 0, "real": ROWS[:, 0].astype(np.float32)}
    write_parquet(tmp_path / "t.parquet", columns)
    assert load_dataset(f"parquet:{tmp_path / 't.parquet'}", None).shape == (3,)


def test_a_split_number_is_another_shuffle(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "odd@name.csv")
    first, again, other = (load_dataset(f"csv:{path}{split}", None) for split in ("", "@0", "@1"))
    assert first.digest == again.digest
    assert other.digest != first.digest
    assert other.name == "csv-odd_name@1"


def test_equal_rows_are_counted(tmp_path: Path) -> None:
    dataset = load_dataset(f"csv:{write_csv(tmp_path / 't.csv', np.concatenate([ROWS, ROWS[:50]]))}", None)
    assert facts(dataset).duplicates.total == 50


def with_cell(text: str, row: int = 7) -> Callable[[Path], None]:
    """A table with something else in one cell of column b."""

    def make(path: Path) -> None:
        lines = write_csv(path).read_text().splitlines()
        cells = lines[row].split(",")
        lines[row] = ",".join([cells[0], text, cells[2]])
        path.write_text("\n".join(lines))

    return make


def with_columns(*columns: np.ndarray, header: str) -> Callable[[Path], None]:
    return lambda path: write_csv(path, np.column_stack(columns), header) and None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_cell("red"), "'red' in column 'b', row 7, is not a number"),
        (with_cell("1_000"), "'1_000' in column 'b', row 7, is not a number"),
        (with_cell("1,5"), "not a table"),
        (with_cell(""), "column 'b' has a value that is missing, in row 7;"),
        (with_cell("?"), "column 'b' has a value that is missing, in row 7;"),
        (lambda path: write_csv(path, header="1.5,,2"), "column 'column 2' has a value that is missing, in row 1;"),
        (with_cell("inf"), "column 'b' has a value that is infinite, in row 7;"),
        (with_cell("1e400"), "column 'b' has a value that is infinite, in row 7;"),
        (with_columns(A, B, 0 * C + 5, header="a,b,c"), "column 'c' is constant"),
        (with_columns(A, B, A, header="a,b,c"), "columns 'a' and 'c' are equal"),
        (with_columns(A, B, A - 2 * B, header="a,b,c"), "is a linear combination of others"),
        (with_columns(A, B, C, header="a,b,a"), "two columns are called 'a'"),
        (with_columns(A, B, C, header="a,b"), "line of names has 2 columns, the rows have 3"),
        (with_columns(A, header="a"), "1 column; at least 2"),
        (with_columns(1e-300 * A, B, header="a,b"), "e-300, outside 1e-100 to 1e+100"),
        (with_columns(1e300 * A, B, header="a,b"), "e+300, outside 1e-100 to 1e+100"),
        (lambda path: write_csv(path, np.vstack([ROWS, [[1e99, 1, 1]]])), "standard deviations from the mean"),
        (lambda path: write_csv(path, np.vstack([ROWS, [[1e21, 1, 1]]])), "standard deviations from the mean"),
        (lambda path: write_csv(path, ROWS[:99]), "99 rows; 100 are needed for 3 columns"),
        (
            lambda path: write_csv(path, np.random.default_rng(1).random((110, 12)), ",".join("abcdefghijkl")),
            "110 rows; 120 are needed for 12 columns",
        ),
        (lambda path: path.write_text("a,b,c\n"), "a line of names and no rows"),
        (lambda path: path.write_text("\n\n"), "is empty"),
        (lambda path: path.write_bytes(b"a,b\n\xff\xfe,1\n"), "not text in UTF-8"),
    ],
)
def test_what_cannot_be_used_is_named(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    make(path)
    with pytest.raises(DatasetError) as caught:
        load_dataset(f"csv:{path}", None)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_constant_in_the_training_rows_alone_is_named(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(200)
    column = np.zeros(200)
    column[order[-1]] = 1  # a test row of split 0
    path = write_csv(tmp_path / "t.csv", np.column_stack([A, column]), "a,rare")
    with pytest.raises(DatasetError, match="column 'rare' is constant in the training rows of split 0"):
        load_dataset(f"csv:{path}", None)


def test_a_value_too_far_out_for_a_density_is_refused_before_training(tmp_path: Path) -> None:
    order, rows = np.random.default_rng(0).permutation(200), ROWS.copy()
    rows[order[-1], 1] = 1e12  # a test row of split 0
    with pytest.raises(
        DatasetError, match=r"column 'b' has a test value .* standard deviations from the mean.*drop the row"
    ):
        load_dataset(f"csv:{write_csv(tmp_path / 't.csv', rows)}", None)
    rows[order[-1], 1] = 1e4
    assert load_dataset(f"csv:{write_csv(tmp_path / 't.csv', rows)}", None).shape == (3,)


def test_npy_files_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    for content, message in ((np.zeros(5), r"shape \(5,\); expected"), (np.array([["a", "b"]]), "expected numbers")):
        np.save(path, content)
        with pytest.raises(DatasetError, match=message):
            load_dataset(f"npy:{path}", None)
    np.save(path, np.array([[object()]]), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"not a \.npy file of numbers"):
        load_dataset(f"npy:{path}", None)
    with path.open("wb") as file:
        np.savez(file, a=ROWS)
    with pytest.raises(DatasetError, match="an archive"):
        load_dataset(f"npy:{path}", None)
    with pytest.raises(DatasetError, match="no file"):
        load_dataset(f"npy:{tmp_path / 'nowhere.npy'}", None)


def test_parquet_files_of_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    for columns, message in (
        ({"a": A, "colour": ["red"] * 200}, "column 'colour' holds string"),
        ({"a": [None, *A[1:]], "b": B}, "column 'a' has a value that is missing, in row 1"),
    ):
        write_parquet(path, columns)
        with pytest.raises(DatasetError, match=message):
            load_dataset(f"parquet:{path}", None)
    path.write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match="not a Parquet file"):
        load_dataset(f"parquet:{path}", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"pip install \"gebm-bench\[tabular\]\""):
        load_dataset(f"parquet:{path}", None)
