"""A user's own images as a dataset: `folder:PATH`, `tar:PATH`, and `folder:PATH#32` to bring them to 32×32.

Folders of classes give labels: PATH/CLASS/…, or PATH/train/CLASS/… and PATH/test/CLASS/…, then those are the splits (and PATH/validation or
PATH/val, or else a random fifth of the test images validates). Without them images are shuffled with the split seed, 80 % train, 10 %
validate and 10 % test. `bench.data.pictures` says how an image becomes pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data import Dataset, DatasetError
from bench.data.decoded import SPLITS, Allocate, DecodedCache
from bench.data.pictures import Pictures, Survey, fill, read_images, remark_on, survey
from bench.data.sources import SIDES, Source

__all__ = ["images_in_folders", "load_images"]

LEAST = 10  # images per split
FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def load_images(source: Source, cache: DecodedCache) -> Dataset:
    """Load a user's images.

    Raises:
        DatasetError: if there are none, they differ in size and no side is asked for, or too many cannot be read.
    """
    path = Path(source.where)
    if source.kind == "folder" and not path.is_dir():
        raise DatasetError(f"no folder {path}" + ("; an archive is tar:PATH" if path.is_file() else ""))
    if source.kind == "tar" and not path.is_file():
        raise DatasetError(f"no file {path}" + ("; a folder is folder:PATH" if path.is_dir() else ""))
    if path.is_dir():
        refuse_empty_folders(path)
    return images_in_folders(
        source.label, path, cache, source.side, source.split, f"the user's own images in {path.name}"
    )


def images_in_folders(name: str, path: Path, cache: DecodedCache, side: int, seed: int, provenance: str) -> Dataset:
    """Return the dataset of images sorted into folders, below a folder or in an archive.

    Arguments:
        name: of the dataset.
        path: the folder or archive.
        cache: where they are kept once decoded.
        side: height and width they are brought to; 0 for their own.
        seed: of the splits.
        provenance: where they are from.

    Raises:
        DatasetError: as `load_images`.
    """
    pictures = Pictures(path, functools.partial(read_images, path))

    def build(allocate: Allocate) -> str:
        found = survey(pictures, cache.tell)
        height, width = size_of(path, found, side)
        splits, classes = arrange(path, found.names, seed)
        shape = (found.channels, height, width)
        return remark_on(found.unreadable | fill(allocate, pictures, splits, classes, shape, side, cache.tell))

    key = {"content": cache.digest_of(path), "side": side, "seed": seed}
    size = f"resized and cut to the centred square of {side}×{side}; " if side else ""
    protocol = f"{size}splits as in its folders or 80/10/10 %, shuffled with seed {seed}"
    return cache.dataset(name, key, build, protocol, provenance)


def refuse_empty_folders(folder: Path) -> None:
    """Raise a `DatasetError` for an empty folder in it: a class without images is more often a mistake than a wish."""
    empty = sorted(each for each in folder.rglob("*") if each.is_dir() and not any(each.iterdir()))
    if empty:
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise DatasetError(f"{folder}: {empty[0].relative_to(folder)} is an empty folder{more}; fill or delete it")


def size_of(where: Path, found: Survey, side: int) -> tuple[int, int]:
    """Return height and width of the arrays.

    Raises:
        DatasetError: if images are smaller than the side asked for; without one, if they differ in size or no network takes them.
    """
    if side:
        small = {size: count for size, count in found.sizes.items() if min(size) < side}
        if small:
            width, height = min(small)
            raise DatasetError(
                f"{where}: {sum(small.values()):,} images are smaller than {side}×{side}, such as {width}×{height}; "
                "ask for a smaller side, nothing is enlarged"
            )
        return side, side
    if len(found.sizes) > 1:
        (first, _), (second, _) = found.sizes.most_common(2)
        raise DatasetError(
            f"{where}: images have {len(found.sizes)} sizes, such as {first[0]}×{first[1]} and {second[0]}×{second[1]}; "
            f"PATH#32 brings them to 32×32"
        )
    ((width, height),) = found.sizes
    if width != height or width % 8 or not SIDES[0] <= width <= SIDES[1]:
        raise DatasetError(
            f"{where}: images are {width}×{height}; networks take squares whose side is a multiple of 8 between {SIDES[0]} and "
            f"{SIDES[1]}: PATH#32 brings them to 32×32"
        )
    return height, width


def arrange(where: Path, names: Sequence[str], seed: int) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return the names of each split in the order of its rows, and the class of each name, by the folders they are in.

    Raises:
        DatasetError: if a split would have too few.
    """
    paths = without_common_folder({name: PurePosixPath(name).parts for name in names})
    rng = np.random.default_rng(seed)
    tops = {parts[0] for parts in paths.values() if len(parts) > 1}
    if {"train", "test"} <= tops <= FOLDERS.keys() and all(len(parts) > 1 for parts in paths.values()):
        given: dict[str, list[str]] = {}
        for name in names:
            given.setdefault(FOLDERS[paths[name][0]], []).append(name)
        paths = {name: parts[1:] for name, parts in paths.items()}
        splits: dict[str, list[str]] = {split: shuffled(given[split], rng) for split in SPLITS if split in given}
        if "validation" not in given:
            fifth = len(given["test"]) // 5
            splits |= {"validation": splits["test"][:fifth], "test": splits["test"][fifth:]}
    else:
        mixed, tenth = shuffled(names, rng), len(names) // 10
        splits = {"train": mixed[: -2 * tenth], "validation": mixed[-2 * tenth : -tenth], "test": mixed[-tenth:]}
    for split, members in splits.items():
        if len(members) < LEAST:
            raise DatasetError(
                f"{where}: {len(members)} images for {split} of {len(names):,} in all; {LEAST} are needed"
            )
    labelled = all(len(parts) > 1 for parts in paths.values())
    numbers = {label: i for i, label in enumerate(sorted({parts[0] for parts in paths.values()}))} if labelled else {}
    return splits, {name: numbers[parts[0]] for name, parts in paths.items()} if len(numbers) > 1 else {}


def shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return the names in random order."""
    return [names[i] for i in rng.permutation(len(names))]


def without_common_folder(paths: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return paths without the folders that all of them are in."""
    while all(len(parts) > 1 for parts in paths.values()) and len({parts[0] for parts in paths.values()}) == 1:
        paths = {name: parts[1:] for name, parts in paths.items()}
    return paths
