"""What makes a density meaningless on a user's own table is named, and refused until it is allowed by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.core.plan import Selection, make_plan
from bench.core.suite import SuiteError, load_suite
from bench.core.task import Places
from bench.data import DatasetError, load_dataset

ROWS = 400


def sound() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 3)), columns=["a", "b", "c"])


def write(folder: Path, frame: pd.DataFrame) -> str:
    path = folder / "mine.csv"
    frame.to_csv(path, index=False)
    return f"csv:{path}"


def concerns(folder: Path, frame: pd.DataFrame) -> set[tuple[str, str]]:
    table = load_dataset(write(folder, frame), None).table
    assert table is not None
    return {(each.kind, each.where) for each in table.concerns}


def plan(source: str, *allow: str) -> int:
    suite = load_suite("density")
    selection = Selection(datasets=[source], models=["flow-gaussian"], seeds=[0], allow=allow)
    return len(make_plan(suite, selection, Places(Path("nowhere"), device="cpu")))


def test_a_sound_table_has_no_concerns(tmp_path: Path) -> None:
    assert concerns(tmp_path, sound()) == set()


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (np.arange(ROWS) % 2, "discrete"),
        (np.arange(ROWS) * 7 % 31, "discrete"),
        (np.arange(ROWS) % 11 / 2, "discrete"),
        (np.arange(ROWS), "index"),
        (np.random.default_rng(1).permutation(ROWS) + 1000.0, "index"),
        (np.random.default_rng(1).permutation(ROWS) * 0.1 + 7, "index"),
    ],
    ids=["0/1", "whole", "halves", "index", "shuffled index", "even steps"],
)
def test_columns_without_a_density_are_named(tmp_path: Path, column: np.ndarray, kind: str) -> None:
    assert concerns(tmp_path, sound().assign(odd=column)) == {(kind, "odd")}


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_what_pandas_writes_as_an_index_is_one_though_rows_were_dropped(tmp_path: Path, name: str) -> None:
    frame = sound()
    frame.insert(0, name, np.random.default_rng(1).permutation(10 * ROWS)[:ROWS])
    assert concerns(tmp_path, frame) == {("index", name)}


def test_large_numbers_are_not_whole_for_want_of_digits(tmp_path: Path) -> None:
    assert concerns(tmp_path, sound() * 1e30) == set()


def test_columns_that_others_all_but_determine_are_named(tmp_path: Path) -> None:
    frame = sound()
    near = frame["a"] - 2 * frame["b"] + 1e-4 * np.random.default_rng(2).normal(size=ROWS)
    assert concerns(tmp_path, frame.assign(near=near)) == {("collinear", name) for name in ("a", "b", "near")}
    looser = frame["a"] + 0.1 * np.random.default_rng(2).normal(size=ROWS)
    assert concerns(tmp_path, frame.assign(near=looser)) == set()


def test_rows_that_cross_the_split_are_counted(tmp_path: Path) -> None:
    frame = sound()
    twice = pd.concat([frame.iloc[: ROWS // 2]] * 2)
    assert concerns(tmp_path, twice) == {("duplicates", "validation"), ("duplicates", "test")}


def test_refused_until_allowed_by_kind_or_column(tmp_path: Path) -> None:
    source = write(tmp_path, sound().assign(quality=np.arange(ROWS) % 6, id=np.arange(ROWS)))
    with pytest.raises(
        DatasetError, match=r"'quality' holds whole.*'id' numbers the rows.*--allow discrete --allow index"
    ):
        plan(source)
    with pytest.raises(DatasetError, match="'id' numbers") as refused:
        plan(source, "discrete")
    assert "quality" not in str(refused.value)
    assert plan(source, "discrete:quality", "index") == 1


def test_the_command_and_the_suite_know_the_names(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["plan", "--suite", "density", "--allow", "integer"])
    assert found.exit_code == 2
    assert "'integer' is no concern about a table; there are: discrete, index, collinear, duplicates" in found.output
    source = write(tmp_path, sound().assign(quality=np.arange(ROWS) % 6))
    command = ["plan", "--suite", "density", "--dataset", source, "--model", "kde", "--store", str(tmp_path / "store")]
    assert CliRunner().invoke(main, command).exit_code == 2
    assert CliRunner().invoke(main, [*command, "--allow", "discrete"]).exit_code == 0
    text = load_suite_text().replace("seeds = [0, 1, 2]", 'seeds = [0]\nallow = ["integer"]', 1)
    (tmp_path / "suite.toml").write_text(text)
    with pytest.raises(SuiteError, match="'integer' is no concern"):
        load_suite(str(tmp_path / "suite.toml"))


def load_suite_text() -> str:
    from bench.core.suite import find_suite

    return find_suite("density").read_text()
