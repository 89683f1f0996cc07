"""The store: what is there is told from what is not, and what is damaged is never used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core import store as store_module
from bench.core.campaign import Campaign
from bench.core.files import CorruptFileError, read_sealed, write_bytes, write_json, write_sealed
from bench.core.runner import execute
from bench.core.spec import Suite
from bench.core.store import Store, StoreError
from bench.core.task import record_death

from ..conftest import plan_one


def done(suite: Suite, store: Store) -> Path:
    """A finished run's folder."""
    task = plan_one(suite, store).task
    assert execute(task, lambda _: None, lambda: False).state == "done"
    return store.folder(task.spec).path


def test_the_fingerprint_is_of_the_code_that_makes_numbers_and_of_no_other() -> None:
    parts = (*store_module.NUMBERS, *store_module.NUMBERS_FOLDERS)

    def counts(path: str) -> bool:
        return any(path == part or path.startswith(part + "/") for part in parts)

    root = Path(store_module.__file__).parents[2]
    assert all(counts(str(path.relative_to(root))) for path in (root / "bench" / "datasets").rglob("*.py"))
    assert all((root / part).exists() for part in parts)
    for other in ("bench/cli.py", "bench/downloads.py", "bench/usage.py", "bench/display.py", "bench/report/text.py"):
        assert (root / other).exists()
        assert not counts(other)


def test_states_along_a_run(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    states = [store.lookup(task.spec, task.readouts).state]
    stopped = execute(task, lambda _: None, lambda: True)
    assert stopped.state == "stopped"
    states.append(store.lookup(task.spec, task.readouts).state)
    assert execute(task, lambda _: None, lambda: False).state == "done"
    states.append(store.lookup(task.spec, task.readouts).state)
    assert execute(task, lambda _: None, lambda: False).state == "hit"
    assert states == ["missing", "partial", "hit"]
    assert not (store.folder(task.spec).path / "resume.pt").exists()


def test_more_readouts_continue_a_finished_run(tiny: Suite, store: Store) -> None:
    folder = done(tiny, store)
    checkpoint = (folder / "checkpoint.safetensors").stat()
    more = tiny.model_copy(deep=True)
    profile = more.profiles["quick"]
    evaluation = profile.evaluation.model_copy(update={"samples": 90})
    more.profiles["quick"] = profile.model_copy(update={"evaluation": evaluation})
    planned = plan_one(more, store)
    assert (planned.found.state, planned.found.reason) == ("partial", "trained; 2 evaluations to do")
    assert execute(planned.task, lambda _: None, lambda: False).state == "done"
    assert (folder / "checkpoint.safetensors").stat().st_mtime_ns == checkpoint.st_mtime_ns
    assert plan_one(tiny, store).found.state == "hit"


@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors", "curve.jsonl", "training.json", "spec.json", "status.json", "evals"]
)
@pytest.mark.parametrize("truncate", [True, False])
def test_a_damaged_file_is_named_and_redone(tiny: Suite, store: Store, name: str, truncate: bool) -> None:
    folder = done(tiny, store)
    before = json.loads((folder / "status.json").read_text())["files"]
    path = min((folder / "evals").glob("*.json")) if name == "evals" else folder / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x20
    path.write_bytes(raw[: len(raw) // 2] if truncate else raw)
    planned = plan_one(tiny, store)
    assert planned.found.state == "corrupt"
    assert path.name in planned.found.reason
    assert execute(planned.task, lambda _: None, lambda: False).state == "done"
    after = json.loads((folder / "status.json").read_text())["files"]
    assert after["checkpoint.safetensors"] == before["checkpoint.safetensors"]
    assert len(list((store.root / "attic").iterdir())) == 1


def other_readouts(suite: Suite, **changes: object) -> Suite:
    """The same training with another evaluation."""
    more = suite.model_copy(deep=True)
    profile = more.profiles["quick"]
    evaluation = profile.evaluation.model_copy(update=changes)
    profiles = {"quick": profile.model_copy(update={"evaluation": evaluation})}
    return more.model_copy(update={"profiles": profiles})


def test_a_readout_that_fails_leaves_finished_ones_finished(tiny: Suite, store: Store) -> None:
    done(tiny, store)
    broken = plan_one(
        other_readouts(tiny, samples=5), store
    ).task  # too few for a score, and past the suite's own check
    assert execute(broken, lambda _: None, lambda: False).state == "failed"
    assert plan_one(tiny, store).found.state == "hit"
    assert (store.folder(broken.spec) / "failure.json").exists()


def test_a_damaged_evaluation_of_another_suite_is_not_vouched_for(tiny: Suite, store: Store) -> None:
    folder = done(tiny, store)
    names = {path.name for path in (folder / "evals").iterdir()}
    other = other_readouts(tiny, samples=90)
    assert execute(plan_one(other, store).task, lambda _: None, lambda: False).state == "done"
    (folder / "status.json").unlink()  # as a kill would leave it
    added = min(path for path in (folder / "evals").glob("*.json") if path.name not in names)
    added.write_bytes(added.read_bytes()[:50])
    assert execute(plan_one(tiny, store).task, lambda _: None, lambda: False).state == "done"
    assert plan_one(tiny, store).found.state == "hit"
    assert plan_one(other, store).found.state == "partial"
    assert execute(plan_one(other, store).task, lambda _: None, lambda: False).state == "done"


def test_a_death_after_the_end_changes_nothing(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    execute(task, lambda _: None, lambda: False)
    assert record_death(task, "killed by SIGKILL").state == "done"
    assert plan_one(tiny, store).found.state == "hit"
    other = plan_one(tiny, store, "gan-ns").task
    assert record_death(other, "killed by SIGKILL").state == "failed"
    assert plan_one(tiny, store, "gan-ns").found.reason == "killed by SIGKILL"


def test_another_device_than_asked_for_is_stale(tiny: Suite, store: Store) -> None:
    done(tiny, store)
    task = plan_one(tiny, store).task
    states = {device: store.lookup(task.spec, task.readouts, device).state for device in ("auto", "cpu", "cuda")}
    assert states == {"auto": "hit", "cpu": "hit", "cuda": "stale"}


def test_other_code_makes_a_run_stale(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    done(tiny, store)
    monkeypatch.setattr(store_module, "fingerprint", lambda: "another")
    assert plan_one(tiny, store).found.state == "stale"


def test_the_fingerprint_is_of_the_code_that_makes_numbers() -> None:
    """A change of the report may not make results stale; a change of the library must."""
    root = Path(store_module.__file__).parents[2]
    parts = [root / part for part in (*store_module.NUMBERS, *store_module.NUMBERS_FOLDERS)]
    assert all(part.exists() for part in parts)
    covered = {file for part in parts for file in ([part] if part.is_file() else part.rglob("*.py"))}
    names = {str(file.relative_to(root)) for file in covered}
    assert {"gebm/training.py", "baselines/gan.py", "bench/evaluate.py", "bench/metrics/scores.py"} <= names
    assert not any(name.startswith(("bench/report", "bench/cli")) for name in names)


def test_a_run_is_held_by_one_process(tiny: Suite, store: Store) -> None:
    spec = plan_one(tiny, store).task.spec
    script = (
        "import sys, time; from pathlib import Path; from bench.core.spec import RunSpec; from bench.core.store import Store\n"
        f"spec = RunSpec.model_validate_json({spec.model_dump_json()!r})\n"
        f"with Store(Path({str(store.root)!r})).lock(spec) as mine:\n"
        "    print(mine, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with store.lock(spec) as mine:
            assert not mine
        assert execute(plan_one(tiny, store).task, lambda _: None, lambda: False).state == "busy"
        holder.kill()  # a lock dies with its holder
    with store.lock(spec) as mine:
        assert mine


def test_an_unwritable_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write to the store"):
        Store(tmp_path / "file" / "store").create()
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "nowhere").require()


def test_a_full_disk_loses_nothing(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plan_one(tiny, store).task
    assert execute(plan_one(tiny, store, "gan-ns").task, lambda _: None, lambda: False).state == "done"
    real_fsync = os.fsync

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = execute(task, lambda _: None, lambda: False)
    assert outcome.state == "abort"
    assert "No space left on device" in outcome.reason
    assert str(store.root) in outcome.reason
    monkeypatch.setattr(os, "fsync", real_fsync)
    assert plan_one(tiny, store, "gan-ns").found.state == "hit"
    assert not list(store.root.rglob("*.tmp"))
    assert execute(task, lambda _: None, lambda: False).state == "done"


def test_a_write_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"half")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_json_refuses_what_it_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("position", [0, 31, 32, 40, -1])
def test_a_broken_seal_is_noticed(tmp_path: Path, position: int) -> None:
    path = tmp_path / "sealed"
    write_sealed(path, b"some content of a file")
    assert read_sealed(path) == b"some content of a file"
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CorruptFileError, match="sealed"):
        read_sealed(path)


def test_a_status_of_another_version_is_stale_not_a_crash(tiny: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "plain").create()
    spec = plan_one(tiny, store).task.spec
    store.prepare(spec).write_json("status.json", {"state": "done"})
    found = store.lookup(spec, ())
    assert (found.state, found.reason) == ("stale", "written by another version")


def test_tagged_runs_stay_listed_when_their_suite_changes(tiny: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "plain").create()
    Campaign(tiny, "quick", [plan_one(tiny, store, seed=0)], store, 1, "before").remember()
    Campaign(tiny, "quick", [plan_one(tiny, store, seed=1)], store, 1).remember()
    (tagged,), (manifest,) = store.tagged("before"), store.manifests()
    assert [run["seed"] for run in tagged["runs"]] == [0]
    assert [run["seed"] for run in manifest["runs"]] == [0, 1]
    with pytest.raises(StoreError, match=r"no runs tagged 'after'.*tags: before"):
        store.tagged("after")
