"""Official files of datasets, and the weights of Inception: which there are, and whether what lies in the data folder is what it should be.

A file is official if its checksum is the catalogue's, or that of another published copy of the same content. One that came out of an
official archive has a receipt beside it, with its own sha256; so has one that a user chose to accept although it is another, and then its
datasets say so. Anything else is refused. How files get into the folder is for `bench.data.downloads`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.files import write_json
from bench.data import DatasetError, NotAtHandError
from bench.metrics import INCEPTION, INCEPTION_FILES, INCEPTION_SHA256

__all__ = [
    "AT_HAND",
    "CATALOGUE",
    "Digest",
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


Digest = Callable[[Path, str], str]
"""Hex digest of a file's content by an algorithm of `hashlib`."""


@dataclass(frozen=True)
class Official:
    """A file that datasets are read from.

    Arguments:
        name: its path below the data folder.
        url: its official address; '' where it has none.
        checksum: 'md5:…' or 'sha256:…'; '' for what comes out of an archive.
        used_by: the datasets read from it.
        archive: name of the official file that holds it.
        also: checksums of other published copies of the same content.
        elsewhere: where a package of the operating system puts it; looked at where the data folder has none.
    """

    name: str
    url: str
    checksum: str
    used_by: tuple[str, ...]
    archive: str = ""
    also: tuple[str, ...] = ()
    elsewhere: str = ""


UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
CIFAR = "https://www.cs.toronto.edu/~kriz"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FASHION_DEBIAN = "/usr/share/datasets/fashion-mnist"  # dataset-fashion-mnist, which compresses them anew
IMAGENET = "https://image-net.org/data/downsample"
LSUN = "lsun/bedroom_train_lmdb.zip"
MAF = "maf/data.tar.gz"
TORCH_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"


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
    Official(INCEPTION_FILES[0], f"{TORCH_FIDELITY}/{INCEPTION_FILES[0]}", f"sha256:{INCEPTION_SHA256}", (INCEPTION,)),
    Official(
        "cifar-10-binary.tar.gz",
        f"{CIFAR}/cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
        ("cifar10", "cifar10-test"),
    ),
    Official(
        "cifar-10-python.tar.gz",
        f"{CIFAR}/cifar-10-python.tar.gz",
        "md5:c58f30108f718f92721af3b95e74349a",
        ("cifar10-python",),
    ),
    Official(
        "cifar10_jpeg75.tar.xz",
        "",
        "sha256:e82212b8f8580e3e79f41a32c7db0e6a5b8fb10188d1723b706e150379c98be9",
        ("cifar10-jpeg75",),
    ),
    *(
        Official(
            f"fashion-mnist/{name}.gz",
            f"{FASHION}/{name}.gz",
            f"md5:{published}",
            ("fashion-mnist",),
            also=(f"md5:{debian}",),
            elsewhere=f"{FASHION_DEBIAN}/{name}.gz",
        )
        for name, published, debian in (
            ("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "cf8536b0aa1a6ac5fa3f23001093305c"),
            ("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe", "10bea18fdb374794d4bb42e356e600c9"),
            ("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", "f78720b4224f21cce2f2ccf2d7a94c9a"),
            ("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310", "0d30e22e447f3c33dab9ed536400ac01"),
        )
    ),
    *(
        Official(f"imagenet32/{name}", f"{IMAGENET}/{name}", checksum, ("imagenet32",))
        for name, checksum in (
            ("Imagenet32_train_npz.zip", "md5:3e3d1b7ddb901d59d1fbcba69b3676fa"),
            ("Imagenet32_val_npz.zip", "md5:0300f7a8c5de0c82fb6fc6092b4858ed"),
        )
    ),
    *(
        Official(f"celeba/{name}", "", checksum, ("celeba-32", "celeba-64"))
        for name, checksum in (
            ("img_align_celeba.zip", "md5:00d2c5bc6d35e252742224ab0c1e8fcb"),
            ("list_eval_partition.txt", "md5:d32c9cbf5e040fd4025c592c306e6668"),
        )
    ),
    Official(LSUN, "http://dl.yf.io/lsun/scenes/bedroom_train_lmdb.zip", "md5:f2c5d904a82a6295dbdccb322b4b0a99", ()),
    Official("lsun/bedroom_train_lmdb/data.mdb", "", "", ("lsun-bedroom",), archive=LSUN),
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


def find(dataset: str, root: Path | None, digest: Digest | None = None) -> Found:
    """The files of a dataset in the folder `root`, checked.

    Arguments:
        dataset: which.
        root: the data folder.
        digest: hex digest of a file by an algorithm; `file_digest`, or a memory of it for files that take long to read.

    Raises:
        DatasetError: if one is missing, or is neither the official one nor accepted.
    """
    places = {official: place_of(official, root) for official in needed_by(dataset)}
    if missing := [official.name for official, path in places.items() if path is None]:
        raise NotAtHandError(
            f"{dataset} needs {' and '.join(missing)}: bench data fetch {dataset}, or BENCH_DATA=folder that has it"
        )
    paths = {official: path for official, path in places.items() if path is not None}
    verified = [check(path, official, digest or file_digest) for official, path in paths.items()]
    return Found(
        paths=tuple(paths.values()),
        provenance=", ".join(dict.fromkeys(address(official) for official in paths)),
        unverified=not all(verified),
    )


def place_of(official: Official, root: Path | None) -> Path | None:
    """Where a file is: in the data folder, or where a package of the operating system put it."""
    candidates = [
        *([root / official.name] if root else []),
        *([Path(official.elsewhere)] if official.elsewhere else []),
    ]
    return next((path for path in candidates if path.is_file()), None)


COMES_ALONG, VERIFIED, ACCEPTED, REFUSED, ABSENT = "embedded", "verified", "UNVERIFIED", "refused", "absent"
AT_HAND = (COMES_ALONG, VERIFIED, ACCEPTED)


def states(datasets: Sequence[str], root: Path) -> dict[str, str]:
    """Whether each dataset is at hand: needs no files, has official or accepted ones, or others, or lacks some; each file is read once."""
    files: dict[str, str] = {}
    for official in {each.name: each for dataset in datasets for each in needed_by(dataset)}.values():
        path = place_of(official, root)
        try:
            files[official.name] = ABSENT if path is None else VERIFIED if check(path, official) else ACCEPTED
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


def check(path: Path, official: Official, digest: Digest | None = None) -> bool:
    """True if the file is the official one, False if it is another that was accepted; `digest` as for `find`.

    Raises:
        DatasetError: if it is neither.
    """
    digest = digest or file_digest
    if checksum_matches(path, official, digest):
        return True
    receipt = read_receipt(path)
    if receipt and receipt.get("sha256") == digest(path, "sha256"):
        return bool(receipt.get("verified")) and not official.checksum
    why = f"its {official.checksum.partition(':')[0]} is another" if official.checksum else "it has no valid receipt"
    dataset = official.used_by[0]
    raise DatasetError(
        f"{path} is not the official file ({why}): bench data fetch {dataset} brings that one, "
        f"bench data fetch {dataset} --from PATH --accept-unverified uses another and marks its results"
    )


def checksum_matches(path: Path, official: Official, digest: Digest | None = None) -> bool:
    """Whether the file has a checksum of the catalogue; never where the catalogue has none."""
    wanted = [checksum.partition(":") for checksum in (official.checksum, *official.also) if checksum]
    found = {algorithm: (digest or file_digest)(path, algorithm) for algorithm in {each[0] for each in wanted}}
    return any(found[algorithm] == expected for algorithm, _, expected in wanted)


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
