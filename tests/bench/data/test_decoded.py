"""What took long to make is made once, is whole or absent, and is found by content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import Dataset, DatasetError
from bench.data.decoded import Allocate, DecodedCache


class Builder:
    """Fills a split, and counts how often."""

    def __init__(self, value: int = 7, fails: bool = False) -> None:
        self.value, self.fails, self.calls = value, fails, 0

    def __call__(self, allocate: Allocate) -> str:
        self.calls += 1
        allocate("train.images", (5, 1, 8, 8), "u1")[:] = self.value
        allocate("train.labels", (5,), "i8")[:] = [0, 1, 0, 1, 0]
        if self.fails:
            raise DatasetError("no more")
        return "said"


def load(folder: Path | None, build: Builder, content: str = "a") -> Dataset:
    return DecodedCache(folder).dataset("x", {"content": content}, build, "p", "q")


def test_made_once_and_found_again_with_its_digest(tmp_path: Path) -> None:
    build = Builder()
    made, found = (load(tmp_path / "new", build) for _ in range(2))
    assert build.calls == 1
    assert isinstance(found.splits["train"], np.memmap)
    assert np.array_equal(made.splits["train"], found.splits["train"])
    assert found.labels["train"].tolist() == [0, 1, 0, 1, 0]
    assert (found.protocol, found.provenance) == ("p; said", "q")
    assert load(None, build).digest == found.recorded_digest == found.computed_digest()
    assert load(tmp_path / "new", Builder(8), "b").digest != found.digest, "another key is another entry"
    found.splits["train"][:] = 0
    assert (load(tmp_path / "new", build).splits["train"] == 7).all(), "writing to arrays does not change the cache"


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no more"):
        load(tmp_path, Builder(fails=True))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    build = Builder()
    load(tmp_path, build)
    assert build.calls == 1


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, path.stat().st_size // 2)])
@pytest.mark.parametrize("name", ["train.images.npy", "index.json"])
def test_an_entry_that_lacks_something_is_made_again(tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    build = Builder()
    load(tmp_path, build)
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(entry / name)
    assert (load(tmp_path, build).splits["train"] == 7).all()
    assert build.calls == 2


def test_an_entry_that_is_not_what_was_written_is_made_again(tmp_path: Path) -> None:
    build = Builder()
    load(tmp_path, build)
    (path,) = tmp_path.glob("*/train.images.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    assert (load(tmp_path, build).splits["train"] == 7).all()
    assert build.calls == 2


def test_files_that_change_while_they_are_read_make_no_entry(tmp_path: Path) -> None:
    file, cache = tmp_path / "file", DecodedCache(tmp_path / "cache")

    def build(allocate: Allocate) -> str:
        file.write_bytes(b"two")
        return Builder()(allocate)

    file.write_bytes(b"one")
    with pytest.raises(DatasetError, match="file changed while it was read; the same command"):
        cache.dataset("x", {}, build, "p", "q", [file])
    assert not list((tmp_path / "cache").glob("x-*"))
    cache.dataset("x", {}, build, "p", "q", [file])


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, file = DecodedCache(tmp_path / "cache"), tmp_path / "file"
    file.write_bytes(b"one")
    first = cache.digest_of(file)
    with monkeypatch.context() as patched:
        patched.setattr("bench.data.decoded.file_digest", lambda *_: pytest.fail("read again"))
        assert cache.digest_of(file) == first
    file.write_bytes(b"two")  # of the same size
    assert cache.digest_of(file) != first
    assert cache.digest_of(file, "md5") != cache.digest_of(file)


def test_the_digest_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a"
    file.parent.mkdir()
    digests = set()
    for content in (b"1", b"2"):
        file.write_bytes(content)
        digests.add(DecodedCache().digest_of(tmp_path))
    file.rename(file.with_name("b"))
    assert len(digests | {DecodedCache().digest_of(tmp_path)}) == 3


def test_a_folder_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cannot write to .*BENCH_CACHE"):
        load(tmp_path / "file" / "cache", Builder())
