"""Published sets of images as in their authors' files: CIFAR-10, MNIST, Fashion-MNIST, ImageNet 32×32, CelebA, LSUN bedrooms.

Nothing is unpickled and nothing extracted. All training images train, as in published runs; a validation split, which picks the energy in
a GEBM's refit, is taken from held-out images, never from those that are tested.
"""

from __future__ import annotations

import io
import itertools
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.data import Array, Dataset, DatasetError, Inputs
from bench.data.decoded import SPLITS, Allocate, Build, put, put_held_out
from bench.data.files import File, needs
from bench.data.own_images import images_in_folders
from bench.data.pictures import Images, fill, read_images, remark_on
from bench.data.reading import check_apart, check_unpacked, members, optional, readable, unpacked
from gebm.components import component

__all__ = ["celeba", "cifar10", "cifar10_jpeg75", "fashion_mnist", "imagenet32", "lsun_bedroom", "mnist", "mnist_10k"]

CIFAR_BATCH = (10_000, 1 + 3 * 32 * 32)
CIFAR_BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
CIFAR = "https://www.cs.toronto.edu/~kriz/"
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the mirror that torchvision reads
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_DEBIAN = "/usr/share/datasets/fashion-mnist"  # dataset-fashion-mnist, which compresses them anew
IMAGENET = "https://image-net.org/data/downsample/"
LSUN = File("lsun/bedroom_train_lmdb.zip", "http://dl.yf.io/lsun/scenes/", "md5:f2c5d904a82a6295dbdccb322b4b0a99")
LSUN_HELD_OUT = 10_000
LMDB_WALK = """
import sys, lmdb
with lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False) as environment, environment.begin(buffers=True) as transaction:
    for _, value in transaction.cursor():
        value[-1:]
"""
"""Touches every page of an LMDB file."""


def made_of_files(inputs: Inputs, build: Build, protocol: str) -> Dataset:
    """Return the dataset of the arrays that `build` makes of the files."""
    return inputs.decoded.dataset(
        inputs.label, {"dataset": inputs.name}, build, protocol, inputs.source, files=inputs.paths
    )


@component("datasets", "cifar10-test", "CIFAR-10, all 10,000 test images test: what real images score", kind="image")
@component("datasets", "cifar10", "CIFAR-10, 32×32: 50,000 train, 2,000 validate, 8,000 test", kind="image")
@needs(File("cifar-10-binary.tar.gz", CIFAR, "md5:c32a1d4ab5d03f1284b67883e8d87530"))
def cifar10(inputs: Inputs) -> Dataset:
    """Load CIFAR-10 (Krizhevsky 2009), binary version; `cifar10-test` holds out no image of the test batch to validate."""
    validates = inputs.name == "cifar10"

    def build(allocate: Allocate) -> None:
        rows = read_cifar(inputs.paths[0])
        images, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
        train = len(rows) - CIFAR_BATCH[0]
        put(allocate, "train", images[:train], labels[:train])
        if validates:
            put_held_out(allocate, images[train:], labels[train:])
        else:
            put(allocate, "test", images[train:], labels[train:])

    held_out = "the first 2,000 test images validate, 8,000 test" if validates else "all 10,000 test, none validate"
    return made_of_files(inputs, build, f"all 50,000 train{';' if validates else ','} {held_out}")


def read_cifar(archive: Path) -> Array:
    """Return the rows of the five training batches and the test batch: a byte of label, then 3×32×32 of pixels."""
    found: dict[str, Array] = {}
    with members(archive) as contents:
        for path, content in contents:
            if (name := PurePosixPath(path).name) in CIFAR_BATCHES:
                found[name] = np.frombuffer(content.read(), np.uint8)
    for name in CIFAR_BATCHES:
        if name not in found:
            raise DatasetError(f"{archive} has no {name}; is it the binary version?")
        if found[name].size != math.prod(CIFAR_BATCH):
            raise DatasetError(f"{archive}: {name} has {found[name].size:,} bytes; expected {math.prod(CIFAR_BATCH):,}")
        if found[name].reshape(CIFAR_BATCH)[:, 0].max() > 9:
            raise DatasetError(f"{archive}: {name} has a label above 9")
    return np.concatenate([found[name].reshape(CIFAR_BATCH) for name in CIFAR_BATCHES])


@component(
    "datasets",
    "cifar10-jpeg75",
    "CIFAR-10 as JPEG of quality 75: real images, not the official bits",
    kind="image",
    digest="8a896d011b5fdc2767b77831c9a17a83b1f15976838d0a5f3022ece15aa5237f",
)
@needs(File("cifar10_jpeg75.tar.xz", "", "sha256:e82212b8f8580e3e79f41a32c7db0e6a5b8fb10188d1723b706e150379c98be9"))
def cifar10_jpeg75(inputs: Inputs) -> Dataset:
    """Load CIFAR-10 as JPEG of quality 75, in folders of splits and classes."""
    provenance = f"CIFAR-10 (Krizhevsky 2009) as JPEG of quality 75, {inputs.source}"
    return images_in_folders(inputs.label, inputs.paths[0], inputs.decoded, 0, 0, provenance)


def idx_file(folder: str, name: str, url: str, checksum: str, **copies: Any) -> File:
    """Return a compressed idx file; `copies` are the fields of `File` about other published copies of it."""
    return File(f"{folder}/{name}.gz", url, f"md5:{checksum}", **copies)


def fashion_file(name: str, published: str, debian: str) -> File:
    """Return a file of Fashion-MNIST, which Debian compresses anew."""
    elsewhere = f"{FASHION_DEBIAN}/{name}.gz"
    return idx_file("fashion-mnist", name, FASHION, published, also=(f"md5:{debian}",), elsewhere=elsewhere)


MNIST_TRAIN = (
    idx_file("mnist", "train-images-idx3-ubyte", MNIST, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    idx_file("mnist", "train-labels-idx1-ubyte", MNIST, "d53e105ee54ea40749a09fcbcd1e9432"),
)
MNIST_TEST = (
    idx_file("mnist", "t10k-images-idx3-ubyte", MNIST, "9fb629c4189551a2d022fa330f9573f3"),
    idx_file("mnist", "t10k-labels-idx1-ubyte", MNIST, "ec29112dd5afa0611ce80d1b7f02629c"),
)


@component(
    "datasets",
    "fashion-mnist",
    "Fashion-MNIST, grey, framed to 32×32",
    kind="image",
    digest="3247902bd16dac3d17c6966c7ccab4fa41e160755625dc6e7c26f3bc5bcc6d1e",
)
@needs(
    fashion_file("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "cf8536b0aa1a6ac5fa3f23001093305c"),
    fashion_file("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe", "10bea18fdb374794d4bb42e356e600c9"),
    fashion_file("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", "f78720b4224f21cce2f2ccf2d7a94c9a"),
    fashion_file("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310", "0d30e22e447f3c33dab9ed536400ac01"),
)
def fashion_mnist(inputs: Inputs) -> Dataset:
    """Load Fashion-MNIST (Xiao et al. 2017)."""

    def build(allocate: Allocate) -> None:
        put(allocate, "train", *framed(*inputs.paths[:2]))
        put_held_out(allocate, *framed(*inputs.paths[2:]))

    protocol = "framed in black to 32×32; all 60,000 train; the first 2,000 test images validate, 8,000 test"
    return made_of_files(inputs, build, protocol)


@component("datasets", "mnist", "MNIST, grey, framed to 32×32: 60,000 train, 2,000 validate, 8,000 test", kind="image")
@needs(*MNIST_TRAIN, *MNIST_TEST)
def mnist(inputs: Inputs) -> Dataset:
    """Load MNIST (LeCun et al. 1998)."""

    def build(allocate: Allocate) -> None:
        put(allocate, "train", *framed(*inputs.paths[:2]))
        put_in_turn(allocate, ["validation", *["test"] * 4], *framed(*inputs.paths[2:]))

    protocol = "framed in black to 32×32; all 60,000 train; every fifth test image validates, the others test"
    return made_of_files(inputs, build, protocol)


@component(
    "datasets",
    "mnist-10k",
    "MNIST's official test file alone, framed to 32×32: 8,000 train, 1,000 validate, 1,000 test",
    kind="image",
    digest="88d5d54f9c81171b68390cda8b581d039cf01d94d7ff5ee04438dbd4f3a0d1f9",
)
@needs(*MNIST_TEST)
def mnist_10k(inputs: Inputs) -> Dataset:
    """Load the 10,000 digits of MNIST's test file (LeCun et al. 1998), for whoever does not have the larger file."""

    def build(allocate: Allocate) -> None:
        put_in_turn(allocate, [*["train"] * 8, "validation", "test"], *framed(*inputs.paths))

    protocol = (
        "MNIST's test file alone, framed in black to 32×32; of every ten images eight train, one validates, one tests"
    )
    return made_of_files(inputs, build, protocol)


def put_in_turn(allocate: Allocate, turns: Sequence[str], images: Array, labels: Array) -> None:
    """Fill the splits named in `turns` with one image after the other: the second half of MNIST's test file is harder than the first."""
    turn = np.array(turns)[np.arange(len(images)) % len(turns)]
    for split in dict.fromkeys(turns):
        put(allocate, split, images[turn == split], labels[turn == split])


def framed(images: Path, labels: Path) -> tuple[Array, Array]:
    """Return the images of an idx file, 28×28 within a black frame of 2 pixels, so that networks for 32×32 take them, and their labels."""
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if pixels.shape[1:] != (28, 28):
        found = "×".join(map(str, pixels.shape[1:]))
        raise DatasetError(f"{images} has images of {found} pixels; expected 28×28")
    if len(pixels) != len(classes):
        raise DatasetError(f"{images} has {len(pixels):,} images, but {labels} has {len(classes):,} labels")
    return np.pad(pixels, ((0, 0), (2, 2), (2, 2)))[:, None], classes


def read_idx(path: Path, axes: int) -> Array:
    """Return the bytes of a compressed idx file with that many axes; raise a `DatasetError` for any other file."""
    with readable(path, f"an idx file of {'images' if axes == 3 else 'labels'}"), unpacked(path) as file:
        content = file.read()
        if content[:4] != bytes([0, 0, 8, axes]):
            raise ValueError(f"it begins with {content[:4].hex()}")
        shape = np.frombuffer(content, ">i4", axes, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


@component("datasets", "imagenet32", "ImageNet at 32×32, npz form", kind="image")
@needs(
    File("imagenet32/Imagenet32_train_npz.zip", IMAGENET, "md5:3e3d1b7ddb901d59d1fbcba69b3676fa"),
    File("imagenet32/Imagenet32_val_npz.zip", IMAGENET, "md5:0300f7a8c5de0c82fb6fc6092b4858ed"),
)
def imagenet32(inputs: Inputs) -> Dataset:
    """Load ImageNet at 32×32 (Chrabaszcz et al. 2017), npz form: 1,281,167 train; of 50,000 a fifth validates."""

    def build(allocate: Allocate) -> None:
        train, held_out = inputs.paths
        batches = npz_members(train)
        labels = [imagenet_labels(train, batch) for batch in batches]
        ends = list(itertools.accumulate(map(len, labels)))
        images = allocate("train.images", (ends[-1], 3, 32, 32), "u1")
        allocate("train.labels", (ends[-1],), "i8")[:] = np.concatenate(labels)
        for done, (batch, end, classes) in enumerate(zip(batches, ends, labels, strict=True), start=1):
            images[end - len(classes) : end] = imagenet_pixels(train, batch, len(classes))
            inputs.decoded.tell("imagenet32: decoding", done, len(batches))
        only = npz_members(held_out)[0]
        classes = imagenet_labels(held_out, only)
        put_held_out(allocate, imagenet_pixels(held_out, only, len(classes)), classes)

    protocol = "all training images train; the first fifth of the validation images validates, the rest tests"
    return made_of_files(inputs, build, protocol)


def npz_members(archive: Path) -> list[str]:
    """Return the names of the npz files in a zip archive, in the order of their numbers."""
    with members(archive) as contents:
        names = [name for name, _ in contents if name.endswith(".npz")]
    if not names:
        raise DatasetError(f"{archive} holds no npz files; is it the npz form?")
    return sorted(names, key=lambda name: (len(name), name))


def read_npz(archive: Path, member: str, array: str) -> Array:
    """Return one array of an npz file in a zip archive; raise a `DatasetError` if it is missing or pickled."""
    with (
        readable(archive, f"an archive whose {member} has an array '{array}' that can be read"),
        zipfile.ZipFile(archive) as content,
        zipfile.ZipFile(io.BytesIO(content.read(member))) as arrays,
    ):
        check_unpacked(archive, sum(info.file_size for info in arrays.infolist()))
        found: Array = np.load(io.BytesIO(arrays.read(f"{array}.npy")), allow_pickle=False)
    return found


def imagenet_pixels(archive: Path, member: str, count: int) -> Array:
    """Return the pixels of a batch, (n, 3, 32, 32)."""
    pixels = read_npz(archive, member, "data")
    if pixels.dtype != np.uint8 or pixels.shape != (count, 3 * 32 * 32):
        raise DatasetError(f"{archive}: {member} holds {pixels.dtype} {pixels.shape}; expected uint8 ({count}, 3072)")
    return pixels.reshape(-1, 3, 32, 32)


def imagenet_labels(archive: Path, member: str) -> Array:
    """Return the classes of a batch, from 0; the files count from 1."""
    labels = read_npz(archive, member, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) == 0 or labels.min() < 1 or labels.max() > 1000:
        raise DatasetError(f"{archive}: {member} has labels that are not numbers from 1 to 1000")
    return labels.astype(np.int64) - 1


@component("datasets", "celeba-64", "CelebA, aligned, centred square at 64×64; no classes", kind="image")
@component("datasets", "celeba-32", "CelebA, aligned, centred square at 32×32; no classes", kind="image")
@needs(
    File("celeba/img_align_celeba.zip", "", "md5:00d2c5bc6d35e252742224ab0c1e8fcb"),
    File("celeba/list_eval_partition.txt", "", "md5:d32c9cbf5e040fd4025c592c306e6668"),
)
def celeba(inputs: Inputs) -> Dataset:
    """Load CelebA (Liu et al. 2015), aligned, resized and cut to the centred square; published splits, no classes."""
    archive, partition = inputs.paths
    side = int(inputs.name.removeprefix("celeba-"))

    def build(allocate: Allocate) -> str:
        splits: dict[str, list[str]] = {split: [] for split in SPLITS}
        for number, line in enumerate(partition.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            name, _, split = line.strip().partition(" ")
            if split.strip() not in ("0", "1", "2"):
                raise DatasetError(f"{partition}: line {number} is not an image's name and 0, 1 or 2")
            splits[SPLITS[int(split)]].append(name)
        if empty := [split for split, names in splits.items() if not names]:
            raise DatasetError(f"{partition} names no image for {empty[0]}")
        images = ((PurePosixPath(name).name, content) for name, content in read_images(archive))
        return remark_on(fill(allocate, archive, images, splits, (3, side, side), side, inputs.decoded.tell))

    return made_of_files(inputs, build, f"published splits; resized and cut to the centred square of {side}×{side}")


@component("datasets", "lsun-bedroom", "LSUN bedrooms at 32×32; no classes; needs lmdb", kind="image")
@needs(File("lsun/bedroom_train_lmdb/data.mdb", archive=LSUN))
def lsun_bedroom(inputs: Inputs) -> Dataset:
    """Load LSUN bedrooms (Yu et al. 2015), resized and cut to the centred square of 32×32; no classes.

    The published validation set has 300 images, so the last 10,000 training images by key test and the 10,000 before them validate;
    keys are hashes, their order is random.
    """
    path = inputs.paths[0]

    def build(allocate: Allocate) -> str:
        names = sorted(name for name, _ in read_lmdb(path, content=False))
        held_out = min(LSUN_HELD_OUT, len(names) // 10)
        if not held_out:
            raise DatasetError(f"{path} holds {len(names)} images; too few to split")
        rest, test = names[:-held_out], names[-held_out:]
        splits = {"train": rest[:-held_out], "validation": rest[-held_out:], "test": test}
        return remark_on(fill(allocate, path, read_lmdb(path), splits, (3, 32, 32), 32, inputs.decoded.tell))

    protocol = (
        "resized and cut to the centred square of 32×32; by key the last 10,000 test, the 10,000 before them validate"
    )
    return made_of_files(inputs, build, protocol)


def read_lmdb(path: Path, content: bool = True) -> Images:
    """Yield the images in the data file of an LMDB environment, or without `content` their names alone."""
    lmdb = optional("lmdb", "lsun", path)
    if not content:  # asked first
        check_apart(path, "an LMDB file that can be read", LMDB_WALK)
    try:
        with (
            lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment,
            environment.begin() as transaction,
        ):
            cursor = transaction.cursor()
            for key in cursor.iternext(values=False):
                yield key.decode("ascii", "replace"), cursor.value() if content else b""
    except lmdb.Error as error:
        raise DatasetError(f"{path} is not an LMDB file that can be read: {error}") from error
