"""Encoded images (JPEG, PNG, …) in a folder or an archive → uint8 arrays, decoded on all cores.

How an image becomes pixels: turned as its EXIF orientation says; transparency laid over white; palettes, CMYK and grey converted to RGB,
or all to one channel where every image is grey; where a side is asked for, the shorter edge resized to it and the centred square cut out,
by torchvision. Images of more than 8 bits per channel, or of more than 2²⁵ pixels, are not read. Callers say which image goes into which
split.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import threading
import warnings
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.data import Array, DatasetError
from bench.data.decoded import Allocate, Tell, files_below
from bench.data.reading import members, readable
from bench.machine import cores

__all__ = ["BROKEN", "Images", "fill", "read_images", "remark_on", "survey", "to_pixels"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""What is read, whatever a file is called: Pillow runs another program on PostScript."""
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
MOST_UNREADABLE = 0.01
MOST_PIXELS = 2**25  # of an image, and of all that are decoded at one time: half a gigabyte, with what decoding needs
BATCH = 64  # images per task of the pool
WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA", "La")
BROKEN = (
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError, zlib.error),
    *(struct.error, LookupError, TypeError, ArithmeticError),
)
"""What Pillow raises on files that are damaged in one way or another."""

Images = Iterable[tuple[str, bytes]]
"""Names and encoded content of images, in any order."""


def read_images(where: Path) -> Images:
    """Yield the images below a folder, or in a tar or zip archive.

    Raises:
        DatasetError: if something cannot be read.
    """
    if where.is_dir():
        for path in files_below(where):
            if _is_image(name := path.relative_to(where).as_posix()):
                with readable(path, "a readable file"):
                    content = path.read_bytes()
                yield name, content
        return
    with members(where) as contents:
        for name, file in contents:
            if ".." in PurePosixPath(name).parts:
                raise DatasetError(f"{where} holds {name!r}, which leads out of the archive; pack it without '..'")
            if _is_image(name):
                yield PurePosixPath(name).as_posix(), file.read()


def _is_image(name: str) -> bool:
    """Return whether a name is that of an image, and not of a file that an operating system left behind."""
    parts = PurePosixPath(name).parts
    hidden = any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith(EXTENSIONS)


def survey(where: Path, tell: Tell) -> tuple[list[str], Counter[tuple[int, int]], int, dict[str, str]]:
    """Look at the headers of all images in a folder or an archive; a `DatasetError` if more than 1 % cannot be read.

    Returns:
        The sorted names of those whose header can be read; (width, height), as turned by EXIF → how many; the number of channels, 1 if all
        are grey, else 3; and name → reason, of the others.
    """
    names: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    unreadable: dict[str, str] = {}
    grey = total = 0
    for total, (name, content) in enumerate(read_images(where), start=1):
        try:
            image = _opened(content)
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            sizes[image.size[::-1] if turned else image.size] += 1
            grey += image.mode in GREY_MODES
            names.append(name)
        except BROKEN as error:
            unreadable[name] = _reason(error)
        tell(f"{where.name}: looking", total, 0)
    if not total:
        raise DatasetError(f"no images in {where}; looked for {', '.join(EXTENSIONS)}")
    _refuse_too_many(where, unreadable, total)
    return sorted(names), sizes, 1 if grey == len(names) else 3, unreadable


def _opened(content: bytes) -> Image.Image:
    """Return an image whose header is read, and nothing more.

    Raises:
        ValueError and other of `BROKEN`: if it is no image of `FORMATS`, or too large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what is odd in a file but can be read
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width:,}×{image.height:,} pixels are more than {MOST_PIXELS:,}")
    return image


class _Room:
    """Room for so many pixels, shared by threads."""

    def __init__(self, pixels: int) -> None:
        self._free, self._changed = pixels, threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Hold room for some pixels, once there is as much."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_ROOM = _Room(MOST_PIXELS)


def to_pixels(content: bytes, channels: int, side: int = 0) -> Array:
    """Decode an image to uint8 (channels, height, width); the module's docstring says how.

    Raises:
        OSError, ValueError and other of `BROKEN`: if it is no image that can be read whole.
    """
    with _opened(content) as image, _ROOM.taken(image.width * image.height):
        if image.mode in WIDE_MODES:
            raise ValueError("more than 8 bits a channel")
        if side**2 * max(image.size) > MOST_PIXELS * min(image.size):
            raise ValueError(f"{image.width:,}×{image.height:,} is too narrow for {side}×{side}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            turned: Image.Image = ImageOps.exif_transpose(image)
        if turned.has_transparency_data:
            turned = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
        turned = turned.convert("L" if channels == 1 else "RGB")
        if side:
            from torchvision.transforms.functional import center_crop, resize

            turned = center_crop(resize(turned, [side]), [side])
        pixels: Array = np.asarray(turned).reshape(turned.height, turned.width, channels).transpose(2, 0, 1)
        return pixels


def fill(
    allocate: Allocate,
    where: Path,
    images: Images,
    splits: Mapping[str, Sequence[str]],
    shape: tuple[int, int, int],
    side: int,
    tell: Tell,
    classes: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Decode images into 'SPLIT.images' and write their classes to 'SPLIT.labels'; rows of unreadable images are left out.

    Arguments:
        allocate: makes the arrays.
        where: the file or folder that they are in, for messages.
        images: all images, of which those in no split are skipped.
        splits: split → names of images, in the order of its rows.
        shape: of an image, (channels, height, width).
        side: height and width that they are resized to; 0 for images that have them already.
        tell: told how many are done.
        classes: name → class number, where there are classes.

    Returns:
        Name → reason, of the images that could not be decoded; a `DatasetError` if these are more than 1 %, or one is missing.
    """
    arrays = {split: allocate(f"{split}.images", (len(names), *shape), "u1") for split, names in splits.items()}
    rows = {name: arrays[split][row] for split, names in splits.items() for row, name in enumerate(names)}
    unreadable = _decode(where, images, rows, side, tell)
    for split, names in splits.items():
        kept = [row for row, name in enumerate(names) if name not in unreadable]
        if len(kept) < len(names):
            fewer = allocate(f"{split}.images", (len(kept), *shape), "u1")
            for target, source in enumerate(kept):
                fewer[target] = arrays[split][source]
        if classes:
            allocate(f"{split}.labels", (len(kept),), "i8")[:] = [classes[names[row]] for row in kept]
    return unreadable


def _decode(where: Path, images: Images, rows: Mapping[str, Array], side: int, tell: Tell) -> dict[str, str]:
    """Decode images into `rows`, views (channels, height, width) by name; return name → reason, of those that could not be decoded."""

    def work(batch: list[tuple[str, bytes]]) -> dict[str, str]:
        return {name: _decode_into(rows[name], content, side) for name, content in batch}

    wanted = iter(named for named in images if named[0] in rows)
    unreadable: dict[str, str] = {}
    done = 0
    with ThreadPoolExecutor(cores()) as pool:
        pending: deque[Future[dict[str, str]]] = deque()
        while (batch := list(itertools.islice(wanted, BATCH))) or pending:
            if batch:
                pending.append(pool.submit(work, batch))
            if not batch or len(pending) > 4 * cores():  # read on while images are decoded, but not without end
                decoded = pending.popleft().result()
                unreadable |= {name: why for name, why in decoded.items() if why}
                done += len(decoded)
                tell(f"{where.name}: decoding", done, len(rows))
    if done < len(rows):
        raise DatasetError(f"{where} lacks {len(rows) - done:,} of {len(rows):,} images that are asked for")
    _refuse_too_many(where, unreadable, len(rows))
    return unreadable


def _decode_into(row: Array, content: bytes, side: int) -> str:
    """Decode an image into an array (channels, height, width); return why it cannot be, '' where it can."""
    try:
        pixels = to_pixels(content, len(row), side)
        if pixels.shape != row.shape:
            raise ValueError(f"{pixels.shape[2]}×{pixels.shape[1]}, not as its header says")
        row[:] = pixels
    except BROKEN as error:
        return _reason(error)
    return ""


def _refuse_too_many(where: Path, unreadable: Mapping[str, str], total: int) -> None:
    if len(unreadable) > MOST_UNREADABLE * total:
        raise DatasetError(
            f"{where}: {len(unreadable):,} of {total:,} images cannot be read, {_some(unreadable)}; 1 % at most may be"
        )


def remark_on(unreadable: Mapping[str, str]) -> str:
    """Return what the protocol says of images that were left out; '' where there are none."""
    return f"{len(unreadable):,} unreadable images left out: {_some(unreadable)}" if unreadable else ""


def _some(unreadable: Mapping[str, str], most: int = 3) -> str:
    named = [f"{name} ({why})" for name, why in sorted(unreadable.items())[:most]]
    more = len(unreadable) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def _reason(error: BaseException) -> str:
    """Return why an image could not be read, without the address of its bytes in memory."""
    text = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).partition("\n")[0]
    return text or type(error).__name__
