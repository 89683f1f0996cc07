"""Published sets of images as their authors' files have them: CIFAR-10, Fashion-MNIST, ImageNet 32×32, CelebA, LSUN bedrooms.

Nothing is unpickled and nothing extracted. All training images train, as in published runs; where a validation split is wanted, which picks
the energy in a GEBM's refit, it is taken from held-out images, never from those that are tested.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError
from bench.data.decoded import Allocate, Build, DecodedCache
from bench.data.files import Found, find
from bench.data.image_splits import Layout, fill
from bench.data.own_images import decoded_images
from bench.data.pictures import Pictures, in_tar, in_zip, opened_zip

__all__ = [
    "CELEBA_32",
    "CELEBA_64",
    "CelebA",
    "cifar10",
    "cifar10_jpeg75",
    "cifar10_test",
    "fashion_mnist",
    "imagenet32",
    "lsun_bedroom",
]

VERSION = "official-images-1"
CIFAR_BATCH = (10_000, 1 + 3 * 32 * 32)
CIFAR_BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
IDX_IMAGES, IDX_LABELS = 0x803, 0x801
LSUN_HELD_OUT = 10_000
CELEBA_SPLITS = ("train", "validation", "test")


def from_cache(
    name: str, found: Found, cache: DecodedCache, build: Build, protocol: str, **settings: int | str
) -> Dataset:
    """A dataset of the arrays that `build` makes of the files; `settings` are what else they depend on."""
    key: dict[str, Any] = {
        "version": VERSION,
        "dataset": name,
        "content": [cache.digest_of(path) for path in found.paths],
    }
    decoded = cache.arrays(name, 256, key | settings, build)
    return Dataset(
        name=name,
        kind="image",
        splits=decoded.splits,
        labels=decoded.labels,
        levels=256,
        protocol=protocol + (f"; {decoded.remark}" if decoded.remark else ""),
        provenance=found.provenance + ("; NOT the official file, accepted unverified" if found.unverified else ""),
        recorded_digest=decoded.digest,
    )


def put(allocate: Allocate, split: str, images: Array, labels: Array) -> None:
    """Fill the arrays of a split."""
    allocate(f"{split}.images", images.shape, "u1")[:] = images
    allocate(f"{split}.labels", labels.shape, "i8")[:] = labels


def cifar10(root: Path | None, cache: DecodedCache) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009), binary version: 50,000 train; of the 10,000 test images the first 2,000 validate, 8,000 test."""
    found = find("cifar10", root, cache.digest_of)

    def build(allocate: Allocate) -> str:
        batches = read_cifar(found.paths[0])
        put(allocate, "train", *joined(batches[:5]))
        images, labels = batches[5]
        put(allocate, "validation", images[:2000], labels[:2000])
        put(allocate, "test", images[2000:], labels[2000:])
        return ""

    return from_cache(
        "cifar10", found, cache, build, "all 50,000 train; the first 2,000 test images validate, 8,000 test"
    )


def cifar10_test(root: Path | None, cache: DecodedCache) -> Dataset:
    """CIFAR-10 with all 10,000 images in its test split, for what real images score against the training split."""
    found = find("cifar10-test", root, cache.digest_of)

    def build(allocate: Allocate) -> str:
        batches = read_cifar(found.paths[0])
        put(allocate, "train", *joined(batches[:5]))
        put(allocate, "test", *batches[5])
        return ""

    return from_cache("cifar10-test", found, cache, build, "all 50,000 train, all 10,000 test, none validate")


def joined(batches: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Images and labels of batches, one after the other."""
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def read_cifar(archive: Path) -> list[tuple[Array, Array]]:
    """Images and labels of the five training batches and the test batch.

    Raises:
        DatasetError: if the archive lacks one, or one is not of the documented form.
    """
    found: dict[str, tuple[Array, Array]] = {}
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for entry in tar:
                name = PurePosixPath(entry.name).name
                content = tar.extractfile(entry) if name in CIFAR_BATCHES and entry.isfile() else None
                if content is not None:
                    found[name] = cifar_batch(archive, name, content.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{archive} is not an archive that can be read: {error}") from error
    if missing := [name for name in CIFAR_BATCHES if name not in found]:
        raise DatasetError(f"{archive} has no {missing[0]}; is it the binary version?")
    return [found[name] for name in CIFAR_BATCHES]


def cifar_batch(archive: Path, name: str, content: bytes) -> tuple[Array, Array]:
    """A batch's rows of one byte of label and 3×32×32 of pixels."""
    if len(content) != CIFAR_BATCH[0] * CIFAR_BATCH[1]:
        raise DatasetError(
            f"{archive}: {name} has {len(content):,} bytes; expected {CIFAR_BATCH[0] * CIFAR_BATCH[1]:,}"
        )
    rows = np.frombuffer(content, np.uint8).reshape(CIFAR_BATCH)
    if rows[:, 0].max() > 9:
        raise DatasetError(f"{archive}: {name} has a label above 9")
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def cifar10_jpeg75(root: Path | None, cache: DecodedCache) -> Dataset:
    """CIFAR-10 as JPEG of quality 75, in folders of splits and classes: real images, but not the official bits."""
    found = find("cifar10-jpeg75", root, cache.digest_of)
    provenance = f"CIFAR-10 (Krizhevsky 2009) as JPEG of quality 75, {found.provenance}"
    return decoded_images("cifar10-jpeg75", in_tar(found.paths[0]), cache, 0, 0, provenance, found.unverified)


def fashion_mnist(root: Path | None, cache: DecodedCache) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): grey, 28×28 within a black frame of 2 pixels, so that networks for 32×32 take it."""
    found = find("fashion-mnist", root, cache.digest_of)

    def build(allocate: Allocate) -> str:
        (train, labels), (held_out, held_out_labels) = (
            (read_idx(images, IDX_IMAGES), read_idx(labels, IDX_LABELS)) for images, labels in pairs(found.paths)
        )
        fifth = len(held_out) // 5
        put(allocate, "train", framed(train), labels)
        put(allocate, "validation", framed(held_out[:fifth]), held_out_labels[:fifth])
        put(allocate, "test", framed(held_out[fifth:]), held_out_labels[fifth:])
        return ""

    protocol = "framed in black to 32×32; all 60,000 train; the first 2,000 test images validate, 8,000 test"
    return from_cache("fashion-mnist", found, cache, build, protocol)


def pairs(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Files of images, each with its file of labels."""
    return zip(paths[::2], paths[1::2], strict=True)


def framed(images: Array) -> Array:
    """28×28 → (n, 1, 32, 32)."""
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]


def read_idx(path: Path, magic: int) -> Array:
    """Bytes of a compressed idx file, (n, …).

    Raises:
        DatasetError: if it is none, or of another kind or length than its header says.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is not a compressed file that can be read: {error}") from error
    axes = magic & 0xFF
    header = np.frombuffer(content[: 4 + 4 * axes], ">u4")
    if len(header) < 1 + axes or header[0] != magic or len(content) != 4 + 4 * axes + int(np.prod(header[1:])):
        raise DatasetError(f"{path} is not an idx file of {'images' if axes == 3 else 'labels'}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(tuple(header[1:].tolist()))


def imagenet32(root: Path | None, cache: DecodedCache) -> Dataset:
    """ImageNet at 32×32 (Chrabaszcz et al. 2017), its npz form: 1,281,167 train; of 50,000 a fifth validates."""
    found = find("imagenet32", root, cache.digest_of)

    def build(allocate: Allocate) -> str:
        train, held_out = (npz_members(path) for path in found.paths)
        sizes = [len(read_npz(found.paths[0], name, "labels")) for name in train]
        images, labels = (
            allocate("train.images", (sum(sizes), 3, 32, 32), "u1"),
            allocate("train.labels", (sum(sizes),), "i8"),
        )
        for done, (name, stop, size) in enumerate(zip(train, itertools.accumulate(sizes), sizes, strict=True)):
            images[stop - size : stop] = imagenet_images(found.paths[0], name, size)
            labels[stop - size : stop] = imagenet_labels(found.paths[0], name)
            cache.tell("imagenet32: decoding", done + 1, len(train))
        classes = imagenet_labels(found.paths[1], held_out[0])
        pixels = imagenet_images(found.paths[1], held_out[0], len(classes))
        fifth = len(pixels) // 5
        put(allocate, "validation", pixels[:fifth], classes[:fifth])
        put(allocate, "test", pixels[fifth:], classes[fifth:])
        return ""

    protocol = "all training images train; the first fifth of the validation images validates, the rest tests"
    return from_cache("imagenet32", found, cache, build, protocol)


def npz_members(archive: Path) -> list[str]:
    """The npz files in a zip archive, in the order of their numbers.

    Raises:
        DatasetError: if there are none.
    """
    with opened_zip(archive) as content:
        names = [name for name in content.namelist() if name.endswith(".npz")]
    if not names:
        raise DatasetError(f"{archive} holds no npz files; is it the npz form?")
    return sorted(names, key=lambda name: (len(name), name))


def read_npz(archive: Path, member: str, array: str) -> Array:
    """One array of an npz file in a zip archive.

    Raises:
        DatasetError: if it is not there or would have to be unpickled.
    """
    try:
        with opened_zip(archive) as content, np.load(io.BytesIO(content.read(member)), allow_pickle=False) as arrays:
            found: Array = arrays[array]
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{archive}: {member} has no array '{array}' that can be read: {error}") from error
    return found


def imagenet_images(archive: Path, member: str, count: int) -> Array:
    """The pixels of a batch, (n, 3, 32, 32)."""
    pixels = read_npz(archive, member, "data")
    if pixels.dtype != np.uint8 or pixels.shape != (count, 3 * 32 * 32):
        raise DatasetError(f"{archive}: {member} holds {pixels.dtype} {pixels.shape}; expected uint8 ({count}, 3072)")
    return pixels.reshape(-1, 3, 32, 32)


def imagenet_labels(archive: Path, member: str) -> Array:
    """The classes of a batch, from 0; the files count from 1."""
    labels = read_npz(archive, member, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) == 0 or labels.min() < 1 or labels.max() > 1000:
        raise DatasetError(f"{archive}: {member} has labels that are not numbers from 1 to 1000")
    return labels.astype(np.int64) - 1


@dataclass(frozen=True)
class CelebA:
    """CelebA (Liu et al. 2015), aligned, resized and cut to the centred square of `side`; published splits, no classes."""

    side: int

    def __call__(self, root: Path | None, cache: DecodedCache) -> Dataset:
        """The dataset.

        Raises:
            DatasetError: if its files are missing or not what they should be.
        """
        name = f"celeba-{self.side}"
        found = find(name, root, cache.digest_of)
        archive, partition = found.paths
        pictures = in_zip(archive)

        def build(allocate: Allocate) -> str:
            names = {PurePosixPath(each).name: each for each in pictures.names()}
            splits = {split: [names[each] for each in members] for split, members in read_partition(partition, names)}
            layout = Layout(splits, {})
            return fill(allocate, pictures, layout, (3, self.side, self.side), self.side, cache.tell).remark

        protocol = f"published splits; resized and cut to the centred square of {self.side}×{self.side}"
        return from_cache(name, found, cache, build, protocol, side=self.side)


def read_partition(path: Path, known: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Splits and the images in them.

    Raises:
        DatasetError: if the file is not of lines 'NAME 0|1|2', or names an image that is not there.
    """
    members: dict[str, list[str]] = {split: [] for split in CELEBA_SPLITS}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        name, _, split = line.strip().partition(" ")
        if split.strip() not in ("0", "1", "2"):
            raise DatasetError(f"{path}: line {number} is not an image's name and 0, 1 or 2")
        if name not in known:
            raise DatasetError(f"{path}: line {number} names {name}, which the archive does not have")
        members[CELEBA_SPLITS[int(split)]].append(name)
    if empty := [split for split, names in members.items() if not names]:
        raise DatasetError(f"{path} names no image for {empty[0]}")
    yield from members.items()


CELEBA_32 = CelebA(32)
CELEBA_64 = CelebA(64)


def lsun_bedroom(root: Path | None, cache: DecodedCache) -> Dataset:
    """LSUN bedrooms (Yu et al. 2015) resized and cut to the centred square of 32×32; no classes.

    The published validation set has 300 images, so the last 10,000 training images by key test and the 10,000 before them validate;
    keys are hashes, their order is random.
    """
    found = find("lsun-bedroom", root, cache.digest_of)
    pictures = in_lmdb(found.paths[0])

    def build(allocate: Allocate) -> str:
        names = sorted(pictures.names())
        held_out = min(LSUN_HELD_OUT, len(names) // 10)
        if not held_out:
            raise DatasetError(f"{found.paths[0]} holds {len(names)} images; too few to split")
        train, validation, test = names[: -2 * held_out], names[-2 * held_out : -held_out], names[-held_out:]
        layout = Layout({"train": train, "validation": validation, "test": test}, {})
        return fill(allocate, pictures, layout, (3, 32, 32), 32, cache.tell).remark

    protocol = (
        "resized and cut to the centred square of 32×32; by key the last 10,000 test, the 10,000 before them validate"
    )
    return from_cache("lsun-bedroom", found, cache, build, protocol)


def in_lmdb(path: Path) -> Pictures:
    """The images in an LMDB environment's data file.

    Raises:
        DatasetError: if lmdb is not installed, or at reading, if it is no such file.
    """
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise DatasetError(f'{path} needs lmdb, which is not installed: pip install "gebm-bench[lsun]"') from error

    @contextlib.contextmanager
    def cursor() -> Iterator[Any]:
        try:
            with (
                lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment,
                environment.begin() as transaction,
            ):
                yield transaction.cursor()
        except lmdb.Error as error:
            raise DatasetError(f"{path} is not an LMDB file that can be read: {error}") from error

    def names() -> Iterator[str]:
        with cursor() as entries:
            for key in entries.iternext(values=False):
                yield key.decode("ascii", "replace")

    def read() -> Iterator[tuple[str, bytes]]:
        with cursor() as entries:
            for key, value in entries:
                yield key.decode("ascii", "replace"), value

    return Pictures(path, names, read)
