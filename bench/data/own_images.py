"""A user's own images as a dataset: `folder:PATH`, `tar:PATH`, and `folder:PATH#32` to bring them to 32×32.

Folders of classes give labels: PATH/CLASS/…, or PATH/train/CLASS/… and PATH/test/CLASS/…, then those are the splits (and PATH/validation or
PATH/val, or else a random fifth of the test images validates). Without them images are shuffled with the split seed, 80 % train, 10 %
validate and 10 % test. How an image becomes pixels is in `bench.data.pictures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data import Dataset, DatasetError
from bench.data.decoded import Allocate, DecodedCache
from bench.data.image_splits import Layout, fill, held_out_fifth, shuffled, tenths
from bench.data.pictures import Pictures, Survey, in_folder, in_tar, survey
from bench.data.sources import SIDES, Source

__all__ = ["decoded_images", "load_images"]

VERSION = "own-images-1"
LEAST = 10  # images a split
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def load_images(source: Source, cache: DecodedCache) -> Dataset:
    """The dataset of a user's images.

    Raises:
        DatasetError: if there are none, they are not of one size and none is asked for, or too many cannot be read.
    """
    path = Path(source.where)
    if source.kind == "folder" and not path.is_dir():
        raise DatasetError(f"no folder {path}" + ("; an archive is tar:PATH" if path.is_file() else ""))
    if source.kind == "tar" and not path.is_file():
        raise DatasetError(f"no file {path}" + ("; a folder is folder:PATH" if path.is_dir() else ""))
    pictures = in_tar(path) if source.kind == "tar" else in_folder(path)
    return decoded_images(
        source.label, pictures, cache, source.side, source.split, f"the user's own images in {path.name}"
    )


def decoded_images(
    name: str, pictures: Pictures, cache: DecodedCache, side: int, seed: int, provenance: str, unverified: bool = False
) -> Dataset:
    """A dataset of images sorted into folders.

    Arguments:
        name: the dataset's.
        pictures: the images.
        cache: where they are kept once decoded.
        side: height and width they are brought to; 0 for their own.
        seed: of the splits.
        provenance: where they are from.
        unverified: whether they are not the official ones, but were accepted.

    Raises:
        DatasetError: as `load_images`.
    """

    def build(allocate: Allocate) -> str:
        found = survey(pictures, cache.tell)
        height, width = side_of(pictures.where, found, side)
        layout = arrange(pictures.where, found.names, seed)
        failed = fill(allocate, pictures, layout, (found.channels, height, width), side, cache.tell)
        failed.reasons |= found.unreadable.reasons
        return failed.remark

    if pictures.where.is_dir():
        refuse_empty_folders(pictures.where)
    key = {"version": VERSION, "content": cache.digest_of(pictures.where), "side": side, "seed": seed}
    decoded = cache.arrays(name, 256, key, build)
    shape = decoded.splits["train"].shape[1:]
    return Dataset(
        name=name,
        kind="image",
        splits=decoded.splits,
        labels=decoded.labels,
        levels=256,
        protocol="; ".join(
            [
                f"{'×'.join(map(str, shape[1:]))}" + (", resized and cut to the centred square" if side else ""),
                f"splits as in its folders or 80/10/10 %, shuffled with seed {seed}",
                *([decoded.remark] if decoded.remark else []),
            ]
        ),
        provenance=provenance + ("; NOT the official file, accepted unverified" if unverified else ""),
        recorded_digest=decoded.digest,
    )


def refuse_empty_folders(folder: Path) -> None:
    """Raise DatasetError for a folder in it that holds nothing: a class without images is more often a mistake than a wish."""
    empty = sorted(each for each in folder.rglob("*") if each.is_dir() and not any(each.iterdir()))
    if empty:
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise DatasetError(f"{folder}: {empty[0].relative_to(folder)} is an empty folder{more}; fill or delete it")


def side_of(where: Path, found: Survey, side: int) -> tuple[int, int]:
    """Height and width of the arrays.

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


def arrange(where: Path, names: Sequence[str], seed: int) -> Layout:
    """Splits and classes from where the images are.

    Raises:
        DatasetError: if a split would have too few.
    """
    paths = without_common_folder({name: PurePosixPath(name).parts for name in names})
    rng = np.random.default_rng(seed)
    tops = {parts[0] for parts in paths.values() if len(parts) > 1}
    if {"train", "test"} <= tops <= SPLITS.keys() and all(len(parts) > 1 for parts in paths.values()):
        given: dict[str, list[str]] = {}
        for name in names:
            given.setdefault(SPLITS[paths[name][0]], []).append(name)
        paths = {name: parts[1:] for name, parts in paths.items()}
        splits: dict[str, list[str]] = {"train": shuffled(given["train"], rng)}
        if "validation" in given:
            splits |= {split: shuffled(given[split], rng) for split in ("validation", "test")}
        else:
            splits |= held_out_fifth(given["test"], rng)
    else:
        splits = tenths(names, rng)
    for split, members in splits.items():
        if len(members) < LEAST:
            raise DatasetError(
                f"{where}: {len(members)} images for {split} of {len(names):,} in all; {LEAST} are needed"
            )
    labelled = all(len(parts) > 1 for parts in paths.values())
    numbers = {label: i for i, label in enumerate(sorted({parts[0] for parts in paths.values()}))} if labelled else {}
    classes = {name: numbers[parts[0]] for name, parts in paths.items()} if len(numbers) > 1 else {}
    return Layout(splits, classes)


def without_common_folder(paths: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Paths without the folders that all of them are in."""
    while all(len(parts) > 1 for parts in paths.values()) and len({parts[0] for parts in paths.values()}) == 1:
        paths = {name: parts[1:] for name, parts in paths.items()}
    return paths
