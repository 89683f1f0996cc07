"""One run's directory read: its state, and the JSON files that its status vouches for.

Files that were sound are kept, for all runs of a store, in one sealed file of its cache folder, so that only runs that changed are read
again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.store import RunFolder, Store, StoreError
from bench.files import CorruptFileError, read_sealed, write_sealed

__all__ = ["RunFiles", "cached_reader", "read_run", "run_states"]

_STATUS = frozenset({"state", "reason", "files", "steps_done", "steps_asked"})
_CHECKED = (".json", ".jsonl", ".npy")  # the checkpoint is checked when it is used


class RunFiles(NamedTuple):
    """A run's state with a reason, and the sound JSON files of its directory by name; at most its spec where there are no results."""

    state: str
    reason: str
    files: Mapping[str, dict[str, Any]]


def read_run(folder: RunFolder) -> RunFiles:
    """Read a run; where it has scores its files are held against their hashes."""
    try:
        status = folder.read_json("status.json")
        if status is None:
            begun = (folder / "resume.pt").exists() or (folder / "training.json").exists()
            state = ("partial", "unfinished; `bench run` continues it") if begun else ("missing", "not run yet")
        elif lacking := sorted(_STATUS - status.keys()):
            raise StoreError(f"{folder / 'status.json'} lacks {', '.join(lacking)}: written by another version")
        elif status["state"] == "failed" and not (
            "training.json" in status["files"] and status["steps_done"] == status["steps_asked"]
        ):
            state = ("failed", status["reason"])
        else:
            files = _checked(folder, status["files"]) | {"status.json": status}
            return RunFiles(status["state"], "after " * (status["state"] == "unfinished") + status["reason"], files)
    except StoreError as error:
        state = ("failed", str(error))
    spec = None
    with suppress(StoreError):
        spec = folder.read_json("spec.json")
    return RunFiles(*state, {"spec.json": spec} if spec else {})


def _checked(folder: RunFolder, files: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the JSON files among those that a status lists.

    Raises:
        StoreError: for the first file that is absent or differs from its hash.
    """
    contents: dict[str, dict[str, Any]] = {}
    root = str(folder.path)
    for name, digest in files.items():
        if not name.endswith(_CHECKED):
            continue
        try:
            with open(f"{root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
                content = file.read()
        except OSError:
            raise StoreError(f"{folder / name} is missing") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"{folder / name} is corrupt: its content does not match the hash in the status")
        if name.endswith(".json"):
            try:
                contents[name] = {key: value for key, value in json.loads(content).items() if key != "sha256"}
            except (ValueError, AttributeError, RecursionError):
                raise StoreError(f"{folder / name} is corrupt: it is not what was written") from None
    return contents


@contextmanager
def cached_reader(store: Store) -> Iterator[Any]:
    """Yield a function from a run's id to its files that reads only what changed; what was read is kept at the end.

    A cache that is absent, damaged or of other code is empty. Runs without scores are never taken from it.
    """
    path = store.cache / "scan.sealed"
    kept = _load(path)
    new: dict[str, tuple[Any, ...]] = {}

    def read(run: str) -> RunFiles:
        folder = store.root / "runs" / run
        stamp = _stamp(folder)
        if run in kept and kept[run][0] == stamp:
            return RunFiles(*kept[run][1:])
        found = read_run(RunFolder(folder))
        if stamp and found.files:
            new[run] = (stamp, *found)
        return found

    yield read
    if new:
        there = {run: each for run, each in (kept | new).items() if (store.root / "runs" / run).is_dir()}
        with suppress(OSError):  # a store that cannot be written goes without
            path.parent.mkdir(exist_ok=True)
            write_sealed(path, json.dumps({"code": _code(), "runs": there}, ensure_ascii=False).encode())


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_sealed(path))
        return found["runs"] if found["code"] == _code() else {}
    except (OSError, CorruptFileError, ValueError, KeyError, TypeError):
        return {}


@functools.cache
def _code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _stamp(folder: Path) -> str:
    """Return a digest of the names of a run's files, and the sizes and times of change of its text files; '' without a status."""
    files = []
    try:
        for place in (f"{folder}/", f"{folder}/evals/"):
            with os.scandir(place) as entries:
                for entry in entries:
                    stat = entry.stat() if entry.name.endswith((".json", ".jsonl")) else None
                    files.append((entry.name, stat and (stat.st_size, stat.st_mtime_ns)))
    except OSError:
        return ""
    names = {name for name, _ in files}
    return hashlib.blake2b(repr(sorted(files)).encode(), digest_size=12).hexdigest() if "status.json" in names else ""


def run_states(store: Store) -> list[tuple[str, str, str]]:
    """Return (run, state, reason) of every run directory, planned or not; of an unfinished one also how far it is."""
    found = []
    for spec in sorted((store.root / "runs").glob("*/*/*/spec.json")):
        read = read_run(RunFolder(spec.parent))
        words = f"{read.reason} {_last_step(spec.parent)}" if read.state == "partial" else read.reason
        found.append((str(spec.parent.relative_to(store.root / "runs")), read.state, words.strip()))
    return found


def _last_step(folder: Path) -> str:
    """Return how far an unfinished run is, from the last line of its curve."""
    try:
        last = json.loads((folder / "curve.jsonl").read_text().splitlines()[-1])
        return f"from {last['phase']} step {last['step']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
