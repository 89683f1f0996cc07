"""`bench status`: every run at a glance, nothing cut, filters that say what they do not know."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.core.store import Store, flat
from bench.results import states

REASON = "diverged: energy_loss not finite in training at step 3" + ", and a long story" * 9


@pytest.fixture
def store(synthetic: ModuleType, tmp_path: Path) -> Store:
    """Two datasets, two models, two seeds: one run failed, one was killed, one ran out of time, the others are done."""
    made: Store = synthetic.make(tmp_path / "store", 2, 2, 2)
    failed, killed, late, *_ = folders(made)
    synthetic.change(failed / "status.json", state="failed", reason=REASON, steps_done=3)
    (failed / "log.txt").write_text("Traceback")
    (killed / "status.json").unlink()
    synthetic.change(late / "status.json", state="unfinished", reason="40 of 100 steps", steps_done=40)
    return made


def folders(store: Store) -> list[Path]:
    return sorted((store.root / "runs").glob("*/*/*"))


def status(store: Store, *options: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["status", "--store", str(store.root), *options], env={"COLUMNS": "40"})
    assert result.exit_code == code, result.output
    return result


def test_every_run_has_a_line_that_is_never_cut(store: Store) -> None:
    *lines, summary = status(store).stdout.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        [str(folder.relative_to(store.root / "runs")), state]
        for folder, state in zip(folders(store), ("failed", "partial", "unfinished", "done"), strict=False)
    ]
    assert lines[0].endswith(f"{REASON}; see {folders(store)[0] / 'log.txt'}")
    assert "`bench run` continues it; training step 7,950 of 100" in lines[1]
    assert "after 40 of 100 steps" in lines[2]
    assert all(line.endswith(" ago") for line in lines[3:])
    assert summary == "8 runs: 5 done, 1 unfinished, 1 partial, 1 failed"


def test_filters_and_json(store: Store) -> None:
    assert status(store, "--dataset", "data1", "--model", "model00").stdout.endswith("\n2 runs: 2 done\n")
    assert status(store, "--state", "missing").stdout == "0 runs\n"
    rows = json.loads(status(store, "--state", "failed", "--state", "partial", "--format", "json").stdout)
    assert [row["state"] for row in rows] == ["failed", "partial"]
    assert rows[0]["log"] == f"runs/{rows[0]['run']}/log.txt"
    assert rows[1]["at"]["step"] == 7950
    assert "did you mean 'data1'?" in status(store, "--dataset", "data11", code=2).stderr
    assert (
        "--model: no run of 'gebm' here; there are: model00, model01" in status(store, "--model", "gebm", code=2).stderr
    )


def test_of_a_suite_what_has_not_begun_is_there_too(store: Store) -> None:
    folders(store)[7].rename(store.root / "aside" / "gone")
    assert status(store).stdout.endswith("7 runs: 4 done, 1 unfinished, 1 partial, 1 failed\n")
    assert status(store, "--suite", "synthetic").stdout.endswith(
        "8 runs: 4 done, 1 unfinished, 1 partial, 1 failed, 1 missing\n"
    )
    assert "there are: synthetic (quick)" in status(store, "--suite", "other", code=2).stderr


def test_a_run_at_work_says_where_and_how_far(store: Store) -> None:
    at = {"phase": "refit", "step": 400, "total": 2000, "losses": {"energy_loss": 0.3141}}
    killed = str(folders(store)[1].relative_to(store.root / "runs"))
    held = store.leases.claim(flat(killed))
    assert held
    held.note = at
    held.beat()
    (line,) = status(store, "--state", "running").stdout.splitlines()[:-1]
    assert line.split()[:2] == [killed, "running"]
    assert line.endswith(f"process {os.getpid()} on {socket.gethostname()}  refit step 400 of 2,000, energy loss 0.314")


def test_damage_is_found_when_asked_for(store: Store) -> None:
    evaluation = next((folders(store)[4] / "evals").glob("*.json"))
    evaluation.write_text(evaluation.read_text().replace('"collapsed": ""', '"collapsed": "x"'))
    assert "5 done" in status(store).stdout
    checked = status(store, "--check").stdout
    assert "4 done" in checked
    assert f"{evaluation.name} is corrupt" in checked
    (folders(store)[5] / "status.json").write_text("{")
    assert "status.json is corrupt: it is not what was written" in status(store).stdout


def test_a_run_that_was_done_is_read_again_when_its_status_has_changed(
    store: Store, synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    real = states.by_status
    monkeypatch.setattr(states, "by_status", lambda folder: seen.append(folder.path) or real(folder))
    said = status(store).stdout
    assert seen == folders(store)
    seen.clear()
    assert status(store).stdout == said
    assert seen == folders(store)[:3]  # those that are not done
    changed = folders(store)[5]
    synthetic.change(changed / "status.json", state="failed", reason="diverged")
    seen.clear()
    assert "4 done, 1 unfinished, 1 partial, 2 failed" in status(store).stdout
    assert seen == [*folders(store)[:3], changed]
    seen.clear()
    (store.cache / "done.sealed").write_bytes(b"{}")
    assert status(store).stdout.endswith("2 failed\n")
    assert seen == folders(store)


def test_nothing_heavy_is_imported(store: Store) -> None:
    script = (
        "import sys; from click.testing import CliRunner; from bench.cli import main\n"
        f"assert CliRunner().invoke(main, ['status', '--store', {str(store.root)!r}]).exit_code == 0\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'matplotlib', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
