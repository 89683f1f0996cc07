"""Tar and zip archives, compressed or not, read in one pass: nothing is extracted, links and special files are skipped."""

from __future__ import annotations

import contextlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.data import DatasetError

__all__ = ["is_archive", "members", "readable"]


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar or zip archive."""
    return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)


def members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name of every regular file in an archive, and its content, open until the next one is asked for."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    with opened.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(archive, "r|*") as tar:
        for entry in tar:
            member = tar.extractfile(entry) if entry.isfile() else None
            if member is not None:
                yield entry.name, member


@contextlib.contextmanager
def readable(archive: Path) -> Iterator[None]:
    """Turn what reading a damaged archive raises into a `DatasetError` of one line."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise DatasetError(f"{archive} is not an archive that can be read: {error}") from error
