"""Datasets: splits are disjoint and sound, pixels survive the round trip, content is what counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.components import registry
from bench.data import Dataset, DatasetError, known_digest, load_dataset
from bench.data.files import needed_by, states
from bench.data.images import PixelCodec


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """The real digits."""
    return load_dataset("digits", None)


def test_digits_are_scikit_learns(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    original = load_digits().images.astype(np.uint8)[:, None]
    assert sorted(map(bytes, np.concatenate(list(digits.splits.values())))) == sorted(map(bytes, original))
    assert {name: rows.shape for name, rows in digits.splits.items()} == {
        "train": (1197, 1, 8, 8),
        "validation": (200, 1, 8, 8),
        "test": (400, 1, 8, 8),
    }
    assert all(len(digits.labels[name]) == len(rows) for name, rows in digits.splits.items())
    assert digits.digest == known_digest("digits")


def test_digest_is_of_the_content(digits: Dataset) -> None:
    changed = {name: rows.copy() for name, rows in digits.splits.items()}
    changed["test"][0, 0, 0, 0] += 1
    assert dataclasses.replace(digits, splits=changed).digest != digits.digest
    assert dataclasses.replace(digits, name="other").digest == digits.digest
    swapped = digits.splits | {"train": digits.splits["test"], "test": digits.splits["train"]}
    assert dataclasses.replace(digits, splits=swapped).digest != digits.digest


@given(st.integers(2, 256), st.integers(0, 2**32))
def test_dequantisation_is_undone_exactly(levels: int, seed: int) -> None:
    codec = PixelCodec(levels)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, levels, (64,), generator=generator).to(torch.uint8)
    x = codec.dequantise(pixels, generator)
    assert x.abs().max() <= 1
    assert torch.equal(codec.quantise(x), pixels)


def test_generated_values_outside_the_range_are_clamped_not_rescaled() -> None:
    codec = PixelCodec(17)
    pixels = codec.quantise(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]))
    assert pixels.tolist() == [0, 0, 8, 16, 16]
    assert codec.to_bytes(pixels).tolist() == [0, 0, 128, 255, 255]


def test_every_dataset_is_registered_beside_its_loader() -> None:
    for name, entry in registry.entries("datasets").items():
        assert entry.facts["kind"] in ("image", "tabular", "toy")
        assert callable(entry.load())
        for file in needed_by(name):
            algorithm, _, digest = (file.archive or file).checksum.partition(":")
            assert (algorithm, len(digest)) in (("md5", 32), ("sha256", 64)), file.name


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (lambda inputs: np.zeros((5, 2)), ": its loader returned ndarray"),
        (lambda inputs: 1 / 0, " failed to load: ZeroDivisionError"),
        (lambda root, split: None, " failed to load: TypeError"),
    ],
)
def test_what_another_package_does_wrong_is_named(
    loader: Callable[..., object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.Entry("theirs", "s", "their_module:loader", {"kind": "tabular"}, "their-package")
    monkeypatch.setattr(registry, "get", lambda kind, name: entry)
    monkeypatch.setattr(registry.Entry, "load", lambda self: loader)
    with pytest.raises(DatasetError, match=f"dataset 'theirs' of package their-package{message}"):
        load_dataset("theirs", None)


def test_a_package_that_cannot_be_imported_spoils_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(kind: str, name: str) -> registry.Entry:
        raise registry.PluginError("cannot be imported")

    monkeypatch.setattr(registry, "get", broken)
    assert states(["theirs"], tmp_path) == {"theirs": "not loadable"}
