"""Data that users and archives bring: tables, images, archives, the official layouts, names of datasets."""

# ruff: noqa: E501  (tables of cases)
from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import load_dataset, sources
from bench.data.files import needed_by, write_receipt
from bench.data.hygiene import refuse_concerns

from .layouts import Layout, Rng, either
from .official_files import (
    IDX_BOMBS,
    NPZ_BOMBS,
    PICKLES,
    bedrooms,
    celeba,
    cifar,
    digits,
    fetched,
    hdf5_bomb,
    imagenet,
    maf_archive,
    old_table,
    patches,
    read_small_cifar,
)
from .pictures import IMAGES, PICTURES, TAR, ZIP, image_folder, resummed, spoiled_png
from .spoiling import TEXTS, any_of, drawn, spoiled_bytes, spoiled_text, st
from .tables import CSV, NPY, PARQUET, drawn_table, events, parquet, wines
from .writing import ROWS, archive, put, rezipped, saved, spoiled_header, within, zipped

__all__ = ["DATA"]


def own(source: str) -> Callable[[Path], object]:
    """Read a user's own file or folder, and look for what makes it meaningless."""
    kind, _, name = source.partition(":")
    return lambda folder: refuse_concerns(load_dataset(f"{kind}:{folder / name}", None), ())


def official(dataset: str) -> Callable[[Path], object]:
    """Read an official dataset whose files, whatever they are, the user has accepted."""

    def read(folder: Path) -> None:
        for file in needed_by(dataset):
            if (path := folder / file.name).is_file():
                write_receipt(path, "a stranger", verified=False)
        load_dataset(dataset, folder, folder / "cache")

    return read


def named(text: str) -> Callable[[Path], object]:
    """Read the name of a dataset: no label may lead out of a folder."""

    def read(_folder: Path) -> None:
        label = sources.parse(text).label
        if "/" in label or label in ("", ".", "..") or "\n" in label or "<" in label:
            raise AssertionError(f"the label {label!r} is no name")

    return read


NAMES = [
    *TEXTS,
    *(f"{kind}:{text}{tail}" for text in TEXTS for kind in ("csv", "folder", "tar", "x") for tail in ("", "@1", "#32")),
]
NAMES += [
    "redwine@" + "9" * 30,
    "folder:x#٣٢",
    "csv:x@²",
    "redwine@١",
    "digits@1",
    "folder:x#40@" + "1" * 5000,
    "csv:~nobody/x",
]


def read_name(folder: Path) -> None:
    """Read the name that is in the file."""
    text = (folder / "name").read_bytes().decode("utf-8", "surrogatepass")
    named(text)(folder)
    if ":" in text:
        load_dataset(text, None)


def spoiled_name(_content: bytes, rng: Rng) -> bytes:
    """A name that no one would give."""
    text = (
        any_of(rng, NAMES)
        if rng.random() < 0.5
        else any_of(rng, ["csv:", "tar:", "folder:", "npy:", "", "redwine@"]) + any_of(rng, DRAWN)
    )
    return str(text).encode("utf-8", "surrogatepass")


DRAWN = drawn(st.text(max_size=30), 300)


repacked = within(gzip.decompress, lambda content: gzip.compress(content, 1))
DATA = [
    Layout("csv", lambda f: np.savetxt(f / "t.csv", ROWS, "%.5f", ",", header="a,b,c", comments=""), own("csv:t.csv"), either(spoiled_text, drawn_table), by_hand=CSV),
    Layout("csv", wines, official("redwine"), spoiled_text),
    Layout("csv", events, official("hepmass"), spoiled_text),
    Layout("npy", put("t.npy", saved(ROWS)), own("npy:t.npy"), either(spoiled_bytes, spoiled_header), by_hand=NPY),
    Layout("npy", put("maf/power/data.npy", saved(np.random.default_rng(0).random((200, 8)))), official("power"), either(spoiled_bytes, spoiled_header)),
    Layout("parquet", put("t.parquet", parquet({"a": ROWS[:, 0], "b": ROWS[:, 1].astype("f4"), "c": np.arange(150)})), own("parquet:t.parquet"), by_hand=PARQUET),
    Layout("parquet", put("t.parquet", parquet(dict(zip("abc", ROWS.T, strict=True)), compression="gzip", use_dictionary=False)), own("parquet:t.parquet")),
    Layout("idx", digits, official("mnist-10k"), either(spoiled_bytes, repacked, repacked), by_hand=IDX_BOMBS),
    Layout("tar", put("t.tar", archive(PICTURES)), own("tar:t.tar"), either(spoiled_bytes, resummed, resummed), by_hand=TAR),
    Layout("tar", put("t.tar", archive(PICTURES, "w:gz")), own("tar:t.tar"), either(spoiled_bytes, within(gzip.decompress, gzip.compress, resummed))),
    Layout("tar", put("t.tar", archive(PICTURES, "w:xz")), own("tar:t.tar#8"), either(spoiled_bytes, within(lzma.decompress, lzma.compress, resummed))),
    Layout("tar", cifar, read_small_cifar, either(spoiled_bytes, within(gzip.decompress, gzip.compress, resummed))),
    Layout("tar", lambda f: maf_archive(f / "data.tar.gz"), fetched, either(spoiled_bytes, within(gzip.decompress, gzip.compress, resummed))),
    Layout("zip", put("t.zip", zipped(PICTURES)), own("tar:t.zip"), either(spoiled_bytes, rezipped), by_hand=ZIP),
    Layout("zip", celeba, official("celeba-32"), either(spoiled_bytes, lambda c, r: rezipped(c, r) if c[:2] == b"PK" else spoiled_text(c, r))),
    Layout("npz", imagenet, official("imagenet32"), either(spoiled_bytes, rezipped, rezipped), by_hand=NPZ_BOMBS),
    Layout("images", image_folder, own("folder:mine"), either(spoiled_bytes, spoiled_png), "mine/**/00[0-6]*", by_hand=IMAGES),
    Layout("images", image_folder, own("folder:mine#8"), either(spoiled_bytes, spoiled_png), "mine/**/00[0-6]*", by_hand=IMAGES),
    Layout("lmdb", bedrooms, official("lsun-bedroom")),
    Layout("pickle", old_table, official("gas"), by_hand=PICKLES),
    Layout("hdf5", patches, official("bsds300"), by_hand=[hdf5_bomb]),
    Layout("names", put("name", b"redwine"), read_name, spoiled_name),
]  # fmt: skip
