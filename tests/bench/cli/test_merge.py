"""Stores into one: every run once and whole, conflicts said, nothing that is there touched."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from bench.core import merging
from bench.core.manifests import manifests, tagged, write_tag
from bench.core.run_folder import LOG, RunFolder
from bench.core.spec import RunSpec
from bench.core.store import Store
from bench.results.frame import scan

from ...faults.disk import failing
from .conftest import bench


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(synthetic: ModuleType, tmp_path: Path) -> Store:
    """A store of eight runs: two datasets, two models, two seeds."""
    store: Store = synthetic.make(tmp_path / "whole", 2, 2, 2)
    return store


@pytest.fixture
def halves(synthetic: ModuleType, tmp_path: Path, whole: Store) -> tuple[Store, Store]:
    """Two machines' shares of it, with one run in both."""
    stores = []
    for name, drop in (("one", slice(5, None)), ("two", slice(None, 4))):
        store = Store(Path(shutil.copytree(whole.root, tmp_path / name)))
        runs = runs_of(store)
        for folder in runs[drop]:
            shutil.rmtree(folder.path)
        (manifest,) = manifests(store)
        listed = [run for run in manifest["runs"] if (store.root / "runs" / run["run"]).is_dir()]
        synthetic.change(store.root / "suites" / "synthetic-quick.json", runs=listed)
        stores.append(store)
    return stores[0], stores[1]


def runs_of(store: Store) -> list[RunFolder]:
    """The runs of a store."""
    return [RunFolder(path.parent) for path in sorted((store.root / "runs").glob("*/*/*/spec.json"))]


def test_shares_make_the_whole(halves: tuple[Store, Store], whole: Store, tmp_path: Path) -> None:
    before = [contents(half.root) for half in halves]
    into = tmp_path / "into"
    done = bench("merge", *(half.root for half in halves), "--into", into)
    assert done.stdout.splitlines() == [
        f"{halves[0].root} → {into}: 5 copied",
        f"{halves[1].root} → {into}: 3 copied, 1 there",
    ]
    assert contents(into / "runs") == contents(whole.root / "runs")
    merged, original = (scan(each).scores.to_dict("records") for each in (Store(into), whole))
    assert sorted(map(str, merged)) == sorted(map(str, original))
    assert [contents(half.root) for half in halves] == before
    first = contents(into / "runs")
    again = bench("merge", halves[1].root, "--into", into).stdout
    assert "4 there" in again
    assert contents(into / "runs") == first
    assert not list((into / "incoming").iterdir())


def other_numbers(synthetic: ModuleType, folder: RunFolder) -> None:
    path = min((folder / "evals").glob("*.json"))
    rows = json.loads(path.read_text())["rows"]
    rows[0]["scores"] = {name: value + 1 for name, value in rows[0]["scores"].items()}
    synthetic.change_listed(folder, f"evals/{path.name}", rows=rows)


def other_readout(synthetic: ModuleType, folder: RunFolder) -> None:
    path = min((folder / "evals").glob("*.json"))
    synthetic.change_listed(folder, f"evals/{path.name}", stage=synthetic.STAGE | {"code": {"bench.metrics": "1"}})


def other_weights(synthetic: ModuleType, folder: RunFolder) -> None:
    files = json.loads((folder / "status.json").read_text())["files"]
    files["checkpoint.safetensors"] = synthetic.keep(folder / "checkpoint.safetensors", b"others")
    synthetic.change(folder / "status.json", files=files)


def other_code(synthetic: ModuleType, folder: RunFolder) -> None:
    synthetic.change(folder / "status.json", stage=synthetic.STAGE | {"code": {"gebm.training": "1"}})


@pytest.mark.parametrize(
    ("differ", "words"),
    [
        (other_numbers, "has other numbers here, by the same code"),
        (other_readout, "is by other code here: bench.metrics changed"),
        (other_weights, "other weights by the same code"),
        (other_code, "trained by other code here: gebm.training changed"),
    ],
)
def test_conflicts_are_said_and_nothing_is_overwritten(
    differ: Callable[[ModuleType, RunFolder], None], words: str, synthetic: ModuleType, whole: Store, tmp_path: Path
) -> None:
    into = Store(Path(shutil.copytree(whole.root, tmp_path / "into")))
    differ(synthetic, runs_of(into)[3])
    before = contents(into.root / "runs")
    merged = bench("merge", whole.root, "--into", into.root, code=1)
    assert merged.stdout.endswith("7 there, 1 conflict\n")
    assert words in merged.stderr
    assert "/".join(runs_of(into)[3].path.parts[-3:]) in merged.stderr
    assert contents(into.root / "runs") == before


def test_durations_and_machines_are_no_conflict(synthetic: ModuleType, whole: Store, tmp_path: Path) -> None:
    into = Store(Path(shutil.copytree(whole.root, tmp_path / "into")))
    folder = runs_of(into)[0]
    for path in (folder / "evals").glob("*.json"):
        synthetic.change_listed(folder, f"evals/{path.name}", seconds={"sampling": 9.0, "scoring": 9.0})
    synthetic.change_listed(folder, "env.json", device="another CPU")
    assert "8 there" in bench("merge", whole.root, "--into", into.root).stdout


def truncate(folder: RunFolder) -> str:
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return "checkpoint.safetensors is corrupt: its content does not match the hash in the status"


def remove(folder: RunFolder) -> str:
    (folder / "curve.jsonl").unlink()
    return "curve.jsonl cannot be read: No such file or directory"


def spoil(folder: RunFolder) -> str:
    path = folder / "status.json"
    path.write_bytes(path.read_bytes()[:-9])
    return "status.json is corrupt: it is not what was written"


def misplace(folder: RunFolder) -> str:
    folder.path.rename(folder.path.with_name("0123456789ab-s7"))
    return "does not hold the run that it is named after"


def point_elsewhere(folder: RunFolder) -> str:
    status = folder.read_json("status.json") or {}
    folder.write_json("status.json", status | {"files": status["files"] | {"evals/../../../x": "0"}})
    return "lists evals/../../../x, which is no file of a run"


def outdate(folder: RunFolder) -> str:
    status = folder.read_json("status.json") or {}
    del status["stage"]
    folder.write_json("status.json", status)
    return "status.json lacks stage: written by another version"


@pytest.mark.parametrize("damage", [truncate, remove, spoil, misplace, point_elsewhere, outdate])
def test_a_damaged_run_is_named_and_left_out(damage: Callable[[RunFolder], str], whole: Store, tmp_path: Path) -> None:
    words = damage(runs_of(whole)[2])
    merged = bench("merge", whole.root, "--into", tmp_path / "into", code=1)
    assert merged.stdout.endswith("7 copied, 1 damaged\n")
    assert words in merged.stderr
    assert len(runs_of(Store(tmp_path / "into"))) == 7
    assert not list((tmp_path / "into" / "incoming").iterdir())


@pytest.mark.parametrize(("side", "state"), [("source", "damaged"), ("target", "conflict")])
def test_a_file_that_cannot_be_read_now_is_neither_corrupt_nor_made_again(
    side: str, state: str, whole: Store, tmp_path: Path
) -> None:
    into = Store(Path(shutil.copytree(whole.root, tmp_path / "into")))
    folder = runs_of(whole if side == "source" else into)[2]
    before = contents(into.root / "runs")
    with failing(folder.path, 1, errno.EMFILE, False):
        merged = bench("merge", whole.root, "--into", into.root, code=1)
    assert merged.stdout.endswith(f"7 there, 1 {state}\n")
    assert merged.stderr.rstrip().endswith(f"{folder / 'status.json'} cannot be read: Too many open files")
    assert contents(into.root / "runs") == before


def test_a_log_that_cannot_be_read_is_not_said_of_the_target(whole: Store, tmp_path: Path) -> None:
    folder = runs_of(whole)[2]
    (folder / LOG).write_text("begun")
    where = folder.path / LOG
    real = Path.read_bytes
    with mock.patch.object(Path, "read_bytes", lambda path: real(path / "x" if path == where else path)):
        merged = bench("merge", whole.root, "--into", tmp_path / "into", code=1)
    assert merged.stdout.endswith("7 copied, 1 damaged\n")
    assert f"{where} cannot be read: Not a directory" in merged.stderr


def test_what_is_not_done(synthetic: ModuleType, whole: Store, tmp_path: Path) -> None:
    begun, late, failed, *_ = runs_of(whole)
    (begun / "status.json").unlink()
    synthetic.change(late / "status.json", state="unfinished", reason="10 of 100 steps, in training")
    (late / "resume.pt").write_bytes(b"as it was left")
    synthetic.change(failed / "status.json", state="failed", reason="killed by SIGKILL (out of memory?)")
    into = Store(tmp_path / "into")
    synced = bench("sync", whole.root, into.root)
    assert synced.stdout.endswith("6 copied, 2 unfinished\n")
    assert bench("merge", whole.root, "--into", into.root).stdout.endswith("1 copied, 6 there, 1 unfinished\n")
    kept = RunFolder(into.root / late.path.relative_to(whole.root))
    assert (kept / "resume.pt").read_bytes() == b"as it was left"
    for folder in (late, failed):  # which are done then
        synthetic.change(folder / "status.json", state="done", reason="")
    synced = bench("sync", whole.root, into.root)
    assert synced.stdout.endswith("2 replaced, 5 there, 1 unfinished\n")
    assert "failed here: set aside" in synced.stdout
    assert len(list((into.root / "aside").iterdir())) == 2


def test_readouts_that_are_lacking_are_added(synthetic: ModuleType, whole: Store, tmp_path: Path) -> None:
    into = Store(Path(shutil.copytree(whole.root, tmp_path / "into")))
    folder = runs_of(into)[1]
    path = min((folder / "evals").glob("*.json"))
    files = json.loads((folder / "status.json").read_text())["files"]
    kept = {name: digest for name, digest in files.items() if not name.startswith(f"evals/{path.stem}")}
    for name in files.keys() - kept.keys():
        (folder / name).unlink()
    synthetic.change(folder / "status.json", files=kept)
    merged = bench("merge", whole.root, "--into", into.root)
    assert merged.stdout.endswith("1 completed, 7 there\n")
    assert contents(into.root / "runs") == contents(whole.root / "runs")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_merge_leaves_runs_whole_and_goes_on(
    error: BaseException, whole: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = merging.write_bytes, 0

    def failing(path: Path, content: bytes) -> None:
        nonlocal written
        written += 1
        if written == 25:
            raise error
        write(path, content)

    into = Store(tmp_path / "into")
    with monkeypatch.context() as patch:
        patch.setattr(merging, "write_bytes", failing)
        stopped = bench("merge", whole.root, "--into", into.root, code=1)
    if isinstance(error, OSError):
        assert stopped.stderr == f"bench: cannot write to the store {into.root}: No space left on device\n"
    for folder in runs_of(into):
        assert contents(folder.path) == contents(whole.root / folder.path.relative_to(into.root))
    begun = len(runs_of(into))
    assert 0 < begun < 8
    assert bench("merge", whole.root, "--into", into.root).stdout.endswith(f"{8 - begun} copied, {begun} there\n")
    assert contents(into.root / "runs") == contents(whole.root / "runs")


def test_a_run_that_somebody_works_on_is_left_alone(whole: Store, tmp_path: Path) -> None:
    into = Store(tmp_path / "into").create()
    spec = RunSpec.model_validate(runs_of(whole)[0].read_json("spec.json"))
    with into.lock(spec):
        merged = bench("merge", whole.root, "--into", into.root, code=1)
    assert merged.stdout.endswith("7 copied, 1 busy\n")
    assert "another process works on it" in merged.stderr


def test_lists_and_tags_are_merged(halves: tuple[Store, Store], whole: Store, tmp_path: Path) -> None:
    for half in halves:
        write_tag(half, "both", manifests(half)[0])
    write_tag(halves[1], "second", manifests(halves[1])[0])
    into = Store(tmp_path / "into")
    bench("merge", *(half.root for half in halves), "--into", into.root)
    (merged,), (original,) = manifests(into), manifests(whole)
    assert {run["run"]: run for run in merged["runs"]} == {run["run"]: run for run in original["runs"]}
    assert len(tagged(into, "both")[0]["runs"]) == 8
    assert len(tagged(into, "second")[0]["runs"]) == 4


def test_a_list_of_another_kind_or_damaged_is_named(synthetic: ModuleType, whole: Store, tmp_path: Path) -> None:
    into = Store(Path(shutil.copytree(whole.root, tmp_path / "into")))
    path = into.root / "suites" / "synthetic-quick.json"
    synthetic.change(path, kind="densities")
    before = path.read_bytes()
    merged = bench("merge", whole.root, "--into", into.root, code=1)
    assert "suite synthetic (quick): conflict: is of kind images, and here of densities" in merged.stderr
    assert path.read_bytes() == before
    (whole.root / "suites" / "synthetic-quick.json").write_text("{}")
    assert "lists of runs: damaged" in bench("merge", whole.root, "--into", into.root, code=1).stderr


def test_a_store_is_not_merged_into_itself(whole: Store) -> None:
    for into in (whole.root, whole.root / "runs" / "inside", whole.root.parent):
        assert "name another store" in bench("merge", whole.root, "--into", into, code=2).stderr
        assert "name another store" in bench("sync", whole.root, into, code=2).stderr
