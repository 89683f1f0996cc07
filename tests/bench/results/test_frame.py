"""Stores are read truthfully: what changed is read again, what is damaged, unfinished or stale says so."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import bench.results.reading
from bench.core.run_folder import RunFolder
from bench.core.spec import identity_of
from bench.core.store import Store
from bench.results.frame import (
    READOUT_COLUMNS,
    RUN_COLUMNS,
    SCORE_COLUMNS,
    NothingToReportError,
    Results,
    Section,
    once,
    scan,
)
from bench.results.sources import records

from ...faults.disk import failing

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
    real = bench.results.reading.read_run

    def watched(folder: Any) -> Any:
        seen.append("/".join(folder.path.parts[-3:]))
        return real(folder)

    monkeypatch.setattr(bench.results.reading, "read_run", watched)
    return seen


def cold(store: Store) -> Results:
    for path in store.cache.glob("*.sealed"):
        path.unlink()
    return scan(store)


def same(one: Results, other: Results) -> bool:
    for name in ("scores", "runs", "readouts"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    return True


def run_of(store: Store, number: int = 0) -> Path:
    return sorted((store.root / "runs").glob("*/*/*"))[number]


def name_of(store: Store, number: int = 0) -> str:
    return str(run_of(store, number).relative_to(store.root / "runs"))


def test_three_frames_hold_every_run_readout_and_score_once(store: Store, synthetic: ModuleType) -> None:
    found = scan(store)
    assert list(found.scores.columns) == list(SCORE_COLUMNS)
    assert list(found.runs.columns) == list(RUN_COLUMNS)
    assert list(found.readouts.columns) == list(READOUT_COLUMNS)
    assert (len(found.runs), len(found.readouts), len(found.scores)) == (8, 8 * 5, 8 * 30)
    assert set(found.scores["status"]) == {"done"}
    assert set(found.scores["stale"]) == {""}
    assert found.runs["dataset_digest"].nunique() == 2
    assert found.runs["seconds_sampling"].tolist() == [7.5] * 8
    assert found.runs["capabilities"].tolist() == [["Samples", "LatentChains"]] * 8
    assert all((folder / "spec.json").is_file() for folder in found.runs["folder"])
    chains = [(beta, size, steps) for beta, size in ((1.0, 1e-2), (100.0, 1e-4)) for steps in (10, 100)]
    for run, own in found.readouts.groupby("run"):
        places = list(own[["beta", "step_size", "steps"]].itertuples(index=False, name=None))
        assert places[1:] == chains
        assert own["sampler"].tolist() == ["base", *["ula"] * 4]
        for row in own.itertuples():
            assert row.arrays["samples"].endswith(f"-{row.steps:06}.npy")
            assert Path(row.arrays["samples"]).is_file()
            assert row.readout["extractor"] == f"{row.dataset}-cnn"
            assert [size for size, _ in row.row["frechet_curve"]] == [500, 1000]
        assert run in set(found.runs["run"])


def test_unchanged_runs_are_not_read_again_and_nothing_differs(store: Store, read: Read) -> None:
    first = scan(store)
    assert len(read) == 8
    assert same(first, scan(store))
    assert len(read) == 8


def test_changed_added_and_removed_runs_are_seen(store: Store, read: Read, synthetic: ModuleType) -> None:
    scan(store)
    read.clear()
    synthetic.change(run_of(store) / "status.json", state="failed", reason="diverged at step 3", steps_done=3)
    scores = scan(store).scores
    assert read == [name_of(store)]
    (row,) = scores[scores["run"] == read[0]].itertuples()
    assert (row.status, row.reason, row.metric) == ("failed", "diverged at step 3", None)
    assert same(scan(store), cold(store))

    read.clear()
    synthetic.make(store.root, 2, 2, 3)
    found = scan(store)
    assert (len(found.scores), len(found.runs)) == (12 * 30, 12)
    assert {run[-3:] for run in read} >= {"-s2"}

    name = name_of(store, 1)
    run_of(store, 1).rename(store.root / "aside" / "gone")
    found = scan(store)
    assert found.scores[found.scores["status"] == "missing"]["run"].tolist() == [name]
    manifest = store.root / "suites" / "synthetic-quick.json"
    synthetic.change(manifest, runs=json.loads(manifest.read_text())["runs"][:4])
    assert len(scan(store).runs) == 4
    assert same(scan(store), cold(store))


def test_other_readouts_asked_of_a_run_are_seen(store: Store, synthetic: ModuleType) -> None:
    scan(store)
    manifest = store.root / "suites" / "synthetic-quick.json"
    runs = json.loads(manifest.read_text())["runs"]
    runs[0]["readouts"] = runs[0]["readouts"][:1]
    runs[1]["readouts"][0]["samples"] = 7
    synthetic.change(manifest, runs=runs)
    scores = scan(store).scores
    assert len(scores) == 8 * 30 - 24 - 5
    (row,) = scores[scores["status"] == "partial"].itertuples()
    assert (row.run, row.reason) == (runs[1]["run"], "a readout is still to be done")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "directory", "other code"])
def test_a_useless_cache_is_ignored_and_made_again(
    store: Store, read: Read, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scan(store)
    for path in store.cache.glob("scan-*.sealed"):
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
            monkeypatch.setattr(bench.results.reading, "_code", lambda: "other")
    read.clear()
    assert same(first, scan(store))
    assert len(read) == 8
    if damage != "directory":
        read.clear()
        assert same(first, scan(store))
        assert not read


def test_a_store_without_room_for_a_cache_is_still_read(store: Store) -> None:
    store.cache.rmdir()
    store.cache.write_text("in the way")
    assert len(scan(store).scores) == 8 * 30


def test_runs_without_a_status_are_named_and_never_cached(store: Store, read: Read) -> None:
    scan(store)
    (run_of(store) / "status.json").unlink()
    for path in (run_of(store) / "evals").glob("*.json"):
        path.unlink()
    for _ in range(2):
        read.clear()
        scores = scan(store).scores
        (row,) = scores[scores["status"] != "done"].itertuples()
        assert (row.status, row.reason) == ("partial", "unfinished; `bench run` continues it")
        assert read == [row.run]


def test_an_unfinished_run_has_scores_that_count_for_nothing(store: Store, synthetic: ModuleType) -> None:
    state = {"state": "unfinished", "reason": "40 of 100 steps", "steps_done": 40}
    synthetic.change(run_of(store) / "status.json", **state)
    found = scan(store)
    rows = found.scores[found.scores["run"] == name_of(store)]
    assert (len(rows), set(rows["status"]), set(rows["reason"])) == (30, {"unfinished"}, {"after 40 of 100 steps"})
    assert {(row.steps_done, row.steps_asked) for row in rows.itertuples()} == {(40, 100)}
    section = found.sections()[0]
    assert len(section.counted) == 3 * 30
    apart = section.summary[section.summary["status"] == "unfinished"]
    assert len(apart) == 30
    assert set(apart["reason"]) == {"seed 0 after 40 of 100 steps"}


def test_a_failed_readout_leaves_the_others(store: Store, synthetic: ModuleType) -> None:
    folder = run_of(store)
    files = json.loads((folder / "status.json").read_text())["files"]
    gone = next(name for name in files if name.endswith("-000000.npy"))[:-11] + ".json"
    files = {name: digest for name, digest in files.items() if name != gone}
    synthetic.change(folder / "status.json", state="failed", reason="diverged: fd is nan", files=files)
    scores = scan(store).scores
    rows = scores[scores["run"] == name_of(store)]
    assert rows["status"].tolist() == ["failed", *["done"] * 24]
    assert rows["reason"].iloc[0] == "diverged: fd is nan"


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("status.json", {"files": None}, "status.json lacks files: written by another version"),
        ("training.json", {"checkpoint": None}, "training.json lacks checkpoint: written by another version"),
        (
            "training.json",
            {"facts": [1]},
            "training.json is not laid out as expected at facts: written by another version",
        ),
    ],
)
def test_files_of_another_version_are_named(
    store: Store, synthetic: ModuleType, name: str, changes: dict[str, Any], why: str
) -> None:
    if name == "status.json":
        synthetic.change(run_of(store) / name, **changes)
    else:
        synthetic.change_listed(run_of(store), name, **changes)
    scores = scan(store).scores
    (row,) = scores[scores["status"] == "failed"].itertuples()
    assert why in row.reason


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_file_that_cannot_be_read_for_a_moment_is_read_the_next_time(store: Store, number: int) -> None:
    before = scan(store)
    status = next(store.root.rglob("status.json"))
    os.utime(status, ns=(1, 1))  # so that it is not taken from the cache
    with failing(status.parent, number, errno.EMFILE, False) as refusals:
        rows = scan(store).runs.set_index("run")
    (refused,) = refusals.refused
    path = status.parent / refused.removeprefix("open ")
    assert rows.loc["/".join(status.parts[-4:-1]), "reason"] == f"{path} cannot be read: Too many open files"
    assert same(scan(store), before)
    assert same(cold(store), before)


def test_damage_is_named(store: Store) -> None:
    scan(store)
    evaluation = next((run_of(store) / "evals").glob("*.json"))
    evaluation.write_text(evaluation.read_text().replace('"collapsed": ""', '"collapsed": "x"'))
    (run_of(store, 1) / "training.json").unlink()
    scores = scan(store).scores
    one, two = scores[scores["status"] == "failed"]["reason"]
    assert f"{evaluation.name} is corrupt" in one
    assert "training.json is missing" in two


def test_content_of_two_digests_shares_no_section(store: Store, synthetic: ModuleType) -> None:
    folder, other, manifest = run_of(store), run_of(store, 1), store.root / "suites" / "synthetic-quick.json"
    synthetic.change_listed(folder, "spec.json", dataset_digest="f" * 64)
    spec = RunFolder(folder).read_json("spec.json") or {}
    renamed = folder.rename(folder.with_name(f"{identity_of(spec)[:12]}-s{spec['seed']}"))
    listed = json.loads(manifest.read_text().replace(folder.name, renamed.name))["runs"]
    synthetic.change(manifest, runs=listed)
    (other / "spec.json").unlink()  # of unknown content: stands with the first
    sections = scan(store).sections()
    assert [section.dataset for section in sections] == ["data0 (ffffffff)", "data0 (4285d108)", "data1"]
    assert [section.dataset_name for section in sections] == ["data0", "data0", "data1"]
    assert [len(section.runs) for section in sections] == [2, 2, 4]


def test_two_settings_of_one_model_are_told_apart(made: Any) -> None:
    rows = [made.row(seed=0), made.row(seed=1, identity="other-identity", run="other"), made.row("gan-ns")]
    (section,) = made.results(rows).sections()
    assert section.scores["label"].tolist() == ["gebm (gebm-ide)", "gebm (other-id)", "gan-ns"]


def test_an_empty_store_gives_empty_frames(tmp_path: Path) -> None:
    found = scan(Store(tmp_path / "empty").create())
    assert found.scores.empty
    assert list(found.scores.columns) == list(SCORE_COLUMNS)
    with pytest.raises(NothingToReportError, match="nothing to report yet"):
        found.sections()


def test_records_are_plain_and_have_none_for_what_is_missing() -> None:
    frame = pd.DataFrame(
        {"real": [1.5, float("nan")], "count": pd.array([3, None], dtype="Int64"), "text": ["a", None]}
    )
    frame = frame.assign(row=[{"a": 1}, None]).astype({"text": object})
    whole, gone = records(frame)
    assert whole == (1.5, 3, "a", {"a": 1})
    assert [type(value) for value in whole] == [float, int, str, dict]
    assert gone == (None, None, None, None)
    assert whole._replace(count=4).count == 4


def test_what_is_asked_of_a_section_is_computed_once_for_the_same_question(store: Store) -> None:
    asked: list[tuple[str, int]] = []

    @once
    def question(section: Section, factor: int = 1) -> int:
        asked.append((section.dataset, factor))
        return len(section.runs) * factor

    one, other = scan(store).sections()
    assert [question(one), question(one), question(one, 2), question(other)] == [4, 4, 8, 4]
    assert asked == [("data0", 1), ("data0", 2), ("data1", 1)]


def test_times_of_change_are_told_apart_by_the_nanosecond(store: Store, read: Read) -> None:
    scan(store)
    read.clear()
    status = run_of(store) / "status.json"
    found = status.stat()
    os.utime(status, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    scan(store)
    assert len(read) == 1


def test_a_run_of_other_code_is_stale_even_where_it_collapsed(store: Store, synthetic: ModuleType) -> None:
    old = {"roots": [], "code": {"gebm.model": "0"}, "versions": {}}
    synthetic.change_listed(run_of(store), "training.json", stage=old)
    for number in (0, 1):
        for path in (run_of(store, number) / "evals").glob("*.json"):
            rows = [row | {"collapsed": "1 of 10"} for row in json.loads(path.read_text())["rows"]]
            synthetic.change_listed(run_of(store, number), f"evals/{path.name}", rows=rows)
    evaluation = next((run_of(store, 2) / "evals").glob("*.json"))
    synthetic.change_listed(run_of(store, 2), f"evals/{evaluation.name}", stage=old)
    found = scan(store)
    stale, collapsed, mixed = (found.scores[found.scores["run"] == name_of(store, n)] for n in range(3))
    assert set(stale["reason"]) == {"1 of 10"}
    assert (set(stale["status"]), set(stale["stale"])) == ({"stale"}, {"gebm.model changed"})
    assert (set(collapsed["status"]), set(collapsed["collapsed"])) == ({"collapsed"}, {True})
    assert set(mixed["status"]) == {"stale", "done"}
    assert found.runs.loc[found.runs["run"] == name_of(store), "stale"].tolist() == ["gebm.model changed"]
    assert len(found.sections()[0].counted) < 4 * 30 - 30


def test_what_a_readout_does_not_vouch_for_is_refused(store: Store, synthetic: ModuleType) -> None:
    """A log Z that is not reportable, and a row that could not be had; both keep what they know, and neither is called done."""
    why = "log Z is not reportable; heavy tail"
    frail = {"log_partition": {"reportable": False, "warnings": ["heavy tail", "few"]}}
    absent = {"scores": {}, "why_not": "an ESS of 12"}
    for number, change in enumerate((frail, absent, {"log_partition": {"reportable": True}})):
        for path in (run_of(store, number) / "evals").glob("*.json"):
            rows = [row | change for row in json.loads(path.read_text())["rows"]]
            synthetic.change_listed(run_of(store, number), f"evals/{path.name}", rows=rows)
    scores = scan(store).scores
    unsure, without, sure = (scores[scores["run"] == name_of(store, number)] for number in range(3))
    assert (set(unsure["status"]), set(unsure["reason"]), set(unsure["refused"])) == ({"refused"}, {why}, {True})
    assert unsure["value"].notna().all()
    assert (set(without["status"]), set(without["reason"])) == ({"refused"}, {"an ESS of 12"})
    assert without["metric"].isna().all()
    assert (set(sure["status"]), set(sure["refused"]), set(sure["collapsed"])) == ({"done"}, {False}, {False})
    section = scan(store).sections()[0]
    assert len(section.counted[section.counted["run"] == name_of(store)]) == len(unsure)
