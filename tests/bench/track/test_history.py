"""The history only grows, keeps raw samples and survives damage; steps are found by the documented rule; the trend can be seen."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.track import history
from bench.track.changepoints import LEAST_POINTS, steps
from bench.track.trend import sparkline, stretches

from .conftest import BROKEN, LIBRARY, git

Commit = Callable[..., Path]


def track(*arguments: object) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(main, ["track", *map(str, arguments)])


def record(repository: Path, benchmarks: Path, folder: Path, *more: str) -> Result:
    """Record that repository."""
    where = ("--repo", repository, "--benchmarks", benchmarks, "--history", folder)
    return track("record", *where, "--threads", "1", "--processes", "2", *more)


def recordings(folder: Path) -> dict[str, dict[str, Any]]:
    """By file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))}


def made(commit: int, seconds: float, version: str = "v", **more: Any) -> dict[str, Any]:
    """A recording."""
    said = {"seconds": [[seconds] * 3] * 2, "amount": 2.0, "unit": "naps", "version": version}
    name = f"{commit:040x}"
    return {"machine": "m", "commit": name, "commit_time": float(commit), "benchmarks": {"nap": said}} | more


def test_recording_twice_keeps_both_with_raw_samples(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    repository, folder = commit("only"), tmp_path / "history"
    for _ in range(2):
        said = record(repository, benchmarks, folder)
        assert said.exit_code == 0, said.output
    found = recordings(folder)
    head = git(repository, "rev-parse", "HEAD").strip()
    assert len(found) == 2
    for recording in found.values():
        assert recording["schema"] == history.SCHEMA
        assert recording["commit"] == head
        assert not recording["dirty"]
        assert [len(samples) == 4 for samples in recording["benchmarks"]["nap"]["seconds"]] == [True, True]
        assert recording["environment"]["packages"]["numpy"] == np.__version__
    (repository / "gebm" / "__init__.py").write_text(BROKEN)
    said = record(repository, benchmarks, folder)
    assert said.exit_code == 3
    assert "bench: nap: ValueError: no such nap" in said.output
    assert sorted(recording["dirty"] for recording in recordings(folder).values()) == [False, False, True]
    shown = track("history", "--history", folder)
    assert shown.exit_code == 0
    assert "(2 points)" in shown.output


def test_a_benchmark_that_fails_half_way_has_no_samples(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    tiring = LIBRARY.replace(
        "time.sleep(seconds)", "calls.append(time.sleep(seconds))\n    assert len(calls) < 5, 'tired'"
    )
    said = record(commit("tiring", tiring + "\n\ncalls = []\n"), benchmarks, tmp_path / "history")
    assert said.exit_code == 3
    (recording,) = recordings(tmp_path / "history").values()
    assert recording["benchmarks"] == {"nap": {"error": "AssertionError: tired"}}
    assert "1 recordings" in track("history", "--history", tmp_path / "history").output


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    first = history.add(tmp_path, made(1, 1.0))
    content = first.read_bytes()
    second = history.add(tmp_path, made(1, 2.0))
    assert first != second
    assert first.read_bytes() == content
    assert history.add(tmp_path, made(1, 3.0)) not in (first, second)


def test_a_history_that_cannot_be_written_is_said(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = record(commit("only"), benchmarks, tmp_path / "file" / "history")
    assert said.exit_code == 3
    assert "cannot write to the history" in said.output
    with pytest.raises(history.HistoryError, match="Not a directory"):
        history.add(tmp_path / "file", made(1, 1.0))


def test_without_commits_nothing_can_be_recorded(benchmarks: Path, tmp_path: Path) -> None:
    (tmp_path / "gebm").mkdir()
    (tmp_path / "gebm" / "__init__.py").write_text(LIBRARY)
    said = record(tmp_path, benchmarks, tmp_path / "history")
    assert said.exit_code == 2
    assert "has no commit" in said.output
    assert not (tmp_path / "history").exists()


def test_interrupted_half_way_nothing_is_lost_and_nothing_half_written(
    commit: Commit, benchmarks: Path, tmp_path: Path
) -> None:
    repository, folder = commit("only"), tmp_path / "history"
    history.add(folder, made(1, 1.0))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "bench", "track", "record", "--repo", repository, "--benchmarks", benchmarks]
    command += ["--history", folder, "--processes", "100"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ.copy()) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("process 1"):
                break
        process.terminate()
        said = process.stderr.read()
        assert process.wait(30) == 130
    assert "bench: interrupted; nothing was recorded, the history is as it was" in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_damaged_and_foreign_files_are_named_and_left_out(tmp_path: Path) -> None:
    history.add(tmp_path, made(1, 1.0))
    (tmp_path / "m" / "cut.json").write_text('{"schema": 1,')
    (tmp_path / "m" / "later.json").write_text('{"schema": 2}')
    said = track("history", "--history", tmp_path)
    assert said.exit_code == 0
    assert "cut.json cannot be read" in said.output
    assert "later.json has schema 2, this version reads 1" in said.output
    assert "m: 1 recordings" in said.output


def test_no_history_is_said_in_a_line(tmp_path: Path) -> None:
    said = track("history", "--history", tmp_path / "nowhere")
    assert said.exit_code == 2
    assert "no history at" in said.output


def test_the_trend_shows_its_step_and_breaks_where_the_benchmark_changed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        history.add(tmp_path, made(number, 9.0, version="old"))
    for number in range(12, 36):
        seconds = (1.0 if number < 24 else 1.2) * math.exp(rng.normal(0, 0.02))
        history.add(tmp_path, made(number, seconds))
    said = track("history", "--history", tmp_path, "--png", tmp_path / "trend.png", "--only", "n*")
    assert said.exit_code == 0, said.output
    assert "(24 points)" in said.output
    (step,) = [line for line in said.output.splitlines() if " at " in line]
    assert any(change in step for change in ("-16%", "-17%"))
    assert f"{24:040x}"[:12] in step
    assert (tmp_path / "trend.png").read_bytes()[:4] == b"\x89PNG"
    (recorded,) = history.read(tmp_path)[0].values()
    assert [len(run) for run in stretches(history.series(recorded)["nap"])] == [12, 24]


def test_several_machines_are_kept_apart(tmp_path: Path) -> None:
    for machine in ("m", "n"):
        history.add(tmp_path, made(1, 1.0, machine=machine))
    said = track("history", "--history", tmp_path, "--png", tmp_path / "trend.png")
    assert said.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"trend-m.png", "trend-n.png"}


def test_machines_with_other_threads_or_cores_have_other_names() -> None:
    one = {"cores": 2, "threads": 1, "capability": "AVX2"}
    names = [history.machine_name(one | more, "cpu") for more in ({}, {"threads": 2}, {"capability": "AVX512"}, {})]
    assert len(set(names)) == 3
    assert names[0] == names[3]


def test_steps_are_found_where_they_are() -> None:
    rng = np.random.default_rng(1)
    levels = np.repeat([100.0, 120.0, 90.0], [15, 12, 15])
    found = steps((levels * np.exp(rng.normal(0, 0.02, len(levels)))).tolist())
    assert [step.at for step in found] == [15, 27]
    assert [step.change for step in found] == pytest.approx([0.2, -0.25], abs=0.05)


def test_noise_single_outliers_and_small_or_young_steps_are_no_steps() -> None:
    """400 series of noise: Pettitt's p is conservative at 0.01, and the change must exceed 3 %; more than 8 would be a bug."""
    rng = np.random.default_rng(2)
    noise = np.exp(rng.normal(0, 0.05, (400, 20)))
    assert sum(bool(steps(row)) for row in noise.tolist()) <= 8
    calm = [1.0, 1.001] * 8
    assert steps([*calm, 5.0, *calm]) == []
    assert steps([1.0] * 15 + [1.02] * 15) == []
    assert steps([1.0] * 15 + [2.0] * (LEAST_POINTS - 1)) == []
    assert len(steps([1.0] * 15 + [2.0] * 15)) == 1
    assert steps([]) == []


def test_a_series_is_positive() -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        steps([1.0, 0.0])


def test_sparklines() -> None:
    assert sparkline([1.0, 1.0]) == "▄▄"
    assert sparkline([0.0, 7.0, 3.0]) == "▁█▄"
