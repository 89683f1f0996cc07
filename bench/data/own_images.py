"""A user's own images as a dataset: `folder:PATH`, `tar:PATH`, and `folder:PATH#32` to bring them to 32×32.

Folders of classes give labels: PATH/CLASS/…, or PATH/train/CLASS/… and PATH/test/CLASS/…, then those are the splits (and PATH/validation or
PATH/val, or else a random fifth of the test images validates). Without them images are shuffled with the split seed, 80 % train, 10 %
validate and 10 % test. `bench.data.pictures` says how an image becomes pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data import Dataset, DatasetError
from bench.data.decoded import SPLITS, Allocate, DecodedCache
from bench.data.pictures import fill, read_images, remark_on, survey
from bench.data.sources import SIDES, Source
from bench.words import plural

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
    empty = sorted(each for each in path.rglob("*") if each.is_dir() and not any(each.iterdir()))
    if empty:  # a class without images is more often a mistake than a wish
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise DatasetError(f"{path}: {empty[0].relative_to(path)} is an empty folder{more}; fill or delete it")
    return images_in_folders(
        source.label, path, cache, source.side, source.split, f"the user's own images in {path.name}"
    )


def images_in_folders(name: str, path: Path, cache: DecodedCache, side: int, seed: int, provenance: str) -> Dataset:
    """Return the dataset of images sorted into folders below a folder or in an archive; arguments and errors as in `load_images`.

    They are brought to a height and width of `side`, or keep their own where it is 0; `seed` is that of the splits.
    """

    def build(allocate: Allocate) -> str:
        names, sizes, channels, unreadable = survey(path, cache.tell)
        final = _side_of(path, sizes, side)
        splits, classes = _arrange(path, names, seed)
        shape = (channels, final, final)
        return remark_on(unreadable | fill(allocate, path, read_images(path), splits, shape, side, cache.tell, classes))

    key = {"side": side, "seed": seed}
    size = f"resized and cut to the centred square of {side}×{side}; " if side else ""
    protocol = f"{size}splits as in its folders or 80/10/10 %, shuffled with seed {seed}"
    return cache.dataset(name, key, build, protocol, provenance, files=[path])


def _side_of(where: Path, sizes: Counter[tuple[int, int]], side: int) -> int:
    """Return the side of the arrays, once it is clear that all images have it or can be brought to it."""
    if side:
        if small := {size: count for size, count in sizes.items() if min(size) < side}:
            (width, height), few = min(small), sum(small.values())
            raise DatasetError(
                f"{where}: {few:,} image{'s are' if few > 1 else ' is'} smaller than {side}×{side}, such as {width}×{height}; "
                "ask for a smaller side, nothing is enlarged"
            )
        return side
    if len(sizes) > 1:
        (first, _), (second, _) = sizes.most_common(2)
        raise DatasetError(
            f"{where}: images have {len(sizes)} sizes, such as {first[0]}×{first[1]} and {second[0]}×{second[1]}; {_remedy(sizes)}"
        )
    ((width, height),) = sizes
    if width != height or width % 8 or not SIDES[0] <= width <= SIDES[1]:
        raise DatasetError(
            f"{where}: images are {width}×{height}; networks take squares whose side is a multiple of 8 between {SIDES[0]} and "
            f"{SIDES[1]}; {_remedy(sizes)}"
        )
    return width


def _remedy(sizes: Counter[tuple[int, int]]) -> str:
    """Return what brings images of those sizes to one that networks take, without enlarging any."""
    shortest = min(map(min, sizes))
    if shortest < SIDES[0]:
        return f"the shortest edge has {shortest} pixels, and nothing is enlarged: leave out images below {SIDES[0]}×{SIDES[0]}"
    side = min(32, shortest // 8 * 8)
    return f"PATH#{side} brings them to {side}×{side}"


def _arrange(where: Path, names: Sequence[str], seed: int) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return the names of each split in the order of its rows, and the class of each name, by the folders they are in."""
    paths = {name: PurePosixPath(name).parts for name in names}
    while _in_folders(paths) and len({parts[0] for parts in paths.values()}) == 1:  # a folder that all of them are in
        paths = {name: parts[1:] for name, parts in paths.items()}
    rng = np.random.default_rng(seed)

    def shuffled(some: Sequence[str]) -> list[str]:
        return [some[i] for i in rng.permutation(len(some))]

    if _in_folders(paths) and {"train", "test"} <= {parts[0] for parts in paths.values()} <= FOLDERS.keys():
        given: dict[str, list[str]] = {}
        for name in names:
            given.setdefault(FOLDERS[paths[name][0]], []).append(name)
        paths = {name: parts[1:] for name, parts in paths.items()}
        splits = {split: shuffled(given[split]) for split in SPLITS if split in given}
        if "validation" not in given:
            fifth = len(given["test"]) // 5
            splits |= {"validation": splits["test"][:fifth], "test": splits["test"][fifth:]}
    else:
        if len(names) < 10 * LEAST:
            raise DatasetError(
                f"{where} has {plural(len(names), 'image')}; {10 * LEAST} are needed, of which 80 % train"
            )
        mixed, tenth = shuffled(names), len(names) // 10
        splits = {"train": mixed[: -2 * tenth], "validation": mixed[-2 * tenth : -tenth], "test": mixed[-tenth:]}
    for split, members in splits.items():
        if len(members) < LEAST:
            raise DatasetError(f"{where} has {plural(len(members), 'image')} for {split}; {LEAST} are needed")
    labels = sorted({parts[0] for parts in paths.values()}) if _in_folders(paths) else []
    numbers = {label: i for i, label in enumerate(labels)}
    return splits, {name: numbers[parts[0]] for name, parts in paths.items()} if len(labels) > 1 else {}


def _in_folders(paths: Mapping[str, Sequence[str]]) -> bool:
    return all(len(parts) > 1 for parts in paths.values())
