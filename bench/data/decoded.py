"""Arrays that take long to make, made once: a folder of memory maps a key, whole or absent, with the digest of its content.

A key holds digests of whatever the arrays are made from, so another file under the same name is another entry. Digests of large files and
folders are remembered by size, times and inode of each file, as version control does. What is decoded, and how, is for
`bench.data.pictures` and its users.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.files import write_json
from bench.data import Array, DatasetError, content_digest
from bench.data.files import file_digest

__all__ = ["Allocate", "Build", "Decoded", "DecodedCache", "Tell", "silent"]

VERSION = "decoded-1"

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0 where that is not known)."""

Allocate = Callable[[str, Sequence[int], str], Array]
"""A zeroed array of that name, shape and type, to be filled in place; the same name again replaces the first."""

Build = Callable[[Allocate], str]
"""Fills the arrays 'SPLIT.images' and 'SPLIT.labels' and returns a remark, '' for none."""


def silent(what: str, done: int, total: int) -> None:
    """A `Tell` that keeps to itself."""


@dataclass(frozen=True)
class Decoded:
    """What was made: arrays by split, the digest of their content, and what is to be said of them."""

    splits: dict[str, Array]
    labels: dict[str, Array]
    digest: str
    remark: str


@dataclass(frozen=True)
class DecodedCache:
    """The folder of decoded arrays; without one everything is made in memory, each time.

    Arguments:
        folder: made when it is needed.
        tell: told how the making goes.
    """

    folder: Path | None = None
    tell: Tell = field(default=silent)

    def arrays(self, name: str, levels: int, key: Mapping[str, Any], build: Build) -> Decoded:
        """The arrays of a key: memory maps, copied on writing, of what is there, or of what `build` makes now.

        Arguments:
            name: in front of the folder's name, for people.
            levels: grey levels of the images, which their digest covers.
            key: JSON-able; all that the arrays depend on.
            build: makes them.

        Raises:
            DatasetError: `build`'s own, or if the folder cannot be written.
        """
        if self.folder is None:
            made: dict[str, Array] = {}

            def in_memory(array: str, shape: Sequence[int], dtype: str) -> Array:
                made[array] = np.zeros(shape, dtype)
                return made[array]

            remark = build(in_memory)
            splits, labels = by_split(made)
            return Decoded(splits, labels, content_digest(levels, splits, labels), remark)
        canonical = json.dumps({"version": VERSION, "levels": levels} | dict(key), sort_keys=True)
        entry = self.folder / f"{name}-{hashlib.sha256(canonical.encode()).hexdigest()[:20]}"
        if (found := read_entry(entry)) is not None:
            return found
        with writing_to(self.folder), locked(entry):
            if (found := read_entry(entry)) is None:
                make_entry(entry, levels, build)
                found = read_entry(entry)
        if found is None:
            raise DatasetError(f"{entry} was written but cannot be read; is its disk sound?")
        return found

    def digest_of(self, path: Path, algorithm: str = "sha256") -> str:
        """Hex digest of a file's content, or of all names and contents in a folder, remembered while its files keep size and times.

        Raises:
            DatasetError: if it cannot be read.
        """
        try:
            stamp = stamp_of(path)
            note = None
            if self.folder is not None:
                note = self.folder / f"seen-{short(f'{algorithm} {path.resolve()}')}.json"
                if (known := read_note(note)) and known.get("stamp") == stamp:
                    return str(known["digest"])
            digest = file_digest(path, algorithm) if path.is_file() else self.folder_digest(path, algorithm)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
        if note is not None:
            with writing_to(note.parent):
                write_json(note, {"stamp": stamp, "digest": digest})
        return digest

    def folder_digest(self, folder: Path, algorithm: str) -> str:
        """Digest of the names and contents of all files below a folder."""
        digest = hashlib.new(algorithm)
        files = files_of(folder)
        for done, file in enumerate(files):
            digest.update(f"{file.relative_to(folder)}\0{file_digest(file, algorithm)}\0".encode())
            self.tell(f"{folder.name}: reading", done + 1, len(files))
        return digest.hexdigest()


def by_split(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Images and labels by split, from arrays named 'SPLIT.images' and 'SPLIT.labels'."""
    groups: dict[str, dict[str, Array]] = {"images": {}, "labels": {}}
    for name, values in arrays.items():
        split, _, kind = name.partition(".")
        groups[kind][split] = values
    return groups["images"], groups["labels"]


def read_entry(entry: Path) -> Decoded | None:
    """The arrays of an entry, or None if it is not there or lacks something."""
    index = read_note(entry / "index.json")
    if index is None:
        return None
    arrays = {}
    for name, size in index["bytes"].items():
        path = entry / f"{name}.npy"
        if not path.is_file() or path.stat().st_size != size:
            return None
        arrays[name] = np.load(path, mmap_mode="c", allow_pickle=False)
    return Decoded(*by_split(arrays), index["digest"], index["remark"])


def make_entry(entry: Path, levels: int, build: Build) -> None:
    """Make an entry under another name and rename it; the caller holds its lock."""
    unfinished = entry.with_name(f".{entry.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    unfinished.mkdir()
    try:

        def on_disk(array: str, shape: Sequence[int], dtype: str) -> Array:
            (unfinished / f"{array}.npy").unlink(missing_ok=True)  # an array in use keeps its content
            made: Array = np.lib.format.open_memmap(
                unfinished / f"{array}.npy", mode="w+", dtype=np.dtype(dtype), shape=tuple(shape)
            )
            return made

        remark = build(on_disk)
        sizes = {path.stem: sync(path) for path in sorted(unfinished.glob("*.npy"))}
        arrays = {name: np.load(unfinished / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in sizes}
        digest = content_digest(levels, *by_split(arrays))
        write_json(unfinished / "index.json", {"bytes": sizes, "digest": digest, "remark": remark})
        shutil.rmtree(entry, ignore_errors=True)  # an entry that lacks something
        unfinished.replace(entry)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sync(path: Path) -> int:
    """Bring a written file to the disk; its size."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return file.seek(0, os.SEEK_END)


@contextlib.contextmanager
def locked(entry: Path) -> Iterator[None]:
    """Hold an entry's lock; a second process waits, and then finds it made."""
    with entry.with_name(f".{entry.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Make the folder; a full or forbidden disk in a line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DatasetError(
            f"cannot write to {folder}: {error.strerror or error}; make room or set BENCH_CACHE"
        ) from error


def read_note(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def short(text: str) -> str:
    """A name for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def stamp_of(path: Path) -> str:
    """What changes when a file does, or any file of a folder: names, sizes, times, inodes."""
    stamp = hashlib.sha256()
    for file in [path] if path.is_file() else files_of(path):
        state = file.stat()
        facts = (str(file.relative_to(path)), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        stamp.update(repr(facts).encode())
    return stamp.hexdigest()


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, in the order of their names."""
    return sorted(Path(where) / name for where, _, names in os.walk(folder) for name in names)
