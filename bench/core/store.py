"""The store: one directory a run, every file whole or absent, `status.json` last.

    runs/<dataset>/<model>/<identity>-s<seed>/
        spec.json  env.json  curve.jsonl  checkpoint.safetensors  training.json  evals/*.json|npy  status.json
        resume.pt                     only while training is unfinished
        unfinished/checkpoint.safetensors, training.json, evals/   what was scored of a run that had to leave off; gone once it is done
    suites/<suite>-<profile>.json     what a `bench run` planned: the report's list of rows
    tags/<tag>/<suite>-<profile>.json what a `bench run --tag` planned, kept when the suite changes
    cache/                            extractors and reference statistics, by content
    locks/                            one a run, held by the process that works on it
    attic/                            runs set aside: stale, corrupt, or replaced by --fresh

`training.json` vouches for the checkpoint, `status.json` for everything; both list sha256 hashes. What does not match is never used.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from bench.core.files import sha256_file, write_bytes, write_json
from bench.core.spec import Readout, RunSpec, content_hash

__all__ = ["Found", "RunFolder", "Store", "StoreError", "fingerprint", "versions"]

State = Literal["hit", "stale", "partial", "missing", "failed", "corrupt"]
NUMBERS = (
    *(
        "gebm",
        "baselines",
        "bench/core/seeds.py",
        "bench/core/session.py",
        "bench/core/registry.py",
        "bench/core/runner.py",
    ),
    *(
        "bench/images/models.py",
        "bench/images/evaluation.py",
        "bench/densities/models.py",
        "bench/densities/likelihoods.py",
    ),
    *("bench/chains/models.py", "bench/chains/samplers.py", "bench/chains/judge.py", "bench/chains/truth.py"),
)
_MANIFEST = frozenset({"suite", "profile", "runs"})
_STATUS = frozenset({"state", "reason", "fingerprint", "device", "seconds", "files"})
_LISTED = frozenset({"dataset", "model", "seed", "run", "identity", "readouts"})
NUMBERS_FOLDERS = ("bench/data", "bench/metrics")


class StoreError(RuntimeError):
    """The store cannot be used."""


@functools.cache
def fingerprint() -> str:
    """Short sha256 of the code that makes numbers and of the libraries under it; other code (report, CLI) may change freely."""
    root = Path(__file__).parents[2]
    content = hashlib.sha256(json.dumps(versions(), sort_keys=True).encode())
    for part in (*NUMBERS, *NUMBERS_FOLDERS):
        path = root / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            content.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return content.hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the libraries that make numbers."""
    return {name: version(name) for name in ("torch", "numpy", "scipy", "torch-fidelity", "scikit-learn")}


@dataclass(frozen=True)
class Found:
    """What the store has of a run, and why it is not more."""

    state: State
    reason: str = ""

    @property
    def diverged(self) -> bool:
        """Whether the run failed in a way that the same seed and code will repeat."""
        return self.state == "failed" and self.reason.startswith("diverged")


class RunFolder:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def unfinished(self) -> RunFolder:
        """Where the scores of a run that had to leave off are kept, laid out like a run; it may not exist."""
        return RunFolder(self.path / "unfinished")

    def words_so_far(self) -> str:
        """What to add where a run is said to be unfinished: how far it was when it was scored, if it was."""
        scored = self.scored_so_far()
        return f"; scored after {scored[1]['progress']}" if scored and "progress" in scored[1] else ""

    def scored_so_far(self) -> tuple[RunFolder, dict[str, Any]] | None:
        """Where scores of a run without a status are, with the training that they belong to; None if there are none by this code."""
        for folder in (self, self.unfinished):
            if training := folder.training():
                return (folder, training) if any((folder / "evals").glob("*.json")) else None
        return None

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the run; None if absent.

        Raises:
            StoreError: if it is not what was written.
        """
        try:
            value: dict[str, Any] = json.loads((self.path / name).read_text())
            seal = value.pop("sha256")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise StoreError(f"{self.path / name} is corrupt or cannot be read") from error
        if seal != content_hash(value):
            raise StoreError(f"{self.path / name} is corrupt: its content does not match its own checksum")
        return value

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file of the run, with a checksum of itself in it."""
        write_json(self.path / name, value | {"sha256": content_hash(value)})

    def damaged(self, files: dict[str, str]) -> str:
        """The first of the listed files that is absent or differs from its hash, as a sentence; '' if all are sound."""
        for name, digest in files.items():
            path = self.path / name
            if not path.is_file():
                return f"{path} is missing"
            if sha256_file(path) != digest:
                return f"{path} is corrupt: its content does not match the hash in the status"
        return ""

    def hashes(self, *names: str) -> dict[str, str]:
        """Hashes of the named files, as a status lists them."""
        return {name: sha256_file(self.path / name) for name in names}

    def training(self) -> dict[str, Any] | None:
        """What `training.json` says of a finished, sound training by this code; None otherwise."""
        try:
            training = self.read_json("training.json")
        except StoreError:
            return None
        if not training or training["fingerprint"] != fingerprint() or self.damaged(training["files"]):
            return None
        return training

    def evaluation(self, identity: str) -> dict[str, Any] | None:
        """A sound evaluation of that identity; None otherwise."""
        try:
            found = self.read_json(f"evals/{identity}.json")
        except StoreError:
            return None
        if not found or found.get("fingerprint") != fingerprint() or self.damaged(found["files"]):
            return None
        return found


class Store:
    """A directory of runs; nothing is touched before `create`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def require(self) -> Store:
        """This store, if it is one.

        Raises:
            StoreError: if there is nothing to read.
        """
        if not (self.root / "runs").is_dir():
            raise StoreError(f"no store at {self.root}; `bench run --store {self.root}` makes one")
        return self

    def create(self) -> Store:
        """This store, made if need be and tried for writing.

        Raises:
            StoreError: if the directory cannot be made or written.
        """
        root = self.root
        try:
            for name in ("runs", "suites", "cache", "locks", "attic"):
                (root / name).mkdir(parents=True, exist_ok=True)
            write_bytes(root / "locks" / "probe", bytes(4096))  # an empty file fits on a full disk
        except OSError as error:
            raise StoreError(f"cannot write to the store {root}: {error.strerror or error}") from error
        return self

    @property
    def cache(self) -> Path:
        """Extractors and reference statistics."""
        return self.root / "cache"

    def folder(self, spec: RunSpec) -> RunFolder:
        """The directory of a run, which need not exist."""
        return RunFolder(self.root / "runs" / spec.run_id)

    def prepare(self, spec: RunSpec) -> RunFolder:
        """The directory of a run, made, with its spec in it."""
        folder = self.folder(spec)
        (folder / "evals").mkdir(parents=True, exist_ok=True)
        folder.write_json("spec.json", spec.model_dump(mode="json"))
        return folder

    def lookup(self, spec: RunSpec, readouts: Sequence[Readout], device: str = "auto") -> Found:
        """What there is of a run with these readouts, trained on this kind of device if it is not 'auto'.

        Hit: done, sound, by this code and these libraries. Stale: by others. Partial: some of it is there and will be continued.
        """
        folder = self.folder(spec)
        try:
            status = folder.read_json("status.json")
        except StoreError as error:
            return Found("corrupt", str(error))
        if status is None:
            return self._lookup_unfinished(folder)
        if not status.keys() >= _STATUS:
            return Found("stale", "written by another version")
        if status["fingerprint"] != fingerprint():
            return Found("stale", "made by other code or library versions")
        if status["device"] not in (device, "") and device != "auto":
            return Found("stale", f"made on {status['device']}, asked for on {device}")
        if damage := folder.damaged(status["files"]):
            return Found("corrupt", damage)
        if status["state"] == "failed":
            return Found("failed", status["reason"])
        checkpoint = status["files"].get("checkpoint.safetensors", "")
        absent = [r for r in readouts if f"evals/{r.identity(checkpoint)}.json" not in status["files"]]
        if absent:
            return Found("partial", f"trained; {len(absent)} evaluations to do")
        return Found("hit")

    def _lookup_unfinished(self, folder: RunFolder) -> Found:
        try:
            training = folder.read_json("training.json")
        except StoreError as error:
            return Found("corrupt", str(error))
        if training is not None:
            if training["fingerprint"] != fingerprint():
                return Found("stale", "trained by other code or library versions")
            if damage := folder.damaged(training["files"]):
                return Found("corrupt", damage)
            return Found("partial", "trained; evaluations to do")
        if (folder / "resume.pt").exists():
            return Found("partial", f"training unfinished{folder.words_so_far()}")
        return Found("missing")

    def set_aside(self, spec: RunSpec) -> None:
        """Move what there is of a run to the attic."""
        folder = self.folder(spec).path
        if folder.exists():
            target = self.root / "attic" / f"{spec.run_id.replace('/', '_')}-{time.time_ns()}"
            shutil.move(folder, target)

    def finish(self, spec: RunSpec, state: Literal["done", "failed"], reason: str, seconds: dict[str, float]) -> None:
        """Write the status, last of all files, with the hashes of those that are sound."""
        folder = self.folder(spec)
        training = folder.training()
        names = [name for name in ("spec.json", "env.json", "training.json") if (folder / name).is_file()]
        names += training["files"] if training else []
        for path in sorted((folder / "evals").glob("*.json")):
            if result := folder.evaluation(path.stem):
                names += [f"evals/{path.name}", *result["files"]]
        if state == "done":
            for left_over in ("error.txt", "failure.json"):
                (folder / left_over).unlink(missing_ok=True)
            shutil.rmtree(folder.unfinished.path, ignore_errors=True)
        folder.write_json(
            "status.json",
            {
                "state": state,
                "reason": reason,
                "identity": spec.identity,
                "seed": spec.seed,
                "fingerprint": fingerprint(),
                "device": training["device"] if training else "",
                "seconds": seconds,
                "files": folder.hashes(*names),
            },
        )

    def fail(self, spec: RunSpec, reason: str, details: str) -> None:
        """Make a failed run a row with its reason; what was finished before for other readouts stays finished."""
        folder = self.prepare(spec)
        if details:
            write_bytes(folder / "error.txt", details.encode())
        try:
            status = folder.read_json("status.json")
        except StoreError:
            status = None
        if status and status["state"] == "done" and status["fingerprint"] == fingerprint():
            folder.write_json("failure.json", {"reason": reason})
        else:
            self.finish(spec, "failed", reason, {})

    @contextmanager
    def lock_manifest(self) -> Iterator[None]:
        """Hold all manifests, waiting for whoever does."""
        with (self.root / "locks" / "manifests.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def lock(self, spec: RunSpec) -> Iterator[bool]:
        """Hold the run for this process; yields False if another process does. Released by the system if this one dies."""
        path = self.root / "locks" / f"{spec.run_id.replace('/', '_')}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)

    def read_manifest(self, suite: str, profile: str) -> dict[str, Any]:
        """What was planned of a suite so far; no runs if nothing was, or if it cannot be read."""
        try:
            found = RunFolder(self.root / "suites").read_json(f"{suite}-{profile}.json")
        except StoreError:
            found = None
        return found if found and _is_listing(found) else {"suite": suite, "profile": profile, "runs": []}

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Remember what a suite is made of.

        Raises:
            StoreError: if it cannot be written.
        """
        try:
            RunFolder(self.root / "suites").write_json(f"{manifest['suite']}-{manifest['profile']}.json", manifest)
        except OSError as error:
            raise StoreError(f"cannot write to the store {self.root}: {error.strerror}") from error

    def manifests(self, suite: str | None = None, profile: str | None = None) -> list[dict[str, Any]]:
        """What suites are made of, a dictionary a suite and profile.

        Raises:
            StoreError: if one of them is damaged, or if there is none of that suite and profile.
        """
        found = _listings(self.root / "suites")
        wanted = [m for m in found if suite in (None, m["suite"]) and profile in (None, m["profile"])]
        if found and not wanted:
            there = ", ".join(f"{m['suite']} ({m['profile']})" for m in found)
            raise StoreError(
                f"no runs of suite '{suite or 'any'}', profile '{profile or 'any'}' here; there are: {there}"
            )
        return wanted

    def write_tag(self, tag: str, manifest: dict[str, Any]) -> None:
        """Remember runs under a name, with what was tagged so before; they stay listed when their suite changes.

        Raises:
            StoreError: if it cannot be written.
        """
        folder = RunFolder(self.root / "tags" / tag)
        name = f"{manifest['suite']}-{manifest['profile']}.json"
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            before = folder.read_json(name) or {"runs": []}
            runs = {run["run"]: run for run in (*before["runs"], *manifest["runs"])}
            folder.write_json(name, manifest | {"runs": list(runs.values())})
        except OSError as error:
            raise StoreError(f"cannot write to the store {self.root}: {error.strerror}") from error

    def tagged(self, tag: str) -> list[dict[str, Any]]:
        """The runs under a tag, a dictionary a suite and profile.

        Raises:
            StoreError: if one of them is damaged, or if there is no such tag; the message names those there are.
        """
        if found := _listings(self.root / "tags" / tag):
            return found
        there = ", ".join(sorted(path.name for path in (self.root / "tags").glob("*") if path.is_dir()))
        raise StoreError(
            f"no runs tagged '{tag}' in {self.root}; " + (f"tags: {there}" if there else "`bench run --tag` makes tags")
        )


def _is_listing(manifest: dict[str, Any]) -> bool:
    """Whether a manifest has what this version reads."""
    return manifest.keys() >= _MANIFEST and all(run.keys() >= _LISTED for run in manifest["runs"])


def _listings(folder: Path) -> list[dict[str, Any]]:
    """All manifests of a folder.

    Raises:
        StoreError: if one is damaged or of another version.
    """
    files = RunFolder(folder)
    found = []
    for path in sorted(folder.glob("*.json")):
        manifest = files.read_json(path.name) or {}
        if not _is_listing(manifest):
            raise StoreError(f"{path} was written by another version; the same `bench run` as before writes it anew")
        found.append(manifest)
    return found
