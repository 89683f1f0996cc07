"""Data that users and archives bring: tables, images, archives, the official layouts, names of datasets."""

# ruff: noqa: E501  (tables of cases)
from __future__ import annotations

import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bench.data import load_dataset, official_images, sources
from bench.data.downloads import copy_from
from bench.data.files import needed_by, write_receipt
from bench.data.hygiene import refuse_concerns

from .layouts import Layout, Rng, Spoil, either
from .spoiling import TEXTS, any_of, drawn, spoiled_bytes, spoiled_text, st

__all__ = ["DATA"]

ROWS = np.random.default_rng(0).normal(size=(150, 3))
MIB = 2**20
FORMS = {".png": "png", ".jpg": "jpeg", ".gif": "gif", ".webp": "webp", ".bmp": "bmp", ".tif": "tiff", ".ppm": "ppm"}
PWNED = "pwned"  # what harmful content would make


class Harm:
    """What unpickling would run."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {PWNED}",)


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


def within(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], spoil: Spoil = spoiled_bytes) -> Spoil:
    """Spoil what is in a wrapping, and wrap it again."""
    return lambda content, rng: pack(spoil(unpack(content), rng))


def put(name: str, content: bytes) -> Callable[[Path], object]:
    """A function that writes a file."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def later(name: str, make: Callable[[], bytes]) -> Callable[[Path], object]:
    """A function that writes a file whose content takes long to make or much room."""
    return lambda folder: put(name, make())(folder)


def zeros(size: int) -> bytes:
    """So many MiB of zeros as zlib packs them."""
    pack = zlib.compressobj(9)
    return b"".join([*(pack.compress(bytes(MIB)) for _ in range(size)), pack.flush()])


def bomb(size: int, head: bytes = b"", pack: Callable[[bytes], bytes] = gzip.compress) -> bytes:
    """So many MiB of zeros after a head, as streams one after the other, which gzip and xz may be."""
    return pack(head) + pack(bytes(MIB)) * size


def saved(rows: np.ndarray, **options: Any) -> bytes:
    """An npy file."""
    buffer = io.BytesIO()
    np.save(buffer, rows, **options)
    return buffer.getvalue()


def npy(header: str, content: bytes = b"") -> bytes:
    """An npy file with a header of its own."""
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def declared(shape: str, kind: str = "'<f8'") -> str:
    """The header of an npy file."""
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n"


def spoiled_header(content: bytes, rng: Rng) -> bytes:
    """An npy file whose header alone is spoiled, as text, and says how long it is."""
    size = struct.unpack("<H", content[8:10])[0]
    return npy(spoiled_text(content[10 : 10 + size], rng).decode("latin1")[:60_000], content[10 + size :])


CSV = [
    put("t.csv", b"a,b,c\n" + b"1," * 5_000_000),
    put("t.csv", b"," * 10_000_000),
    put("t.csv", b"a,b\n" + b"1,2\n" * 2_400_000),
    put("t.csv", b"a,b\n" + b"1\n" * 4_000_000),
    put("t.csv", b'a,b\n"' + b"1,2\n" * 100_000),
    put("t.csv", b"9" * 9_000_000),
    put("t.csv", b"a" * 5_000_000 + b"," + b"b" * 4_900_000 + b"\n1,2\n"),
    put("t.csv", b"\n" * 9_000_000),
    put("t.csv", "\n".join(["=cmd|' /C calc'!A0,<script>alert(1)</script>", *["1,2"] * 200]).encode()),
    put("t.csv", b"\0" * 1_000_000),
    put("t.csv", ("a,b\n" + "\n".join(f"{i}e{i},{i}" for i in range(400))).encode()),
    put("t.csv", ("a,b\n" + "\n".join(f"{'9' * 5000},{i}" for i in range(300))).encode()),
    put("t.csv", b"a,b,c\n" + b"0.1\t2;3,4\n" * 300),
]
NPY = [
    put("t.npy", saved(np.array([[Harm(), 1.0]], dtype=object), allow_pickle=True)),
    put("t.npy", npy(declared("(1000000000000, 2)"), bytes(64))),
    put("t.npy", npy(declared("(1000000000, 2)", "'|u1'"), bytes(64))),
    put("t.npy", npy(declared("(-1, 2)"), bytes(64))),
    put("t.npy", npy(declared("(" * 4000 + ")" * 4000), bytes(64))),
    put("t.npy", npy(declared("(4, 2)", "[('a', '<f8', (99999999,))]"), bytes(64))),
    put("t.npy", npy(declared("__import__('os').system('touch pwned')"), bytes(64))),
    put("t.npy", npy(declared("(4, 2)", "'|O'"), pickle.dumps(Harm()))),
    put("t.npy", pickle.dumps(Harm())),
    put("t.npy", saved(np.ones((10_000_000, 1), np.uint8))),
    put("t.npy", saved(np.random.default_rng(0).integers(0, 256, (2_500_000, 4), np.uint8))),
    put("t.npy", saved(np.random.default_rng(0).random((100, 12_000), np.float32))),
]


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """A parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def long_parquet() -> bytes:
    """Two columns of 40 million equal numbers in a few kilobytes."""
    buffer = io.BytesIO()
    part = pa.table({name: np.full(4_000_000, value) for name, value in (("a", 1.0), ("b", 2.0))})
    with pq.ParquetWriter(buffer, part.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(part)
    return buffer.getvalue()


PARQUET = [
    later("t.parquet", long_parquet),
    later("t.parquet", lambda: parquet({"a": ["x" * 10_000_000] * 100, "b": range(100)}, compression="zstd")),
    later(
        "t.parquet", lambda: parquet({"a": pa.array([list(range(100_000))] * 300), "b": range(300)}, compression="zstd")
    ),
    later("t.parquet", lambda: parquet({f"c{i}": np.zeros(100) for i in range(4000)}, compression="zstd")),
    later("t.parquet", lambda: parquet({"<script>": ROWS[:, 0], "b": ROWS[:, 1], "": ROWS[:, 2]})),
]


def picture(form: str, side: int = 8, seed: int = 0) -> bytes:
    """A small image of noise."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, form)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_bomb(width: int, height: int, sound: bool = True) -> bytes:
    """A grey PNG of that many pixels, all black; or one that ends at once."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    size = (3 * width + 1) * height // MIB + 1 if sound else 0
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zeros(size)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A small PNG with compressed text of 128 MiB."""
    packed = zeros(128)
    return picture("png").replace(chunk(b"IEND", b""), chunk(b"zTXt", b"x\0\0" + packed) + chunk(b"IEND", b""))


def spoiled_png(content: bytes, rng: Rng) -> bytes:
    """A PNG with a spoiled chunk whose checksum is right."""
    if content[:4] != b"\x89PNG":
        return spoiled_bytes(content, rng)
    chunks, at = [], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    victim = int(rng.integers(len(chunks)))
    packed = [(name, spoiled_bytes(each, rng) if i == victim else each) for i, (name, each) in enumerate(chunks)]
    return content[:8] + b"".join(chunk(name, each) for name, each in packed)


def image_folder(folder: Path) -> None:
    """A hundred small images in classes, one at least of every form; few enough may be spoiled."""
    for i in range(100):
        ending = list(FORMS)[i] if i < len(FORMS) else ".bmp"
        put(f"mine/{'cat' if i % 2 else 'dog'}/{i:03}{ending}", picture(FORMS[ending], seed=i))(folder)


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(pwned) (w) file closefile\nshowpage\n%%EOF\n"
)
IMAGES = [
    put("mine/cat/001.jpg", png_bomb(20_000, 20_000, sound=False)),
    later("mine/cat/001.jpg", lambda: png_bomb(13_000, 13_000)),
    later("mine/cat/001.jpg", lambda: png_bomb(5_000, 5_000)),
    later("mine/cat/001.jpg", text_bomb),
    put("mine/cat/001.jpg", POSTSCRIPT),
    put("mine/cat/001.png", b""),
    lambda folder: (folder / "mine/cat/pipe.png").symlink_to("/dev/zero"),
    lambda folder: os.mkfifo(folder / "mine/cat/pipe.png"),
    lambda folder: (folder / "mine/cat/loop").symlink_to(folder / "mine"),
    lambda folder: (folder / "mine/cat/gone.png").symlink_to(folder / "nowhere"),
    lambda folder: (folder / "mine/cat/self.png").symlink_to(folder / "mine/cat/self.png"),
    put("mine/<script>alert(1)<script>/x.png", picture("png")),
    lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/mine/cat/\xff\xfe.png")).write_bytes(picture("png")),
    lambda folder: (folder / "mine/cat/a\nb.png").write_bytes(b"no image"),
    lambda folder: (folder / "mine" / "=cmd|calc.png").write_bytes(picture("png")),
]  # fmt: skip


def archive(members: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as found:
        for name, content in members.items():
            found.writestr(name, content)
    return buffer.getvalue()


PICTURES = {f"{'cat' if i % 2 else 'dog'}/{i:03}.png": picture("png", seed=i) for i in range(100)}


def tar_bomb(
    name: str, size: int, pack: Callable[[bytes], bytes] = gzip.compress, kind: bytes = tarfile.REGTYPE
) -> bytes:
    """An archive whose first member has so many MiB of zeros."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size * MIB, kind
    return bomb(size, entry.tobuf(tarfile.USTAR_FORMAT), pack)


def sparse() -> bytes:
    """An archive with a file of a terabyte in which there is nothing."""
    size = 2**40
    entry = tarfile.TarInfo("cat/huge.png")
    entry.pax_headers = {"GNU.sparse.map": f"{size},0", "GNU.sparse.size": str(size), "GNU.sparse.numblocks": "1"}
    return entry.create_pax_header(entry.get_info(), "utf-8") + archive(PICTURES)


def with_link(kind: bytes, target: str, name: str = "cat/evil.png") -> bytes:
    """An archive of images and a link, and a file below it."""
    buffer = io.BytesIO(archive(PICTURES))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, target
        tar.addfile(link)
        below = tarfile.TarInfo(f"{name}/x.png")
        below.size = 1
        tar.addfile(below, io.BytesIO(b"x"))
    return buffer.getvalue()


def resummed(content: bytes, rng: Rng) -> bytes:
    """A tar archive with a spoiled header whose checksum is right."""
    found = bytearray(content)
    at = 512 * int(rng.integers(max(1, min(len(found) // 512, 8))))
    found[at : at + 512] = spoiled_bytes(bytes(found[at : at + 512]), rng).ljust(512, b"\0")[:512]
    found[at + 148 : at + 156] = b" " * 8
    found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
    return bytes(found)


TAR = [
    later("t.tar", lambda: tar_bomb("cat/a.png", 3000)),
    later("t.tar", lambda: tar_bomb("cat/a.txt", 6000)),
    later("t.tar", lambda: tar_bomb("cat/a.png", 8000, lzma.compress)),
    later("t.tar", lambda: tar_bomb("x", 3000, kind=tarfile.GNUTYPE_LONGNAME)),
    later("t.tar", lambda: tar_bomb("x", 3000, kind=tarfile.XHDTYPE)),
    put("t.tar", archive({f"../../{name}": each for name, each in PICTURES.items()})),
    put("t.tar", archive({f"/abs/{name}": each for name, each in PICTURES.items()})),
    put("t.tar", with_link(tarfile.SYMTYPE, "/etc/passwd")),
    put("t.tar", with_link(tarfile.LNKTYPE, "../../../etc/passwd")),
    put("t.tar", with_link(tarfile.LNKTYPE, "cat/evil.png")),
    put("t.tar", with_link(tarfile.FIFOTYPE, "")),
    put("t.tar", bomb(1)),
    put("t.tar", sparse()),
    put("t.tar", archive({"cat/a.png": b"x"} | {f"cat/{i}.txt": b"" for i in range(5_000)})),
    put("t.tar", archive(PICTURES | {"dog/\x1b[31m.png": b"", "dog/<script>.png": b"x", "dog/a\nb.png": b"y"})),
]
ZIP = [
    later("t.zip", lambda: zipped(PICTURES | {"cat/a.png": bytes(300 * MIB)})),
    put("t.zip", zipped({f"../../{name}": each for name, each in PICTURES.items()})),
    put("t.zip", zipped(PICTURES | {"C:\\x.png": b"", "dog/\x00.png": b""})),
    put("t.zip", zipped({f"cat/{i}.txt": b"" for i in range(20_000)})),
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


def rezipped(content: bytes, rng: Rng) -> bytes:
    """A zip archive of which a member, or a member of a member, is spoiled."""
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        members = {name: found.read(name) for name in found.namelist()}
    victim = any_of(rng, sorted(members))
    inner = victim.endswith(".npz") and rng.random() < 0.7
    spoil = rezipped if inner else spoiled_header if victim.endswith(".npy") and rng.random() < 0.5 else spoiled_bytes
    return zipped(members | {victim: spoil(members[victim], rng)})


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


def wines(folder: Path) -> None:
    """A table as the red wine's."""
    rows = np.random.default_rng(2).gamma(3.0, 1.0, (200, 12)).round(1)
    np.savetxt(folder / "winequality-red.csv", rows, "%.1f", ";", header="names", comments="")


def events(folder: Path) -> None:
    """Tables as HEPMASS has them."""
    (folder / "maf/hepmass").mkdir(parents=True)
    for part in ("train", "test"):
        rows = np.column_stack([np.ones(200), np.random.default_rng(1).normal(size=(200, 27))])
        np.savetxt(
            folder / f"maf/hepmass/1000_{part}.csv",
            rows,
            "%.4f",
            ",",
            header=",".join(["label", *"x" * 27]),
            comments="",
        )


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
CELLS = st.text(st.characters(codec="utf-8"), max_size=6) | st.floats().map(str) | st.integers().map(str)
TABLES = drawn(
    st.lists(st.lists(CELLS, min_size=1, max_size=4).map(",".join), min_size=1, max_size=8).map("\n".join), 300
)


def drawn_table(content: bytes, rng: Rng) -> bytes:
    """A table of arbitrary cells, at times repeated so that there are enough rows, or in front of a real one."""
    text = str(any_of(rng, TABLES)).encode()
    return any_of(rng, [text, b"\n".join([text] * 120), text + b"\n" + content, content + text])  # type: ignore[no-any-return]


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
