"""Pictures that users bring, one by one in a folder or in an archive."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from .layouts import Rng
from .spoiling import spoiled_bytes
from .writing import MIB, archive, bomb, later, picture, put, zeros, zipped

__all__ = ["IMAGES", "PICTURES", "TAR", "ZIP", "image_folder", "resummed", "spoiled_png"]

FORMS = {".png": "png", ".jpg": "jpeg", ".gif": "gif", ".webp": "webp", ".bmp": "bmp", ".tif": "tiff", ".ppm": "ppm"}


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_bomb(width: int, height: int, sound: bool = True) -> bytes:
    """A grey PNG of that many pixels, all black; or one that ends at once."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    size = (3 * width + 1) * height // MIB + 1 if sound else 0
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zeros(size)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A small PNG with compressed text of 128 MiB."""
    packed = zeros(128)
    return picture("png").replace(chunk(b"IEND", b""), chunk(b"zTXt", b"x\0\0" + packed) + chunk(b"IEND", b""))


def spoiled_png(content: bytes, rng: Rng) -> bytes:
    """A PNG with a spoiled chunk whose checksum is right."""
    if content[:4] != b"\x89PNG":
        return spoiled_bytes(content, rng)
    chunks, at = [], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    victim = int(rng.integers(len(chunks)))
    packed = [(name, spoiled_bytes(each, rng) if i == victim else each) for i, (name, each) in enumerate(chunks)]
    return content[:8] + b"".join(chunk(name, each) for name, each in packed)


def image_folder(folder: Path) -> None:
    """A hundred small images in classes, one at least of every form; few enough may be spoiled."""
    for i in range(100):
        ending = list(FORMS)[i] if i < len(FORMS) else ".bmp"
        put(f"mine/{'cat' if i % 2 else 'dog'}/{i:03}{ending}", picture(FORMS[ending], seed=i))(folder)


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(pwned) (w) file closefile\nshowpage\n%%EOF\n"
)
IMAGES = [
    put("mine/cat/001.jpg", png_bomb(20_000, 20_000, sound=False)),
    later("mine/cat/001.jpg", lambda: png_bomb(13_000, 13_000)),
    later("mine/cat/001.jpg", lambda: png_bomb(5_000, 5_000)),
    later("mine/cat/001.jpg", text_bomb),
    put("mine/cat/001.jpg", POSTSCRIPT),
    put("mine/cat/001.png", b""),
    lambda folder: (folder / "mine/cat/pipe.png").symlink_to("/dev/zero"),
    lambda folder: os.mkfifo(folder / "mine/cat/pipe.png"),
    lambda folder: (folder / "mine/cat/loop").symlink_to(folder / "mine"),
    lambda folder: (folder / "mine/cat/gone.png").symlink_to(folder / "nowhere"),
    lambda folder: (folder / "mine/cat/self.png").symlink_to(folder / "mine/cat/self.png"),
    put("mine/<script>alert(1)<script>/x.png", picture("png")),
    lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/mine/cat/\xff\xfe.png")).write_bytes(picture("png")),
    lambda folder: (folder / "mine/cat/a\nb.png").write_bytes(b"no image"),
    lambda folder: (folder / "mine" / "=cmd|calc.png").write_bytes(picture("png")),
]  # fmt: skip


PICTURES = {f"{'cat' if i % 2 else 'dog'}/{i:03}.png": picture("png", seed=i) for i in range(100)}


def tar_bomb(
    name: str, size: int, pack: Callable[[bytes], bytes] = gzip.compress, kind: bytes = tarfile.REGTYPE
) -> bytes:
    """An archive whose first member has so many MiB of zeros."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size * MIB, kind
    return bomb(size, entry.tobuf(tarfile.USTAR_FORMAT), pack)


def sparse() -> bytes:
    """An archive with a file of a terabyte in which there is nothing."""
    size = 2**40
    entry = tarfile.TarInfo("cat/huge.png")
    entry.pax_headers = {"GNU.sparse.map": f"{size},0", "GNU.sparse.size": str(size), "GNU.sparse.numblocks": "1"}
    return entry.create_pax_header(entry.get_info(), "utf-8") + archive(PICTURES)


def with_link(kind: bytes, target: str, name: str = "cat/evil.png") -> bytes:
    """An archive of images and a link, and a file below it."""
    buffer = io.BytesIO(archive(PICTURES))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, target
        tar.addfile(link)
        below = tarfile.TarInfo(f"{name}/x.png")
        below.size = 1
        tar.addfile(below, io.BytesIO(b"x"))
    return buffer.getvalue()


def resummed(content: bytes, rng: Rng) -> bytes:
    """A tar archive with a spoiled header whose checksum is right."""
    found = bytearray(content)
    at = 512 * int(rng.integers(max(1, min(len(found) // 512, 8))))
    found[at : at + 512] = spoiled_bytes(bytes(found[at : at + 512]), rng).ljust(512, b"\0")[:512]
    found[at + 148 : at + 156] = b" " * 8
    found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
    return bytes(found)


TAR = [
    later("t.tar", lambda: tar_bomb("cat/a.png", 3000)),
    later("t.tar", lambda: tar_bomb("cat/a.txt", 6000)),
    later("t.tar", lambda: tar_bomb("cat/a.png", 8000, lzma.compress)),
    later("t.tar", lambda: tar_bomb("x", 3000, kind=tarfile.GNUTYPE_LONGNAME)),
    later("t.tar", lambda: tar_bomb("x", 3000, kind=tarfile.XHDTYPE)),
    put("t.tar", archive({f"../../{name}": each for name, each in PICTURES.items()})),
    put("t.tar", archive({f"/abs/{name}": each for name, each in PICTURES.items()})),
    put("t.tar", with_link(tarfile.SYMTYPE, "/etc/passwd")),
    put("t.tar", with_link(tarfile.LNKTYPE, "../../../etc/passwd")),
    put("t.tar", with_link(tarfile.LNKTYPE, "cat/evil.png")),
    put("t.tar", with_link(tarfile.FIFOTYPE, "")),
    put("t.tar", bomb(1)),
    put("t.tar", sparse()),
    put("t.tar", archive({"cat/a.png": b"x"} | {f"cat/{i}.txt": b"" for i in range(5_000)})),
    put("t.tar", archive(PICTURES | {"dog/\x1b[31m.png": b"", "dog/<script>.png": b"x", "dog/a\nb.png": b"y"})),
]
ZIP = [
    later("t.zip", lambda: zipped(PICTURES | {"cat/a.png": bytes(300 * MIB)})),
    put("t.zip", zipped({f"../../{name}": each for name, each in PICTURES.items()})),
    put("t.zip", zipped(PICTURES | {"C:\\x.png": b"", "dog/\x00.png": b""})),
    put("t.zip", zipped({f"cat/{i}.txt": b"" for i in range(20_000)})),
]
