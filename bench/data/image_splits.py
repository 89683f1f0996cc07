"""Which image goes into which split, and the decoding of all of them into a dataset's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.data import Array
from bench.data.decoded import Allocate, Tell
from bench.data.pictures import Pictures, Unreadable, decode

__all__ = ["Layout", "fill", "held_out_fifth", "shuffled", "tenths"]

CHUNK = 4096  # rows copied at once


@dataclass(frozen=True)
class Layout:
    """What goes where.

    Arguments:
        splits: split → names of images, in the order of its rows.
        classes: name → class number; empty where there are no classes.
    """

    splits: Mapping[str, Sequence[str]]
    classes: Mapping[str, int]


def shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The names in random order."""
    return [names[i] for i in rng.permutation(len(names))]


def tenths(names: Sequence[str], rng: np.random.Generator) -> dict[str, list[str]]:
    """Shuffled, 80 % train, a tenth validates and a tenth tests."""
    mixed, tenth = shuffled(names, rng), len(names) // 10
    return {"train": mixed[: -2 * tenth], "validation": mixed[-2 * tenth : -tenth], "test": mixed[-tenth:]}


def held_out_fifth(names: Sequence[str], rng: np.random.Generator) -> dict[str, list[str]]:
    """A test split, shuffled: its first fifth validates, the rest tests."""
    mixed, fifth = shuffled(names, rng), len(names) // 5
    return {"validation": mixed[:fifth], "test": mixed[fifth:]}


def fill(
    allocate: Allocate, pictures: Pictures, layout: Layout, shape: tuple[int, int, int], side: int, tell: Tell
) -> Unreadable:
    """Decode images into 'SPLIT.images' and write their classes to 'SPLIT.labels'; rows of unreadable images are left out.

    Raises:
        DatasetError: if more than 1 % cannot be decoded.
    """
    images = {split: allocate(f"{split}.images", (len(names), *shape), "u1") for split, names in layout.splits.items()}
    rows = {name: (images[split], row) for split, names in layout.splits.items() for row, name in enumerate(names)}
    unreadable = decode(pictures, rows, shape[0], side, tell)
    for split, names in layout.splits.items():
        kept = [row for row, name in enumerate(names) if name not in unreadable.reasons]
        if len(kept) < len(names):
            copy_rows(images[split], kept, allocate(f"{split}.images", (len(kept), *shape), "u1"))
        if layout.classes:
            labels = allocate(f"{split}.labels", (len(kept),), "i8")
            labels[:] = [layout.classes[names[row]] for row in kept]
    return unreadable


def copy_rows(source: Array, rows: Sequence[int], target: Array) -> None:
    """`target[:] = source[rows]`, a few rows at a time."""
    for start in range(0, len(rows), CHUNK):
        target[start : start + CHUNK] = source[rows[start : start + CHUNK]]
