"""Reading files made by others: archives in one pass, and one-line errors for damaged files, bombs, other formats and missing libraries."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import io
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from bench.data import DatasetError

__all__ = ["check_apart", "check_unpacked", "is_archive", "members", "optional", "readable", "unpacked"]

MOST_UNPACKED = 2**27
"""Bytes that any file may unpack to."""
MOST_RATIO = 16
"""How many times its own size a file may unpack to, if that is more."""
PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""First bytes of what a compressor made, and what undoes it."""


@contextlib.contextmanager
def readable(path: Path, form: str) -> Iterator[None]:
    """Turn an error in the block into a one-line `DatasetError`: the file is not of that form, such as 'a table of numbers'.

    Readers of damaged files raise whatever it comes to: any error is one of the file.
    """
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path} is not {form}: {reason}") from error


def check_unpacked(path: Path, size: int) -> None:
    """Raise a `DatasetError` for a file that holds, or says that it holds, so many more bytes than it has: a decompression bomb."""
    packed = path.stat().st_size
    if size > max(MOST_UNPACKED, MOST_RATIO * packed):
        raise DatasetError(
            f"{path} has {packed:,} bytes and would unpack to {size:,} or more, too many to be trusted; "
            f"unpack it yourself, or store it with less compression"
        )


class _Counted(io.RawIOBase):
    """The unpacked content of a file, as far as `check_unpacked` goes along."""

    def __init__(self, path: Path, content: IO[bytes]) -> None:
        self._path, self._content, self._count = path, content, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._content.read(len(buffer))
        self._count += len(piece)
        check_unpacked(self._path, self._count)
        buffer[: len(piece)] = piece
        return len(piece)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open what is in a gzip, bzip2 or xz file, or in any other as it is; a bomb raises a `DatasetError` when it is read too far."""
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        undo = next((each for mark, each in PACKED.items() if start.startswith(mark)), lambda same: same)
        yield io.BufferedReader(_Counted(path, undo(file)), 2**16)


def check_apart(path: Path, form: str, code: str) -> None:
    """Run code on the path of a file, its first argument, in a process of its own; raise a `DatasetError` if a signal kills that.

    For libraries in C that trust their files: one that is damaged would take this process with it.
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False)  # noqa: S603  (our own code)
    if done.returncode < 0:
        raise DatasetError(f"{path} is not {form}: its reader was killed by signal {-done.returncode}")


def optional(library: str, extra: str, path: Path) -> Any:
    """Import the library that a file needs; raise a `DatasetError` that names the extra of this package which brings it."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        name = library.partition(".")[0]
        raise DatasetError(f'{path} needs {name}, which is not installed: pip install "gebm-bench[{extra}]"') from error


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar or zip archive, or is packed and ends too early to tell."""
    try:
        return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except EOFError:
        return True


def _is_plain(entry: tarfile.TarInfo) -> bool:
    """Return whether a member is a regular file, all of which is in the archive: a sparse one can be of any size."""
    return entry.isfile() and not entry.issparse()


@contextlib.contextmanager
def members(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Iterate over the regular files of a tar or zip archive: name, and content that is open until the next one is asked for.

    Nothing is extracted; links and special files are skipped.

    Raises:
        DatasetError: if the file is not an archive or a decompression bomb, or the block meets damage in it.
    """
    with readable(archive, "an archive that can be read"):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                check_unpacked(archive, sum(info.file_size for info in opened.infolist()))
                yield ((info.filename, opened.open(info)) for info in opened.infolist() if not info.is_dir())
        else:
            with unpacked(archive) as content, tarfile.open(fileobj=content, mode="r|") as tar:
                yield ((entry.name, cast(IO[bytes], tar.extractfile(entry))) for entry in tar if _is_plain(entry))
