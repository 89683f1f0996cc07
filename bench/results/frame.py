"""From the store to one tidy frame: a row per run, readout, chain length and metric; and the facts of every run.

Runs that have not changed since the last scan are not read again: see `scan_cache`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.machine import no_collection
from bench.core.spec import content_hash
from bench.core.store import RunFolder, Store
from bench.results.facts import RunFacts
from bench.results.reading import examine, read_run
from bench.results.scan_cache import TEXTS, ScannedRun, Table, load, save, stamp_of
from bench.results.scores import COLUMNS, DIGEST

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["run_states", "scan", "scan_listed"]

_HEAD = ("dataset", "model", "seed", "run", "identity")
_PLACE = ("suite", "profile")
_TEXTS = ("dataset", "model", "run", "identity", DIGEST, *TEXTS)
_COUNTS = ("steps", "gradient_evaluations", "forward_evaluations")


def scan(store: Store, suite: str | None = None, profile: str | None = None) -> tuple[pd.DataFrame, list[RunFacts]]:
    """Every planned run of a store, or of one suite and profile of it.

    The frame has the columns `bench.results.scores.COLUMNS` and the dataset's digest; `bench.results.schema` says what each means.

    Raises:
        StoreError: if a manifest cannot be read, or there is none of that suite and profile.
    """
    return scan_listed(store, store.manifests(suite, profile))


def scan_listed(
    store: Store, manifests: Iterable[dict[str, Any]], tag: str = ""
) -> tuple[pd.DataFrame, list[RunFacts]]:
    """The runs of these manifests, which are the suites' own or of a tag."""
    import pandas as pd

    frames, facts = [], []
    with no_collection():
        for manifest in manifests:
            frame, found = _scan_manifest(store, manifest, tag)
            frames.append(frame)
            facts += found
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in (*COLUMNS, DIGEST)}), facts
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0], facts


def _scan_manifest(store: Store, manifest: dict[str, Any], tag: str) -> tuple[pd.DataFrame, list[RunFacts]]:
    """All runs of one suite and profile: from the cache where they are unchanged, else read."""
    place = {key: manifest[key] for key in _PLACE}
    path = store.cache / f"scan-{tag}{'-' * bool(tag)}{place['suite']}-{place['profile']}.sealed"
    cached, fresh = load(path), Table.empty()
    runs: list[ScannedRun] = []
    for planned in manifest["runs"]:
        folder = RunFolder(store.root / "runs" / planned["run"])
        stamp = stamp_of(folder.path, content_hash(planned["readouts"]))
        run = cached.runs.get(planned["run"])
        if run is None or stamp is None or run.stamp != stamp:
            head = place | {key: planned[key] for key in _HEAD}
            rows, fact = read_run(folder, head, planned["readouts"])
            run = fresh.append(planned["run"], stamp, rows, fact, folder.path)
        runs.append(run)
    table = cached.joined(fresh, runs)
    if fresh.runs or len(runs) < len(cached.runs):
        save(path, table)
    folders = [store.root / "runs" / planned["run"] for planned in manifest["runs"]]
    found = [run.facts_of(folder, place) for run, folder in zip(table.in_order, folders, strict=True)]
    return _frame(table, manifest["runs"], place), [fact for fact in found if fact is not None]


def _frame(table: Table, planned: list[dict[str, Any]], place: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    counts = [run.stop - run.start for run in table.in_order]
    columns: dict[str, Any] = {name: np.full(sum(counts), value, dtype=object) for name, value in place.items()}
    for name in _HEAD:
        values = [run[name] for run in planned]
        columns[name] = np.repeat(np.array(values, dtype=np.int64 if name == "seed" else object), counts)
    columns[DIGEST] = np.repeat(np.array([run.digest for run in table.in_order], dtype=object), counts)
    columns |= table.columns()
    for name in _COUNTS:
        columns[name] = pd.array(columns[name], dtype="Float64").astype("Int64")
    objects = {*_PLACE, *_TEXTS}
    return pd.DataFrame(
        {name: pd.Series(columns[name], dtype=object if name in objects else None) for name in (*COLUMNS, DIGEST)}
    )


def run_states(store: Store) -> list[tuple[str, str, str]]:
    """(run, state, reason) of every run directory, planned or not."""
    found = []
    for spec in sorted((store.root / "runs").glob("*/*/*/spec.json")):
        folder = RunFolder(spec.parent)
        examined = examine(folder)
        words = f"{examined.reason} {last_words(folder.path, examined.state)}".strip()
        found.append((str(spec.parent.relative_to(store.root / "runs")), examined.state, words))
    return found


def last_words(folder: Path, state: str) -> str:
    """How far an unfinished run is, from its curve."""
    curve = folder / "curve.jsonl"
    if state != "partial" or not curve.exists():
        return ""
    try:
        last = json.loads(curve.read_text().splitlines()[-1])
        return f"from {last['phase']} step {last['step']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
