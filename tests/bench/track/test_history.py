"""The history only grows, keeps raw samples and survives damage; the trend can be seen."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from bench.track import history

from .conftest import BROKEN, commit, git, stepping, track, write_library


def record(repository: Path, naps: Path, folder: Path) -> Result:
    """Record that repository."""
    where = ("--repo", repository, "--benchmarks", naps, "--history", folder)
    return track("record", *where, "--threads", "1", "--processes", "2")


def recordings(folder: Path) -> list[dict[str, Any]]:
    """All of them."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))]


def made(commit: int, seconds: float, version: str = "v", **more: Any) -> dict[str, Any]:
    """A recording."""
    said = {"seconds": [[seconds] * 3] * 2, "amount": 2.0, "unit": "naps", "version": version}
    name = f"{commit:040x}"
    return {
        "schema": history.SCHEMA,
        "machine": "m",
        "commit": name,
        "commit_time": float(commit),
        "benchmarks": {"nap": said},
    } | more


def test_recording_twice_keeps_both_with_raw_samples(naps: Path, tmp_path: Path) -> None:
    repository, folder = commit(tmp_path / "repository", "only"), tmp_path / "history"
    for _ in range(2):
        said = record(repository, naps, folder)
        assert said.exit_code == 0, said.output
    found = recordings(folder)
    assert len(found) == 2
    for recording in found:
        assert recording["schema"] == history.SCHEMA
        assert recording["commit"] == git(repository, "rev-parse", "HEAD").strip()
        assert not recording["dirty"]
        assert [len(samples) for samples in recording["benchmarks"]["nap"]["seconds"]] == [4, 4]
        assert recording["environment"]["packages"]["numpy"] == np.__version__
    write_library(repository, BROKEN)
    said = record(repository, naps, folder)
    assert said.exit_code == 3
    assert "bench: nap: ValueError: no such nap" in said.output
    assert sorted(recording["dirty"] for recording in recordings(folder)) == [False, False, True]
    shown = track("history", "--history", folder)
    assert shown.exit_code == 0
    assert "2 recordings" in shown.output


def test_a_benchmark_that_fails_half_way_has_no_samples(naps: Path, tmp_path: Path) -> None:
    tiring = stepping("calls.append(time.sleep(seconds))\n    assert len(calls) < 5, 'tired'") + "\n\ncalls = []\n"
    said = record(commit(tmp_path / "repository", "tiring", tiring), naps, tmp_path / "history")
    assert said.exit_code == 3
    (recording,) = recordings(tmp_path / "history")
    assert recording["benchmarks"] == {"nap": {"error": "AssertionError: tired"}}


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    first = history.add(tmp_path, made(1, 1.0))
    content = first.read_bytes()
    second = history.add(tmp_path, made(1, 2.0))
    assert first != second
    assert first.read_bytes() == content
    assert history.add(tmp_path, made(1, 3.0)) not in (first, second)


def test_what_cannot_be_recorded_is_said(naps: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = record(commit(tmp_path / "repository", "only"), naps, tmp_path / "file" / "history")
    assert said.exit_code == 3
    assert "cannot write " in said.output
    said = record(write_library(tmp_path / "bare").root, naps, tmp_path / "history")
    assert said.exit_code == 2
    assert "has no commit" in said.output
    assert not (tmp_path / "history").exists()


def test_interrupted_half_way_nothing_is_lost_and_nothing_half_written(
    naps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, folder = commit(tmp_path / "repository", "only"), tmp_path / "history"
    first = history.add(folder, made(1, 1.0))
    content = first.read_bytes()
    processes = iter([history.measure])

    def interrupted(*arguments: Any) -> Any:
        for measure in processes:
            return measure(*arguments)
        return os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(history, "measure", interrupted)
    said = record(repository, naps, folder)
    assert said.exit_code == 130
    assert "process 1 of 2" in said.output
    assert "bench: interrupted; nothing was recorded, the history is as it was" in said.output
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {first: content}


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


def test_the_trend_shows_a_recent_change_and_forgets_what_an_older_benchmark_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    history.add(tmp_path, made(0, 9.0, version="old"))
    for number in range(1, 13):
        history.add(tmp_path, made(number, (1.0 if number < 8 else 1.25) * np.exp(rng.normal(0, 0.02))))
    trend = history.trend(history.read(tmp_path)[0]).loc["nap"]
    assert trend["points"] == 12
    assert trend["change"] == pytest.approx(-0.2, abs=0.03)
    assert trend["p"] < 0.01
    said = track("history", "--history", tmp_path, "--png", tmp_path / "trend.png", "--only", "n*")
    assert said.exit_code == 0, said.output
    assert f"{trend['change']:+.1%}" in said.output
    assert (tmp_path / "trend.png").read_bytes()[:4] == b"\x89PNG"
    assert "nap" not in track("history", "--history", tmp_path, "--only", "x*").output


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
