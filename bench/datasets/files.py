"""Official files of datasets: which there are, and whether what lies in the data folder is what it should be.

A file is official if its checksum is the catalogue's. One that came out of an official archive has a receipt beside it, with its own
sha256; so has one that a user chose to accept although it is another, and then its datasets say so. Anything else is refused. How files get
into the folder is for `bench.downloads`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.atomic import write_json
from bench.datasets import DatasetError, NotAtHandError

__all__ = [
    "AT_HAND",
    "CATALOGUE",
    "Found",
    "Official",
    "check",
    "checksum_matches",
    "find",
    "forget_receipt",
    "needed_by",
    "states",
    "write_receipt",
]


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


UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
CIFAR = "https://www.cs.toronto.edu/~kriz"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
MAF = "maf/data.tar.gz"


def both(name: str) -> tuple[str, str]:
    """A dataset of the DKEF protocol and its original whitening."""
    return name, f"{name}-original"


FILES = (
    Official(
        "winequality-red.csv",
        f"{UCI}/wine-quality/winequality-red.csv",
        "sha256:4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
        both("redwine"),
    ),
    Official(
        "winequality-white.csv",
        f"{UCI}/wine-quality/winequality-white.csv",
        "md5:5d9ff0f7f716dace19e3ab4578775fd7",
        both("whitewine"),
    ),
    Official(
        "parkinsons_updrs.data",
        f"{UCI}/parkinsons/telemonitoring/parkinsons_updrs.data",
        "sha256:f2c7d5025dec4e92e7feae367a5f7ccf58789a10ac6b54bdf15976c599f9dd39",
        both("parkinsons"),
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
    Official(MAF, "https://zenodo.org/record/1161203/files/data.tar.gz", "md5:9b9c9b0375315ad270eba4ce80c093ab", ()),
    Official("maf/power/data.npy", "", "", ("power",), archive=MAF),
    Official("maf/gas/ethylene_CO.pickle", "", "", ("gas",), archive=MAF),
    Official("maf/hepmass/1000_train.csv", "", "", ("hepmass", *both("hepmass-dkef")), archive=MAF),
    Official("maf/hepmass/1000_test.csv", "", "", ("hepmass", *both("hepmass-dkef")), archive=MAF),
    Official("maf/miniboone/data.npy", "", "", ("miniboone", *both("miniboone-dkef")), archive=MAF),
    Official("maf/BSDS300/BSDS300.hdf5", "", "", ("bsds300",), archive=MAF),
    Official(
        "cifar-10-binary.tar.gz",
        f"{CIFAR}/cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
        ("cifar10",),
    ),
    Official(
        "cifar-10-python.tar.gz",
        f"{CIFAR}/cifar-10-python.tar.gz",
        "md5:c58f30108f718f92721af3b95e74349a",
        ("cifar10-python",),
    ),
    Official(
        "fashion-mnist/train-images-idx3-ubyte.gz",
        f"{FASHION}/train-images-idx3-ubyte.gz",
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        ("fashion-mnist",),
    ),
    Official(
        "fashion-mnist/train-labels-idx1-ubyte.gz",
        f"{FASHION}/train-labels-idx1-ubyte.gz",
        "md5:25c81989df183df01b3e8a0aad5dffbe",
        ("fashion-mnist",),
    ),
    Official(
        "fashion-mnist/t10k-images-idx3-ubyte.gz",
        f"{FASHION}/t10k-images-idx3-ubyte.gz",
        "md5:bef4ecab320f06d8554ea6380940ec79",
        ("fashion-mnist",),
    ),
    Official(
        "fashion-mnist/t10k-labels-idx1-ubyte.gz",
        f"{FASHION}/t10k-labels-idx1-ubyte.gz",
        "md5:bb300cfdad3c16e7a12a480ee83cd310",
        ("fashion-mnist",),
    ),
)
CATALOGUE: Mapping[str, Official] = {official.name: official for official in FILES}


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
        provenance=", ".join(dict.fromkeys(address(official) for official in needed)),
        unverified=not all(verified),
    )


COMES_ALONG, VERIFIED, ACCEPTED, REFUSED, ABSENT = "embedded", "verified", "UNVERIFIED", "refused", "absent"
AT_HAND = (COMES_ALONG, VERIFIED, ACCEPTED)


def states(datasets: Sequence[str], root: Path) -> dict[str, str]:
    """Whether each dataset is at hand: needs no files, has official or accepted ones, or others, or lacks some; each file is read once."""
    files: dict[str, str] = {}
    for official in {each.name: each for dataset in datasets for each in needed_by(dataset)}.values():
        path = root / official.name
        try:
            files[official.name] = ABSENT if not path.is_file() else VERIFIED if check(path, official) else ACCEPTED
        except DatasetError:
            files[official.name] = REFUSED
    worst_first = (ABSENT, REFUSED, ACCEPTED, VERIFIED, COMES_ALONG)
    return {
        dataset: min([COMES_ALONG, *(files[each.name] for each in needed_by(dataset))], key=worst_first.index)
        for dataset in datasets
    }


def address(official: Official) -> str:
    """Where a file is officially from, as well as that is known."""
    return official.url or (CATALOGUE[official.archive].url if official.archive else official.name)


def check(path: Path, official: Official) -> bool:
    """True if the file is the official one, False if it is another that was accepted.

    Raises:
        DatasetError: if it is neither.
    """
    if checksum_matches(path, official):
        return True
    receipt = read_receipt(path)
    if receipt and receipt.get("sha256") == file_digest(path, "sha256"):
        return bool(receipt.get("verified")) and not official.checksum
    why = f"its {official.checksum.partition(':')[0]} is another" if official.checksum else "it has no valid receipt"
    dataset = official.used_by[0]
    raise DatasetError(
        f"{path} is not the official file ({why}): bench data fetch {dataset} brings that one, "
        f"bench data fetch {dataset} --from PATH --accept-unverified uses another and marks its results"
    )


def checksum_matches(path: Path, official: Official) -> bool:
    """Whether the file has the catalogue's checksum; never where the catalogue has none."""
    algorithm, _, expected = official.checksum.partition(":")
    return bool(expected) and file_digest(path, algorithm) == expected


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


def forget_receipt(path: Path) -> None:
    """Take away what was said of a file that is being replaced."""
    receipt_of(path).unlink(missing_ok=True)
