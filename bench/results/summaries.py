"""The summary of a whole store, for programs: kept until what it rests on changes, and made by two processes where that takes long.

It rests on the lists of runs, on every run's files by `reading.stamp`, on all our code, and on what by now is stale of the code and the
libraries that runs were made with. A cache may be anybody's: nothing in it is run, and values of another type than their column's are none.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.manifests import manifests
from bench.core.store import Store
from bench.files import CorruptFileError, parse_json, read_sealed, write_sealed
from bench.machine import cores
from bench.results.frame import read_runs, stale_words
from bench.results.reading import stamp
from bench.results.summary import SUMMARY_COLUMNS

__all__ = ["summary_of"]

MANY = 2_000  # runs from which on a second process is worth its start
Part = dict[str, Any]
"""JSON: a summary's `columns`, the `stamps` of the runs that it was made from, and `stages` of code with what is stale of each."""
_TYPES: Mapping[str, set[type]] = {
    "object": {str, type(None)},
    "str": {str, type(None)},
    "Int64": {int, type(None)},
    "int64": {int},
    "bool": {bool},
    "float64": {float, type(None)},
}


def summary_of(store: Store, suite: str | None = None, profile: str | None = None) -> pd.DataFrame:
    """Return `Results.summary` of a store, or of one suite and profile of it; nothing is read again where nothing has changed.

    Raises:
        NothingToReportError: if there is no run.
        StoreError, ValueError: as `scan` and `Results.sections`.
    """
    path, basis = store.cache / "summary.sealed", _basis(store, suite, profile)
    if (kept := _kept(path, basis, store)) is not None:
        return kept
    listed = manifests(store, suite, profile)
    sizes = Counter(run["dataset"] for manifest in listed for run in manifest["runs"] if run["readouts"])
    far = _half(sizes) if sizes.total() >= MANY and cores() > 1 else []
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(_made_elsewhere, store, suite, profile, far)
        parts = [_made(store, listed, sizes.keys() - far)]
    if far:
        parts.append(other.result() or _made(store, listed, far))
    places = [(m["suite"], m["profile"], run["dataset"]) for m in listed for run in m["runs"]]
    ranks = {place: rank for rank, place in enumerate(dict.fromkeys(places))}
    summary = pd.concat([_table(part) for part in parts], ignore_index=True)
    rank = [ranks[place] for place in zip(summary["suite"], summary["profile"], summary["dataset"], strict=True)]
    summary = summary.assign(rank=rank).sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank")
    whole = {"stamps": {}, "stages": [], "columns": _columns(summary)}
    for part in parts:
        whole["stamps"] |= part["stamps"]
        whole["stages"] += part["stages"]
    with suppress(OSError):  # a store that cannot be written goes without
        path.parent.mkdir(exist_ok=True)
        write_sealed(path, json.dumps({"basis": basis, **whole}, ensure_ascii=False, check_circular=False).encode())
    return summary


def _basis(store: Store, suite: str | None, profile: str | None) -> str:
    """Return a digest of what is asked for, the lists of runs, and our code."""
    code = Path(__file__).parents[1]
    found = hashlib.sha256(repr((suite, profile)).encode())
    for path in sorted([*(store.root / "suites").glob("*.json"), *code.rglob("*.py"), *code.rglob("*.toml")]):
        found.update(path.read_bytes())
    return found.hexdigest()


def _kept(path: Path, basis: str, store: Store) -> pd.DataFrame | None:
    """Return the summary that was kept; None if there is none, or anything has changed."""
    with suppress(OSError, CorruptFileError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        found = parse_json(read_sealed(path))
        if (
            found["basis"] == basis
            and all(stale_words(stage) == said for stage, said in found["stages"])
            and all(stamp(f"{store.root}/runs/{run}")[0] == known for run, known in found["stamps"].items())
        ):
            return _table(found)
    return None


def _half(sizes: Mapping[str, int]) -> list[str]:
    """Return some datasets with at most half of the runs."""
    found: list[str] = []
    for dataset in sorted(sizes, key=sizes.__getitem__):
        if sum(map(sizes.__getitem__, [*found, dataset])) <= sum(sizes.values()) / 2:
            found.append(dataset)
    return found


def _made(store: Store, listed: Sequence[Mapping[str, Any]], datasets: Collection[str]) -> Part:
    """Read and summarise the runs of some datasets."""
    own = [{**each, "runs": [run for run in each["runs"] if run["dataset"] in datasets]} for each in listed]
    results, stamps, stages = read_runs(store, own)
    said = [[stage, stale_words(stage)] for stage in stages]
    return {"columns": _columns(results.summary), "stamps": stamps, "stages": said}


def _made_elsewhere(store: Store, suite: str | None, profile: str | None, datasets: Sequence[str]) -> Part | None:
    """Have that done by another process; None if there is nothing to do, or if it failed."""
    if not datasets:
        return None
    command = [sys.executable, "-m", "bench.results.summaries", json.dumps([str(store.root), suite, profile, datasets])]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    return json.loads(done.stdout) if done.returncode == 0 else None


def _columns(summary: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the type and the values of each column, as JSON has them."""
    plain = {name: own.astype(object).where(own.notna(), None).tolist() for name, own in summary.items()}
    return {str(name): [str(summary[name].dtype), values] for name, values in plain.items()}


def _table(part: Part) -> pd.DataFrame:
    """Return a summary from that; a TypeError if values are not of the type of their column."""
    columns = {name: part["columns"][name] for name in SUMMARY_COLUMNS}
    for name, (dtype, values) in columns.items():
        if not {type(value) for value in values} <= _TYPES[dtype]:
            raise TypeError(f"{name} is not all {dtype}")
    return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (dtype, values) in columns.items()})


if __name__ == "__main__":
    root, *choice, datasets = json.loads(sys.argv[1])
    print(json.dumps(_made(Store(Path(root)), manifests(Store(Path(root)), *choice), datasets)))
