"""Datasets: named splits of tensors, with a digest of their content, their protocol and where they come from.

This package holds the contract; the datasets live in a module a kind. Adding one is a function that returns a `Dataset`, and an entry in
the registry (or an entry point of your own package).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from bench.core import registry
from bench.data import sources

__all__ = [
    "KNOWN_DIGESTS",
    "Dataset",
    "DatasetError",
    "Duplicates",
    "NotAtHandError",
    "TableFacts",
    "content_digest",
    "load_dataset",
]

Array = np.ndarray

KNOWN_DIGESTS: dict[str, str] = {
    "digits": "2bde270c24bf88765863d91fc91bc0d8a6f66b2e7122770e4680f51429b39146",
    "cifar10-jpeg75": "8a896d011b5fdc2767b77831c9a17a83b1f15976838d0a5f3022ece15aa5237f",
    "fashion-mnist": "3247902bd16dac3d17c6966c7ccab4fa41e160755625dc6e7c26f3bc5bcc6d1e",
}
"""Content digests that results were published with, by dataset."""


class DatasetError(ValueError):
    """A dataset that is not at hand, or is not what it should be."""


class NotAtHandError(DatasetError):
    """A dataset whose files are not there."""


@dataclass(frozen=True)
class Duplicates:
    """Rows of a table that are equal in every raw value, before any noise was added.

    Arguments:
        total: rows equal to an earlier one, over all splits.
        within: split → its rows equal to an earlier one of the same split.
        in_train: 'validation', 'test' → its rows that training rows equal.
    """

    total: int
    within: dict[str, int]
    in_train: dict[str, int]


@dataclass(frozen=True)
class TableFacts:
    """What must stand beside the likelihoods of a tabular dataset.

    Arguments:
        features: a name for each column of the splits.
        log_det: log|det W| of the map raw → splits, in nats: log-likelihood in raw units = log-likelihood of the splits + log_det.
        duplicates: equal rows, within and across splits.
        unverified: its files are not the official ones, and were accepted as they are.
        truth: name of the law that the rows were drawn from, for `bench.data.known_density.known_density`; '' where it is unknown.
    """

    features: tuple[str, ...]
    log_det: float
    duplicates: Duplicates
    unverified: bool = False
    truth: str = ""


@dataclass(frozen=True)
class Dataset:
    """Real data, split once and for all.

    Arguments:
        name: as registered.
        kind: image, tabular or toy.
        splits: 'train', 'validation', 'test' → (n, *shape).
        labels: split → (n,) class numbers, where there are classes.
        levels: for images, the number of grey levels of an integer pixel; 0 where values are real.
        protocol: how the splits and values were made, in a line.
        provenance: where the data come from.
        table: for tabular data, what must stand beside their likelihoods.
        recorded_digest: the digest that was taken when the splits were written to a cache; '' where it is to be computed.
    """

    name: str
    kind: Literal["image", "tabular", "toy"]
    splits: dict[str, Array]
    protocol: str
    provenance: str
    labels: dict[str, Array] = field(default_factory=dict)
    levels: int = 0
    table: TableFacts | None = None
    recorded_digest: str = ""

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of every split's name, type, shape and bytes, labels included; as recorded, where it was."""
        return self.recorded_digest or self.computed_digest()

    def computed_digest(self) -> str:
        """The digest of the content as it is now."""
        return content_digest(self.levels, self.splits, self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.splits["train"].shape[1:])


def content_digest(levels: int, splits: Mapping[str, Array], labels: Mapping[str, Array]) -> str:
    """Hex sha256 of a dataset's content: every split's name, type, shape and bytes, labels included."""
    content = hashlib.sha256(f"levels={levels}".encode())
    for group in (splits, labels):
        for name, values in sorted(group.items()):
            content.update(f"{name}:{values.dtype.str}:{values.shape}".encode())
            content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()


def load_dataset(
    name: str, root: Path | None, cache: Path | None = None, tell: Callable[[str, int, int], None] | None = None
) -> Dataset:
    """Load a dataset by what `bench.data.sources` reads: a name, a name with a split seed, or a file or folder of the user's own.

    Arguments:
        name: which.
        root: folder where local copies of downloads are looked for.
        cache: folder where decoded images are kept; without one they are decoded in memory.
        tell: told how decoding goes; see `bench.data.decoded.Tell`.

    Raises:
        UnknownNameError: if there is none of this name.
        DatasetError: if its files are missing or not what they should be.
    """
    from bench.data.decoded import DecodedCache, silent

    source = sources.parse(name)
    decoded = DecodedCache(cache, tell or silent)
    if source.kind in sources.IMAGE_KINDS:
        from bench.data.own_images import load_images

        return load_images(source, decoded)
    if source.kind != "registered":
        from bench.data.own_files import load_file

        return load_file(source)
    entry = registry.get("datasets", source.where)
    load: Callable[..., Dataset] = entry.load()
    if entry.decoded:
        return load(root, decoded)
    return load(root, source.split) if entry.seeded else load(root)
