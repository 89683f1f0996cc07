"""The export says what it holds, in every form, and the schema page is complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.core.run_folder import StoreError
from bench.core.store import Store
from bench.metrics import METRICS
from bench.results.frame import SCHEMA
from bench.results.tidy import ExportError, export, schema_page


@pytest.fixture
def store(synthetic: ModuleType, tmp_path: Path) -> Store:
    made: Store = synthetic.make(tmp_path / "store", 1, 2, 2)
    status = next((made.root / "runs").rglob("status.json"))
    for path in (status, *status.parent.glob("evals/*.json")):
        path.unlink()
    return made


def test_the_schema_names_every_column_and_metric_once(store: Store) -> None:
    frame = bench.load(store.root)
    assert list(SCHEMA) == list(frame.columns)
    page = schema_page()
    for name in (*frame.columns, *METRICS):
        assert page.count(f"| `{name}` |") == 1
    assert "&#" not in page


def test_types_are_as_the_schema_says(store: Store) -> None:
    frame = bench.load(str(store.root))
    for name, about in SCHEMA.items():
        kind = about["type"].split()[0]
        values = frame[name].dropna()
        if kind == "text":
            assert values.map(lambda value: isinstance(value, str)).all(), name
        else:
            assert pd.api.types.is_numeric_dtype(frame[name]), name
            assert pd.api.types.is_integer_dtype(frame[name]) == (kind == "integer"), name
        assert "missing" in about["type"] or len(values) == len(frame), name
    assert (frame["status"] == "partial").sum() == 1


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_files_hold_the_frame(store: Store, tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    frame = bench.load(store.root, suite="synthetic")
    path = tmp_path / "out" / f"scores{ending}"
    assert export(frame, path).read_text() == schema_page()
    again = pd.read_csv(path) if ending == ".csv" else pd.read_parquet(path)
    assert list(again.columns) == list(frame.columns)
    for name in frame.columns:
        mine, theirs = (each[name].astype(object).where(each[name].notna(), "").tolist() for each in (frame, again))
        assert mine == pytest.approx(theirs), name


def test_what_cannot_be_written_is_one_line(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, out = CliRunner(), tmp_path / "x.csv"
    done = runner.invoke(main, ["export", str(out), "--store", str(store.root)])
    assert (done.exit_code, out.is_file()) == (0, True)
    assert done.output.startswith("91 rows")
    wrong = runner.invoke(main, ["export", str(tmp_path / "x.txt"), "--store", str(store.root)])
    assert (wrong.exit_code, "end the name in .csv or .parquet" in wrong.output) == (2, True)
    (tmp_path / "file").write_text("")
    blocked = runner.invoke(main, ["export", str(tmp_path / "file" / "x.csv"), "--store", str(store.root)])
    assert (blocked.exit_code, "cannot write" in blocked.output) == (1, True)
    with pytest.raises(StoreError, match="no store at"):
        bench.load(tmp_path / "nowhere")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda *_args, **_options: (_ for _ in ()).throw(ImportError("no")))
    with pytest.raises(ExportError, match="pip install pyarrow"):
        export(bench.load(store.root), tmp_path / "x.parquet")


def test_importing_bench_costs_nothing() -> None:
    script = "import sys, bench; print(sorted({'pandas', 'numpy', 'torch', 'pydantic'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )
    with pytest.raises(AttributeError, match="nothing_here"):
        bench.nothing_here  # noqa: B018
