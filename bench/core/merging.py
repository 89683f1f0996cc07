"""Stores into one: every run once, held against its hashes while it is copied; nothing that is there is changed or overwritten.

A run is copied to a private name in the target (`incoming/`) and renamed when all of it is there, so that it is whole or absent; what was
copied before an interruption is found to be there. Of two runs of one id the target's stays, unless it is not done and the other is: then
the target's is set aside. Readouts that the target lacks are added to a run of the same weights by the same code.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from bench.components.digests import Stage, difference
from bench.core.leases import LeaseLostError
from bench.core.manifests import manifests, read_manifest, tagged, write_manifest, write_tag
from bench.core.run_folder import LOG, CorruptError, RunFolder, StoreError
from bench.core.spec import RunSpec
from bench.core.store import Store, flat
from bench.files import make_folder, remove_parts, sync_names, write_bytes

__all__ = ["Merged", "merge"]

ENDED = ("done", "failed")
SIDE_BY_SIDE = 8  # runs: nearly all of the time goes to waiting for disks


@dataclass(frozen=True)
class Merged:
    """What became of a run, or of a list of runs.

    Attributes:
        name: of it, in its store.
        state: `copied`; `completed`: readouts were added; `replaced`: likewise copied, and what was not done set aside; `there`: already;
            `unfinished`: left out, and that is not a problem; or what is one: `conflict`, `damaged`, `busy`.
        reason: why, in a sentence.
    """

    name: str
    state: Literal["copied", "completed", "replaced", "there", "unfinished", "conflict", "damaged", "busy"]
    reason: str = ""

    @property
    def problem(self) -> bool:
        """Whether it is not in the target as it is in its store, and should be."""
        return self.state in ("conflict", "damaged", "busy")


class DamagedError(Exception):
    """A run cannot be copied: a file is absent, or is not what its hash promises."""


def merge(source: Store, into: Store, *, ended: bool = False) -> Iterator[Merged]:
    """Copy into a store what another one has and it lacks, run by run; then its lists of runs, and tags.

    Arguments:
        source: only read.
        into: created before.
        ended: leave out runs that were scored as they stood, when their time was up.

    Raises:
        StoreError: if `into` cannot be written.
    """
    runs = source.root / "runs"

    def transferred(path: Path) -> Merged:
        return transfer(RunFolder(path), str(path.relative_to(runs)), into, ended)

    try:
        paths = sorted(runs.glob("*/*/*/"))
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            yield from pool.map(transferred, paths)
        for model in {path.parent.relative_to(runs) for path in paths}:
            # also what was there, perhaps by a merge that was cut off
            if (folder := into.root / "runs" / model).is_dir():
                sync_names(folder)
        yield from merge_lists(source, into)
    except OSError as error:
        raise StoreError(f"cannot write to the store {into.root}: {error.strerror or error}") from error


def transfer(folder: RunFolder, run: str, into: Store, ended: bool) -> Merged:
    """Copy one run, if it is to be copied."""
    try:
        status, spec = folder.read_json("status.json"), spec_of(folder)
    except StoreError as error:
        return Merged(run, "damaged", str(error))
    if status is None or (ended and status["state"] not in ENDED):
        return Merged(run, "unfinished", "not done yet" if status is None else status["reason"])
    if spec is None or spec.run_id != run:
        return Merged(run, "damaged", f"{folder.path} does not hold the run that it is named after")
    try:
        found = against(status, folder, into.folder(spec))
        if found.state == "there" or found.problem:
            return found
        with into.lock(spec) as lease:
            if lease is None:
                return Merged(run, "busy", "another process works on it; merge again when it is done")
            found = against(status, folder, into.folder(spec))  # it may have just been finished
            if found.state == "completed":
                add_readouts(status, folder, into.folder(spec))
            elif not (found.state == "there" or found.problem):
                copy = copied(status, folder, into, spec)
                lease.require()
                into.set_aside(spec)
                path = into.folder(spec).path
                make_folder(path.parent)
                copy.path.rename(path)
                sync_names(path.parent)
            return found
    except DamagedError as error:
        return Merged(run, "damaged", str(error))
    except LeaseLostError as lost:
        return Merged(run, "busy", str(lost))


def spec_of(folder: RunFolder) -> RunSpec | None:
    """The run that a folder holds.

    Raises:
        StoreError: if that is damaged.
    """
    value = folder.read_json("spec.json")
    return None if value is None else RunSpec.model_validate(value)


def against(status: Mapping[str, Any], theirs: RunFolder, ours: RunFolder) -> Merged:
    """What is to become of a run with that status in one store, given what another has under its id.

    Raises:
        DamagedError: if a readout of theirs is.
    """
    run = "/".join(ours.path.parts[-3:])
    try:
        own = ours.read_json("status.json")
    except CorruptError as error:
        return Merged(run, "conflict", f"{error}; `bench run` makes it again")
    except StoreError as error:
        return Merged(run, "conflict", str(error))
    if own is None or own["state"] != "done":
        if own is None and not ours.path.exists():
            return Merged(run, "copied")
        if status["state"] == "done":
            return Merged(run, "replaced", f"{'unfinished' if own is None else own['state']} here: set aside")
        return Merged(run, "there", "not done here either")
    if status["state"] != "done":
        return Merged(run, "there", "done here")
    if words := conflict(status, own, theirs, ours):
        return Merged(run, "conflict", words)
    return Merged(run, "completed" if readouts(status) - readouts(own) else "there")


def readouts(status: Mapping[str, Any]) -> set[str]:
    """The files of readouts that a status vouches for."""
    return {name for name in status["files"] if name.startswith("evals/") and name.endswith(".json")}


def conflict(status: Mapping[str, Any], own: Mapping[str, Any], theirs: RunFolder, ours: RunFolder) -> str:
    """In what two finished runs of one id differ that should not; '' if in nothing."""
    if code := difference(own["stage"], Stage(**status["stage"])):
        return f"trained by other code here: {code}"
    weights = "checkpoint.safetensors"
    if status["files"].get(weights) != own["files"].get(weights):
        where = {own["device"], status["device"]}
        return "other weights by the same code" + (f", on {own['device']} here" if len(where) > 1 else "")
    for name in sorted(readouts(status) & readouts(own)):
        if status["files"][name] == own["files"][name]:
            continue
        one, other = readout(ours, name), readout(theirs, name)
        stages = one.pop("stage"), other.pop("stage")
        if code := difference(stages[0], Stage(**stages[1])):
            return f"{name} is by other code here: {code}"
        if one != other:
            return f"{name} has other numbers here, by the same code"
    return ""


def readout(folder: RunFolder, name: str) -> dict[str, Any]:
    """What a readout found, without what it took.

    Raises:
        DamagedError: if it is damaged.
    """
    try:
        value = folder.read_json(name)
    except StoreError as error:
        raise DamagedError(str(error)) from error
    if value is None:
        raise DamagedError(f"{folder / name} is missing")
    value.pop("seconds", None)
    return value


def copied(status: Mapping[str, Any], folder: RunFolder, into: Store, spec: RunSpec) -> RunFolder:
    """A whole copy of a run under a private name of the store, which the caller holds.

    Raises:
        DamagedError: if a file is damaged, or changes meanwhile.
    """
    copy = RunFolder(into.root / "incoming" / flat(spec.run_id))
    shutil.rmtree(copy.path, ignore_errors=True)  # of a process that was killed
    make_folder(copy / "evals")
    try:
        for name, digest in status["files"].items():
            write_bytes(copy / name, sound(folder, name, digest))
        for name in ("resume.pt", LOG):
            if (folder / name).is_file():
                write_bytes(copy / name, content_of(folder / name))
        copy.write_json("status.json", dict(status))
        if folder.read_json("status.json") != status:
            raise DamagedError(f"{folder.path} changed while it was copied")
    except BaseException:
        shutil.rmtree(copy.path, ignore_errors=True)
        raise
    return copy


def sound(folder: RunFolder, name: str, digest: str) -> bytes:
    """The content of a file of a run.

    Raises:
        DamagedError: if it is not that of the hash, cannot be read, or is no file of the run.
    """
    path, parts = folder / name, PurePath(name).parts
    if parts[:-1] not in ((), ("evals",)) or parts[-1] == "..":
        raise DamagedError(f"{folder / 'status.json'} lists {name}, which is no file of a run")
    content = content_of(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(f"{path} is corrupt: its content does not match the hash in the status")
    return content


def content_of(path: Path) -> bytes:
    """What is in a file that is copied.

    Raises:
        DamagedError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}") from error


def add_readouts(status: Mapping[str, Any], theirs: RunFolder, ours: RunFolder) -> None:
    """Add what a finished run of the same weights has had read out of it elsewhere; the status, with the new hashes, last."""
    own = ours.read_json("status.json") or {}
    stems = {name.removesuffix(".json") for name in readouts(status) - readouts(own)}
    for each in (ours.path, ours / "evals"):
        remove_parts(each)
    added = {name: digest for name, digest in status["files"].items() if name.startswith(tuple(stems))}
    for name, digest in sorted(added.items(), key=lambda item: item[0].endswith(".json")):
        write_bytes(ours / name, sound(theirs, name, digest))
    ours.write_json("status.json", own | {"files": own["files"] | added})


def merge_lists(source: Store, into: Store) -> Iterator[Merged]:
    """Merge the lists of runs that make up suites, and those under tags: every run once, what the target has first."""
    try:
        suites = manifests(source)
        tags = {path.name: tagged(source, path.name) for path in sorted((source.root / "tags").glob("*/"))}
    except StoreError as error:
        yield Merged("lists of runs", "damaged", str(error))
        return
    with into.lock_manifest():
        for manifest in suites:
            name = f"suite {manifest['suite']} ({manifest['profile']})"
            own = read_manifest(into, manifest["suite"], manifest["profile"])
            if own.get("kind", manifest["kind"]) != manifest["kind"]:
                yield Merged(name, "conflict", f"is of kind {manifest['kind']}, and here of {own['kind']}")
                continue
            runs = sorted(united([*own["runs"], *manifest["runs"]]), key=lambda run: (run["dataset"], run["seed"]))
            if runs != own["runs"]:
                write_manifest(into, {**manifest, "runs": runs})
        for tag, listed in tags.items():
            there = tagged(into, tag) if (into.root / "tags" / tag).is_dir() else []
            before = {(each["suite"], each["profile"]): each["runs"] for each in there}
            for manifest in listed:
                runs = united([*before.get((manifest["suite"], manifest["profile"]), []), *manifest["runs"]])
                write_tag(into, tag, {**manifest, "runs": runs})


def united(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs as manifests list them, each once, with all that is read out of it."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        own = found.setdefault(run["run"], {**run, "readouts": []})
        own["readouts"] += [each for each in run["readouts"] if each not in own["readouts"]]
    return list(found.values())
