"""`bench report` by its options, and what `bench run` prints of its results."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from bench.cli import main
from bench.cli.run import show_results


def report(*options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["report", *options])


@pytest.fixture(scope="module")
def store(synthetic: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two datasets, two models, one seed: only to be read."""
    return synthetic.make(tmp_path_factory.mktemp("report") / "store", 2, 2, 1)


@pytest.mark.parametrize(("format_", "start"), [("latex", "% Needs"), ("json", "["), ("csv", "suite,")])
def test_what_is_made_for_other_programs_goes_to_the_screen(store: Any, format_: str, start: str) -> None:
    result = report("--store", str(store.root), "--format", format_, "--dataset", "data0")
    assert result.exit_code == 0
    assert result.stdout.startswith(start)


def test_rows_are_chosen_by_name(store: Any) -> None:
    options = ("--model", "model01", "--dataset", "data0", "--metric", "fd", "--sampler", "ula")
    rows = json.loads(report("--store", str(store.root), "--format", "json", *options).stdout)
    found = [{row[name] for row in rows} for name in ("model", "dataset", "metric", "sampler")]
    assert found == [{"model01"}, {"data0"}, {"fd[data0-cnn]"}, {"base", "ula"}]


@pytest.mark.parametrize("option", ["model", "dataset", "metric", "sampler"])
def test_an_unknown_name_is_a_mistake_of_usage(store: Any, option: str) -> None:
    result = report("--store", str(store.root), f"--{option}", "nothing-like-it")
    assert result.exit_code == 2
    assert result.output.startswith(f"bench: no {option} 'nothing-like-it' in these runs; ")
    assert len(result.output.splitlines()) == 1


def test_a_run_prints_its_own_datasets_and_reports_on_all(store: Any) -> None:
    planned = [SimpleNamespace(task=SimpleNamespace(spec=SimpleNamespace(dataset="data1")))]
    outcomes = {"run": SimpleNamespace(state="done", scored=True)}
    suite = SimpleNamespace(name="synthetic")
    campaign: Any = SimpleNamespace(store=store, suite=suite, profile="quick", outcomes=outcomes, planned=planned)
    console = Console(file=io.StringIO(), width=120)
    assert show_results(campaign, console) == ""
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "synthetic · quick · data1" in printed
    assert "data0" not in printed
    whole = Path(store.root, "report", "report.md").read_text()
    assert "## data0" in whole
    assert "## data1" in whole
