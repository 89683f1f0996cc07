"""Datasets: named splits of tensors, with a digest of their content, their protocol and where they come from.

This package holds the contract; the datasets live in a module a kind. Adding one is a function that returns a `Dataset`, and an entry in
the registry (or an entry point of your own package).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from bench import registry

__all__ = ["KNOWN_DIGESTS", "Dataset", "DatasetError", "load_dataset"]

Array = np.ndarray

KNOWN_DIGESTS: dict[str, str] = {"digits": "2bde270c24bf88765863d91fc91bc0d8a6f66b2e7122770e4680f51429b39146"}
"""Content digests that results were published with, by dataset."""


class DatasetError(ValueError):
    """A dataset that is not at hand, or is not what it should be."""


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
    """

    name: str
    kind: Literal["image", "tabular", "toy"]
    splits: dict[str, Array]
    protocol: str
    provenance: str
    labels: dict[str, Array] = field(default_factory=dict)
    levels: int = 0

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of every split's name, type, shape and bytes, labels included."""
        content = hashlib.sha256(f"levels={self.levels}".encode())
        for group in (self.splits, self.labels):
            for name, values in sorted(group.items()):
                content.update(f"{name}:{values.dtype.str}:{values.shape}".encode())
                content.update(np.ascontiguousarray(values).tobytes())
        return content.hexdigest()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.splits["train"].shape[1:])


def load_dataset(name: str, root: Path | None) -> Dataset:
    """Load a dataset by name; `root` is the folder where local copies of downloads are looked for.

    Raises:
        UnknownNameError: if there is none of this name.
        DatasetError: if its files are missing or not what they should be.
    """
    load: Callable[[Path | None], Dataset] = registry.get("datasets", name).load()
    return load(root)
