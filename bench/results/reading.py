"""One run's directory read: its state, and the JSON files that its status vouches for.

Files that were sound are kept, for all runs of a dataset, in a sealed file of the store's cache folder, so that only runs that changed are
read again. What `bench status` shows of a run without reading all of it is in `bench.results.states`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.records import problem
from bench.core.run_folder import CorruptError, RunFolder, StoreError, UnreadableError, progress_words, unfinished
from bench.core.spec import identity_of
from bench.core.store import Store
from bench.files import CorruptFileError, parse_json, read_sealed, write_sealed

__all__ = ["RunFiles", "by_status", "cached_reader", "read_run", "stamp"]

_NAME = re.compile(r"[0-9a-f]{12}-s\d+")
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
    """Read a run; where it has scores its files are held against their hashes.

    Raises:
        UnreadableError: if one of its files cannot be read.
    """
    spec = None
    try:
        state, reason, status = by_status(folder)
        if status is not None:
            files = _checked(folder, status["files"])
            _check_name(folder, files.get("spec.json"))
            return RunFiles(state, reason, files | {"status.json": {name: status[name] for name in _STEPS}})
        if state == "partial" and (scored := _scored_so_far(folder, reason)).files:
            _check_name(folder, scored.files.get("spec.json"))
            return scored
    except UnreadableError:
        raise
    except StoreError as error:
        state, reason = "failed", str(error)
    with suppress(CorruptError):
        _check_name(folder, own := folder.read_json("spec.json"))
        spec = own
    return RunFiles(state, reason, {"spec.json": spec} if spec else {})


def _check_name(folder: RunFolder, spec: dict[str, Any] | None) -> None:
    """Refuse the spec of another run than the one that the folder is named after, if it is named as in a store.

    Raises:
        CorruptError: if it is.
    """
    name = folder.path.name
    if spec and _NAME.fullmatch(name) and f"{identity_of(spec)[:12]}-s{spec['seed']}" != name:
        raise CorruptError(f"{folder / 'spec.json'} is corrupt: it is of another run than its folder is named after")


def _scored_so_far(folder: RunFolder, reason: str) -> RunFiles:
    """Return what was scored of a run without a status: it is trained on, or more is being read out of it; no files where nothing was.

    Raises:
        StoreError: if one of its files is damaged.
    """
    training = folder.training()
    found = {f"evals/{path.name}": folder.evaluation(path.stem) for path in sorted((folder / "evals").glob("*.json"))}
    results = {name: result for name, result in found.items() if result}
    if training is None or not results:
        return RunFiles("partial", reason, {})
    files = {"training.json": training, "status.json": {name: training[name] for name in _STEPS}, **results}
    files |= {name: known for name in ("spec.json", "env.json") if (known := folder.read_json(name))}
    if unfinished(training):
        return RunFiles("unfinished", f"after {progress_words(training)}; trained on since", files)
    return RunFiles("partial", reason, files)


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
        UnreadableError: if one cannot be read.
    """
    contents: dict[str, dict[str, Any]] = {}
    root = str(folder.path)
    for name, digest in files.items():
        if not name.endswith(_CHECKED):
            continue
        try:
            with open(f"{root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise StoreError(f"{folder / name} is missing") from None
        except OSError as error:
            raise UnreadableError(f"{folder / name} cannot be read: {error.strerror}") from error
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
def cached_reader(store: Store, stamps: dict[str, str]) -> Iterator[Any]:
    """Yield a function from a run's id to its files that reads only what changed; what was read is kept at the end.

    A cache that is absent, damaged or of other code is empty. Runs that are not trained are never taken from it. `stamps` is filled with
    what `stamp` says of each run before it is read, and '' where it cannot be read.
    """
    caches: dict[str, _Cache] = {}

    def read(run: str) -> RunFiles:
        dataset = run.partition("/")[0]
        if dataset not in caches:
            caches[dataset] = _Cache(store.cache / f"scan-{dataset}.sealed")
        folder = f"{store.root}/runs/{run}"
        stamps[run], has_status = stamp(folder)
        if cached := caches[dataset].known(run, stamps[run]):
            return cached
        try:
            found = read_run(RunFolder(Path(folder)))
        except UnreadableError as error:  # it may be read the next time
            stamps[run] = ""
            return RunFiles("failed", str(error), {})
        caches[dataset].add(run, stamps[run] if has_status else "", found)
        return found

    yield read
    for cache in caches.values():
        cache.write(store.root / "runs")


class _Cache:
    """What was read of the runs of a dataset by their stamps; equal parts of files are one object."""

    def __init__(self, path: Path) -> None:
        self.path, self.changed = path, False
        self.runs: dict[str, tuple[str, RunFiles]] = {}
        self.shared: dict[str, Any] = {}
        with suppress(OSError, CorruptFileError, ValueError, LookupError, TypeError, AttributeError):
            found = parse_json(read_sealed(path))
            if found["code"] == _code():
                kept = {run: (stamp, RunFiles(*about)) for run, (stamp, *about) in found["runs"].items()}
                for _, (_, _, files) in kept.values():
                    for value, name in _shared_parts(files):
                        value[name] = found["shared"][value[name]]
                self.runs, self.shared = kept, {json.dumps(value): value for value in found["shared"]}

    def known(self, run: str, stamp: str) -> RunFiles | None:
        """What was read of a run with this stamp."""
        kept_at, found = self.runs.get(run, ("", None))
        return found if found and kept_at == stamp and _is_sound(found) else None

    def add(self, run: str, stamp: str, found: RunFiles) -> None:
        """Share parts of what was read, and keep it if it has a stamp and is of a trained run."""
        for value, name in _shared_parts(found.files):
            value[name] = self.shared.setdefault(json.dumps(value[name]), value[name])
        if stamp and "training.json" in found.files:
            self.runs[run], self.changed = (stamp, found), True

    def write(self, root: Path) -> None:
        """Keep what there is now of the runs that are still in the folder; not where the store cannot be written."""
        if not self.changed:
            return
        numbers = {id(value): number for number, value in enumerate(self.shared.values())}
        runs = {
            run: (stamp, state, reason, {name: _numbered(value, numbers) for name, value in files.items()})
            for run, (stamp, (state, reason, files)) in self.runs.items()
            if (root / run).is_dir()
        }
        content = {"code": _code(), "shared": list(self.shared.values()), "runs": runs}
        with suppress(OSError):
            self.path.parent.mkdir(exist_ok=True)
            write_sealed(self.path, json.dumps(content, ensure_ascii=False, check_circular=False).encode())


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


def stamp(folder: str) -> tuple[str, bool]:
    """Return a digest of the names of a run's files, and the sizes and times of change of its text files; and whether it has a status."""
    files = []
    for place in (f"{folder}/", f"{folder}/evals/"):
        with suppress(OSError):
            for name in os.listdir(place):  # noqa: PTH208  (thousands of them: pathlib is slow)
                if name.endswith((".json", ".jsonl")):
                    stat = os.stat(place + name)  # noqa: PTH116
                    name = f"{name} {stat.st_size} {stat.st_mtime_ns}"
                files.append(name)
    has_status = any(name.startswith("status.json ") for name in files)
    return hashlib.blake2b("/".join(sorted(files)).encode(), digest_size=12).hexdigest(), has_status
