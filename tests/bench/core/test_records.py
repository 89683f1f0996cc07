"""Records of another layout are refused where they are read, whatever their checksums."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.core.records import problem
from bench.core.run_folder import RunFolder, StoreError
from bench.core.store import Store

WRONG = (None, True, 1.5, "x", [1], {"x": []})


def records(store: Store) -> dict[str, dict[str, Any]]:
    """Each kind of record of a run that was made up."""
    (folder,) = store.root.glob("runs/*/*/*")
    names = ["spec.json", "env.json", "training.json", "status.json"]
    names += [f"evals/{path.name}" for path in (folder / "evals").glob("*.json")]
    found = {name: RunFolder(folder).read_json(name) for name in names}
    return {name: record for name, record in found.items() if record is not None}


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every part of a record."""
    if before:
        yield before
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*before, key))


def replaced(record: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    return changed


def test_sound_records_are_taken_and_wrong_containers_refused(tmp_path: Path, synthetic: ModuleType) -> None:
    store = synthetic.make(tmp_path, 1, 1, 1)
    rng, tried = np.random.default_rng(0), 0
    for name, record in records(store).items():
        assert problem(name, record) == ""
        for place in places(record):
            if place[0] in ("config", "readout"):  # whose layout is the suite's own
                continue
            found = record
            for key in place:
                found = found[key]
            wrong = "x" if isinstance(found, dict | list | int | float) else [1]
            assert "written by another version" in problem(name, replaced(record, place, wrong)), place
            problem(name, replaced(record, place, WRONG[rng.integers(len(WRONG))]))  # never raises
            tried += 1
    assert tried > 100


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("status.json", [], "is not laid out as expected"),
        ("status.json", {}, "lacks steps_asked: written by another version"),
        ("config.json", {"model": {"spec": 1}}, "model.spec"),
        ("weights.index.json", {"about": {}, "files": {}}, "lacks weight_map"),
        ("notes.json", {"whatever": 1}, ""),
    ],
)
def test_what_is_wrong_is_named(name: str, record: Any, said: str) -> None:
    assert said in problem(name, record)


def test_the_right_checksum_does_not_help(tmp_path: Path, synthetic: ModuleType) -> None:
    store = synthetic.make(tmp_path, 1, 1, 1)
    (path,) = store.root.glob("runs/*/*/*/status.json")
    synthetic.change(path, files={"spec.json": 3})
    with pytest.raises(StoreError, match=r"status.json is not laid out as expected at files.spec.json"):
        RunFolder(path.parent).read_json("status.json")
