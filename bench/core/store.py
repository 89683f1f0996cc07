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
    aside/                            set aside: runs that were corrupt, trained again or replaced by --fresh, and lists that were damaged

`training.json` vouches for the checkpoint, `status.json` for everything; both list sha256 hashes. What does not match is never used.
Training and every evaluation record the code behind them (`bench.components.digests`). An unfinished run that
was scored as it stands has the same files, with fewer steps done than asked for.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from bench.components.digests import difference
from bench.core.leases import Held, Lease, LeaseLostError, Leases
from bench.core.run_folder import CorruptError, RunFolder, StoreError, progress_words, unfinished
from bench.core.spec import SCHEMA_VERSION, RunSpec
from bench.core.task import Task
from bench.files import make_folder, remove_parts, sync_names, write_bytes
from bench.words import plural

__all__ = ["Lookup", "NotInStoreError", "Store", "flat", "stale_training", "trained_on"]

NAMED = 8  # runs that an error lists

State = Literal["hit", "stale", "partial", "missing", "failed", "corrupt"]


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
        """The version of the store as it says, or one of its runs where `store.json` is lost; 1 where none of them does, the present one
        where there are none.

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
            sync_names(self.root / "aside")

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
