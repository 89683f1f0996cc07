"""What hostile files are made of: tables, pictures and archives in memory, bombs, and how what is packed is spoiled."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .layouts import Rng, Spoil
from .spoiling import any_of, spoiled_bytes, spoiled_text

__all__ = [
    "MIB",
    "ROWS",
    "Harm",
    "archive",
    "bomb",
    "declared",
    "later",
    "npy",
    "picture",
    "put",
    "rezipped",
    "saved",
    "spoiled_header",
    "within",
    "zeros",
    "zipped",
]

ROWS = np.random.default_rng(0).normal(size=(150, 3))
MIB = 2**20
PWNED = "pwned"  # what harmful content would make


class Harm:
    """What unpickling would run."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {PWNED}",)


def within(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], spoil: Spoil = spoiled_bytes) -> Spoil:
    """Spoil what is in a wrapping, and wrap it again."""
    return lambda content, rng: pack(spoil(unpack(content), rng))


def put(name: str, content: bytes) -> Callable[[Path], object]:
    """A function that writes a file."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def later(name: str, make: Callable[[], bytes]) -> Callable[[Path], object]:
    """A function that writes a file whose content takes long to make or much room."""
    return lambda folder: put(name, make())(folder)


def zeros(size: int) -> bytes:
    """So many MiB of zeros as zlib packs them."""
    pack = zlib.compressobj(9)
    return b"".join([*(pack.compress(bytes(MIB)) for _ in range(size)), pack.flush()])


def bomb(size: int, head: bytes = b"", pack: Callable[[bytes], bytes] = gzip.compress) -> bytes:
    """So many MiB of zeros after a head, as streams one after the other, which gzip and xz may be."""
    return pack(head) + pack(bytes(MIB)) * size


def saved(rows: np.ndarray, **options: Any) -> bytes:
    """An npy file."""
    buffer = io.BytesIO()
    np.save(buffer, rows, **options)
    return buffer.getvalue()


def npy(header: str, content: bytes = b"") -> bytes:
    """An npy file with a header of its own."""
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def declared(shape: str, kind: str = "'<f8'") -> str:
    """The header of an npy file."""
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n"


def spoiled_header(content: bytes, rng: Rng) -> bytes:
    """An npy file whose header alone is spoiled, as text, and says how long it is."""
    size = struct.unpack("<H", content[8:10])[0]
    return npy(spoiled_text(content[10 : 10 + size], rng).decode("latin1")[:60_000], content[10 + size :])


def picture(form: str, side: int = 8, seed: int = 0) -> bytes:
    """A small image of noise."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, form)
    return buffer.getvalue()


def archive(members: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as found:
        for name, content in members.items():
            found.writestr(name, content)
    return buffer.getvalue()


def rezipped(content: bytes, rng: Rng) -> bytes:
    """A zip archive of which a member, or a member of a member, is spoiled."""
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        members = {name: found.read(name) for name in found.namelist()}
    victim = any_of(rng, sorted(members))
    inner = victim.endswith(".npz") and rng.random() < 0.7
    spoil = rezipped if inner else spoiled_header if victim.endswith(".npy") and rng.random() < 0.5 else spoiled_bytes
    return zipped(members | {victim: spoil(members[victim], rng)})
