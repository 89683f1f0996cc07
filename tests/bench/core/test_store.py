"""The store: what is there is told from what is not, and what is damaged is never used."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.core.campaign import Campaign
from bench.core.manifests import manifests, read_manifest, tagged, write_manifest
from bench.core.run_folder import RunFolder, StoreError, UnreadableError
from bench.core.runner import execute, record_death
from bench.core.spec import SCHEMA_VERSION
from bench.core.store import NotInStoreError, Store, flat
from bench.core.suite import Suite
from bench.core.task import Places
from bench.files import CorruptFileError, read_sealed, write_bytes, write_json, write_output, write_sealed, written

from ...faults.disk import failing
from ..conftest import changed, do, plan_one


def test_states_along_a_run(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store, "gan-ns").task
    states = [store.lookup(task).state]
    assert execute(task, lambda _: None, lambda: True).state == "stopped"
    states.append(store.lookup(task).state)
    assert (store.folder(task.spec) / "resume.pt").exists()
    assert execute(task, lambda _: None, lambda: False).state == "done"
    states.append(store.lookup(task).state)
    assert execute(task, lambda _: None, lambda: False).state == "hit"
    assert states == ["missing", "partial", "hit"]
    assert not (store.folder(task.spec) / "resume.pt").exists()


def test_more_readouts_continue_a_finished_run(tiny: Suite, done: Store) -> None:
    planned = plan_one(changed(tiny, "evaluation", samples=90), done)
    checkpoint = done.folder(planned.task.spec) / "checkpoint.safetensors"
    before = checkpoint.stat().st_mtime_ns
    assert (planned.found.state, planned.found.reason) == ("partial", "2 evaluations to do")
    assert do(planned).state == "done"
    assert checkpoint.stat().st_mtime_ns == before
    assert plan_one(tiny, done).found.state == "hit"


@pytest.fixture(scope="module")
def spoilt(finished: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store whose run is damaged and mended, file by file."""
    root = tmp_path_factory.mktemp("spoilt") / "store"
    shutil.copytree(finished.root, root)
    return Store(root)


@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors", "curve.jsonl", "training.json", "spec.json", "status.json", "evals"]
)
@pytest.mark.parametrize("truncate", [True, False])
def test_a_damaged_file_is_named(tiny: Suite, spoilt: Store, name: str, truncate: bool) -> None:
    folder = spoilt.folder(plan_one(tiny, spoilt).task.spec)
    path = min((folder / "evals").glob("*.json")) if name == "evals" else folder / name
    whole = path.read_bytes()
    raw = bytearray(whole)
    raw[len(raw) // 2] ^= 0x20
    path.write_bytes(raw[: len(raw) // 2] if truncate else raw)
    planned = plan_one(tiny, spoilt)
    assert planned.found.state == "corrupt"
    assert planned.pending
    assert path.name in planned.found.reason
    assert "\n" not in planned.found.reason
    path.write_bytes(whole)
    assert plan_one(tiny, spoilt).found.state == "hit"


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "training.json", "evals"])
def test_what_is_damaged_is_set_aside_and_redone(tiny: Suite, done: Store, name: str) -> None:
    folder = done.folder(plan_one(tiny, done, "gan-ns").task.spec)
    before = json.loads((folder / "status.json").read_text())["files"]
    path = min((folder / "evals").glob("*.json")) if name == "evals" else folder / name
    path.write_bytes(path.read_bytes()[:-9])
    assert do(plan_one(tiny, done, "gan-ns")).state == "done"
    after = json.loads((folder / "status.json").read_text())["files"]
    assert after["checkpoint.safetensors"] == before["checkpoint.safetensors"]
    assert len(list((done.root / "aside").iterdir())) == 1
    assert plan_one(tiny, done, "gan-ns").found.state == "hit"


def test_a_readout_that_fails_leaves_finished_ones_finished(tiny: Suite, done: Store) -> None:
    broken = plan_one(changed(tiny, "evaluation", samples=5), done)  # too few for a score, and past the suite's check
    assert do(broken).state == "failed"
    assert plan_one(tiny, done).found.state == "hit"
    assert plan_one(changed(tiny, "evaluation", samples=5), done).found.state == "failed"


def test_a_damaged_evaluation_of_another_suite_is_not_vouched_for(tiny: Suite, done: Store) -> None:
    other = changed(tiny, "evaluation", samples=90)
    folder = done.folder(plan_one(tiny, done).task.spec)
    names = {path.name for path in (folder / "evals").iterdir()}
    assert do(plan_one(other, done)).state == "done"
    (folder / "status.json").unlink()  # as a kill would leave it
    added = min(path for path in (folder / "evals").glob("*.json") if path.name not in names)
    added.write_bytes(added.read_bytes()[:50])
    assert do(plan_one(tiny, done)).state == "done"
    assert plan_one(tiny, done).found.state == "hit"
    assert plan_one(other, done).found.state == "partial"
    assert do(plan_one(other, done)).state == "done"


def test_a_death_after_the_end_changes_nothing(tiny: Suite, done: Store) -> None:
    assert record_death(plan_one(tiny, done).task, "killed by SIGKILL").state == "done"
    assert plan_one(tiny, done).found.state == "hit"
    other = plan_one(tiny, done, "gan-hinge").task
    assert record_death(other, "killed by SIGKILL").state == "failed"
    assert plan_one(tiny, done, "gan-hinge").found.reason == "killed by SIGKILL"


def test_another_device_than_asked_for_is_stale_and_kept(tiny: Suite, done: Store) -> None:
    from dataclasses import replace

    task = plan_one(tiny, done).task
    on = {device: replace(task, places=Places(done.root, device=device)) for device in ("auto", "cpu", "cuda")}
    found = {device: done.lookup(each) for device, each in on.items()}
    assert {device: (each.state, each.stale) for device, each in found.items()} == {
        "auto": ("hit", ""),
        "cpu": ("hit", ""),
        "cuda": ("hit", "made on cpu, asked for on cuda"),
    }
    assert done.lookup(replace(on["cuda"], retrain=True)).state == "stale"


def test_a_run_is_held_by_one_process(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    script = (
        "import time; from pathlib import Path; from bench.core.leases import Leases\n"
        f"with Leases(Path({str(store.root / 'locks')!r})).hold({flat(task.spec.run_id)!r}) as held:\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with store.lock(task.spec) as mine:
            assert not mine
        assert (there := store.holder(task.spec.run_id))
        assert there.pid == holder.pid
        assert execute(task, lambda _: None, lambda: False).state == "busy"
        holder.kill()  # a lock dies with its holder
    assert store.holder(task.spec.run_id) is None
    with store.lock(task.spec) as mine:
        assert mine


def test_a_store_that_is_moved_while_a_run_is_at_work_is_not_begun_anew(tiny: Suite, store: Store) -> None:
    task, moved = plan_one(tiny, store).task, store.root.with_name("moved")

    def move() -> bool:
        if not moved.exists():
            store.root.rename(moved)
        return False

    outcome = execute(task, lambda _: None, move)
    words = f"the store {store.root} is gone: it was moved or removed meanwhile"
    assert (outcome.state, outcome.reason) == ("abort", words)
    with pytest.raises(StoreError, match="is gone"):
        record_death(task, "killed by SIGKILL")
    assert not store.root.exists()


def test_a_folder_that_is_removed_while_its_run_is_at_work_is_said(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store, "gan-ns").task

    def remove() -> bool:
        shutil.rmtree(store.folder(task.spec).path, ignore_errors=True)
        return False

    outcome = execute(task, lambda _: None, remove)
    assert (outcome.state, outcome.reason) == ("failed", "its folder was moved or removed meanwhile")
    assert do(plan_one(tiny, store, "gan-ns")).state == "done"


@pytest.mark.parametrize("name", ["evals", "evals/x.json", "spec.json", "resume.pt", "curve.jsonl", "status.json", ""])
def test_a_folder_in_the_place_of_a_file_and_the_other_way_round_are_set_aside(
    name: str, tiny: Suite, store: Store
) -> None:
    planned = plan_one(tiny, store)
    path = store.folder(planned.task.spec).path / name
    if name in ("evals", ""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    else:
        path.mkdir(parents=True)
    assert do(plan_one(tiny, store)).state == "done"
    assert len(list((store.root / "aside").iterdir())) == 1


def test_an_unusable_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write to the store"):
        Store(tmp_path / "file" / "store").create()
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "nowhere").require()


@pytest.mark.parametrize("schema", [None, 1, 3])
def test_a_store_of_another_schema_is_refused_in_one_line(tmp_path: Path, schema: int | None) -> None:
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    if schema is not None:
        RunFolder(tmp_path).write_json("store.json", {"schema_version": schema})
    for use in (Store(tmp_path).require, Store(tmp_path).create):
        with pytest.raises(StoreError, match=f"has schema {schema or 1}, this version reads 2; name another") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "store.json"}


@pytest.mark.parametrize("content", [None, "", "{"])
def test_a_store_whose_own_file_is_lost_is_known_by_its_runs(done: Store, content: str | None) -> None:
    path = done.root / "store.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    done.require().create()
    assert RunFolder(done.root).read_json("store.json") == {"schema_version": SCHEMA_VERSION}


def test_a_store_whose_making_was_cut_off_is_made_to_the_end(tmp_path: Path) -> None:
    for name in ("runs", "suites"):
        (tmp_path / name).mkdir()
    assert Store(tmp_path).create().require().schema == SCHEMA_VERSION
    assert (tmp_path / "store.json").is_file()


def test_a_store_that_cannot_be_read_is_not_called_old(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(StoreError, match=r"store\.json is corrupt: it is not what was written"):
        Store(tmp_path).require()


def test_a_full_disk_loses_nothing(tiny: Suite, done: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan_one(tiny, done, "gan-hinge")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = do(planned)
    assert outcome.state == "abort"
    assert "No space left on device" in outcome.reason
    assert str(done.root) in outcome.reason
    assert plan_one(tiny, done).found.state == "hit"
    assert not list(done.root.rglob("*.tmp"))
    assert do(planned).state == "done"


CUT_OFF = """
import os, sys
from pathlib import Path
from bench.files import written
with written(Path(sys.argv[1])) as file:
    file.write(b"half of it")
    file.flush()
    os._exit(9)
"""


def test_the_part_of_a_write_that_was_cut_off_is_used_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CUT_OFF, tmp_path / "a.csv"], check=False)
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == b"half of it"
    write_output(tmp_path / "b.csv", b"b")
    assert part.exists()
    write_output(tmp_path / "a.csv", b"a")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.csv": b"a", "b.csv": b"b"}
    part.symlink_to(tmp_path / "b.csv")  # nothing is written through what somebody else put there
    write_output(tmp_path / "a.csv", b"A")
    part.unlink(missing_ok=True)
    os.mkfifo(part)
    write_output(tmp_path / "a.csv", b"another")
    part.unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.csv": b"another", "b.csv": b"b"}


@pytest.mark.parametrize("locks", [True, False])
def test_writers_of_one_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    """Each file is whole, nobody fails, and nothing is left; on a file system without locks, too."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if not locks:
        monkeypatch.setattr(fcntl, "flock", refuse)
    path, contents = tmp_path / "value", {bytes([each]) * 5000 for each in range(4)}
    with written(path) as slow:
        slow.write(b"slow")
        write_bytes(path, b"fast")
        assert path.read_bytes() == b"fast"
    assert path.read_bytes() == b"slow"

    def work(content: bytes) -> None:
        for _ in range(60):
            write_bytes(path, content, more=True)
            assert path.read_bytes() in contents | {b"slow"}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, contents))
    assert [each.name for each in tmp_path.iterdir()] == ["value"]


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


def test_tagged_runs_stay_listed_when_their_suite_changes(tiny: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "plain").create()
    Campaign(tiny, "quick", [plan_one(tiny, store, seed=0)], store, 1, "before").remember()
    Campaign(tiny, "quick", [plan_one(tiny, store, seed=1)], store, 1).remember()
    (before,), (manifest,) = tagged(store, "before"), manifests(store)
    assert [run["seed"] for run in before["runs"]] == [0]
    assert [run["seed"] for run in manifest["runs"]] == [0, 1]
    with pytest.raises(StoreError, match=r"no runs tagged 'after'.*tags: before"):
        tagged(store, "after")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("digits/gebm/aa-s1", "digits/gebm/aa-s1"),
        ("runs/digits/gebm/aa-s1", "digits/gebm/aa-s1"),
        ("gebm/aa-s1", "digits/gebm/aa-s1"),  # not s10
        ("aa-s10", "digits/gebm/aa-s10"),
        ("bb", "gebm-digits/gan/bb-s0"),
        ("gebm-d", "gebm-digits/gan/bb-s0"),  # the beginning of one before the middle of others
        ("gan", "gebm-digits/gan/bb-s0"),  # not gan+refit
        ("gebm-digits/gan", "gebm-digits/gan/bb-s0"),
        ("digits/gebm", "2 runs go by 'digits/gebm', write more of one: digits/gebm/aa-s1, digits/gebm/aa-s10"),
        ("cc", "no run 'cc' in"),
    ],
)
def test_a_run_is_found_by_any_part_of_its_id_that_is_its_own(tmp_path: Path, name: str, found: str) -> None:
    for run in ("digits/gebm/aa-s1", "digits/gebm/aa-s10", "gebm-digits/gan/bb-s0", "digits/gan+refit/dd-s0"):
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        (folder / "spec.json").touch()
    try:
        assert Store(tmp_path).find(name).path == tmp_path / "runs" / found
    except NotInStoreError as error:
        assert found in str(error)  # noqa: PT017


def test_a_list_of_runs_is_never_written_over_unread(tmp_path: Path) -> None:
    """One that the system does not let be read stays; one that is damaged is set aside."""
    store = Store(tmp_path / "store").create()
    manifest = {"suite": "mine", "profile": "quick", "kind": "images", "runs": []}
    write_manifest(store, manifest)
    path = store.root / "suites" / "mine-quick.json"
    kept = path.read_bytes()
    with failing(store.root / "suites", 1, errno.EMFILE, True), pytest.raises(UnreadableError, match="Too many open"):
        read_manifest(store, "mine", "quick")
    assert path.read_bytes() == kept
    path.write_bytes(damaged := kept.replace(b"images", b"imagos"))
    assert read_manifest(store, "mine", "quick")["runs"] == []
    write_manifest(store, manifest)
    assert path.read_bytes() == kept
    RunFolder(store.root / "suites").write_json(path.name, {"suite": "mine", "profile": "quick"})
    foreign = path.read_bytes()
    assert read_manifest(store, "mine", "quick")["runs"] == []
    write_manifest(store, manifest)
    assert path.read_bytes() == kept
    assert {each.read_bytes() for each in (store.root / "aside").iterdir()} == {damaged, foreign}
