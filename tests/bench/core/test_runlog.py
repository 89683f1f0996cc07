"""A run's log says what happened, and nothing depends on it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from bench.core.run_folder import LOG, RunFolder
from bench.core.runlog import logged, warnings_noted
from bench.core.store import Store


def test_a_run_that_went_well_says_where_it_ran_what_it_did_and_that_it_is_done(finished: Store) -> None:
    (folder,) = (finished.root / "runs/digits/gebm").iterdir()
    lines = (folder / LOG).read_text().splitlines()
    assert "UTC  begun on " in lines[0]
    assert "missing" in lines[0]
    assert lines[-1].endswith("UTC  done")
    assert LOG not in json.loads((folder / "status.json").read_text())["files"]


def test_phases_and_warnings_are_lines_and_go_on_to_whoever_watches(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    seen: list[dict[str, Any]] = []
    tell = logged(seen.append, folder)
    told: list[dict[str, Any]] = [
        {"phase": "training", "step": 10, "total": 90},
        {"phase": "training", "step": 20, "total": 90},
        {"warning": "odd"},
        {"phase": "scoring"},
        {"phase": "training", "step": 30, "total": 90},
    ]
    for each in told:
        tell(each)
    assert seen == told
    words = [line.partition("UTC  ")[2] for line in (folder / LOG).read_text().splitlines()]
    assert words == ["training, step 10 of 90", "warning: odd", "scoring", "training, step 30 of 90"]


def test_a_warning_of_a_library_is_noted_and_still_heard(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.warns(RuntimeWarning, match="hot"), warnings_noted(folder):
        warnings.warn("too hot", RuntimeWarning, stacklevel=1)
    assert (folder / LOG).read_text().endswith("RuntimeWarning: too hot\n")


def test_a_log_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    RunFolder(tmp_path / "nowhere").log("unheard")
