"""Names of datasets: what they say; nothing is loaded.

`redwine`, `redwine@3` (split seed 3), `csv:PATH`, `npy:PATH@1`, `parquet:PATH`, and images of the user's own as `folder:PATH`, `tar:PATH`,
or `folder:PATH#32@1` for those brought to 32×32, split by seed 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.components import registry

__all__ = ["FILE_KINDS", "IMAGE_KINDS", "SIDES", "Source", "parse"]

FILE_KINDS = ("csv", "npy", "parquet")
IMAGE_KINDS = ("folder", "tar")
SIDES = (8, 256)
MOST_DIGITS = 10  # of a seed or a side: NumPy's older generator takes seeds below 2³²


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Arguments:
        kind: 'registered', or the kind of a user's own file or folder.
        where: the registered name, or the absolute path.
        split: seed of the shuffle that makes the splits.
        side: for images, the height and width that they are brought to; 0 for their own.
    """

    kind: str
    where: str
    split: int = 0
    side: int = 0

    @property
    def label(self) -> str:
        """The dataset's name in tables and folders: short, and safe in paths."""
        stem = self.where if self.kind == "registered" else f"{self.kind}-{Path(self.where).stem}"
        stem = stem.removesuffix(".tar") + (f"-{self.side}" if self.side else "")
        return re.sub(r"[^A-Za-z0-9_.-]", "_", stem) + (f"@{self.split}" if self.split else "")

    def __str__(self) -> str:
        """Return what `parse` takes, in any working directory."""
        stem = self.where if self.kind == "registered" else f"{self.kind}:{self.where}"
        stem += f"#{self.side}" if self.side else ""
        return stem + (f"@{self.split}" if self.split else "")


def parse(text: str) -> Source:
    """Read the name of a dataset.

    Raises:
        UnknownNameError: if there is no dataset of that name, or it has one fixed split and another is asked for.
    """
    stem, split = _number_behind("@", text)
    kind, colon, path = stem.partition(":")
    if colon:
        known = (*FILE_KINDS, *IMAGE_KINDS)
        if kind not in known:
            raise registry.UnknownNameError(f"no kind of file '{kind}' in '{text}'; {registry.closest(kind, known)}")
        path, side = _number_behind("#", path) if kind in IMAGE_KINDS else (path, None)
        if not path:
            raise registry.UnknownNameError(f"'{text}' names no file; write {kind}:PATH")
        if side is not None and (not SIDES[0] <= side <= SIDES[1] or side % 8):
            raise registry.UnknownNameError(
                f"'{text}': a side is a multiple of 8 between {SIDES[0]} and {SIDES[1]}, such as {path}#32"
            )
        try:
            where = str(Path(path).expanduser().resolve())
            where.encode()
        except (OSError, ValueError, RuntimeError) as error:
            raise registry.UnknownNameError(f"'{text[:200]}' names no file: {error}") from error
        return Source(kind, where, split or 0, side or 0)
    if "@" in stem:
        raise registry.UnknownNameError(f"'{text}': a split is a whole number, such as {stem.partition('@')[0]}@1")
    if stem not in registry.entries("datasets") and (kind := _kind_of(Path(text))):
        raise registry.UnknownNameError(f"no dataset '{text}', but there is such a {kind}; write {kind}:{text}")
    if not registry.get("datasets", stem).seeded and split:
        raise registry.UnknownNameError(f"dataset '{stem}' has one fixed split; write {stem}")
    return Source("registered", stem, split or 0)


def _kind_of(path: Path) -> str:
    """What a file or folder could be a dataset as, by its name; '' if there is none or it could be nothing."""
    try:
        if path.is_dir():
            return "folder"
        suffix = path.suffix.removeprefix(".") if path.is_file() else ""
    except (OSError, ValueError):
        return ""
    return suffix if suffix in (*FILE_KINDS, "tar") else ""


def _number_behind(mark: str, text: str) -> tuple[str, int | None]:
    """Split a text from the whole number behind its last mark, None where there is none."""
    stem, _, number = text.rpartition(mark)
    found = number.isdecimal() and len(number) < min(len(text), MOST_DIGITS)
    return (stem, int(number)) if found else (text, None)
