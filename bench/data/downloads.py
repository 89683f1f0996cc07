"""Bring official files into the data folder: download, resume and check them, or copy them from disk.

A file gets its name only when it is whole and its checksum is right, or when it comes from disk and the user accepts another. What is
unfinished stays beside it as `.NAME.part`, and the next try continues there. `bench.data.files` says whether a file is official.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import requests
from requests.exceptions import ChunkedEncodingError

from bench.components import registry
from bench.data import DatasetError, TransferError
from bench.data.decoded import Tell
from bench.data.files import (
    VERIFIED,
    File,
    checksum_matches,
    needed_by,
    receipt_of,
    state_of,
    write_receipt,
    writing_to,
)
from bench.data.reading import is_archive, members
from bench.files import make_folder, sync_names, written

__all__ = ["copy_from", "download", "fetch"]

CHUNK = 2**16  # bytes; the most that a broken connection loses
ATTEMPTS = 4  # in a row that bring nothing
PAUSE = 0.5  # seconds, doubled from one such attempt to the next
TIMEOUT = 30.0  # seconds without a byte


def fetch(dataset: str, root: Path, progress: Tell) -> list[str]:
    """Download the files of a dataset that are missing or not official; return their names. Progress is reported in bytes.

    Raises:
        UnknownNameError: if there is no such dataset.
        DatasetError: if a file has no official address.
        TransferError: if it cannot be had whole, or is not what it should be.
    """
    wanted = [file for file in needed_by(dataset) if state_of(file, root / file.name) != VERIFIED]
    for origin in dict.fromkeys(file.archive or file for file in wanted):
        if not origin.address:
            raise DatasetError(
                f"{origin.name} has no official address to download from: bench data fetch {dataset} --from FOLDER takes "
                "your copy"
            )
        if (
            state_of(origin, root / origin.name) != VERIFIED
        ):  # an archive that could not be unpacked is not fetched twice
            download(origin, root, progress)
        if held := _files_in(origin):
            _unpack(root / origin.name, held, root, verified=True)
            (root / origin.name).unlink()  # the receipts vouch for its files
    return [file.name for file in wanted]


def _files_in(archive: File) -> list[File]:
    """Return the files of all built-in datasets that come from an archive."""
    names = [name for name, entry in registry.entries("datasets").items() if not entry.origin]
    return list(dict.fromkeys(file for name in names for file in needed_by(name) if file.archive == archive))


def download(file: File, root: Path, progress: Tell) -> None:
    """Download one file under its name, or leave nothing under that name.

    Raises:
        TransferError: if it cannot be had whole, its checksum is another, or another process is downloading it.
    """
    target = root / file.name
    part = target.with_name(f".{target.name}.part")
    with writing_to(target.parent):
        make_folder(target.parent)
        with part.open("ab") as unfinished:
            try:
                fcntl.flock(unfinished, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TransferError(f"another process is downloading {file.address}") from error
            try:
                _receive_all(file, unfinished, progress)
                if not checksum_matches(part, file):
                    unfinished.truncate(0)
                    raise TransferError(f"{file.address} is not the official file (another checksum); nothing was kept")
            finally:
                if unfinished.seek(0, os.SEEK_END) == 0:
                    part.unlink()
            part.replace(target)
            receipt_of(target).unlink(missing_ok=True)
            sync_names(target.parent)


def _receive_all(file: File, unfinished: IO[bytes], progress: Tell) -> None:
    """Append what is missing, over as many connections as that takes."""
    idle = 0
    while True:
        before = unfinished.seek(0, os.SEEK_END)
        try:
            _receive(file, unfinished, progress)
        except requests.HTTPError as error:
            raise TransferError(f"{file.address}: {error}") from error
        except requests.RequestException as error:
            idle = 0 if unfinished.tell() > before else idle + 1
            broken = isinstance(error, requests.ConnectionError | requests.Timeout | ChunkedEncodingError)
            if idle >= ATTEMPTS or not broken:
                raise TransferError(
                    f"{file.address} cannot be reached ({type(error).__name__}); what came is kept, the same command continues"
                ) from error
            time.sleep(PAUSE * 2**idle)
        else:
            os.fsync(unfinished.fileno())
            return


def _receive(file: File, unfinished: IO[bytes], progress: Tell) -> None:
    """Append what one connection brings; return when the file is whole, raise where the connection breaks."""
    there = unfinished.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(file.address, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and there:
            if response.headers.get("Content-Range") == f"bytes */{there}":
                return  # it was whole already
            unfinished.truncate(0)
            raise requests.ConnectionError("the unfinished file does not fit; starting again")
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            there = 0
            unfinished.truncate(0)
        length = int(response.headers.get("Content-Length", 0))
        total = there + length if length else 0
        for chunk in response.iter_content(CHUNK):
            unfinished.write(chunk)
            there += len(chunk)
            progress(file.name, there, total)
        unfinished.flush()
    if total and there < total:
        raise requests.ConnectionError(f"{total - there} bytes are missing")


def copy_from(source: Path, dataset: str, root: Path, accept_unverified: bool) -> list[str]:
    """Copy the files of a dataset from a file, an official archive, or a folder that holds them; return their names.

    Raises:
        UnknownNameError: if there is no such dataset.
        DatasetError: if a file is missing, or is not official and was not accepted; then nothing changed.
    """
    wanted = needed_by(dataset)
    if not wanted:
        raise DatasetError(f"{dataset} comes with the harness; there is nothing to fetch")
    if not source.exists():
        raise DatasetError(f"--from: there is no {source}")
    with writing_to(root):
        archive = wanted[0].archive
        if archive and source.is_file() and is_archive(source):
            verified = _is_verified(source, archive, accept_unverified)
            _unpack(source, _files_in(archive) if verified else wanted, root, verified)
            return [file.name for file in wanted]
        found = {file: _locate(source, file, wanted, dataset) for file in wanted}
        verdicts = {file: _is_verified(path, file, accept_unverified) for file, path in found.items()}
        for file, path in found.items():
            target = root / file.name
            if not (target.exists() and path.samefile(target)):
                with path.open("rb") as content:
                    _write(content, target)
            if verdicts[file]:
                receipt_of(target).unlink(missing_ok=True)
            else:
                write_receipt(target, f"accepted from {path.name}", verified=False)
    return [file.name for file in wanted]


def _locate(source: Path, file: File, wanted: Sequence[File], dataset: str) -> Path:
    """Return the user's copy of a file: the source itself, or where it is in that folder."""
    if source.is_file():
        if len(wanted) == 1:
            return source
        names = " and ".join(Path(each.name).name for each in wanted)
        raise DatasetError(f"--from: {dataset} needs {names}; name a folder that has them")
    parts = PurePosixPath(file.name).parts
    for depth in range(len(parts)):
        if (path := source.joinpath(*parts[depth:])).is_file():
            return path
    raise DatasetError(f"--from: there is no {parts[-1]} in {source}")


def _is_verified(path: Path, file: File, accept_unverified: bool) -> bool:
    """Return True for the official file, False for another that is accepted."""
    if checksum_matches(path, file):
        return True
    if accept_unverified and file.replaceable:
        return False
    vouching = file.archive.name if file.archive else ""
    expected = f"its checksum should be {file.checksum}" if file.checksum else f"only {vouching} can vouch for it"
    remedy = (
        "--accept-unverified takes it and marks its results" if file.replaceable else "no other file is ever opened"
    )
    raise DatasetError(f"{path} is not the official {file.name} ({expected}); {remedy}")


def _unpack(archive: Path, files: Sequence[File], root: Path, verified: bool) -> None:
    """Copy files out of an archive by the last two parts of their names, with a receipt each; the rest is left alone."""
    wanted = {PurePosixPath(file.name).parts[-2:]: file for file in files}
    with members(archive) as contents:
        for name, content in contents:
            if file := wanted.pop(PurePosixPath(name).parts[-2:], None):
                with writing_to(root):
                    _write(content, root / file.name)
                    write_receipt(root / file.name, f"from {archive.name}", verified)
            if not wanted:
                return
    raise DatasetError(f"{archive} has no {'/'.join(next(iter(wanted)))}")


def _write(content: IO[bytes], target: Path) -> None:
    """Write a stream under a name, whole or not at all; a receipt of other content vouches for nothing."""
    make_folder(target.parent)
    with written(target) as file:
        shutil.copyfileobj(content, file, CHUNK)
