"""Files that are either whole or absent: written to a temporary name, synced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["CorruptFileError", "read_sealed", "read_toml", "sha256_file", "write_bytes", "write_json", "write_sealed"]

_SEAL = 32  # bytes of sha256 in front of a sealed file
_MOST_TOML = 2**16  # bytes; the time that tomllib takes may grow with their square


class CorruptFileError(Exception):
    """A stored file does not have the content that its hash promises."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, sorted and indented; NaN and infinities are refused, since JSON has none."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


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


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file that somebody wrote.

    Raises:
        ValueError: if it cannot be read, or is no TOML of less than 64 KiB.
    """
    try:
        if path.stat().st_size > _MOST_TOML:
            raise ValueError(f"it has more than {_MOST_TOML:,} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from error


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
