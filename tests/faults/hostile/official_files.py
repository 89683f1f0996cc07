"""Official datasets in their own layouts, small: idx, CIFAR's batches, ImageNet's npz, CelebA's zip, LMDB, old pickles, HDF5."""

# ruff: noqa: E501  (tables of cases)
from __future__ import annotations

import gzip
import io
import pickle
import struct
from pathlib import Path

import h5py
import lmdb
import numpy as np

from bench.data import load_dataset, official_images
from bench.data.downloads import copy_from

from .writing import MIB, ROWS, Harm, archive, bomb, declared, later, npy, picture, put, saved, zipped

__all__ = [
    "IDX_BOMBS",
    "NPZ_BOMBS",
    "PICKLES",
    "bedrooms",
    "celeba",
    "cifar",
    "digits",
    "fetched",
    "hdf5_bomb",
    "imagenet",
    "maf_archive",
    "old_table",
    "patches",
    "read_small_cifar",
]


def maf_archive(path: Path) -> None:
    """An archive in the layout of MAF's, with a member that wants to be elsewhere."""
    names = ["power/data.npy", "gas/ethylene_CO.pickle", "BSDS300/BSDS300.hdf5", "miniboone/data.npy"]
    names += [f"hepmass/1000_{part}.csv" for part in ("train", "test")]
    members = {f"data/{name}": saved(ROWS) for name in names} | {"../../outside": b"harm", "/outside": b"harm"}
    path.write_bytes(archive(members, "w:gz"))


def fetched(folder: Path) -> None:
    """Take a user's archive into a data folder."""
    copy_from(folder / "data.tar.gz", "miniboone", folder / "data", accept_unverified=True)
    load_dataset("miniboone", folder / "data")


def idx(values: np.ndarray) -> bytes:
    """An idx file."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


def digits(folder: Path) -> None:
    """Ten images and their labels as MNIST has them."""
    rng = np.random.default_rng(0)
    put("mnist/t10k-images-idx3-ubyte.gz", gzip.compress(idx(rng.integers(0, 256, (20, 28, 28), np.uint8))))(folder)
    put("mnist/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(rng.integers(0, 10, 20, np.uint8))))(folder)


IDX = "mnist/t10k-images-idx3-ubyte.gz"
IDX_BOMBS = [
    later(IDX, lambda: bomb(4000)),
    later(IDX, lambda: bomb(4000, bytes([0, 0, 8, 3]) + struct.pack(">3i", 20, 28, 28))),
    later(IDX, lambda: bomb(1500, bytes([0, 0, 8, 3]) + struct.pack(">3i", 2_000_000, 28, 28))),
    put(IDX, gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3i", -1, 28, 28))),
    put(IDX, gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3i", 2**31 - 1, 2**31 - 1, 2**31 - 1))),
    put(IDX, gzip.compress(idx(np.zeros((0, 28, 28), np.uint8)))),
    put(IDX, b""),
]


def cifar(folder: Path) -> None:
    """Batches of ten images as CIFAR-10 has them, for a reader that expects ten."""
    rng = np.random.default_rng(0)
    rows = {name: rng.integers(0, 10, (10, 3073), np.uint8).tobytes() for name in official_images.CIFAR_BATCHES}
    (folder / "cifar.tar.gz").write_bytes(
        archive({f"cifar-10-batches-bin/{name}": each for name, each in rows.items()}, "w:gz")
    )


def read_small_cifar(folder: Path) -> None:
    """Read batches of ten images."""
    usual = official_images.CIFAR_BATCH
    try:
        official_images.CIFAR_BATCH = (10, 3073)
        official_images.read_cifar(folder / "cifar.tar.gz")
    finally:
        official_images.CIFAR_BATCH = usual


def npz(**arrays: np.ndarray) -> bytes:
    """An npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def imagenet(folder: Path) -> None:
    """A few small images as ImageNet 32×32 has them."""
    for name, members in (("train", ("train_data_batch_1", "train_data_batch_2")), ("val", ("val_data",))):
        parts = {}
        for i, member in enumerate(members):
            data = np.random.default_rng(i).integers(0, 256, (12, 3072), np.uint8)
            parts[f"{member}.npz"] = npz(data=data, labels=np.arange(1, 13), mean=data.mean(axis=0))
        put(f"imagenet32/Imagenet32_{name}_npz.zip", zipped(parts))(folder)


NPZ = "imagenet32/Imagenet32_train_npz.zip"
LABELS = saved(np.arange(1, 13))
NPZ_BOMBS = [
    later(NPZ, lambda: zipped({"train_data_batch_1.npz": zipped({"labels.npy": LABELS, "data.npy": npy(declared("(12, 100000000)", "'|u1'"), bytes(300 * MIB))})})),
    put(NPZ, zipped({"train_data_batch_1.npz": zipped({"labels.npy": LABELS, "data.npy": npy(declared("(12, 100000000000)"), b"")})})),
    put(NPZ, zipped({"train_data_batch_1.npz": zipped({"labels.npy": saved(np.array([Harm()]), allow_pickle=True)})})),
    put(NPZ, zipped({"../x.npz": npz(labels=np.arange(1, 13))})),
]  # fmt: skip


def celeba(folder: Path) -> None:
    """Twenty small faces as CelebA has them."""
    names = [f"{i:06}.png" for i in range(30)]
    put(
        "celeba/img_align_celeba.zip",
        zipped({f"img_align_celeba/{name}": picture("png", 40, i) for i, name in enumerate(names)}),
    )(folder)
    put("celeba/list_eval_partition.txt", "".join(f"{name} {i % 3}\n" for i, name in enumerate(names)).encode())(folder)


def bedrooms(folder: Path) -> None:
    """Thirty images in an LMDB file, some of them on pages of their own."""
    (folder / "lsun/bedroom_train_lmdb").mkdir(parents=True)
    with lmdb.open(str(folder / "lmdb"), map_size=4 * MIB) as environment, environment.begin(write=True) as transaction:
        for i in range(30):
            transaction.put(f"{i:040}".encode(), picture("webp", 32 if i % 3 else 64, i))
    (folder / "lmdb/data.mdb").rename(folder / "lsun/bedroom_train_lmdb/data.mdb")
    (folder / "lmdb/lock.mdb").unlink()
    (folder / "lmdb").rmdir()


def old_table(folder: Path) -> None:
    """A data frame as pandas of long ago pickled it."""
    from tests.bench.data.conftest import old_frame

    names = ["Time", "Meth", "Eth", *(f"s{i}" for i in range(6))]
    (folder / "maf/gas").mkdir(parents=True)
    old_frame(
        folder / "maf/gas/ethylene_CO.pickle",
        dict(zip(names, np.random.default_rng(0).normal(size=(9, 300)), strict=True)),
    )


GAS = "maf/gas/ethylene_CO.pickle"
PICKLES = [
    put(GAS, pickle.dumps(Harm())),
    put(GAS, b"cbuiltins\neval\n(S'__import__(\"os\").system(\"touch pwned\")'\ntR."),
    put(GAS, b"cpandas.core.frame\nDataFrame\n(tR}S'_data'\ncpandas.io.common\nget_handle\n(S'x'\ntRsb."),
    put(GAS, b"cnumpy\nndarray\n((I100000\nI100000\ntS'f8'\ntR."),
    put(GAS, b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x."),
    put(GAS, b"(" * 1_000_000 + b"t" * 1_000_000 + b"."),
    put(GAS, b"\x80\x04]" + b"(" + b"]" * 100 + b"l" * 100_000),
    put(GAS, b"]2" + b"2\x86" * 40 + b"."),
    put(GAS, b"\x80\x02" + b"]" + b"".join(b"2\x88a" for _ in range(10)) + b"c_codecs\nencode\n(X\x01\x00\x00\x00ax\x01\x00\x00\x00btR."),
]  # fmt: skip


def patches(folder: Path) -> None:
    """Patches in HDF5."""
    (folder / "maf/BSDS300").mkdir(parents=True)
    with h5py.File(folder / "maf/BSDS300/BSDS300.hdf5", "w") as file:
        for split in ("train", "validation", "test"):
            file[split] = np.random.default_rng(0).normal(size=(120, 63))


def hdf5_bomb(folder: Path) -> None:
    """Splits that are declared and not there, or packed very small."""
    with h5py.File(folder / "maf/BSDS300/BSDS300.hdf5", "w") as file:
        for split in ("train", "validation", "test"):
            file.create_dataset(split, (20_000_000, 63), "f8", chunks=(100_000, 63), compression="gzip")
