"""What took long to make is made once, is whole or absent, and is found by content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import DatasetError
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


def test_made_once_and_found_again_with_its_digest(tmp_path: Path) -> None:
    build = Builder()
    made, found = (DecodedCache(tmp_path / "new").dataset("x", {"content": "a"}, build, "p", "q") for _ in range(2))
    assert build.calls == 1
    assert isinstance(found.splits["train"], np.memmap)
    assert np.array_equal(made.splits["train"], found.splits["train"])
    assert found.labels["train"].tolist() == [0, 1, 0, 1, 0]
    assert (found.protocol, found.provenance) == ("p; said", "q")
    assert found.recorded_digest == found.computed_digest()
    in_memory = DecodedCache().dataset("x", {"content": "a"}, build, "p", "q")
    assert in_memory.digest == found.digest


def test_writing_to_the_arrays_does_not_change_the_cache(tmp_path: Path) -> None:
    cache = DecodedCache(tmp_path)
    cache.dataset("x", {}, Builder(), "p", "q").splits["train"][:] = 0
    assert (cache.dataset("x", {}, Builder(), "p", "q").splits["train"] == 7).all()


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    cache = DecodedCache(tmp_path)
    digests = {cache.dataset("x", {"content": value}, Builder(value), "p", "q").digest for value in (1, 2)}
    assert len(digests) == 2


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    cache = DecodedCache(tmp_path)
    with pytest.raises(DatasetError, match="no more"):
        cache.dataset("x", {}, Builder(fails=True), "p", "q")
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    build = Builder()
    cache.dataset("x", {}, build, "p", "q")
    assert build.calls == 1


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: os.truncate(path, path.stat().st_size // 2)]
)
@pytest.mark.parametrize("name", ["train.images.npy", "index.json"])
def test_an_entry_that_lacks_something_is_made_again(tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    cache, build = DecodedCache(tmp_path), Builder()
    cache.dataset("x", {}, build, "p", "q")
    (entry,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(entry / name)
    assert (cache.dataset("x", {}, build, "p", "q").splits["train"] == 7).all()
    assert build.calls == 2


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
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(b"1")
    digests = [DecodedCache().digest_of(folder)]
    (folder / "deep" / "a").write_bytes(b"2")
    digests.append(DecodedCache().digest_of(folder))
    (folder / "deep" / "a").rename(folder / "deep" / "b")
    digests.append(DecodedCache().digest_of(folder))
    assert len(set(digests)) == 3


def test_a_folder_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cannot write to .*BENCH_CACHE"):
        DecodedCache(tmp_path / "file" / "cache").dataset("x", {}, Builder(), "p", "q")
