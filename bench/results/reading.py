"""One run's directory read: its state, and the JSON files that its status vouches for.

Files that were sound are kept, for all runs of a store, in one sealed file of its cache folder, so that only runs that changed are read
again. What `bench status` shows of a run without reading all of it is in `bench.results.states`.
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

from bench.core.records import problem
from bench.core.store import RunFolder, Store, StoreError, progress_words, unfinished
from bench.files import CorruptFileError, parse_json, read_sealed, write_sealed

__all__ = ["RunFiles", "by_status", "cached_reader", "read_run"]

_STEPS = ("steps_done", "steps_asked")
_SHARED = ("stage", "config", "readout", "versions")
"""Parts of a run's files that are the same in many runs; they are kept once."""
_CHECKED = (".json", ".jsonl", ".npy")  # the checkpoint is checked when it is used


class RunFiles(NamedTuple):
    """A run's state with a reason, and the sound JSON files of its directory by name; at most its spec where there are no results.

    Of the status only its steps are there, of the files that another one lists only their names.
    """

    state: str
    reason: str
    files: Mapping[str, dict[str, Any]]


def read_run(folder: RunFolder) -> RunFiles:
    """Read a run; where it has scores its files are held against their hashes."""
    spec = None
    try:
        state, reason, status = by_status(folder)
        if status is not None:
            files = _checked(folder, status["files"])
            return RunFiles(state, reason, files | {"status.json": {name: status[name] for name in _STEPS}})
        if state == "partial" and (scored := _scored_before(folder)):
            return scored
    except StoreError as error:
        state, reason = "failed", str(error)
    with suppress(StoreError):
        spec = folder.read_json("spec.json")
    return RunFiles(state, reason, {"spec.json": spec} if spec else {})


def _scored_before(folder: RunFolder) -> RunFiles | None:
    """Return what was scored of an unfinished run that is trained on, so that it has no status before it is scored anew; None for others.

    Raises:
        StoreError: if one of its files is damaged.
    """
    training = folder.training()
    found = {f"evals/{path.name}": folder.evaluation(path.stem) for path in sorted((folder / "evals").glob("*.json"))}
    results = {name: result for name, result in found.items() if result}
    if training is None or not unfinished(training) or not results:
        return None
    files = {"training.json": training, "status.json": {name: training[name] for name in _STEPS}, **results}
    files |= {name: known for name in ("spec.json", "env.json") if (known := folder.read_json(name))}
    return RunFiles("unfinished", f"after {progress_words(training)}; trained on since", files)


def by_status(folder: RunFolder) -> tuple[str, str, dict[str, Any] | None]:
    """Return a run's state and reason by its status alone, and that status where it vouches for results.

    Raises:
        StoreError: if the status is damaged or of another version.
    """
    status = folder.read_json("status.json")
    if status is None:
        begun = (folder / "resume.pt").exists() or (folder / "training.json").exists()
        return ("partial", "unfinished; `bench run` continues it", None) if begun else ("missing", "not run yet", None)
    trained = "training.json" in status["files"] and status["steps_done"] == status["steps_asked"]
    if status["state"] == "failed" and not trained:
        return "failed", status["reason"], None
    return status["state"], "after " * (status["state"] == "unfinished") + status["reason"], status


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
                contents[name] = value = parse_json(content)
                del value["sha256"]
            except (ValueError, TypeError, KeyError, RecursionError):
                raise StoreError(f"{folder / name} is corrupt: it is not what was written") from None
            if wrong := problem(name, value):
                raise StoreError(f"{folder / name} {wrong}")
            if "files" in value:
                value["files"] = list(value["files"])
    return contents


@contextmanager
def cached_reader(store: Store) -> Iterator[Any]:
    """Yield a function from a run's id to its files that reads only what changed; what was read is kept at the end.

    A cache that is absent, damaged or of other code is empty. Runs without scores are never taken from it.
    """
    path = store.cache / "scan.sealed"
    kept, shared = _load(path)
    new: dict[str, tuple[str, RunFiles]] = {}

    def read(run: str) -> RunFiles:
        folder = f"{store.root}/runs/{run}"
        stamp = _stamp(folder)
        known, cached = kept.get(run, ("", None))
        if cached and known == stamp and _is_sound(cached):
            return cached
        found = read_run(RunFolder(Path(folder)))
        for value, name in _shared_parts(found.files):
            value[name] = shared.setdefault(json.dumps(value[name]), value[name])
        if stamp and found.files:
            new[run] = (stamp, found)
        return found

    yield read
    if new:
        numbers = {id(value): number for number, value in enumerate(shared.values())}
        runs = {
            run: (stamp, state, reason, {name: _numbered(value, numbers) for name, value in files.items()})
            for run, (stamp, (state, reason, files)) in (kept | new).items()
            if (store.root / "runs" / run).is_dir()
        }
        content = {"code": _code(), "shared": list(shared.values()), "runs": runs}
        with suppress(OSError):  # a store that cannot be written goes without
            path.parent.mkdir(exist_ok=True)
            write_sealed(path, json.dumps(content, ensure_ascii=False, check_circular=False).encode())


def _load(path: Path) -> tuple[dict[str, tuple[str, RunFiles]], dict[str, Any]]:
    """Return the stamp and what was read of every run in the cache, and the parts of files that they share by their JSON."""
    try:
        found = parse_json(read_sealed(path))
        if found["code"] == _code():
            kept = {run: (stamp, RunFiles(*about)) for run, (stamp, *about) in found["runs"].items()}
            for _, (_, _, files) in kept.values():
                for value, name in _shared_parts(files):
                    value[name] = found["shared"][value[name]]
            return kept, {json.dumps(value): value for value in found["shared"]}
    except (OSError, CorruptFileError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return {}, {}


def _is_sound(found: RunFiles) -> bool:
    """Return whether what the cache has of a run is laid out as what is read from its folder; its checksum may be anybody's."""
    records = {name if name != "status.json" else "progress": record for name, record in found.files.items()}
    words = isinstance(found.state, str) and isinstance(found.reason, str)
    return words and not any(problem(name, record) for name, record in records.items())


def _shared_parts(files: Mapping[str, dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str]]:
    return ((value, name) for value in files.values() for name in _SHARED if name in value)


def _numbered(value: dict[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    """Return the content of a file with numbers in the place of what is shared."""
    return value | {name: numbers[id(value[name])] for name in _SHARED if name in value}


@functools.cache
def _code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _stamp(folder: str) -> str:
    """Return a digest of the names of a run's files, and the sizes and times of change of its text files; '' without a status."""
    files = []
    try:
        for place in (f"{folder}/", f"{folder}/evals/"):
            for name in os.listdir(place):  # noqa: PTH208  (thousands of them: pathlib is slow)
                if name.endswith((".json", ".jsonl")):
                    stat = os.stat(place + name)  # noqa: PTH116
                    name = f"{name} {stat.st_size} {stat.st_mtime_ns}"
                files.append(name)
    except OSError:
        return ""
    if not any(name.startswith("status.json ") for name in files):
        return ""
    return hashlib.blake2b("/".join(sorted(files)).encode(), digest_size=12).hexdigest()
