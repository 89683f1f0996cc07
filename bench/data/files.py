"""Official files: which a dataset needs, where they are, and whether they are what they should be.

A file is official if its checksum is as registered, or that of another published copy of the same content. A file from an official
archive has a receipt beside it with its own sha256; so has one that a user accepted although it is another, and then its datasets say so.
Anything else is refused. `bench.data.downloads` brings files into the data folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.components import registry
from bench.data import DatasetError, NotAtHandError, TransferError
from bench.files import write_json
from bench.inception import INCEPTION, INCEPTION_FILES, INCEPTION_SHA256

__all__ = [
    "AT_HAND",
    "VERIFIED",
    "File",
    "checksum_matches",
    "file_digest",
    "find",
    "needed_by",
    "needs",
    "read_json",
    "receipt_of",
    "state_of",
    "states",
    "write_receipt",
    "writing_to",
]

T = TypeVar("T")
Digest = Callable[[Path, str], str]
"""Hex digest of the content of a file, by an algorithm of `hashlib`."""
INCEPTION_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
STATES = EMBEDDED, VERIFIED, ACCEPTED, REFUSED, ABSENT = ("embedded", "verified", "UNVERIFIED", "refused", "absent")
AT_HAND = (EMBEDDED, VERIFIED, ACCEPTED)


@dataclass(frozen=True)
class File:
    """An official file.

    Arguments:
        name: its path below the data folder.
        url: its official address, or that of its folder, with '/' at the end; '' where it has none.
        checksum: 'md5:…' or 'sha256:…'; '' for a file from an archive.
        archive: the official archive that holds it.
        also: checksums of other published copies of the same content.
        elsewhere: where a package of the operating system installs it; used where the data folder has none.
        replaceable: whether a user may have another file in its place, which marks the results.
    """

    name: str
    url: str = ""
    checksum: str = ""
    archive: File | None = None
    also: tuple[str, ...] = ()
    elsewhere: str = ""
    replaceable: bool = True

    @property
    def address(self) -> str:
        """Its official address; '' where it has none."""
        return self.url + Path(self.name).name if self.url.endswith("/") else self.url

    @property
    def source(self) -> str:
        """Where the file officially comes from, as far as that is known."""
        return self.address or (self.archive.address if self.archive else self.name)

    def locate(self, root: Path | None) -> Path | None:
        """Return its path in the data folder or where the operating system has it, None if it is in neither."""
        candidates = [*([root / self.name] if root else []), *([Path(self.elsewhere)] if self.elsewhere else [])]
        return next((path for path in candidates if path.is_file()), None)


def needs(*files: File) -> Callable[[T], T]:
    """Declare the files that the loader below reads; it finds them, checked, in `Inputs.paths`."""

    def declared(loader: T) -> T:
        loader.files = files  # type: ignore[attr-defined]
        return loader

    return declared


def needed_by(name: str) -> tuple[File, ...]:
    """Return the files of a dataset or of the Inception extractor; none for what is embedded or made here."""
    if name == INCEPTION:
        return (File(INCEPTION_FILES[0], INCEPTION_URL, f"sha256:{INCEPTION_SHA256}", replaceable=False),)
    return tuple(getattr(registry.get("datasets", name).load(), "files", ()))


def find(dataset: str, files: Sequence[File], root: Path | None, digest: Digest) -> dict[Path, bool]:
    """Return the paths of a dataset's files, in their order, each with whether it is official (else it was accepted).

    Raises:
        NotAtHandError: if one is missing.
        DatasetError: if one is neither official nor accepted.
    """
    places = {file: file.locate(root) for file in files}
    if missing := [file.name for file, path in places.items() if path is None]:
        raise NotAtHandError(
            f"{dataset} needs {' and '.join(missing)}: bench data fetch {dataset}, or BENCH_DATA=folder that has it"
        )
    found = {path: state_of(file, path, digest) for file, path in places.items() if path}
    for file, (path, state) in zip(places, found.items(), strict=True):
        if state == REFUSED:
            why = f"its {file.checksum.partition(':')[0]} is another" if file.checksum else "it has no valid receipt"
            raise DatasetError(
                f"{path} is not the official file ({why}): bench data fetch {dataset} brings that one, "
                f"bench data fetch {dataset} --from PATH --accept-unverified uses another and marks its results"
            )
    return {path: state == VERIFIED for path, state in found.items()}


def states(names: Sequence[str], root: Path) -> dict[str, str]:
    """Return whether each dataset is at hand: embedded, or the worst state of its files. Each file is read once."""

    @functools.cache
    def state(file: File) -> str:
        return state_of(file, file.locate(root))

    def worst(name: str) -> str:
        try:
            return max([EMBEDDED, *map(state, needed_by(name))], key=STATES.index)
        except registry.PluginError:
            return "not loadable"

    return {name: worst(name) for name in names}


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of the content of a file."""
    import pooch

    return str(pooch.file_hash(str(path), algorithm))


def state_of(file: File, path: Path | None, digest: Digest = file_digest) -> str:
    """Return the state of the file at a path: VERIFIED (official), ACCEPTED (another, accepted by the user), REFUSED or ABSENT."""
    if path is None or not path.is_file():
        return ABSENT
    if checksum_matches(path, file, digest):
        return VERIFIED
    receipt = read_json(receipt_of(path))
    if not receipt or receipt.get("sha256") != digest(path, "sha256"):
        return REFUSED
    return VERIFIED if receipt.get("verified") and not file.checksum else ACCEPTED


def checksum_matches(path: Path, file: File, digest: Digest = file_digest) -> bool:
    """Return whether the content has a registered checksum; never true where there is none."""
    registered = [checksum.split(":") for checksum in (file.checksum, *file.also) if checksum]
    return any(digest(path, algorithm) == value for algorithm, value in registered)


def receipt_of(path: Path) -> Path:
    """Return where the receipt of a file is."""
    return path.with_name(path.name + ".receipt.json")


def write_receipt(path: Path, origin: str, verified: bool) -> None:
    """Record beside a file where its present content came from, and whether that is official."""
    write_json(receipt_of(path), {"sha256": file_digest(path), "origin": origin, "verified": verified})


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, None where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@contextlib.contextmanager
def writing_to(folder: Path, setting: str = "BENCH_DATA") -> Iterator[None]:
    """Turn a full disk, or a folder that cannot be written, into a `TransferError` of one line."""
    try:
        yield
    except OSError as error:
        raise TransferError(
            f"cannot write to {folder}: {error.strerror or error}; make room or set {setting}"
        ) from error
