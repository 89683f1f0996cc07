"""Datasets: named splits of arrays, with a digest of their content, their protocol and their provenance.

This module is the contract. A dataset is a function of `Inputs` that returns a `Dataset`, registered beside its code with
`gebm.components.component`; if it is read from official files, `bench.data.files.needs` says which. Nothing else names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bench.components import registry
from bench.data import sources

if TYPE_CHECKING:
    from bench.data.decoded import DecodedCache

__all__ = [
    "Concern",
    "Dataset",
    "DatasetError",
    "Duplicates",
    "Inputs",
    "NotAtHandError",
    "TableFacts",
    "TransferError",
    "content_digest",
    "known_digest",
    "load_dataset",
]

Array = np.ndarray


class DatasetError(ValueError):
    """A dataset that is not at hand, or is not what it should be."""


class NotAtHandError(DatasetError):
    """A dataset whose files are missing."""


class TransferError(DatasetError):
    """Files that cannot be downloaded or written, though the dataset may be sound."""


class Duplicates(NamedTuple):
    """Rows of a table that are equal in every raw value, before any noise was added."""

    total: int
    """Rows equal to an earlier one, over all splits."""
    in_train: dict[str, int]
    """'validation', 'test' → its rows that equal a training row."""


class Concern(NamedTuple):
    """Something about a table that makes a density meaningless, see `bench.data.hygiene`."""

    kind: str
    where: str
    """The column, or the split, that it is about."""
    text: str


@dataclass(frozen=True)
class TableFacts:
    """Facts reported beside the likelihoods of a tabular dataset.

    Arguments:
        features: a name for each column of the splits.
        log_det: log|det W| of the map from raw values to splits, in nats: log-likelihood in raw units = log-likelihood of the splits
            + log_det.
        duplicates: equal rows.
        unverified: its files are not the official ones, and were accepted as they are.
        truth: name of the law that the rows were drawn from, for `bench.data.known_density.known_density`; '' where it is unknown.
        concerns: what would make a density meaningless; looked for in users' own tables.
    """

    features: tuple[str, ...]
    log_det: float
    duplicates: Duplicates
    unverified: bool = False
    truth: str = ""
    concerns: tuple[Concern, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Data in fixed splits.

    Arguments:
        name: as in tables and folders; `Inputs.label` for a registered dataset.
        kind: image, tabular or toy.
        splits: 'train', 'validation', 'test' → (n, *shape).
        protocol: how splits and values were made, in one line.
        provenance: where the data come from, in one line.
        labels: split → (n,) class numbers, where there are classes.
        levels: for images, the number of grey levels of an integer pixel; 0 where values are real.
        table: facts about tabular data.
        recorded_digest: digest taken when the splits were written to a cache; '' where it is yet to be computed.
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
        """Hex sha256 of the name, type, shape and bytes of every split, labels included; the recorded one, where there is one."""
        return self.recorded_digest or self.computed_digest()

    def computed_digest(self) -> str:
        """Compute the digest of the content as it is now."""
        return content_digest(self.levels, self.splits, self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.splits["train"].shape[1:])


@dataclass(frozen=True)
class Inputs:
    """What the loader of a dataset is given.

    Arguments:
        name: the name it is registered under.
        label: the name with its split seed, where that is not 0; for `Dataset.name`.
        split: seed of the split or draw; 0 for a dataset of one fixed split.
        paths: its files, checked, in the order in which `needs` lists them.
        source: the addresses of those files, for `Dataset.provenance`.
        decoded: cache of decoded images.
    """

    name: str
    label: str
    split: int
    paths: tuple[Path, ...]
    source: str
    decoded: DecodedCache


def content_digest(levels: int, splits: Mapping[str, Array], labels: Mapping[str, Array]) -> str:
    """Return the hex sha256 of a dataset's content: name, type, shape and bytes of every split, labels included."""
    content = hashlib.sha256(f"levels={levels}".encode())
    for group in (splits, labels):
        for name, values in sorted(group.items()):
            content.update(f"{name}:{values.dtype.str}:{values.shape}".encode())
            content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()


def known_digest(name: str) -> str:
    """Return the content digest that a dataset is registered with, '' where none is on record."""
    entry = registry.entries("datasets").get(name)
    return str(entry.facts.get("digest", "")) if entry else ""


def load_dataset(
    name: str, root: Path | None, cache: Path | None = None, tell: Callable[[str, int, int], None] | None = None
) -> Dataset:
    """Load a dataset by a name that `bench.data.sources` reads: registered, with or without a split seed, or a file or folder.

    Arguments:
        name: which.
        root: folder of downloaded files.
        cache: folder of decoded images; without one they are decoded in memory.
        tell: told how decoding goes; see `bench.data.decoded.Tell`.

    Raises:
        UnknownNameError: if there is no dataset of this name.
        DatasetError: if its files are missing or not what they should be, or its loader returns no `Dataset`.
    """
    from bench.data.decoded import DecodedCache

    source = sources.parse(name)
    decoded = DecodedCache(cache, tell) if tell else DecodedCache(cache)
    if source.kind in sources.IMAGE_KINDS:
        from bench.data.own_images import load_images

        return load_images(source, decoded)
    if source.kind != "registered":
        from bench.data.own_files import load_file

        return load_file(source)
    return _load_registered(source, root, decoded)


def _load_registered(named: sources.Source, root: Path | None, decoded: DecodedCache) -> Dataset:
    """Call a loader with its files; what goes wrong in another package's, or with files of a user's own, is a `DatasetError`."""
    from bench.data.files import File, find

    entry = registry.get("datasets", named.where)
    loader: Callable[[Inputs], Dataset] = entry.load()
    files: tuple[File, ...] = getattr(loader, "files", ())
    official = find(entry.name, files, root, decoded.digest_of)
    unverified = not all(official.values())
    source = ", ".join(dict.fromkeys(file.source for file in files))
    where = f"dataset '{entry.name}'" + (f" of package {entry.origin}" if entry.origin else "")
    try:
        dataset = loader(Inputs(entry.name, named.label, named.split, tuple(official), source, decoded))
    except Exception as error:
        if isinstance(error, DatasetError) or not (entry.origin or unverified):
            raise
        whose = " from files that are not the official ones" if unverified else ""
        raise DatasetError(f"{where} failed to load{whose}: {type(error).__name__}: {error}".splitlines()[0]) from error
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"{where}: its loader returned {type(dataset).__name__}, not a bench.data.Dataset")
    if not unverified:
        return dataset
    provenance = f"{dataset.provenance}; NOT the official file, accepted unverified"
    return replace(dataset, provenance=provenance, table=dataset.table and replace(dataset.table, unverified=True))
