"""Files that are either whole or absent: written to a temporary name, synced, renamed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import socket
import stat
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CorruptFileError",
    "make_folder",
    "parse_json",
    "read_array",
    "read_sealed",
    "read_toml",
    "remove_parts",
    "sha256_file",
    "sync_names",
    "write_bytes",
    "write_json",
    "write_output",
    "write_sealed",
    "written",
]

_SEAL = 32  # bytes of sha256 in front of a sealed file
_MOST_TOML = 2**16  # bytes; the time that tomllib takes may grow with their square


class CorruptFileError(Exception):
    """A stored file does not have the content that its hash promises."""


def write_bytes(path: Path, content: bytes, *, more: bool = False) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part.

    If `more` is to follow in the same folder, on which nothing rests before that, a crash in between may leave the old file all the same.
    """
    with written(path, more=more) as file:
        file.write(content)


@contextmanager
def written(path: Path, *, more: bool = False) -> Iterator[IO[bytes]]:
    """Yield a file that is given the name `path` when the block ends well. `more` as in `write_bytes`."""
    temporary = path.with_name(f".{path.name}.{_here()}.tmp")
    if (file := _locked(temporary)) is None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        file = temporary.open("xb")
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)  # while it is locked, as what follows
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if not more:
        sync_names(path.parent)


@cache
def _here() -> str:
    """Return a name of this machine, since a lock may hold on one only."""
    known = b""
    with suppress(OSError):
        known = Path("/etc/machine-id").read_bytes()
    return hashlib.sha256(known + socket.gethostname().encode()).hexdigest()[:12]


def _locked(part: Path) -> IO[bytes] | None:
    """Return a file of that name, new or left by a write that was cut off; None if it is being written, or nothing can be locked here."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # whatever it is, a link or a pipe perhaps
    with suppress(OSError), ExitStack() as opened:
        file = opened.enter_context(open(os.open(part, flags, 0o666), "wb"))  # noqa: PTH123
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError:
            part.unlink()
            return None
        about = os.fstat(file.fileno())
        if stat.S_ISREG(about.st_mode) and os.path.samestat(about, part.lstat()):  # else it has got its name just now
            file.truncate(0)
            opened.pop_all()
            return file
    return None


def write_output(path: Path, content: bytes) -> None:
    """Write a file somewhere, its folder made if need be."""
    make_folder(path.parent)
    write_bytes(path, content)


def remove_parts(folder: Path) -> None:
    """Remove what writes that a crash cut off have left in a folder in which nobody else writes."""
    for part in folder.glob(".*.tmp"):
        part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder, and what it is in, such that none of them is lost by a crash; a folder that is there is left alone."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_names(path.parent)


def sync_names(folder: Path) -> None:
    """Let no name that was given or taken in a folder be undone by a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, *, more: bool = False) -> None:
    """Write JSON, sorted and indented; NaN and infinities are refused, since JSON has none. `more` as in `write_bytes`."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode(), more=more)


def parse_json(content: bytes) -> Any:
    """JSON that somebody wrote; a ValueError also for texts that nobody could write again, such as half a character."""
    return from_json(content)


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content` behind its own sha256, for files that no status file vouches for."""
    write_bytes(path, hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes:
    """The content of a sealed file.

    Raises:
        CorruptFileError: if the seal does not match.
    """
    raw = path.read_bytes()
    content = raw[_SEAL:]
    if hashlib.sha256(content).digest() != raw[:_SEAL]:
        raise CorruptFileError(f"{path} is corrupt or truncated: its content does not match its checksum")
    return content


def read_array(path: str | Path) -> NDArray[Any]:
    """The numbers of a `.npy` file.

    Raises:
        CorruptFileError: if it holds none.
        OSError: if it cannot be read.
    """
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of whatever parses its header
        raise CorruptFileError(f"{path} is corrupt: it holds no array") from error
    if not isinstance(found, np.ndarray):
        raise CorruptFileError(f"{path} is corrupt: it holds an archive of arrays")
    if found.dtype.kind not in "fiub":
        raise CorruptFileError(f"{path} is corrupt: it holds no numbers")
    return found


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file that somebody wrote, and its content.

    Raises:
        ValueError: if it cannot be read, or is no TOML of less than 64 KiB.
    """
    try:
        if path.stat().st_size > _MOST_TOML:
            raise ValueError(f"it has more than {_MOST_TOML:,} bytes")
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from error


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's content."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
        return hashlib.file_digest(file, "sha256").hexdigest()
