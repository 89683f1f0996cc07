"""Downloads against a server on this machine: whole and right, or nothing under the name."""

from __future__ import annotations

import errno
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.components.registry import UnknownNameError
from bench.data import DatasetError, downloads, files, load_dataset
from bench.data.downloads import copy_from, download, fetch
from bench.data.files import File, needed_by, states, write_receipt
from bench.data.maf import ARCHIVE
from bench.inception import INCEPTION, INCEPTION_FILES

from ...faults.disk import failing
from .conftest import facts

CONTENT = np.random.default_rng(0).bytes(300_000)


@dataclass
class Server:
    """What it serves, and how badly: `breaks` are the bytes after which the next connections break off."""

    address: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    status: int = 200
    breaks: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(int(self.headers.get("Range", "bytes=0-")[6:-1]))
            start = state.asked[-1] if state.ranges else 0
            body = state.content[start:]
            if state.status != 200:
                self.send_error(state.status)
                return
            self.send_response(206 if start and body else 416 if start else 200)
            if not body:
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.breaks.pop(0)] if state.breaks else body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http://127.0.0.1:{http.server_address[1]}/file.csv"
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def official(server: Server) -> File:
    return File("folder/file.csv", server.address, "sha256:" + hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0.0)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a dataset other files, or all that come from the archive of MAF another archive, for the time of a test."""
    given: dict[str, File] = {ARCHIVE.name: ARCHIVE}

    def changed(name: str) -> tuple[File, ...]:
        found = (given[name],) if name in given else needed_by(name)
        return tuple(replace(file, archive=given[ARCHIVE.name]) if file.archive == ARCHIVE else file for file in found)

    def enter(name: str, file: File) -> None:
        given[name] = file
        monkeypatch.setattr(files, "needed_by", changed)
        monkeypatch.setattr(downloads, "needed_by", changed)

    return enter


def silent(_name: str, _there: int, _total: int) -> None:
    pass


def is_unverified(name: str, root: Path) -> bool:
    return facts(load_dataset(name, root)).unverified


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("part", "ranges", "breaks", "asked"),
    [
        (b"", True, [], [0]),
        (b"", True, [100_000, 80_000], [0, downloads.CHUNK, 2 * downloads.CHUNK]),
        (b"", False, [100_000], [0, downloads.CHUNK]),
        (CONTENT[:1000], True, [], [1000]),
        (CONTENT, True, [], [len(CONTENT)]),
        (CONTENT + b"more", True, [], [len(CONTENT) + 4, 0]),
    ],
    ids=["at once", "broken twice", "no ranges", "continued", "whole already", "too long"],
)
def test_a_file_comes_whole(
    server: Server, official: File, tmp_path: Path, part: bytes, ranges: bool, breaks: list[int], asked: list[int]
) -> None:
    told: list[tuple[str, int, int]] = [("folder/file.csv", len(CONTENT), len(CONTENT))]
    server.ranges, server.breaks = ranges, list(breaks)
    if part:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/.file.csv.part").write_bytes(part)
    download(official, tmp_path, lambda *news: told.append(news))
    assert (tmp_path / "folder/file.csv").read_bytes() == CONTENT
    assert left(tmp_path) == ["folder/file.csv"]
    assert told[-1] == ("folder/file.csv", len(CONTENT), len(CONTENT))
    assert server.asked == asked


def test_what_came_is_kept_for_the_next_try_under_another_name(server: Server, official: File, tmp_path: Path) -> None:
    server.breaks = [70_000] + [0] * downloads.ATTEMPTS
    with pytest.raises(DatasetError, match="the same command continues"):
        download(official, tmp_path, silent)
    assert left(tmp_path) == ["folder/.file.csv.part"]
    server.asked.clear()
    download(official, tmp_path, silent)
    assert server.asked == [downloads.CHUNK]
    assert (tmp_path / "folder/file.csv").read_bytes() == CONTENT


def test_what_cannot_be_had_is_said_in_a_line_and_leaves_nothing(
    server: Server, official: File, tmp_path: Path
) -> None:
    for status, address, content, message in (
        (404, server.address, CONTENT, "404"),
        (200, "http://127.0.0.1:9/file.csv", CONTENT, "cannot be reached"),
        (200, server.address, CONTENT[::-1], "another checksum.*nothing was kept"),
        (200, server.address, b"", "another checksum.*nothing was kept"),
    ):
        server.status, server.content = status, content
        with pytest.raises(DatasetError, match=message) as caught:
            download(replace(official, url=address), tmp_path, silent)
        assert "\n" not in str(caught.value)
        assert left(tmp_path) == []
    server.content = CONTENT
    download(replace(official, url=server.address.removesuffix("file.csv")), tmp_path, silent)
    assert left(tmp_path) == ["folder/file.csv"], "the next try starts again; an address may be that of a folder"


def test_a_full_disk_and_a_second_process_are_said_in_a_line(official: File, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DatasetError, match=r"cannot write to .*No space left on device"):
        download(official, tmp_path, full)
    with pytest.raises(DatasetError, match="another process is downloading"):
        download(official, tmp_path, lambda *_: download(official, tmp_path, silent))
    assert "folder/file.csv" not in left(tmp_path)


def test_fetch_brings_what_is_missing_and_no_more(
    server: Server, official: File, register: Callable[..., None], tmp_path: Path
) -> None:
    register("some", official)
    assert fetch("some", tmp_path, silent) == ["folder/file.csv"]
    assert fetch("some", tmp_path, silent) == []
    assert len(server.asked) == 1
    for other in (False, True):
        (tmp_path / "folder/file.csv").write_bytes(b"another")
        if other:  # accepted, and now the official one is asked for
            write_receipt(tmp_path / "folder/file.csv", "a test", verified=False)
        assert fetch("some", tmp_path, silent) == ["folder/file.csv"]
        assert left(tmp_path) == ["folder/file.csv"]


def test_names_without_address_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="bench data fetch miniboone-small --from FOLDER"):
        fetch("miniboone-small", tmp_path, silent)
    with pytest.raises(UnknownNameError, match="did you mean 'redwine'"):
        fetch("redwin", tmp_path, silent)
    assert fetch("hepmass-sim", tmp_path, silent) == []


def archive(rows: np.ndarray, path: Path) -> Path:
    """A small archive in MAF's layout, with something in it that is not wanted and would be harmful if it were extracted."""
    buffer = io.BytesIO()
    np.save(buffer, rows)
    members = {"data/mnist/mnist.pkl.gz": b"x", "data/miniboone/data.npy": buffer.getvalue(), "../../outside": b"harm"}
    members |= {f"data/{name}": b"" for name in ("power/data.npy", "gas/ethylene_CO.pickle", "BSDS300/BSDS300.hdf5")}
    members |= {f"data/hepmass/1000_{part}.csv": b"" for part in ("train", "test")}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_an_official_archive_is_unpacked_with_receipts_and_vouches_for_its_files(
    server: Server, register: Callable[..., None], tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).standard_normal((300, 43))
    server.content = archive(rows, tmp_path / "made.tar.gz").read_bytes()
    register(ARCHIVE.name, File(ARCHIVE.name, server.address, "md5:" + hashlib.md5(server.content).hexdigest()))
    root = tmp_path / "data"
    assert fetch("miniboone", root, silent) == ["maf/miniboone/data.npy"]
    assert not is_unverified("miniboone", root)
    found = states(["miniboone", "gas", "redwine", "digits"], root)
    assert list(found.values()) == ["verified", "verified", "absent", "embedded"]
    assert not (root / ARCHIVE.name).exists()
    assert not (tmp_path / "outside").exists()
    assert fetch("miniboone", root, silent) == []
    (root / "maf/miniboone/data.npy").unlink()
    (root / ARCHIVE.name).write_bytes(server.content)
    assert fetch("miniboone", root, silent) == ["maf/miniboone/data.npy"]
    assert len(server.asked) == 1, "an archive that is there already is not downloaded again"
    (root / "maf/miniboone/data.npy").write_bytes(b"changed")
    with pytest.raises(DatasetError, match=r"not the official file .*no valid receipt"):
        load_dataset("miniboone", root)


def test_from_an_archive_on_disk(register: Callable[..., None], tmp_path: Path) -> None:
    made = archive(np.random.default_rng(1).standard_normal((300, 43)), tmp_path / "made.tar.gz")
    root = tmp_path / "data"
    with pytest.raises(DatasetError, match=r"not the official maf/data\.tar\.gz .*--accept-unverified"):
        copy_from(made, "miniboone", root, accept_unverified=False)
    assert not root.exists()
    copy_from(made, "miniboone", root, accept_unverified=True)
    assert is_unverified("miniboone", root)
    assert "NOT the official file" in load_dataset("miniboone", root).provenance
    assert states(["gas"], root) == {"gas": "absent"}  # only what was asked for is accepted
    register(ARCHIVE.name, File(ARCHIVE.name, "", "md5:" + hashlib.md5(made.read_bytes()).hexdigest()))
    copy_from(made, "miniboone", root, accept_unverified=False)
    assert states(["miniboone"], root) == {"miniboone": "verified"}
    made.write_bytes(made.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"archive that can be read|has no"):
        copy_from(made, "gas", root, accept_unverified=True)


def wine(path: Path) -> Path:
    rows = np.random.default_rng(2).gamma(3.0, 1.0, (200, 12)).round(1)
    np.savetxt(path, rows, "%.1f", ";", header="names", comments="")
    return path


def test_from_a_file_on_disk(tmp_path: Path, register: Callable[..., None]) -> None:
    root, mine = tmp_path / "data", wine(tmp_path / "mine.csv")
    with pytest.raises(DatasetError, match=r"mine\.csv is not the official winequality-red\.csv"):
        copy_from(mine, "redwine", root, accept_unverified=False)
    assert not root.exists()
    assert copy_from(mine, "redwine", root, accept_unverified=True) == ["winequality-red.csv"]
    assert states(["redwine", "redwine-original"], root) == {"redwine": "UNVERIFIED", "redwine-original": "UNVERIFIED"}
    assert is_unverified("redwine", root)
    shutil.copy(wine(tmp_path / "other.csv"), root / "winequality-red.csv")
    with (root / "winequality-red.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(DatasetError, match="not the official file"):  # what was accepted was another content
        load_dataset("redwine", root)
    assert states(["redwine"], root) == {"redwine": "refused"}
    register("redwine", File("winequality-red.csv", "", "md5:" + hashlib.md5(mine.read_bytes()).hexdigest()))
    copy_from(mine, "redwine", root, accept_unverified=False)
    assert states(["redwine"], root) == {"redwine": "verified"}
    assert left(root) == ["winequality-red.csv"]  # no receipt is needed any more


def test_from_a_folder_on_disk(tmp_path: Path) -> None:
    folder, root = tmp_path / "mine", tmp_path / "data"
    folder.mkdir()
    for name in ("val.npy", "test.npy"):
        np.save(folder / name, np.random.default_rng(3).standard_normal((200, 43)))
    with pytest.raises(DatasetError, match=r"needs val\.npy and test\.npy; name a folder"):
        copy_from(folder / "val.npy", "miniboone-small", root, accept_unverified=True)
    copy_from(folder, "miniboone-small", root, accept_unverified=True)
    assert is_unverified("miniboone-small", root)
    (folder / "test.npy").unlink()
    for source, name, message in (
        (folder, "miniboone-small", r"there is no test\.npy"),
        (tmp_path / "nowhere", "miniboone-small", "there is no .*nowhere"),
        (folder, "digits", "comes with the harness"),
    ):
        with pytest.raises(DatasetError, match=message):
            copy_from(source, name, root, accept_unverified=True)


def test_a_file_that_a_full_disk_does_not_replace_keeps_its_receipt(tmp_path: Path) -> None:
    folder, root = tmp_path / "mine", tmp_path / "data"
    folder.mkdir()
    for name in ("val.npy", "test.npy"):
        np.save(folder / name, np.random.default_rng(3).standard_normal((200, 43)))
    copy_from(folder, "miniboone-small", root, accept_unverified=True)
    sound = states(["miniboone-small"], root)
    for number in range(1, 20):
        with failing(root, number, errno.ENOSPC, True) as refusals, suppress(DatasetError):
            copy_from(folder, "miniboone-small", root, accept_unverified=True)
        assert states(["miniboone-small"], root) == sound, refusals.refused
        if not refusals.refused:
            break
    else:
        pytest.fail("it never came to an end")


def test_a_folder_that_is_the_data_folder_is_accepted_in_place(tmp_path: Path) -> None:
    path = wine(tmp_path / "winequality-red.csv")
    copy_from(tmp_path, "redwine", tmp_path, accept_unverified=True)
    assert path.exists()
    assert states(["redwine"], tmp_path) == {"redwine": "UNVERIFIED"}
    write_receipt(path, "claims to be official", verified=True)
    assert states(["redwine"], tmp_path) == {"redwine": "UNVERIFIED"}, "no receipt stands in for a checksum"


def test_no_other_file_is_offered_in_the_place_of_inceptions_weights(tmp_path: Path) -> None:
    """They are a pickle, which the extractor opens only if it is the published one."""
    (tmp_path / "mine.pth").write_bytes(b"mine")
    for accept in (False, True):
        with pytest.raises(DatasetError, match=r"no other file is ever opened") as caught:
            copy_from(tmp_path / "mine.pth", INCEPTION, tmp_path / "data", accept_unverified=accept)
        assert "--accept-unverified" not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["miniboone", "hepmass-dkef-original", "fashion-mnist", "mnist"])
def test_what_is_fetched_is_named_once(name: str) -> None:
    names = [file.name for file in needed_by(name)]
    assert len(names) == len(set(names))


def test_inceptions_weights_come_where_they_are_looked_for(
    tmp_path: Path, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, name = tmp_path / "copy.pth", INCEPTION_FILES[0]
    copy.write_bytes(b"weights")
    register(INCEPTION, File(name, "", f"sha256:{hashlib.sha256(b'weights').hexdigest()}"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    for folder in ("data", "weights"):
        result = CliRunner().invoke(main, ["data", "fetch", INCEPTION, "--from", str(copy)])
        assert result.exit_code == 0, result.output
        assert (tmp_path / folder / name).read_bytes() == b"weights"
        (line,) = [each for each in CliRunner().invoke(main, ["data", "list"]).output.splitlines() if INCEPTION in each]
        assert "verified" in line
        monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
