"""What the name of a dataset says: `redwine`, `redwine@3` (split seed 3), `csv:PATH`, `npy:PATH@1`, `parquet:PATH`; loads nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench import registry

__all__ = ["FILE_KINDS", "Source", "parse"]

FILE_KINDS = ("csv", "npy", "parquet")


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Arguments:
        kind: 'registered', or the kind of a user's own file.
        where: the registered name, or the file's absolute path.
        split: seed of the shuffle that makes the splits.
    """

    kind: str
    where: str
    split: int = 0

    @property
    def label(self) -> str:
        """The dataset's name in tables and folders: short, and safe in paths."""
        stem = self.where if self.kind == "registered" else f"{self.kind}-{Path(self.where).stem}"
        return re.sub(r"[^A-Za-z0-9_.-]", "_", stem) + (f"@{self.split}" if self.split else "")

    def __str__(self) -> str:
        """What `parse` takes, in any working directory."""
        stem = self.where if self.kind == "registered" else f"{self.kind}:{self.where}"
        return stem + (f"@{self.split}" if self.split else "")


def parse(text: str) -> Source:
    """Read the name of a dataset.

    Raises:
        UnknownNameError: if there is no dataset of that name, or it has one fixed split and another is asked for.
    """
    stem, at, number = text.rpartition("@")
    split = 0
    if at and number.isdecimal():
        split = int(number)
    else:
        stem = text
    kind, colon, path = stem.partition(":")
    if colon:
        if kind not in FILE_KINDS:
            raise registry.UnknownNameError(
                f"no kind of file '{kind}' in '{text}'; {registry.closest(kind, FILE_KINDS)}"
            )
        if not path:
            raise registry.UnknownNameError(f"'{text}' names no file; write {kind}:PATH")
        return Source(kind, str(Path(path).expanduser().resolve()), split)
    if "@" in stem:
        raise registry.UnknownNameError(f"'{text}': a split is a whole number, such as {stem.partition('@')[0]}@1")
    if split and not registry.get("datasets", stem).seeded:
        raise registry.UnknownNameError(f"dataset '{stem}' has one fixed split; write {stem}")
    return Source("registered", registry.get("datasets", stem).name, split)
