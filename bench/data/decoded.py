"""A cache of arrays that take long to make: one folder of memory maps per key, whole or absent, with the digest of its content.

A key holds the digests of everything the arrays are made from, so another file under the same name is another entry. Digests, of those
files and of the arrays, are remembered by size, times and inode of each file, as version control does; arrays that are no longer what was
written are made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError, TransferError, content_digest
from bench.data.files import file_digest, read_json, writing_to
from bench.data.reading import readable
from bench.files import write_json

__all__ = ["SPLITS", "Allocate", "Build", "DecodedCache", "Tell", "files_below", "put", "put_held_out"]

Tell = Callable[[str, int, int], None]
"""Progress callback: what is being done, the amount done, and the total (0 if unknown)."""

Allocate = Callable[[str, Sequence[int], str], Array]
"""Return a zeroed array of that name, shape and type, to be filled in place; the same name again replaces the first."""

Build = Callable[[Allocate], str | None]
"""Fill the arrays 'SPLIT.images' and 'SPLIT.labels' and return a remark, if there is one."""

LEVELS = 256
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DecodedCache:
    """A folder of decoded arrays, created on demand; without one, arrays are made in memory every time.

    Arguments:
        folder: where the arrays are kept.
        tell: progress callback.
    """

    folder: Path | None = None
    tell: Tell = lambda _what, _done, _total: None

    def dataset(
        self,
        name: str,
        key: Mapping[str, Any],
        build: Build,
        protocol: str,
        provenance: str,
        files: Sequence[Path] = (),
    ) -> Dataset:
        """Return a dataset of images with 256 grey levels, its arrays as copy-on-write memory maps; `build` makes those that are missing.

        Arguments:
            name: of the dataset; also put in front of the name of the folder, for people.
            key: JSON-able; everything the arrays depend on, but for the content of files.
            build: makes the arrays; what it remarks is added to the protocol.
            protocol, provenance: as in `Dataset`.
            files: files and folders that the arrays are made from.

        Raises:
            DatasetError: from `build`, or if the files change meanwhile; TransferError, one of them, if the folder cannot be written.
        """
        if self.folder:
            content = [self.digest_of(path) for path in files]
            whole = {"version": "decoded-1", "levels": LEVELS, "content": content} | dict(key)

            def checked(allocate: Allocate) -> str | None:
                remark = build(allocate)
                for path, digest in zip(files, content, strict=True):
                    if self.digest_of(path) != digest:
                        raise DatasetError(f"{path} changed while it was read; the same command reads it anew")
                return remark

            entry = self.folder / f"{name}-{_short(json.dumps(whole, sort_keys=True))}"
            digest, remark, arrays = self._found_or_made(entry, checked)
        else:
            digest, arrays = "", {}

            def allocate(array: str, shape: Sequence[int], dtype: str) -> Array:
                arrays[array] = np.zeros(shape, dtype)
                return arrays[array]

            remark = build(allocate)
        protocol += f"; {remark}" if remark else ""
        splits, labels = _by_split(arrays)
        return Dataset(name, "image", splits, protocol, provenance, labels, LEVELS, recorded_digest=digest)

    def digest_of(self, path: Path, algorithm: str = "sha256") -> str:
        """Return the hex digest of a file, or of all names and contents in a folder, remembered while sizes and times stay.

        Raises:
            DatasetError: if it cannot be read.
        """
        with readable(path, "a readable file or folder"):
            digest = file_digest if path.is_file() else self._folder_digest
            return self._remembered(algorithm, path, lambda: digest(path, algorithm))

    def _remembered(self, kind: str, path: Path, compute: Callable[[], str]) -> str:
        """Return a digest of that kind, computed again only if a size or time of a file has changed."""
        note, stamp = self.folder and self.folder / f"seen-{_short(f'{kind} {path.resolve()}')}.json", _stamp_of(path)
        if note and (known := read_json(note)) and known.get("stamp") == stamp:
            return str(known["digest"])
        digest = compute()
        if note:
            with contextlib.suppress(OSError):  # a memory, not a result
                note.parent.mkdir(parents=True, exist_ok=True)
                write_json(note, {"stamp": stamp, "digest": digest})
        return digest

    def _folder_digest(self, folder: Path, algorithm: str) -> str:
        digest = hashlib.new(algorithm)
        files = files_below(folder)
        for done, file in enumerate(files, start=1):
            digest.update(f"{file.relative_to(folder)}\0{file_digest(file, algorithm)}\0".encode())
            self.tell(f"{folder.name}: reading", done, len(files))
        return digest.hexdigest()

    def _found_or_made(self, entry: Path, build: Build) -> tuple[str, str | None, dict[str, Array]]:
        """Return the digest of an entry, the remark on it and its arrays, once they are made; a second process waits for the first."""
        if found := self._read(entry):
            return found
        with writing_to(entry.parent, "BENCH_CACHE"):
            entry.parent.mkdir(parents=True, exist_ok=True)
            with entry.with_name(f".{entry.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not self._read(entry):
                    _make(entry, build)
        if found := self._read(entry):
            return found
        raise TransferError(f"{entry} was written but cannot be read; is its disk sound?")

    def _read(self, entry: Path) -> tuple[str, str | None, dict[str, Array]] | None:
        """Return what is in an entry, None if it is not there, not whole or not what was written."""
        index = read_json(entry / "index.json")
        if index is None:
            return None
        paths = {name: entry / f"{name}.npy" for name in index["bytes"]}
        if not all(path.is_file() and path.stat().st_size == index["bytes"][name] for name, path in paths.items()):
            return None
        try:
            arrays = {name: np.load(path, mmap_mode="c", allow_pickle=False) for name, path in paths.items()}
            digest = self._remembered("content", entry, lambda: content_digest(LEVELS, *_by_split(arrays)))
        except (OSError, ValueError):  # another process replaces it, or its head is damaged
            return None
        return (digest, index["remark"], arrays) if digest == index["digest"] else None


def put(allocate: Allocate, split: str, images: Array, labels: Array) -> None:
    """Fill the arrays of a split."""
    allocate(f"{split}.images", images.shape, "u1")[:] = images
    allocate(f"{split}.labels", labels.shape, "i8")[:] = labels


def put_held_out(allocate: Allocate, images: Array, labels: Array) -> None:
    """Fill the held-out splits: the first fifth validates, the rest tests."""
    fifth = len(images) // 5
    put(allocate, "validation", images[:fifth], labels[:fifth])
    put(allocate, "test", images[fifth:], labels[fifth:])


def _by_split(arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Return images and labels by split, in the order of `SPLITS`, from arrays named 'SPLIT.images' and 'SPLIT.labels'."""
    return [
        {split: arrays[f"{split}.{kind}"] for split in SPLITS if f"{split}.{kind}" in arrays}
        for kind in ("images", "labels")
    ]


def _make(entry: Path, build: Build) -> None:
    """Make an entry under another name and rename it; the caller holds its lock."""
    unfinished = entry.with_name(f".{entry.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    unfinished.mkdir()

    def on_disk(array: str, shape: Sequence[int], dtype: str) -> Array:
        path = unfinished / f"{array}.npy"
        path.unlink(missing_ok=True)  # an array in use keeps its content
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))

    try:
        remark = build(on_disk)
        paths = sorted(unfinished.glob("*.npy"))
        for path in paths:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in paths}
        sizes = {path.stem: path.stat().st_size for path in paths}
        digest = content_digest(LEVELS, *_by_split(arrays))
        write_json(unfinished / "index.json", {"bytes": sizes, "digest": digest, "remark": remark})
        shutil.rmtree(entry, ignore_errors=True)  # an entry that is not whole
        unfinished.replace(entry)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _stamp_of(path: Path) -> str:
    """Return what changes when a file does, or any file of a folder: a digest of names, sizes, times and inodes."""
    stamp = hashlib.sha256()
    for file in [path] if path.is_file() else files_below(path):
        state = file.stat()
        facts = (str(file.relative_to(path)), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        stamp.update(repr(facts).encode())
    return stamp.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, in the order of their names; no pipes and devices, which may never end."""
    found = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.is_file() or not path.exists())  # a broken link is to be complained of
