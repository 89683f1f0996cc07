"""A cache of arrays that take long to make: one folder of memory maps per key, whole or absent, with the digest of its content.

A key holds the digests of everything the arrays are made from, so another file under the same name is another entry. Digests of files and
folders are remembered by size, times and inode of each file, as version control does.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError, content_digest
from bench.data.files import file_digest
from bench.files import write_json

__all__ = ["SPLITS", "Allocate", "Build", "DecodedCache", "Tell", "files_below", "put", "put_held_out", "silent"]

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0 where that is not known)."""

Allocate = Callable[[str, Sequence[int], str], Array]
"""Return a zeroed array of that name, shape and type, to be filled in place; the same name again replaces the first."""

Build = Callable[[Allocate], str]
"""Fill the arrays 'SPLIT.images' and 'SPLIT.labels' and return a remark, '' for none."""

Made = tuple[str, str, dict[str, Array]]
"""The digest of arrays, the remark on them, and the arrays by name."""

LEVELS = 256
SPLITS = ("train", "validation", "test")


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class DecodedCache:
    """A folder of decoded arrays; without one everything is made in memory, each time.

    Arguments:
        folder: made when it is needed.
        tell: told how the making goes.
    """

    folder: Path | None = None
    tell: Tell = silent

    def dataset(self, name: str, key: Mapping[str, Any], build: Build, protocol: str, provenance: str) -> Dataset:
        """Return a dataset of images with 256 grey levels, its arrays as copy-on-write memory maps; `build` makes those that are missing.

        Arguments:
            name: of the dataset; also put in front of the name of the folder, for people.
            key: JSON-able; everything the arrays depend on.
            build: makes the arrays; what it remarks is added to the protocol.
            protocol: as in `Dataset`.
            provenance: as in `Dataset`.

        Raises:
            DatasetError: from `build`, or if the folder cannot be written.
        """
        digest, remark, arrays = self.arrays(self.folder, name, key, build) if self.folder else in_memory(build)
        protocol += f"; {remark}" if remark else ""
        splits, labels = by_split(arrays)
        return Dataset(name, "image", splits, protocol, provenance, labels, LEVELS, recorded_digest=digest)

    @staticmethod
    def arrays(folder: Path, name: str, key: Mapping[str, Any], build: Build) -> Made:
        """Return what is in the folder under a key, once it has been made."""
        canonical = json.dumps({"version": "decoded-1", "levels": LEVELS} | dict(key), sort_keys=True)
        entry = folder / f"{name}-{short(canonical)}"
        if (found := read_entry(entry)) is not None:
            return found
        with writing_to(folder), locked(entry):
            if (found := read_entry(entry)) is None:
                make_entry(entry, build)
                found = read_entry(entry)
        if found is None:
            raise DatasetError(f"{entry} was written but cannot be read; is its disk sound?")
        return found

    def digest_of(self, path: Path, algorithm: str = "sha256") -> str:
        """Return the hex digest of a file, or of all names and contents in a folder, remembered while sizes and times stay.

        Raises:
            DatasetError: if it cannot be read.
        """
        note = self.folder and self.folder / f"seen-{short(f'{algorithm} {path.resolve()}')}.json"
        try:
            stamp = stamp_of(path)
            if note and (known := read_note(note)) and known.get("stamp") == stamp:
                return str(known["digest"])
            digest = file_digest(path, algorithm) if path.is_file() else self.folder_digest(path, algorithm)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
        if note:
            with contextlib.suppress(OSError):  # a memory, not a result
                note.parent.mkdir(parents=True, exist_ok=True)
                write_json(note, {"stamp": stamp, "digest": digest})
        return digest

    def folder_digest(self, folder: Path, algorithm: str) -> str:
        """Return the digest of the names and contents of all files below a folder."""
        digest = hashlib.new(algorithm)
        files = files_below(folder)
        for done, file in enumerate(files, start=1):
            digest.update(f"{file.relative_to(folder)}\0{file_digest(file, algorithm)}\0".encode())
            self.tell(f"{folder.name}: reading", done, len(files))
        return digest.hexdigest()


def put(allocate: Allocate, split: str, images: Array, labels: Array) -> None:
    """Fill the arrays of a split."""
    allocate(f"{split}.images", images.shape, "u1")[:] = images
    allocate(f"{split}.labels", labels.shape, "i8")[:] = labels


def put_held_out(allocate: Allocate, images: Array, labels: Array) -> None:
    """Fill the held-out splits: the first fifth validates, the rest tests."""
    fifth = len(images) // 5
    put(allocate, "validation", images[:fifth], labels[:fifth])
    put(allocate, "test", images[fifth:], labels[fifth:])


def in_memory(build: Build) -> Made:
    """Make arrays without a folder."""
    made: dict[str, Array] = {}

    def allocate(array: str, shape: Sequence[int], dtype: str) -> Array:
        made[array] = np.zeros(shape, dtype)
        return made[array]

    remark = build(allocate)
    return content_digest(LEVELS, *by_split(made)), remark, made


def by_split(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return images and labels by split, in the order of `SPLITS`, from arrays named 'SPLIT.images' and 'SPLIT.labels'."""

    def of(kind: str) -> dict[str, Array]:
        return {split: arrays[f"{split}.{kind}"] for split in SPLITS if f"{split}.{kind}" in arrays}

    return of("images"), of("labels")


def read_entry(entry: Path) -> Made | None:
    """Return the arrays of an entry, None if it is not there or not whole."""
    index = read_note(entry / "index.json")
    if index is None:
        return None
    arrays = {}
    for name, size in index["bytes"].items():
        path = entry / f"{name}.npy"
        if not path.is_file() or path.stat().st_size != size:
            return None
        arrays[name] = np.load(path, mmap_mode="c", allow_pickle=False)
    return index["digest"], index["remark"], arrays


def make_entry(entry: Path, build: Build) -> None:
    """Make an entry under another name and rename it; the caller holds its lock."""
    unfinished = entry.with_name(f".{entry.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    unfinished.mkdir()
    try:

        def on_disk(array: str, shape: Sequence[int], dtype: str) -> Array:
            path = unfinished / f"{array}.npy"
            path.unlink(missing_ok=True)  # an array in use keeps its content
            return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))

        remark = build(on_disk)
        sizes = {path.stem: sync(path) for path in sorted(unfinished.glob("*.npy"))}
        arrays = {name: np.load(unfinished / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in sizes}
        digest = content_digest(LEVELS, *by_split(arrays))
        write_json(unfinished / "index.json", {"bytes": sizes, "digest": digest, "remark": remark})
        shutil.rmtree(entry, ignore_errors=True)  # an entry that is not whole
        unfinished.replace(entry)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sync(path: Path) -> int:
    """Bring a written file to the disk and return its size."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return file.seek(0, os.SEEK_END)


@contextlib.contextmanager
def locked(entry: Path) -> Iterator[None]:
    """Hold the lock of an entry; a second process waits, and then finds it made."""
    with entry.with_name(f".{entry.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Make the folder; turn a full or forbidden disk into a `DatasetError` of one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DatasetError(
            f"cannot write to {folder}: {error.strerror or error}; make room or set BENCH_CACHE"
        ) from error


def read_note(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, None where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def short(text: str) -> str:
    """Return a short name for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def stamp_of(path: Path) -> str:
    """Return what changes when a file does, or any file of a folder: a digest of names, sizes, times and inodes."""
    stamp = hashlib.sha256()
    for file in [path] if path.is_file() else files_below(path):
        state = file.stat()
        facts = (str(file.relative_to(path)), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        stamp.update(repr(facts).encode())
    return stamp.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, in the order of their names."""
    return sorted(Path(where) / name for where, _, names in os.walk(folder) for name in names)
