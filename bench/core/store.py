"""The store: one directory per run, every file whole or absent, `status.json` last.

    store.json                        its schema
    runs/<dataset>/<model>/<identity>-s<seed>/
        spec.json  env.json  curve.jsonl  checkpoint.safetensors  training.json  evals/*.json|npy  status.json
        resume.pt                     only while training is unfinished
        log.txt                       what happened when, with tracebacks: for people, in no status
    suites/<suite>-<profile>.json     what a `bench run` planned: the report's list of rows
    tags/<tag>/<suite>-<profile>.json what a `bench run --tag` planned, kept when the suite changes
    cache/                            extractors and reference statistics, by content
    locks/                            a lease per run, held by the process that works on it: `bench.core.leases`
    incoming/                         runs that `bench merge` is copying
    aside/                            runs set aside: corrupt, trained again, or replaced by --fresh

`training.json` vouches for the checkpoint, `status.json` for everything; both list sha256 hashes. What does not match is never used.
Training and every evaluation record the code behind them (`bench.components.digests`). An unfinished run that
was scored as it stands has the same files, with fewer steps done than asked for.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from bench.components.digests import difference
from bench.core.fields import content_hash
from bench.core.leases import Held, Lease, LeaseLostError, Leases
from bench.core.records import problem
from bench.core.spec import SCHEMA_VERSION, RunSpec
from bench.core.task import Task
from bench.files import make_folder, parse_json, remove_parts, sha256_file, write_bytes, write_json
from bench.words import plural

__all__ = [
    "LOG",
    "CorruptError",
    "Lookup",
    "NotInStoreError",
    "RunFolder",
    "Store",
    "StoreError",
    "UnreadableError",
    "trained_on",
    "unfinished",
]

LOG = "log.txt"
NAMED = 8  # runs that an error lists

State = Literal["hit", "stale", "partial", "missing", "failed", "corrupt"]


class StoreError(RuntimeError):
    """The store cannot be used."""


class CorruptError(StoreError):
    """A file is not what was written, or not laid out as it should be."""


class UnreadableError(StoreError):
    """A file is there, and the system does not let it be read: nothing is known of what it holds."""


class NotInStoreError(StoreError):
    """What was asked for by name is not in the store, or is several things there."""


@dataclass(frozen=True)
class Lookup:
    """What the store has of a run, and why it is not more; `stale` says in what way its training is of other code, if it is kept.
    `device` is the kind of device of a finished training, see `trained_on`.
    """

    state: State
    reason: str = ""
    stale: str = ""
    device: str = ""

    @property
    def trained(self) -> bool:
        """Whether no more than readouts are to be done."""
        return bool(self.device)

    @property
    def diverged(self) -> bool:
        """Whether the run failed in a way that the same seed and code will repeat."""
        return self.state == "failed" and self.reason.startswith("diverged")


def unfinished(record: Mapping[str, Any]) -> bool:
    """Whether a training or status record is of a run that had to leave off."""
    return bool(record["steps_done"] < record["steps_asked"])


class RunFolder:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def misshapen(self) -> bool:
        """Whether there is a file where a folder belongs, or a folder where a file does."""
        if not self.path.is_dir():
            return self.path.exists()
        return any(each.is_dir() != (each == self / "evals") for each in self.path.rglob("*"))

    def read_json(self, name: str, digest: str = "") -> dict[str, Any] | None:
        """A JSON file of the run; None if absent. It is held against the hash that a status has of it, `digest`, or else its own checksum.

        Raises:
            CorruptError: if it is not what was written, or is not laid out as `bench.core.records` says.
            UnreadableError: if the system does not let it be read.
        """
        try:
            with open(f"{self.path}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
                content = file.read()
            value: dict[str, Any] = parse_json(content)
            seal = value.pop("sha256")
        except FileNotFoundError:
            return None
        except (
            IsADirectoryError,
            NotADirectoryError,
            ValueError,
            LookupError,
            AttributeError,
            TypeError,
            RecursionError,
        ) as error:
            raise CorruptError(f"{self.path / name} is corrupt: it is not what was written") from error
        except OSError as error:
            raise UnreadableError(f"{self.path / name} cannot be read: {error.strerror}") from error
        if digest and digest != hashlib.sha256(content).hexdigest():
            raise CorruptError(f"{self.path / name} is corrupt: its content does not match the hash in the status")
        if not digest and seal != content_hash(value):
            raise CorruptError(f"{self.path / name} is corrupt: its content does not match its own checksum")
        if wrong := problem(name, value):
            raise CorruptError(f"{self.path / name} {wrong}")
        return value

    def write_json(self, name: str, value: dict[str, Any], *, more: bool = False) -> None:
        """Write a JSON file of the run, with a checksum of itself in it; `more` as in `bench.files.write_bytes`."""
        write_json(self.path / name, value | {"sha256": content_hash(value)}, more=more)

    def damaged(self, files: Mapping[str, str]) -> str:
        """The first of the files, listed with their hashes, that is absent or differs, as a sentence; '' if all are sound."""
        for name, digest in files.items():
            try:
                found = sha256_file(f"{self.path}/{name}")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return f"{self.path / name} is missing"
            if found != digest:
                return f"{self.path / name} is corrupt: its content does not match the hash in the status"
        return ""

    def hashes(self, *names: str) -> dict[str, str]:
        """Hashes of the named files, as a status lists them."""
        return {name: sha256_file(self.path / name) for name in names}

    def log(self, text: str) -> None:
        """Append text, with the time, to the run's log; a log that cannot be written is no reason to fail."""
        with suppress(OSError), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {text}\n")

    def training(self) -> dict[str, Any] | None:
        """What `training.json` says of a sound training, finished or not; None if there is none.

        Raises:
            UnreadableError: if it cannot be read.
        """
        return self._sound("training.json")

    def evaluation(self, identity: str) -> dict[str, Any] | None:
        """A sound evaluation of that identity, by whatever code; None if there is none.

        Raises:
            UnreadableError: if it cannot be read.
        """
        return self._sound(f"evals/{identity}.json")

    def _sound(self, name: str) -> dict[str, Any] | None:
        try:
            found = self.read_json(name)
        except CorruptError:
            return None
        return None if not found or self.damaged(found["files"]) else found


class Store:
    """A directory of runs; nothing is touched before `create`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def require(self) -> Store:
        """This store, if it is one.

        Raises:
            StoreError: if there is nothing to read, or it is of another version.
        """
        if not (self.root / "runs").is_dir():
            raise StoreError(f"no store at {self.root}; `bench run --store {self.root}` makes one")
        if self.schema != SCHEMA_VERSION:
            raise StoreError(
                f"the store {self.root} has schema {self.schema}, this version reads {SCHEMA_VERSION}; name another one with --store"
            )
        return self

    @property
    def schema(self) -> int:
        """The version of the store as it says, or one of its runs where `store.json` is lost; 1 where none of them does.

        Raises:
            StoreError: if it cannot be read, nor any run.
        """
        damage: StoreError | None = None
        for path in chain([self.root / "store.json"], self.root.glob("runs/*/*/*/spec.json")):
            try:
                if found := RunFolder(path.parent).read_json(path.name):
                    return int(found["schema_version"])
            except StoreError as error:
                damage = error if path.name == "store.json" else damage
        if damage:
            raise damage
        cut_off = not any((self.root / "runs").iterdir())  # while it was made
        return SCHEMA_VERSION if cut_off else 1

    def create(self) -> Store:
        """This store, made if need be and tried for writing.

        Raises:
            StoreError: if the directory cannot be made or written, or is a store of another version.
        """
        root = self.root
        if (root / "runs").is_dir():
            self.require()
        try:
            for name in ("runs", "suites", "cache", "locks", "aside"):
                make_folder(root / name)
            write_bytes(root / "locks" / "probe", bytes(4096))  # an empty file fits on a full disk
            remove_parts(root, "store.json")
            RunFolder(root).write_json("store.json", {"schema_version": SCHEMA_VERSION})
        except OSError as error:
            raise StoreError(f"cannot write to the store {root}: {error.strerror or error}") from error
        return self

    def still_there(self) -> None:
        """Call before anything is made in it that would pass for a store.

        Raises:
            StoreError: if it has been moved or removed since `create`.
        """
        if not (self.root / "store.json").is_file():
            raise StoreError(f"the store {self.root} is gone: it was moved or removed meanwhile")

    @property
    def cache(self) -> Path:
        """Extractors and reference statistics."""
        return self.root / "cache"

    def folder(self, spec: RunSpec) -> RunFolder:
        """The directory of a run, which need not exist."""
        return RunFolder(self.root / "runs" / spec.run_id)

    def find(self, name: str) -> RunFolder:
        """The run whose id, with or without `runs/`, is `name`, else has it between slashes, begins or ends with it, or has it anywhere.

        Raises:
            NotInStoreError: if there is none, or more than one; those are listed.
        """
        root, name = self.root / "runs", name.removeprefix("runs/")
        if (root / name / "spec.json").is_file():
            return RunFolder(root / name)
        ids = sorted(str(path.parent.relative_to(root)) for path in root.glob("*/*/*/spec.json"))
        ways = (lambda run, parts: f"/{parts}/" in f"/{run}/", str.startswith, str.endswith, str.__contains__)
        found = next(filter(None, ([run for run in ids if way(run, name)] for way in ways)), [])
        if not found:
            raise NotInStoreError(f"no run '{name}' in {self.root}; `bench status` lists the runs")
        if len(found) > 1:
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            raise NotInStoreError(
                f"{len(found)} runs go by '{name}', write more of one: {', '.join(found[:NAMED])}{more}"
            )
        return RunFolder(root / found[0])

    def prepare(self, spec: RunSpec) -> RunFolder:
        """The directory of a run, made, with its spec in it and without a status: it is being worked on, by whoever holds it."""
        folder = self.folder(spec)
        if folder.misshapen:
            self.set_aside(spec)
        make_folder(folder.path)
        (folder / "evals").mkdir(exist_ok=True)
        for each in (folder.path, folder / "evals"):
            remove_parts(each)
        (folder / "status.json").unlink(missing_ok=True)
        folder.write_json("spec.json", spec.model_dump(mode="json"), more=True)
        return folder

    def lookup(self, task: Task) -> Lookup:
        """What there is of a run with its readouts.

        Hit: done and sound; `Lookup.stale` says if it was trained by other code, or on another device than the one asked for.
        Stale: likewise, and the task asks to train such runs again. Partial: some of it is there and will be continued.

        Raises:
            UnreadableError: if a file of it cannot be read.
        """
        folder = self.folder(task.spec)
        try:
            status = folder.read_json("status.json")
            files = status["files"] if status else {}
            training = folder.read_json("training.json", files.pop("training.json", ""))
        except CorruptError as error:
            return Lookup("corrupt", str(error))
        failed = status if status and status["state"] == "failed" else None
        if training is None:
            if failed and not difference(failed["stage"], task.training):
                return Lookup("failed", failed["reason"])
            if (folder / "resume.pt").exists():
                return Lookup("partial", "training unfinished")
            return Lookup("missing", f"failed with other code: {status['reason']}" if status else "")
        old, absent = outdated_readouts(folder, training["checkpoint"], task, files)
        if damage := folder.damaged(files if status else training["files"]):
            return Lookup("corrupt", damage)
        if unfinished(training):
            return Lookup("partial", f"{progress_words(training)}{'; scored' if status else ''}")
        device = trained_on(training, (folder.read_json("env.json") or {}) if training["device"] != "cpu" else {})
        stale = stale_training(training, task)
        if stale and task.retrain:
            return Lookup("stale", f"training: {stale}")
        if failed and (old or absent):  # else a readout of another suite failed
            return Lookup("failed", failed["reason"], stale, device)
        words = [f"training is stale ({stale}) and kept; --retrain redoes it"] if stale else []
        words += [f"{plural(len(absent), 'evaluation')} to do"] if absent else []
        words += [f"{len(old)} evaluation{'s are' if len(old) > 1 else ' is'} stale ({old[0]})"] if old else []
        state: State = "partial" if absent or old or not status else "hit"
        return Lookup(state, "; ".join(words) or ("" if status else "trained; evaluations to do"), stale, device)

    def set_aside(self, spec: RunSpec) -> None:
        """Move what there is of a run out of the way."""
        folder = self.folder(spec).path
        if folder.exists():
            shutil.move(folder, self.root / "aside" / f"{flat(spec.run_id)}-{time.time_ns()}")

    def finish(
        self, task: Task, state: Literal["done", "failed", "unfinished"], reason: str, seconds: Mapping[str, float]
    ) -> None:
        """Write the status, last of all files, with the hashes of those that are sound."""
        folder = self.folder(task.spec)
        training = folder.training() or {"files": {}, "device": "", "steps_done": 0, "steps_asked": 0}
        names = [name for name in ("spec.json", "env.json", "training.json") if (folder / name).is_file()]
        names += training["files"]
        for path in sorted((folder / "evals").glob("*.json")):
            if result := folder.evaluation(path.stem):
                names += [f"evals/{path.name}", *result["files"]]
        status = {
            "state": state,
            "reason": reason,
            "identity": task.spec.identity,
            "seed": task.spec.seed,
            "seconds": dict(seconds),
            "stage": task.training.to_json(),
            "files": folder.hashes(*names),
        }
        folder.write_json(
            "status.json", status | {key: training[key] for key in ("device", "steps_done", "steps_asked")}
        )
        folder.log(f"{state}: {reason}" if reason else state)

    def fail(self, task: Task, reason: str, details: str = "") -> None:
        """Make a failed run a row with its reason, details in its log; what was finished stays finished."""
        folder = self.prepare(task.spec)
        if details:
            folder.log(details.rstrip())
        self.finish(task, "failed", reason, {})

    @property
    def leases(self) -> Leases:
        """Who works on what."""
        return Leases(self.root / "locks")

    def holder(self, run: str) -> Lease | None:
        """Who works on a run, by its id, where, since when and how far it is, from one file; None if nobody does."""
        return self.leases.holder(flat(run))

    @contextmanager
    def lock(self, spec: RunSpec) -> Iterator[Held | None]:
        """Hold the run for this process; yields None if another process does. Others take over soon after this one has died.

        Raises:
            StoreError: if the store cannot be written.
        """
        with self._hold(flat(spec.run_id)) as held:
            yield held

    @contextmanager
    def lock_manifest(self) -> Iterator[None]:
        """Hold all manifests, waiting for whoever does.

        Raises:
            StoreError: if the store cannot be written, or somebody else has taken over since this process was stopped for minutes.
        """
        while True:
            with self._hold("manifests") as held:
                if held is not None:
                    yield
                    try:
                        held.require()
                    except LeaseLostError as lost:
                        raise StoreError(f"{lost} while the lists of runs were written; run this again") from lost
                    return
            time.sleep(0.2)

    @contextmanager
    def _hold(self, name: str) -> Iterator[Held | None]:
        self.still_there()
        with ExitStack() as stack:
            try:
                held = stack.enter_context(self.leases.hold(name))
            except OSError as error:
                raise StoreError(f"cannot write to the store {self.root}: {error.strerror or error}") from error
            yield held


def flat(run: str) -> str:
    """A run's id as the name of a single file or folder."""
    return run.replace("/", "_")


def outdated_readouts(
    folder: RunFolder, checkpoint: str, task: Task, files: dict[str, str]
) -> tuple[list[str], list[str]]:
    """What changed under each stale readout of a checkpoint, and the identities of those that are absent.

    What matches its hash in `files`, as a status lists them, is taken from these.
    """
    old, absent = [], []
    for readout, code in zip(task.readouts, task.reading, strict=True):
        identity = readout.identity(checkpoint)
        name = f"evals/{identity}.json"
        try:
            found = folder.read_json(name, files.get(name, ""))
        except CorruptError:
            found = None
        if found is None:
            absent.append(identity)
            continue
        files.pop(name, None)
        if words := difference(found["stage"], code):
            old.append(words)
    return old, absent


def stale_training(training: Mapping[str, Any], task: Task) -> str:
    """In what way a training is not what would be trained now, in words; '' if it is."""
    if words := difference(training["stage"], task.training):
        return words
    device = training["device"]
    return "" if task.places.device in ("auto", device) else f"made on {device}, asked for on {task.places.device}"


def trained_on(training: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """The kind of device that a training was made on: "cpu", whatever its model, or a GPU's model; '' where nothing was trained.

    One seed draws other random numbers on a CPU and on a GPU, so that runs of two kinds are not paired as runs of one are.
    """
    if not training["steps_asked"]:
        return ""
    name: str = training["device"]
    return name if name == "cpu" else environment.get("device") or name


def progress_words(record: Mapping[str, Any]) -> str:
    """Such as "1,200 of 2,500 steps, in training", or "all 2,500 steps"."""
    if not unfinished(record):
        return f"all {record['steps_asked']:,} steps"
    return f"{record['steps_done']:,} of {record['steps_asked']:,} steps, in {record['phase']}"
