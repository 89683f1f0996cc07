"""Published images from files of their documented form; real files where there are any."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.core.plan import Selection, make_plan
from bench.core.suite import SuiteError, load_suite
from bench.core.task import Places
from bench.data import DatasetError, files, known_digest, load_dataset
from bench.data import official_images as official
from bench.data.files import File
from bench.data.official_images import FASHION_DEBIAN

Place = Callable[..., Path]
RNG = np.random.default_rng(0)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    """CIFAR batches of 50 images, so that a test writes little."""
    monkeypatch.setattr(official, "CIFAR_BATCH", (50, 3073))
    return 50


def cifar_archive(size: int, spoil: str = "") -> tuple[bytes, np.ndarray]:
    rows = RNG.integers(0, 256, (6, size, 3073), dtype=np.uint8)
    rows[:, :, 0] %= 10
    if spoil == "label":
        rows[0, 0, 0] = 10
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for number in (5, 1, 0, 2, 3, 4)[: 5 if spoil == "missing" else 6]:
            content = rows[number].tobytes()[: -1 if spoil == "short" else None]
            name = f"data_batch_{number + 1}.bin" if number < 5 else "test_batch.bin"
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue(), rows


def test_cifar_batches_in_their_order_whatever_the_archives(place: Place, tmp_path: Path, small_batches: int) -> None:
    content, rows = cifar_archive(small_batches)
    place("cifar-10-binary.tar.gz", content)
    dataset = load_dataset("cifar10", tmp_path, tmp_path / "cache")
    fifth = small_batches // 5
    assert [len(values) for values in dataset.splits.values()] == [5 * small_batches, fifth, small_batches - fifth]
    assert np.array_equal(dataset.splits["train"].reshape(-1, 3072), rows[:5, :, 1:].reshape(-1, 3072))
    assert np.array_equal(dataset.labels["test"], rows[5, fifth:, 0])
    assert "accepted unverified" in dataset.provenance
    whole = load_dataset("cifar10-test", tmp_path, tmp_path / "cache")
    assert np.array_equal(whole.splits["test"].reshape(-1, 3072), rows[5, :, 1:])
    assert "validation" not in whole.splits
    selection = Selection(datasets=["cifar10-test"], models=["gebm"])
    with pytest.raises(SuiteError, match="cifar10-test has no validation split, which picks the energy of gebm"):
        make_plan(load_suite("cifar10"), selection, Places(tmp_path / "none", tmp_path, cache=tmp_path / "cache"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("missing", "has no data_batch_5.bin; is it the binary version"),
        ("short", "bytes; expected"),
        ("label", "a label above 9"),
    ],
)
def test_another_cifar_is_refused(place: Place, tmp_path: Path, small_batches: int, spoil: str, message: str) -> None:
    place("cifar-10-binary.tar.gz", cifar_archive(small_batches, spoil)[0])
    with pytest.raises(DatasetError, match=message):
        load_dataset("cifar10", tmp_path)


def idx(values: np.ndarray) -> bytes:
    header = np.array([0x800 | values.ndim, *values.shape], ">u4")
    return gzip.compress(header.tobytes() + values.tobytes(), 1, mtime=0)


def test_fashion_is_framed_and_its_test_images_split(place: Place, tmp_path: Path) -> None:
    sizes = {"train": 30, "t10k": 10}
    images = {name: RNG.integers(1, 256, (size, 28, 28), dtype=np.uint8) for name, size in sizes.items()}
    for name, values in images.items():
        place(f"fashion-mnist/{name}-images-idx3-ubyte.gz", idx(values))
        labels = np.arange(len(values), dtype=np.uint8) % 10
        place(f"fashion-mnist/{name}-labels-idx1-ubyte.gz", idx(labels))
    dataset = load_dataset("fashion-mnist", tmp_path)
    assert np.array_equal(dataset.splits["train"][:, 0, 2:30, 2:30], images["train"])
    assert dataset.splits["train"].sum() == images["train"].sum(dtype=np.int64), "the frame is black"
    assert np.array_equal(dataset.splits["test"][:, 0, 2:30, 2:30], images["t10k"][2:])
    assert dataset.labels["validation"].tolist() == [0, 1]
    place("fashion-mnist/train-images-idx3-ubyte.gz", idx(np.zeros(30, np.uint8)))
    with pytest.raises(DatasetError, match="is not an idx file of images"):
        load_dataset("fashion-mnist", tmp_path)


@pytest.fixture
def mnist_files(place: Place) -> dict[str, np.ndarray]:
    images = {
        half: RNG.integers(1, 256, (size, 28, 28), dtype=np.uint8) for half, size in (("train", 30), ("t10k", 20))
    }
    for half, values in images.items():
        place(f"mnist/{half}-images-idx3-ubyte.gz", idx(values))
        place(f"mnist/{half}-labels-idx1-ubyte.gz", idx(np.arange(len(values), dtype=np.uint8) % 10))
    return images


def test_mnist_is_split_in_turn(tmp_path: Path, mnist_files: dict[str, np.ndarray]) -> None:
    whole, alone = load_dataset("mnist", tmp_path), load_dataset("mnist-10k", tmp_path)
    inner = {name: values[:, 0, 2:30, 2:30] for name, values in (whole.splits | {"": alone.splits["train"]}).items()}
    assert np.array_equal(inner["train"], mnist_files["train"])
    assert np.array_equal(inner["validation"], mnist_files["t10k"][::5])
    assert whole.labels["test"].tolist() == [1, 2, 3, 4, 6, 7, 8, 9] * 2
    assert np.array_equal(inner[""], mnist_files["t10k"][[*range(8), *range(10, 18)]])
    assert (alone.labels["validation"].tolist(), alone.labels["test"].tolist()) == ([8, 8], [9, 9])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images-idx3", idx(np.zeros((20, 20, 20), np.uint8)), "has images of 20×20 pixels; expected 28×28"),
        ("images-idx3", idx(np.zeros((20, 28, 28), np.uint8))[:-9], "is not an idx file of images"),
        ("images-idx3", idx(np.zeros(20, np.uint8)), "is not an idx file of images"),
        ("labels-idx1", idx(np.zeros((20, 28, 28), np.uint8)), "is not an idx file of labels"),
        ("labels-idx1", idx(np.zeros(19, np.uint8)), "has 20 images, but .* has 19 labels"),
        ("images-idx3", idx(RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8))[:999], "is not an idx file of images"),
        ("images-idx3", b"", "is not an idx file of images"),
        ("images-idx3", idx(np.zeros((30, 28, 28), np.uint8)), "has 30 images, but .* has 20 labels"),
    ],
    ids=[
        "other size",
        "cut short",
        "labels for images",
        "images for labels",
        "a label missing",
        "half downloaded",
        "empty",
        "the other half's images",
    ],
)
def test_another_mnist_is_refused(
    place: Place, tmp_path: Path, mnist_files: dict[str, np.ndarray], name: str, content: bytes, message: str
) -> None:
    place(f"mnist/t10k-{name}-ubyte.gz", content)
    with pytest.raises(DatasetError, match=message):
        load_dataset("mnist-10k", tmp_path)


def test_what_is_downloaded_by_half_or_not_at_all_is_not_mnist(
    tmp_path: Path, mnist_files: dict[str, np.ndarray]
) -> None:
    """Without a receipt, as files lie there that were put there by hand; what would help is said."""
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    for receipt in labels.parent.glob("*.receipt*"):
        receipt.unlink()
    with pytest.raises(DatasetError, match=r"is not the official file .* bench data fetch mnist-10k"):
        load_dataset("mnist-10k", tmp_path)
    labels.unlink()
    with pytest.raises(DatasetError, match=r"^mnist-10k needs mnist/t10k-labels-idx1-ubyte.gz: bench data fetch"):
        load_dataset("mnist-10k", tmp_path)


def test_the_official_digits(tmp_path: Path, real_data: Path) -> None:
    if not (real_data / "mnist").is_dir():
        pytest.skip("BENCH_DATA has no mnist")
    dataset = load_dataset("mnist-10k", real_data, tmp_path)
    assert [values.shape for values in dataset.splits.values()] == [(n, 1, 32, 32) for n in (8000, 1000, 1000)]
    assert dataset.digest == known_digest("mnist-10k")


def test_the_debian_package_is_found_where_the_folder_has_none(tmp_path: Path) -> None:
    place = tmp_path / "package.gz"
    place.write_bytes(b"published")
    file = File("a", "", "md5:none", also=(f"md5:{files.file_digest(place, 'md5')}",), elsewhere=str(place))
    assert files.find("x", [file], tmp_path, files.file_digest) == {place: True}
    place.write_bytes(b"another")
    with pytest.raises(DatasetError, match="is not the official file"):
        files.find("x", [file], tmp_path, files.file_digest)


@pytest.mark.skipif(not Path(FASHION_DEBIAN).is_dir(), reason="the package dataset-fashion-mnist is not installed")
def test_the_debian_package_is_fashion_mnist(tmp_path: Path) -> None:
    dataset = load_dataset("fashion-mnist", None, tmp_path)
    assert [values.shape for values in dataset.splits.values()] == [(n, 1, 32, 32) for n in (60000, 2000, 8000)]
    assert np.bincount(dataset.labels["train"]).tolist() == [6000] * 10
    assert dataset.digest == known_digest("fashion-mnist")


def npz_zip(**members: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, arrays in members.items():
            inner = io.BytesIO()
            np.savez(inner, **arrays)
            archive.writestr(f"{name}.npz", inner.getvalue())
    return buffer.getvalue()


def test_imagenet_batches_by_number_and_classes_from_zero(place: Place, tmp_path: Path) -> None:
    batches = {f"train_data_batch_{i}": RNG.integers(0, 256, (4, 3072), dtype=np.uint8) for i in (1, 10, 2)}
    members = {name: {"data": data, "labels": np.arange(1, 5)} for name, data in batches.items()}
    place("imagenet32/Imagenet32_train_npz.zip", npz_zip(**members))
    held_out = RNG.integers(0, 256, (10, 3072), dtype=np.uint8)
    members = {"val_data": {"data": held_out, "labels": np.full(10, 1000)}}
    place("imagenet32/Imagenet32_val_npz.zip", npz_zip(**members))
    dataset = load_dataset("imagenet32", tmp_path)
    expected = np.concatenate([batches[f"train_data_batch_{i}"] for i in (1, 2, 10)])
    assert np.array_equal(dataset.splits["train"].reshape(-1, 3072), expected)
    assert dataset.labels["train"].tolist() == [0, 1, 2, 3] * 3
    assert np.array_equal(dataset.splits["test"].reshape(-1, 3072), held_out[2:])
    assert set(dataset.labels["test"]) == {999}
    pickled = npz_zip(train_data_batch_1={"data": np.array([{}], object), "labels": np.array([1])})
    place("imagenet32/Imagenet32_train_npz.zip", pickled)
    with pytest.raises(DatasetError, match="an array 'data' that can be read: Object arrays cannot"):
        load_dataset("imagenet32", tmp_path)


def encoded(grey: int, size: tuple[int, int], form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, form, **options)
    return buffer.getvalue()


def test_celeba_has_its_published_splits(place: Place, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(6):
            archive.writestr(f"img_align_celeba/{i:06}.jpg", encoded(40 * i, (178, 218), "jpeg", quality=95))
    place("celeba/img_align_celeba.zip", buffer.getvalue())
    lines = [f"{i:06}.jpg {split}\n" for i, split in enumerate([0, 0, 1, 0, 2, 0])]
    place("celeba/list_eval_partition.txt", "".join(lines).encode())
    small, large = (load_dataset(f"celeba-{side}", tmp_path, tmp_path / "cache") for side in (32, 64))
    assert (small.shape, large.shape, small.labels) == ((3, 32, 32), (3, 64, 64), {})
    assert small.splits["train"].mean(axis=(1, 2, 3)).round().tolist() == [0, 40, 120, 200]
    assert small.splits["validation"].mean().round() == 80
    place("celeba/list_eval_partition.txt", b"000009.jpg 0\n")
    with pytest.raises(DatasetError, match=r"names no image for validation"):
        load_dataset("celeba-32", tmp_path)


def test_lsun_is_read_from_its_database(place: Place, tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    made = tmp_path / "made.mdb"
    with (
        lmdb.open(str(made), subdir=False, map_size=2**24, lock=False) as environment,
        environment.begin(write=True) as t,
    ):
        for i in range(30):
            t.put(f"{i:040x}".encode(), encoded(8 * i, (48, 40), "webp", lossless=True))
    place("lsun/bedroom_train_lmdb/data.mdb", made.read_bytes())
    dataset = load_dataset("lsun-bedroom", tmp_path, tmp_path / "cache")
    brightness = {split: values.mean(axis=(1, 2, 3)).tolist() for split, values in dataset.splits.items()}
    assert brightness["train"] == [8 * i for i in range(24)]
    assert brightness["test"] == [8 * i for i in range(27, 30)]
    place("lsun/bedroom_train_lmdb/data.mdb", b"no database")
    with pytest.raises(DatasetError, match="is not an LMDB file"):
        load_dataset("lsun-bedroom", tmp_path)


def test_cifar_as_jpeg_is_complete(real_data: Path, tmp_path: Path) -> None:
    if not (real_data / "cifar10_jpeg75.tar.xz").is_file():
        pytest.skip("BENCH_DATA has no cifar10_jpeg75.tar.xz")
    told: list[tuple[str, int, int]] = []
    dataset = load_dataset("cifar10-jpeg75", real_data, tmp_path, lambda *said: told.append(said))
    assert [values.shape for values in dataset.splits.values()] == [(n, 3, 32, 32) for n in (50000, 2000, 8000)]
    assert np.bincount(dataset.labels["train"]).tolist() == [5000] * 10
    assert told[-1][1:] == (60000, 60000)
    assert dataset.digest == dataset.computed_digest() == known_digest("cifar10-jpeg75")
