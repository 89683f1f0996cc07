"""Files that are either whole or absent: written to a temporary name, synced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["CorruptFileError", "read_sealed", "sha256_file", "write_bytes", "write_json", "write_sealed"]

_SEAL = 32  # bytes of sha256 in front of a sealed file


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


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's content."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
        return hashlib.file_digest(file, "sha256").hexdigest()
