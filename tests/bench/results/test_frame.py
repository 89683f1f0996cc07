"""Stores are read truthfully: what changed is read again, what is damaged, unfinished or of another schema says so."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import bench.results.frame
import bench.results.scan_cache
from bench.core.spec import content_hash
from bench.core.store import Store, StoreError
from bench.report import render
from bench.results.facts import RunFacts
from bench.results.frame import run_states, scan
from bench.results.scores import COLUMNS, DIGEST, read_scores, split_sections

Read = list[str]


@pytest.fixture
def store(synthetic: ModuleType, tmp_path: Path) -> Store:
    """Two datasets, two models, two seeds."""
    made: Store = synthetic.make(tmp_path / "store", 2, 2, 2)
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """The runs that are read rather than taken from the cache, as it happens."""
    seen: Read = []
    real = bench.results.frame.read_run

    def watched(folder: Any, head: Any, readouts: Any) -> Any:
        seen.append(head["run"])
        return real(folder, head, readouts)

    monkeypatch.setattr(bench.results.frame, "read_run", watched)
    return seen


def scan_cold(store: Store) -> tuple[pd.DataFrame, list[RunFacts]]:
    for path in store.cache.glob("scan-*"):
        path.unlink()
    return scan(store)


def same(one: tuple[pd.DataFrame, list[RunFacts]], other: tuple[pd.DataFrame, list[RunFacts]]) -> bool:
    pd.testing.assert_frame_equal(one[0], other[0])
    return one[1] == other[1]


def run_of(store: Store, number: int = 0) -> Path:
    return sorted((store.root / "runs").glob("*/*/*"))[number]


def rewrite(path: Path, **changes: Any) -> None:
    """Change a sealed file as the harness would; None takes a key away."""
    value = json.loads(path.read_text()) | changes
    value = {key: each for key, each in value.items() if each is not None and key != "sha256"}
    path.write_text(json.dumps(value | {"sha256": content_hash(value)}))


def test_a_frame_has_every_score_once(store: Store) -> None:
    frame, facts = scan(store)
    assert list(frame.columns) == [*COLUMNS, DIGEST]
    assert len(frame) == 8 * 30
    assert len(facts) == 8
    assert set(frame["status"]) == {"done"}
    assert frame[DIGEST].nunique() == 2
    assert all(len(each.samples) == 5 for each in facts)
    assert all(sample.path.is_file() for each in facts for sample in each.samples)


def test_unchanged_runs_are_not_read_again_and_nothing_differs(store: Store, read: Read) -> None:
    cold = scan(store)
    assert len(read) == 8
    warm = scan(store)
    assert len(read) == 8
    assert same(cold, warm)
    assert render(*cold) == render(*warm)


def test_changed_added_and_removed_runs_are_seen(store: Store, read: Read, synthetic: ModuleType) -> None:
    scan(store)
    read.clear()
    status = run_of(store) / "status.json"
    rewrite(status, state="failed", reason="diverged at step 3")
    frame, _ = scan(store)
    assert read == [str(run_of(store).relative_to(store.root / "runs"))]
    assert frame[frame["run"] == read[0]]["reason"].tolist() == ["diverged at step 3"]
    assert same(scan(store), scan_cold(store))

    read.clear()
    synthetic.make(store.root, 2, 2, 3)
    frame, facts = scan(store)
    assert len(frame) == 12 * 30
    assert len(facts) == 12
    assert {run[-3:] for run in read} >= {"-s2"}
    assert same(scan(store), scan_cold(store))

    gone = run_of(store, 1)
    gone.rename(store.root / "attic" / "gone")
    frame, facts = scan(store)
    assert len(facts) == 11
    assert frame[frame["status"] == "missing"]["run"].tolist() == [str(gone.relative_to(store.root / "runs"))]
    manifest = store.root / "suites" / "synthetic-quick.json"
    rewrite(manifest, runs=json.loads(manifest.read_text())["runs"][:4])
    assert len(scan(store)[1]) == 3
    assert same(scan(store), scan_cold(store))


def test_an_evaluation_changed_in_place_is_seen(store: Store) -> None:
    scan(store)
    evaluation = next((run_of(store) / "evals").glob("*.json"))
    content = evaluation.read_text().replace('"collapsed": ""', '"collapsed": "x"')
    evaluation.write_text(content)
    frame, _ = scan(store)
    (row,) = frame[frame["status"] == "failed"].to_dict("records")
    assert f"{evaluation.name} is corrupt" in row["reason"]


def test_other_readouts_asked_of_a_run_are_seen(store: Store, read: Read) -> None:
    scan(store)
    read.clear()
    manifest = store.root / "suites" / "synthetic-quick.json"
    runs = json.loads(manifest.read_text())["runs"]
    runs[0]["readouts"] = runs[0]["readouts"][:1]
    rewrite(manifest, runs=runs)
    assert len(scan(store)[0]) == 8 * 30 - 24
    assert read == [runs[0]["run"]]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "directory", "other code"])
def test_a_useless_cache_is_ignored_and_made_again(
    store: Store, read: Read, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = scan(store)
    (path,) = store.cache.glob("scan-*")
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "text":
        path.write_text("not a cache")
    elif damage == "directory":
        path.unlink()
        path.mkdir()
    else:
        monkeypatch.setattr(bench.results.scan_cache, "_code", lambda: "other")
    read.clear()
    assert same(cold, scan(store))
    assert len(read) == 8
    if damage != "directory":
        read.clear()
        assert same(cold, scan(store))
        assert not read


def test_a_store_without_room_for_a_cache_is_still_read(store: Store) -> None:
    store.cache.rmdir()
    store.cache.write_text("in the way")
    assert len(scan(store)[0]) == 8 * 30


def test_unfinished_runs_are_named_and_never_cached(store: Store, read: Read) -> None:
    half = run_of(store)
    (half / "status.json").unlink()
    assert set(scan(store)[0]["status"]) == {"done", "unfinished"}
    for path in (half / "evals").glob("*.json"):
        path.unlink()
    for _ in range(2):
        read.clear()
        frame, facts = scan(store)
        (row,) = frame[frame["status"] != "done"].to_dict("records")
        assert (row["status"], row["reason"]) == ("partial", "unfinished; `bench run` continues it")
        assert len(facts) == 7
        assert read == [row["run"]]


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("status.json", {"files": None}, "status.json lacks files: written by another version"),
        ("training.json", {"checkpoint": None}, "lacks 'checkpoint': written by another version"),
        ("training.json", {"facts": [1]}, "is not laid out as expected: written by another version"),
        ("spec.json", {"schema_version": 0}, "schema 0, this version reads 1; `bench run` makes it anew"),
    ],
)
def test_runs_of_another_schema_are_named_as_old(store: Store, name: str, changes: dict[str, Any], why: str) -> None:
    folder = run_of(store)
    rewrite(folder / name, **changes)
    if name != "status.json":
        status = json.loads((folder / "status.json").read_text())
        rewrite(folder / "status.json", files={key: each for key, each in status["files"].items() if key != name})
        if name == "spec.json":
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            rewrite(folder / "status.json", files=status["files"] | {name: digest})
    frame, facts = scan(store)
    (row,) = frame[frame["status"] == "old"].to_dict("records")
    assert why in row["reason"]
    assert len(facts) == 7
    assert why.partition("`")[0] in render(frame, facts)


def test_a_manifest_of_readouts_with_fewer_settings_still_finds_them(store: Store) -> None:
    """As an older version lists them: what it did not know has its default."""
    manifest = store.root / "suites" / "synthetic-quick.json"
    runs = json.loads(manifest.read_text())["runs"]
    for run in runs:
        for readout in run["readouts"]:
            if readout["chain"]:
                del readout["chain"]["decay_every"]
    rewrite(manifest, runs=runs)
    assert len(scan(store)[0]) == 8 * 30


def test_a_manifest_of_another_version_is_one_line(store: Store) -> None:
    rewrite(store.root / "suites" / "synthetic-quick.json", runs=[{"run": "x"}])
    with pytest.raises(StoreError, match="written by another version"):
        scan(store)
    assert store.read_manifest("synthetic", "quick")["runs"] == []


def test_content_of_two_digests_shares_no_table(store: Store, synthetic: ModuleType) -> None:
    frame, _ = scan(store)
    mixed = frame.copy()
    mixed.loc[(mixed["dataset"] == "data0") & (mixed["seed"] == 1), DIGEST] = "f" * 64
    names = [section.dataset for section in split_sections(read_scores(mixed))]
    digest = synthetic.run_spec("data0", "model00", 0).dataset_digest
    assert names == [f"data0 ({digest[:8]})", "data0 (ffffffff)", "data1"]
    text = render(mixed)
    assert "## data0 (ffffffff)" in text


def test_an_empty_store_gives_an_empty_frame(tmp_path: Path) -> None:
    frame, facts = scan(Store(tmp_path / "empty").create())
    assert frame.empty
    assert list(frame.columns) == [*COLUMNS, DIGEST]
    assert facts == []


def test_states_are_of_every_run_directory(store: Store) -> None:
    (run_of(store) / "status.json").unlink()
    (run_of(store, 1) / "evals").rename(run_of(store, 1) / "gone")
    states = [state for _, state, _ in run_states(store)]
    assert states == ["partial", "failed", *["done"] * 6]
    assert "from training step 7950" in run_states(store)[0][2]


def test_times_of_change_are_told_apart_by_the_nanosecond(store: Store, read: Read) -> None:
    scan(store)
    read.clear()
    status = run_of(store) / "status.json"
    found = status.stat()
    os.utime(status, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    scan(store)
    assert len(read) == 1


def test_how_images_were_scored_is_known_of_every_readout(synthetic: ModuleType, store: Store) -> None:
    _, facts = scan(store)
    for run in facts:
        assert (run.network["family"], run.base_steps, run.batch_size) == ("mlp", 100, 64)
        places = [(each.sampler, each.beta, each.step_size, each.steps) for each in run.readouts]
        chains = [("ula", beta, size, steps) for beta, size in ((1.0, 1e-2), (100.0, 1e-4)) for steps in (10, 100)]
        assert places == [("base", None, None, 0), *chains]
        assert [(each.sampler, each.beta, each.step_size, each.steps) for each in run.samples] == places
        for each in run.readouts:
            assert (each.samples, each.reference, each.extractor) == (1000, "train", f"{run.dataset}-cnn")
            assert [size for size, _ in each.frechet_curve] == [500, 1000]
            assert dict(each.settings) == ({"decay_factor": 0.1, "decay_every": 200} if each.beta == 100 else {})
    assert same(scan(store), scan_cold(store))


def test_a_run_of_other_code_is_stale_even_where_it_collapsed(synthetic: ModuleType, store: Store) -> None:
    for number, changes in ((0, {"fingerprint": "of other code"}), (1, {})):
        folder = run_of(store, number)
        files = json.loads((folder / "status.json").read_text())["files"]
        for path in (folder / "evals").glob("*.json"):
            value = json.loads(path.read_text())
            del value["sha256"]
            rows = [row | {"collapsed": "1 of 10 classes"} for row in value["rows"]]
            files[str(path.relative_to(folder))] = synthetic.write(path, value | {"rows": rows})
        rewrite(folder / "status.json", files=files, **changes)
    frame, _ = scan(store)
    stale, present = (frame[frame["run"] == str(run_of(store, n).relative_to(store.root / "runs"))] for n in (0, 1))
    assert set(stale["status"]) == {"stale"}
    assert set(present["status"]) == {"collapsed"}
