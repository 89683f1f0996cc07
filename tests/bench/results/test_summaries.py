"""A store's summary: the same whoever makes it, kept as long as nothing changes, and no longer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from bench.core.store import Store
from bench.files import read_sealed, write_sealed
from bench.results import summaries
from bench.results.frame import NothingToReportError, scan
from bench.results.summaries import summary_of


@pytest.fixture
def store(synthetic: ModuleType, tmp_path: Path) -> Store:
    """Three datasets, two models, two seeds; a run failed, another was not begun."""
    made: Store = synthetic.make(tmp_path / "store", 3, 2, 2)
    failed, missing, *_ = runs(made)
    synthetic.change(failed / "status.json", state="failed", reason="diverged at step 3", steps_done=3)
    missing.rename(made.root / "aside" / "gone")
    return made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The datasets that are summarised in this process, as it happens."""
    seen: list[list[str]] = []
    real = summaries._made
    monkeypatch.setattr(summaries, "_made", lambda *given: seen.append(sorted(given[-1])) or real(*given))
    return seen


def runs(store: Store) -> list[Path]:
    return sorted((store.root / "runs").glob("*/*/*"))


def right(store: Store) -> bool:
    pd.testing.assert_frame_equal(summary_of(store), scan(store).summary)
    return True


def test_two_processes_find_what_one_finds(
    store: Store, made: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert right(store)
    monkeypatch.setattr(summaries, "cores", lambda: 2)
    monkeypatch.setattr(summaries, "MANY", 12)
    for path in store.cache.iterdir():
        path.unlink()
    assert right(store)
    monkeypatch.setattr(summaries.sys, "executable", "/bin/false")  # what cannot be had elsewhere is made here
    for path in store.cache.iterdir():
        path.unlink()
    assert right(store)
    everything = ["data0", "data1", "data2"]
    assert made == [everything, everything[1:], everything[1:], everything[:1]]


CHANGES: dict[str, Callable[[Store, ModuleType], object]] = {
    "a file's time": lambda store, _: os.utime(runs(store)[3] / "spec.json", ns=(1, 1)),
    "a run is gone": lambda store, _: runs(store)[3].rename(store.root / "aside" / "another"),
    "a run is there": lambda store, _: (store.root / "aside" / "gone").rename(runs(store)[0].with_name("new")),
    "a run is begun": lambda store, _: (runs(store)[3] / "status.json").unlink(),
    "another list": lambda store, make: make.make(store.root, 3, 2, 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_seen_and_nothing_else_is_made_again(
    store: Store, made: list[list[str]], synthetic: ModuleType, change: str
) -> None:
    assert right(store)
    assert right(store)
    assert len(made) == 1
    CHANGES[change](store, synthetic)
    assert right(store)
    assert len(made) == (1 if change == "a run is there" else 2)  # under a name that no list has


def test_what_is_stale_by_now_is_asked_again(
    store: Store, made: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert right(store)
    for module in (summaries, "bench.results.frame"):
        monkeypatch.setattr(f"{getattr(module, '__name__', module)}.stale_words", lambda _stage: "torch 2 → 3")
    assert right(store)
    assert len(made) == 2
    assert "stale" in set(summary_of(store)["status"])


@pytest.mark.parametrize("name", ["metric", "mean", "n", "collapsed", "steps"])
def test_values_of_another_type_are_no_summary(store: Store, made: list[list[str]], name: str) -> None:
    assert right(store)
    path = store.cache / "summary.sealed"
    found = json.loads(read_sealed(path))
    found["columns"][name][1][0] = ["what"]
    write_sealed(path, json.dumps(found).encode())
    assert right(store)
    assert len(made) == 2


def test_a_choice_is_kept_for_itself_and_of_nothing_there_is_none(store: Store, made: list[list[str]]) -> None:
    assert len(summary_of(store, "synthetic")) == len(summary_of(store))
    assert len(made) == 2
    with pytest.raises(NothingToReportError):
        summary_of(Store(store.root / "another").create())
