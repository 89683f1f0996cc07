"""Reading files made by others: archives in one pass, and one-line errors for damaged files, other formats and missing libraries."""

from __future__ import annotations

import contextlib
import csv
import importlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from bench.data import DatasetError

__all__ = ["is_archive", "members", "optional", "readable"]

DAMAGED = (OSError, EOFError, ValueError, LookupError, ArithmeticError, RuntimeError, MemoryError)


@contextlib.contextmanager
def readable(path: Path, form: str) -> Iterator[None]:
    """Turn an error in the block into a one-line `DatasetError`: the file is not of that form, such as 'a table of numbers'."""
    try:
        yield
    except DatasetError:
        raise
    except (*DAMAGED, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise DatasetError(f"{path} is not {form}: {reason}") from error


def optional(library: str, extra: str, path: Path) -> Any:
    """Import the library that a file needs; raise a `DatasetError` that names the extra of this package which brings it."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        name = library.partition(".")[0]
        raise DatasetError(f'{path} needs {name}, which is not installed: pip install "gebm-bench[{extra}]"') from error


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar or zip archive."""
    return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)


@contextlib.contextmanager
def members(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Iterate over the regular files of a tar or zip archive: name, and content that is open until the next one is asked for.

    Nothing is extracted; links and special files are skipped.

    Raises:
        DatasetError: if the file is not an archive, or the block meets damage in it.
    """
    with readable(archive, "an archive that can be read"):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield ((info.filename, opened.open(info)) for info in opened.infolist() if not info.is_dir())
        else:
            with tarfile.open(archive, "r|*") as tar:
                yield ((entry.name, cast(IO[bytes], tar.extractfile(entry))) for entry in tar if entry.isfile())
