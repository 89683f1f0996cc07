"""Bring official files into the data folder: downloaded, resumed where a connection broke, checked; or taken from the user's disk.

A file gets its name only when it is whole and its checksum is right, or when it comes from disk and the user accepts another. What is
unfinished stays beside it as `.NAME.part`, and the next try continues there. Which files there are, and whether one in the folder is
official, is for `bench.data.files`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bench.core import registry
from bench.data import DatasetError
from bench.data.files import CATALOGUE, Official, check, checksum_matches, forget_receipt, needed_by, write_receipt

__all__ = ["ResumingDownloader", "download", "fetch", "fetchable", "needs", "place"]

CHUNK = 2**16  # bytes; what a broken connection loses at most
ATTEMPTS = 4  # in a row that bring nothing
PAUSE = 0.5  # seconds, doubled from one such attempt to the next
TIMEOUT = 30.0  # seconds without a byte
Progress = Callable[[str, int, int], None]
"""Told a file's name, the bytes that are there, and the bytes it will have (0 where the server does not say)."""


def fetchable() -> list[str]:
    """Names that can be fetched: of the datasets that need files."""
    return list(dict.fromkeys(dataset for official in CATALOGUE.values() for dataset in official.used_by))


def needs(dataset: str) -> tuple[Official, ...]:
    """The files of a dataset; none for one that comes with the harness.

    Raises:
        UnknownNameError: if there is no such dataset.
    """
    if dataset not in fetchable() and dataset not in registry.entries("datasets"):
        known = [*fetchable(), *registry.entries("datasets")]
        raise registry.UnknownNameError(f"no dataset '{dataset}'; {registry.closest(dataset, known)}")
    return needed_by(dataset)


def fetch(dataset: str, root: Path, progress: Progress) -> list[str]:
    """Download what a dataset needs and what is not there, or not the official file; the names of the files that came.

    Raises:
        UnknownNameError: if there is no such dataset.
        DatasetError: if a file has no official address, cannot be had whole, or is not what it should be.
    """
    wanted = [official for official in needs(dataset) if not is_official(root / official.name, official)]
    origins = dict.fromkeys(official.archive or official.name for official in wanted)
    for name in origins:
        origin = CATALOGUE[name]
        if not origin.url:
            raise DatasetError(
                f"{name} has no official address to download from: bench data fetch {dataset} --from FOLDER takes your copy"
            )
        download(origin, root, progress)
        if members := members_of(origin):
            unpack(root / name, members, root, verified=True)
            (root / name).unlink()  # the receipts vouch for what came out of it
    return [official.name for official in wanted]


def is_official(path: Path, official: Official) -> bool:
    """Whether the file is there and is the official one."""
    try:
        return path.is_file() and check(path, official)
    except DatasetError:
        return False


def members_of(archive: Official) -> list[Official]:
    """What is taken out of an archive."""
    return [official for official in CATALOGUE.values() if official.archive == archive.name]


def download(official: Official, root: Path, progress: Progress) -> None:
    """Download one file under its name, or leave nothing under it.

    Raises:
        DatasetError: if it cannot be had whole, or its checksum is another.
    """
    import pooch
    import requests

    target = root / official.name
    pooch.get_logger().setLevel(logging.WARNING)
    with one_line_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        downloader = ResumingDownloader(
            target.with_name(f".{target.name}.part"), lambda n, m: progress(official.name, n, m)
        )
        try:
            pooch.retrieve(official.url, official.checksum, target.name, target.parent, downloader=downloader)
        except requests.exceptions.HTTPError as error:
            raise DatasetError(f"{official.url}: {error}") from error
        except requests.exceptions.RequestException as error:
            raise DatasetError(
                f"{official.url} cannot be reached ({type(error).__name__}); what came is kept, the same command continues"
            ) from error
        except DatasetError:
            raise
        except ValueError as error:  # pooch's, for the checksum
            raise DatasetError(
                f"{official.url} is not the file it should be (another checksum); nothing was kept"
            ) from error
        forget_receipt(target)


class ResumingDownloader:
    """A downloader for pooch that goes on where an earlier try stopped, in this process or in another.

    Arguments:
        part: where the unfinished file is kept.
        progress: told the bytes that are there and the bytes there will be.
    """

    def __init__(self, part: Path, progress: Callable[[int, int], None]) -> None:
        self.part, self.progress = part, progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:  # noqa: ARG002 (pooch's contract)
        """Download `url` and put it at `output_file`.

        Raises:
            requests.exceptions.RequestException: if the server refuses, or several tries in a row bring nothing.
            DatasetError: if another process is downloading the same file.
        """
        with self.part.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DatasetError(f"another process is downloading {url}") from error
            try:
                self.receive_whole(url, file)
            except BaseException:
                if file.seek(0, os.SEEK_END) == 0:
                    self.part.unlink()
                raise
            os.fsync(file.fileno())
            self.part.replace(output_file)

    def receive_whole(self, url: str, file: IO[bytes]) -> None:
        """Append what is missing, as many connections as that takes; returns when the file is whole."""
        import requests

        broken = (
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            requests.exceptions.ChunkedEncodingError,
        )
        idle = 0
        while True:
            before = file.seek(0, os.SEEK_END)
            try:
                return self.receive(url, file)
            except broken:
                idle = 0 if file.tell() > before else idle + 1
                if idle >= ATTEMPTS:
                    raise
                time.sleep(PAUSE * 2**idle)

    def receive(self, url: str, file: IO[bytes]) -> None:
        """Append what one connection brings; returns when the file is whole, raises where the connection breaks."""
        import requests

        there = file.seek(0, os.SEEK_END)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and there:
                if response.headers.get("Content-Range") == f"bytes */{there}":
                    return  # it was whole already
                file.truncate(0)
                raise requests.exceptions.ConnectionError("the unfinished file does not fit; starting again")
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                there = 0
                file.truncate(0)
            length = int(response.headers.get("Content-Length", 0))
            total = there + length if length else 0
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                there += len(chunk)
                self.progress(there, total)
            file.flush()
        if total and there < total:
            raise requests.exceptions.ConnectionError(f"{total - there} bytes are missing")


def place(dataset: str, source: Path, root: Path, accept_unverified: bool) -> list[str]:
    """Take a dataset's files from disk: a file, an official archive, or a folder that holds them; their names.

    Raises:
        UnknownNameError: if there is no such dataset.
        DatasetError: if a file is not there, or is not the official one and was not accepted; then nothing changed.
    """
    wanted = needs(dataset)
    if not wanted:
        raise DatasetError(f"{dataset} comes with the harness; there is nothing to fetch")
    if not source.exists():
        raise DatasetError(f"--from: there is no {source}")
    with one_line_errors(root):
        if source.is_file() and wanted[0].archive and (tarfile.is_tarfile(source) or zipfile.is_zipfile(source)):
            archive = CATALOGUE[wanted[0].archive]
            verified = vouched(source, archive, accept_unverified)
            unpack(source, members_of(archive) if verified else list(wanted), root, verified)
        else:
            found = {official: locate(source, official, wanted, dataset) for official in wanted}
            verdicts = {official: vouched(path, official, accept_unverified) for official, path in found.items()}
            for official, path in found.items():
                with path.open("rb") as content:
                    put(content, root / official.name, path)
                if not verdicts[official]:
                    write_receipt(root / official.name, f"accepted from {path.name}", verified=False)
    return [official.name for official in wanted]


def locate(source: Path, official: Official, wanted: tuple[Official, ...], dataset: str) -> Path:
    """The user's copy of a file: the source itself, or where it is in that folder."""
    if source.is_file():
        if len(wanted) == 1:
            return source
        names = " and ".join(Path(each.name).name for each in wanted)
        raise DatasetError(f"--from: {dataset} needs {names}; name a folder that has them")
    parts = PurePosixPath(official.name).parts
    for depth in range(len(parts)):
        if (path := source.joinpath(*parts[depth:])).is_file():
            return path
    raise DatasetError(f"--from: there is no {parts[-1]} in {source}")


def vouched(path: Path, official: Official, accept_unverified: bool) -> bool:
    """True for the official file, False for another that is accepted.

    Raises:
        DatasetError: if it is another and is not accepted.
    """
    if checksum_matches(path, official):
        return True
    if accept_unverified:
        return False
    expected = (
        f"its checksum should be {official.checksum}"
        if official.checksum
        else f"only {official.archive} can vouch for it"
    )
    raise DatasetError(
        f"{path} is not the official {official.name} ({expected}); --accept-unverified takes it and marks its results"
    )


def unpack(archive: Path, members: list[Official], root: Path, verified: bool) -> None:
    """Take files out of a tar or zip archive by what they are called, with a receipt each; nothing else in it is touched.

    Raises:
        DatasetError: if one is not in it.
    """
    wanted = {PurePosixPath(member.name).parts[-2:]: member for member in members}
    try:
        with contextlib.closing(contents(archive)) as entries:
            for name, open_entry in entries:
                if member := wanted.pop(PurePosixPath(name).parts[-2:], None):
                    with one_line_errors(root), open_entry() as content:
                        put(content, root / member.name, None)
                        write_receipt(root / member.name, f"from {archive.name}", verified)
                if not wanted:
                    return
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{archive} is not an archive that can be read: {error}") from error
    raise DatasetError(f"{archive} has no {'/'.join(next(iter(wanted)))}")


def contents(archive: Path) -> Generator[tuple[str, Callable[[], IO[bytes]]], None, None]:
    """The regular files in a tar or zip archive: their names, and what opens each before the next is asked for."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    yield info.filename, functools.partial(opened.open, info)
        return
    with tarfile.open(archive) as tar:
        for entry in tar:
            if entry.isfile():
                yield entry.name, functools.partial(member_of, tar, entry)


def member_of(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    """A regular file in a tar archive, opened."""
    content = tar.extractfile(entry)
    if content is None:
        raise tarfile.TarError(f"{entry.name} is not a regular file")
    return content


def put(content: IO[bytes], target: Path, origin: Path | None) -> None:
    """Write a stream under a name, whole or not at all; without a receipt."""
    if origin is not None and target.exists() and origin.samefile(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(content, file, CHUNK)
            file.flush()
            os.fsync(file.fileno())
        forget_receipt(target)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def one_line_errors(folder: Path) -> Iterator[None]:
    """A full disk or a folder that cannot be written, in a line."""
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"cannot write to {folder}: {error.strerror or error}; make room or set BENCH_DATA"
        ) from error
