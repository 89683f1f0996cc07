"""Every run of a store at a glance: its state, since when, and of an unfinished one where it is being done and how far it is."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.manifests import manifests
from bench.core.run_folder import LOG, RunFolder, StoreError
from bench.core.store import Store
from bench.executors import queue
from bench.files import CorruptFileError, parse_json, read_sealed, write_sealed
from bench.results.reading import by_status, read_run

__all__ = ["RunState", "run_names", "run_states"]

_BEGUN = ("status.json", "curve.jsonl", "spec.json")
_DONE = "done.sealed"
_TAIL = 4096  # bytes, more than a line of a curve


class RunState(NamedTuple):
    """A run at a glance.

    Attributes:
        run: its id.
        state: running, queued in a cluster, or one of `bench.results.reading.RunFiles`.
        reason: why it is not done; '' if it is.
        changed: when it ended or was last saved, in seconds since 1970 by the clock of the store's file system; None if it never began.
        where: who is doing it, or the node; '' where none is.
        at: of an unfinished run phase, step, total and losses, as far as they are known.
        log: the file that says what went wrong, in the store; '' where there is none.
    """

    run: str
    state: str
    reason: str
    changed: float | None
    where: str = ""
    at: Mapping[str, Any] = {}
    log: str = ""


def run_names(store: Store, suite: str | None = None, profile: str | None = None) -> list[str]:
    """Return the ids of all run directories, or of the runs that were planned of a suite and profile, begun or not; sorted.

    Raises:
        StoreError: if there is no such suite and profile here, or its list is damaged.
    """
    if suite or profile:
        return sorted({run["run"] for manifest in manifests(store, suite, profile) for run in manifest["runs"]})
    names = [""]
    for _ in ("dataset", "model", "identity and seed"):
        inside = ((name, os.scandir(f"{store.root}/runs/{name}")) for name in names)
        names = [f"{name}{entry.name}/" for name, entries in inside for entry in entries if entry.is_dir()]
    return sorted(name[:-1] for name in names)


def run_states(store: Store, runs: Iterable[str], *, check: bool = False) -> Iterator[RunState]:
    """Yield the state of each of these runs.

    One that was done is not read again as long as the size of its status and the time of its change are the same.

    Arguments:
        store: where they are.
        runs: their ids.
        check: hold all files of a run against their hashes, as a report does; without it a sound status is believed.

    Raises:
        QueueError: if runs were submitted to a scheduler that does not answer.
    """
    jobs, root = queue.places(store.root / "jobs", newest=False), store.root / "runs"
    kept = _kept(store)
    done = dict(kept)
    for run in runs:
        known = None if check else done.pop(run, None)
        status = _stat(f"{root}/{run}/status.json")
        written = [status.st_size, status.st_mtime_ns] if status else []
        if status and written == known:
            done[run] = written
            yield RunState(run, "done", "", status.st_mtime)
            continue
        folder = RunFolder(root / run)
        try:
            state, reason, _ = read_run(folder) if check else by_status(folder)
        except StoreError as error:
            state, reason = "failed", str(error)
        if state == "done":
            if status and not reason:
                done[run] = written
            yield RunState(run, state, reason, status.st_mtime if status else _changed(folder.path, "status.json"))
        elif holder := store.holder(run):
            yield RunState(run, "running", "", _changed(folder.path, *_BEGUN), holder.words, holder.note)
        elif (job := jobs.get(run)) and job.alive:
            state = "queued" if job.state == "PENDING" else "running"
            yield RunState(run, state, job.words, _changed(folder.path, *_BEGUN), job.node, _last_point(folder.path))
        elif state == "failed":
            log = f"runs/{run}/{LOG}" if (folder / LOG).is_file() else ""
            yield RunState(run, state, reason, _changed(folder.path, "status.json"), log=log)
        else:
            lost = job.words if job and not job.result.exists() else ""
            reason = "; ".join(filter(None, (reason, lost)))
            yield RunState(run, state, reason, _changed(folder.path, *_BEGUN), at=_last_point(folder.path))
    if done != kept:
        with suppress(OSError):  # a store that cannot be written goes without
            store.cache.mkdir(exist_ok=True)
            write_sealed(store.cache / _DONE, json.dumps({"code": _code(), "done": done}).encode())


def _kept(store: Store) -> dict[str, Any]:
    """Return size and time of change of the status of each run that was done, by whichever code read it like the present one."""
    with suppress(OSError, CorruptFileError, ValueError, LookupError, TypeError, AttributeError):
        found = parse_json(read_sealed(store.cache / _DONE))
        if found["code"] == _code():
            return dict(found["done"])
    return {}


@functools.cache
def _code() -> str:
    """Return a digest of the code that reads a status."""
    names = ("core/records.py", "core/run_folder.py", "core/store.py", "results/reading.py")
    sources = (Path(__file__).parents[1] / name for name in names)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _last_point(folder: Path) -> dict[str, Any]:
    """Return how far a run is, by the last line of its curve and its spec; nothing where they cannot be read."""
    try:
        with (folder / "curve.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            losses = json.loads(file.read().splitlines()[-1])
        at = {"phase": losses.pop("phase"), "step": losses.pop("step")}
        settings = json.loads((folder / "spec.json").read_bytes())["config"].get(at["phase"].replace("-", "_")) or {}
        return at | {"total": settings.get("base_steps", settings.get("steps")), "losses": losses}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _changed(folder: Path, *names: str) -> float | None:
    """Return when the first of these files that there is was written."""
    return next((found.st_mtime for name in names if (found := _stat(f"{folder}/{name}"))), None)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  (thousands of them: pathlib is slow)
    except OSError:
        return None
