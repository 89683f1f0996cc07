"""Encoded images (JPEG, PNG, …) in a folder or an archive → uint8 arrays, in parallel; archives are streamed, nothing is extracted.

How an image becomes pixels: turned as its EXIF orientation says; transparency laid over white; palettes, CMYK and grey brought to RGB, or
all to one channel where every image is grey; where a side is asked for, the shorter edge resized to it by Pillow's antialiased bilinear
filter and the centred square of that taken (as `torchvision.transforms.Resize` and `CenterCrop` do). Images of more than 8 bits a channel
are not read. Which image goes into which split is for the callers.
"""

from __future__ import annotations

import io
import itertools
import lzma
import os
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.data import Array, DatasetError
from bench.data.decoded import Tell

__all__ = [
    "EXTENSIONS",
    "Pictures",
    "Survey",
    "Unreadable",
    "decode",
    "in_folder",
    "in_tar",
    "in_zip",
    "survey",
    "to_pixels",
]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
MOST_UNREADABLE = 0.01
BATCH = 64  # images a task of the pool
WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA", "La")
BROKEN = (
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError, zlib.error),
    *(struct.error, LookupError, TypeError, ArithmeticError),
)
"""What Pillow raises on files that are damaged in one way or another."""


@dataclass(frozen=True)
class Pictures:
    """Encoded images by name.

    Arguments:
        where: their file or folder, for messages.
        names: all of them, in any order.
        read: one pass over (name, bytes), in any order.
    """

    where: Path
    names: Callable[[], Iterable[str]]
    read: Callable[[], Iterator[tuple[str, bytes]]]


@dataclass
class Unreadable:
    """Images that could not be read, by name, with the reason."""

    where: Path
    reasons: dict[str, str] = field(default_factory=dict)

    def refuse_too_many(self, total: int) -> None:
        """Raise DatasetError above 1 % of `total`."""
        if len(self.reasons) > MOST_UNREADABLE * total:
            raise DatasetError(
                f"{self.where}: {len(self.reasons):,} of {total:,} images cannot be read, {self.some()}; 1 % at most may be"
            )

    def some(self, most: int = 3) -> str:
        """The first few in words."""
        named = [f"{name} ({reason})" for name, reason in itertools.islice(sorted(self.reasons.items()), most)]
        more = len(self.reasons) - len(named)
        return ", ".join(named) + (f" and {more:,} more" if more else "")

    @property
    def remark(self) -> str:
        """What a dataset without them says; '' where there are none."""
        return f"{len(self.reasons):,} unreadable images left out: {self.some()}" if self.reasons else ""


@dataclass
class Survey:
    """What images there are, by their headers alone.

    Arguments:
        names: of those with a header that can be read, sorted.
        sizes: (width, height), as turned by EXIF → how many.
        grey: how many have no colour.
        unreadable: the others.
    """

    names: list[str]
    sizes: Counter[tuple[int, int]]
    grey: int
    unreadable: Unreadable

    @property
    def channels(self) -> int:
        """1 if all are grey, else 3."""
        return 1 if self.grey == len(self.names) else 3


def in_folder(folder: Path) -> Pictures:
    """The images below a folder."""

    def names() -> Iterator[str]:
        for where, _, files in os.walk(folder):
            for file in files:
                name = (Path(where) / file).relative_to(folder).as_posix()
                if is_image(name):
                    yield name

    def read() -> Iterator[tuple[str, bytes]]:
        for name in sorted(names()):
            try:
                content = (folder / name).read_bytes()
            except OSError as error:
                raise DatasetError(f"{folder / name} cannot be read: {error.strerror or error}") from error
            yield name, content

    return Pictures(folder, names, read)


def in_tar(archive: Path) -> Pictures:
    """The images in a tar archive, compressed or not; links and special files in it are passed over."""

    def entries() -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
        try:
            with tarfile.open(archive, "r|*") as tar:
                for entry in tar:
                    if entry.isfile() and is_image(entry.name):
                        yield PurePosixPath(entry.name).as_posix(), tar, entry
        except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            raise DatasetError(f"{archive} is not a tar archive that can be read: {error}") from error

    def read() -> Iterator[tuple[str, bytes]]:
        for name, tar, entry in entries():
            content = tar.extractfile(entry)
            if content is not None:
                yield name, content.read()

    return Pictures(archive, lambda: (name for name, _, _ in entries()), read)


def in_zip(archive: Path) -> Pictures:
    """The images in a zip archive."""

    def names() -> list[str]:
        with opened_zip(archive) as content:
            return [name for name in content.namelist() if is_image(name)]

    def read() -> Iterator[tuple[str, bytes]]:
        with opened_zip(archive) as content:
            for name in names():
                try:
                    yield name, content.read(name)
                except (zipfile.BadZipFile, zlib.error, OSError) as error:
                    raise DatasetError(f"{archive}: {name} cannot be read: {error}") from error

    return Pictures(archive, names, read)


def opened_zip(archive: Path) -> zipfile.ZipFile:
    """A zip archive to read from.

    Raises:
        DatasetError: if it is none.
    """
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{archive} is not a zip archive that can be read: {error}") from error


def is_image(name: str) -> bool:
    """Whether a name is that of an image, and not of a file that an operating system left behind."""
    parts = PurePosixPath(name).parts
    hidden = any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(EXTENSIONS)


def survey(pictures: Pictures, tell: Tell) -> Survey:
    """Look at the headers of all images.

    Raises:
        DatasetError: if there are none, or more than 1 % cannot be read.
    """
    names: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    unreadable = Unreadable(pictures.where)
    grey = 0
    for done, (name, content) in enumerate(pictures.read()):
        try:
            with opened(content) as image:
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                sizes[image.size[::-1] if turned else image.size] += 1
                grey += image.mode in GREY_MODES
            names.append(name)
        except BROKEN as error:
            unreadable.reasons[name] = reason(error)
        tell(f"{pictures.where.name}: looking", done + 1, 0)
    total = len(names) + len(unreadable.reasons)
    if not total:
        raise DatasetError(f"no images in {pictures.where}; looked for {', '.join(EXTENSIONS)}")
    unreadable.refuse_too_many(total)
    return Survey(sorted(names), sizes, grey, unreadable)


def opened(content: bytes) -> Image.Image:
    """An image whose pixels are not read yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd in a file but can be read
        return Image.open(io.BytesIO(content))


def to_pixels(content: bytes, channels: int, side: int = 0) -> Array:
    """Pixels (channels, height, width), uint8, of an encoded image; see the module for how.

    Raises:
        OSError, ValueError and other of `BROKEN`: if it is no image that can be read whole.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            if image.mode in WIDE_MODES:
                raise ValueError("more than 8 bits a channel")
            turned: Image.Image = ImageOps.exif_transpose(image)
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
    turned = turned.convert("L" if channels == 1 else "RGB")
    if side and turned.size != (side, side):
        turned = centred_square(turned, side)
    pixels: Array = np.asarray(turned).reshape(turned.height, turned.width, channels).transpose(2, 0, 1)
    return pixels


def centred_square(image: Image.Image, side: int) -> Image.Image:
    """The shorter edge resized to `side`, the longer one cut on both ends."""
    short = min(image.size)
    width, height = (int(side * edge / short) for edge in image.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + side, top + side))


def decode(
    pictures: Pictures,
    rows: Mapping[str, tuple[Array, int]],
    channels: int,
    side: int,
    tell: Tell,
) -> Unreadable:
    """Decode images into rows of arrays, on all cores.

    Arguments:
        pictures: where they are; those without a row are passed over.
        rows: name → an array (n, channels, height, width) of uint8, and the row in it.
        channels: 1 or 3.
        side: height and width that they are resized to; 0 for images that have the arrays' already.
        tell: told how many are done.

    Returns:
        Those that could not be decoded; their rows are as they were.

    Raises:
        DatasetError: if more than 1 % cannot be decoded.
    """
    unreadable = Unreadable(pictures.where)
    done = 0

    def work(batch: list[tuple[str, bytes]]) -> dict[str, str]:
        failed = {}
        for name, content in batch:
            array, row = rows[name]
            try:
                pixels = to_pixels(content, channels, side)
                if pixels.shape != array.shape[1:]:
                    raise ValueError(f"{pixels.shape[2]}×{pixels.shape[1]}, not as its header says")
                array[row] = pixels
            except BROKEN as error:
                failed[name] = reason(error)
        return failed

    wanted = (each for each in pictures.read() if each[0] in rows)
    workers = cores()
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[tuple[Future[dict[str, str]], int]] = deque()
        try:
            while (batch := list(itertools.islice(wanted, BATCH))) or pending:
                if batch:
                    pending.append((pool.submit(work, batch), len(batch)))
                if pending and (not batch or len(pending) > 4 * workers):
                    future, size = pending.popleft()
                    unreadable.reasons |= future.result()
                    done += size
                    tell(f"{pictures.where.name}: decoding", done, len(rows))
        finally:
            for future, _ in pending:
                future.cancel()
    unreadable.refuse_too_many(len(rows))
    return unreadable


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reason(error: BaseException) -> str:
    """Why an image could not be read, without the address of its bytes in memory."""
    text = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).partition("\n")[0]
    return text or type(error).__name__
