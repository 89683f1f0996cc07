"""Official files of datasets: which there are, and whether what lies in the data folder is what it should be.

A file is official if its checksum is the catalogue's. One that came out of an official archive has a receipt beside it, with its own
sha256; so has one that a user chose to accept although it is another, and then its datasets say so. Anything else is refused. How files get
into the folder is for `bench.downloads`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.atomic import write_json
from bench.datasets import DatasetError, NotAtHandError

__all__ = ["CATALOGUE", "Found", "Official", "check", "find", "needed_by", "write_receipt"]


@dataclass(frozen=True)
class Official:
    """A file that datasets are read from.

    Arguments:
        name: its path below the data folder.
        url: its official address; '' where it has none.
        checksum: 'md5:…' or 'sha256:…'; '' for what comes out of an archive.
        used_by: the datasets read from it.
        archive: name of the official file that holds it.
    """

    name: str
    url: str
    checksum: str
    used_by: tuple[str, ...]
    archive: str = ""


UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/"

CATALOGUE: Mapping[str, Official] = {
    official.name: official
    for official in (
        Official(
            "winequality-red.csv",
            UCI + "wine-quality/winequality-red.csv",
            "sha256:4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
            ("redwine", "redwine-original"),
        ),
        Official(
            "miniboone/val.npy",
            "",
            "sha256:104f35c387c982cd550e5d6142e8b4075d746001508e65c1a90efcb83301839d",
            ("miniboone-small",),
        ),
        Official(
            "miniboone/test.npy",
            "",
            "sha256:01b3fc605f334e951fed477a09a7fcd69cdc440d9204111ca253ecdf0e7590de",
            ("miniboone-small",),
        ),
    )
}


@dataclass(frozen=True)
class Found:
    """The files of a dataset, in the catalogue's order.

    Arguments:
        paths: where they are.
        provenance: what they are, in a line.
        unverified: whether one of them is not the official one, but was accepted.
    """

    paths: tuple[Path, ...]
    provenance: str
    unverified: bool


def needed_by(dataset: str) -> tuple[Official, ...]:
    """The files that a dataset is read from; none for an embedded one."""
    return tuple(official for official in CATALOGUE.values() if dataset in official.used_by)


def find(dataset: str, root: Path | None) -> Found:
    """The files of a dataset in the folder `root`, checked.

    Raises:
        DatasetError: if one is missing, or is neither the official one nor accepted.
    """
    needed = needed_by(dataset)
    missing = [official.name for official in needed if root is None or not (root / official.name).is_file()]
    if root is None or missing:
        raise NotAtHandError(
            f"{dataset} needs {' and '.join(missing)}: bench data fetch {dataset}, or BENCH_DATA=folder that has it"
        )
    verified = [check(root / official.name, official) for official in needed]
    return Found(
        paths=tuple(root / official.name for official in needed),
        provenance=", ".join(official.url or official.archive or official.name for official in needed),
        unverified=not all(verified),
    )


def check(path: Path, official: Official) -> bool:
    """True if the file is the official one, False if it is another that was accepted.

    Raises:
        DatasetError: if it is neither.
    """
    algorithm, _, expected = official.checksum.partition(":")
    found = file_digest(path, algorithm or "sha256")
    if expected and found == expected:
        return True
    receipt = read_receipt(path)
    if receipt and receipt.get("sha256") == file_digest(path, "sha256"):
        return bool(receipt.get("verified")) and not expected
    why = (
        f"{algorithm} {found[:12]}…, expected {expected[:12]}…"
        if expected
        else f"nothing vouches for it as part of {official.archive}"
    )
    dataset = official.used_by[0] if official.used_by else official.name
    raise DatasetError(
        f"{path} is not the official file ({why}): bench data fetch {dataset} brings that one, "
        f"bench data fetch {dataset} --from PATH --accept-unverified uses another and marks its results"
    )


def file_digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def receipt_of(path: Path) -> Path:
    """Where the receipt of a file is."""
    return path.with_name(path.name + ".receipt.json")


def read_receipt(path: Path) -> dict[str, Any] | None:
    """The receipt of a file, or None where there is none that can be read."""
    try:
        receipt = json.loads(receipt_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def write_receipt(path: Path, origin: str, verified: bool) -> None:
    """Say beside a file where it came from and whether that was official; valid for its present content only."""
    write_json(receipt_of(path), {"sha256": file_digest(path, "sha256"), "origin": origin, "verified": verified})
