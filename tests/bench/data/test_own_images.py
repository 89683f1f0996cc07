"""A user's own images: what becomes of every kind of pixel and folder, and what is refused in a line."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import Dataset, DatasetError, load_dataset
from bench.data.pictures import BROKEN, to_pixels

Make = Callable[..., Path]


def pixels(side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Make:
    """Make a folder of PNGs: `per_class` in each of the classes."""

    def make(
        classes: tuple[str, ...] = ("cat", "dog"), per_class: int = 50, side: int = 16, name: str = "mine"
    ) -> Path:
        folder = tmp_path / name
        for number, label in enumerate(classes):
            (folder / label).mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                Image.fromarray(pixels(side, 1000 * number + i)).save(folder / label / f"{i:03}.png")
        return folder

    return make


def load(folder: Path, suffix: str = "", **options: object) -> Dataset:
    return load_dataset(f"folder:{folder}{suffix}", None, **options)  # type: ignore[arg-type]


def test_class_folders_give_labels_and_every_image_is_in_one_split(images: Make) -> None:
    dataset = load(images(per_class=60))
    assert dataset.name == "folder-mine"
    assert [values.shape for values in dataset.splits.values()] == [(n, 3, 16, 16) for n in (96, 12, 12)]
    originals = [
        (pixels(16, 1000 * label + i).transpose(2, 0, 1).tobytes(), label) for label in (0, 1) for i in range(60)
    ]
    found, labels = (np.concatenate(list(parts.values())) for parts in (dataset.splits, dataset.labels))
    assert sorted(zip(map(bytes, found), labels, strict=True)) == sorted(originals)


def test_seeds_and_contents_are_told_apart(images: Make, tmp_path: Path) -> None:
    folder, cache = images(), tmp_path / "cache"
    first, again, other = load(folder, cache=cache), load(folder, cache=cache), load(folder, "@1", cache=cache)
    assert first.digest == again.digest == load(folder).digest == first.computed_digest()
    assert (other.name, other.digest != first.digest) == ("folder-mine@1", True)
    Image.fromarray(pixels(16, 5000)).save(folder / "cat" / "000.png")
    assert load(folder, cache=cache).digest != first.digest


def test_folders_named_after_splits_are_the_splits(images: Make) -> None:
    folder = images(("train/a", "train/b", "test/a", "test/b"), 25)
    dataset = load(folder)
    assert {split: len(values) for split, values in dataset.splits.items()} == {
        "train": 50,
        "validation": 10,
        "test": 40,
    }
    assert sorted(set(dataset.labels["train"])) == [0, 1]
    (folder / "test" / "a").rename(folder / "val")
    assert len(load(folder).splits["validation"]) == 25


def test_a_tar_of_a_folder_is_the_same_dataset(images: Make, tmp_path: Path) -> None:
    folder = images()
    with tarfile.open(tmp_path / "mine.tar.xz", "w:xz") as tar:
        tar.add(folder, arcname="some/place")
        link = tarfile.TarInfo("some/place/cat/evil.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    archive = load_dataset(f"tar:{tmp_path / 'mine.tar.xz'}", None)
    assert (archive.name, archive.digest) == ("tar-mine", load(folder).digest)


def test_images_without_classes_have_no_labels(images: Make) -> None:
    assert load(images((".",), 100)).labels == {}


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", **options)
    return buffer.getvalue()


def decoded(image: Image.Image, **options: object) -> np.ndarray:
    """The pixels, (8, 8, 3), of a PNG of an image."""
    return to_pixels(png(image, **options), 3).transpose(1, 2, 0)


def test_pixels_become_rgb_as_documented() -> None:
    colour = Image.fromarray(pixels(8, 0))
    assert np.array_equal(decoded(colour), pixels(8, 0))
    grey = colour.convert("L")
    assert (decoded(grey) == np.asarray(grey)[:, :, None]).all()
    palette = colour.quantize(4)
    assert np.array_equal(decoded(palette), np.asarray(palette.convert("RGB")))
    assert (decoded(Image.new("RGBA", (8, 8), (200, 0, 0, 0))) == 255).all(), "transparent is white"
    assert (decoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128))) == 127).all()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    assert np.array_equal(decoded(colour, exif=exif), pixels(8, 0)[::-1, ::-1])
    with pytest.raises(ValueError, match="8 bits"):
        decoded(Image.fromarray(np.zeros((8, 8), np.uint16)))


def test_sizes_that_differ_need_a_side(images: Make) -> None:
    folder = images()
    Image.fromarray(pixels(24, 1)).save(folder / "cat" / "000.png")
    with pytest.raises(DatasetError, match=r"2 sizes, such as 16×16 and 24×24; PATH#16 brings them to 16×16"):
        load(folder)
    assert load(folder, "#8").shape == (3, 8, 8)
    assert load(folder, "#8").name == "folder-mine-8"
    with pytest.raises(DatasetError, match=r"99 images are smaller than 24×24, such as 16×16"):
        load(folder, "#24")


def test_grey_images_have_one_channel_unless_some_have_colour(images: Make) -> None:
    folder = images()
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert load(folder).shape == (1, 16, 16)
    Image.fromarray(pixels(16, 0)).save(folder / "cat" / "000.png")
    assert load(folder).shape == (3, 16, 16)


@pytest.mark.parametrize("damage", ["not an image", "cut off"])
def test_a_few_corrupt_images_are_left_out_and_named(images: Make, damage: str, tmp_path: Path) -> None:
    folder = images(per_class=150)
    victim = folder / "dog" / "007.png"
    victim.write_bytes(b"nonsense" if damage == "not an image" else victim.read_bytes()[:-300])
    dataset = load(folder, cache=tmp_path / "cache")
    assert sum(map(len, dataset.splits.values())) == sum(map(len, dataset.labels.values())) == 299
    assert "1 unreadable images left out: dog/007.png (" in dataset.protocol
    assert all(split.any(axis=(1, 2, 3)).all() for split in dataset.splits.values()), "no empty row stays"
    for number in range(3):
        (folder / "cat" / f"{number:03}.png").write_bytes(victim.read_bytes())
    with pytest.raises(DatasetError, match=r"4 of 300 images cannot be read, cat/000.png .* and 1 more; 1 % at most"):
        load(folder)


@pytest.mark.parametrize("form", ["png", "jpeg", "gif", "webp", "bmp", "tiff", "ppm"])
def test_whatever_damage_an_image_is_read_or_refused(form: str) -> None:
    """200 files with a few bytes changed or the end cut off raise nothing but what is counted as unreadable."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(16, 0)).save(buffer, form)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
        where = rng.integers(0, min(len(content), 200), rng.integers(1, 6))
        content[where] = rng.integers(0, 256, len(where), dtype=np.uint8)
        try:
            to_pixels(content[: rng.integers(len(content) // 2, len(content) + 1)].tobytes(), 3, 8)
        except BROKEN:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: [path.unlink() for path in folder.rglob("*.png")], "is an empty folder"),
        (lambda folder: (folder / "bird").mkdir(), "bird is an empty folder"),
        (
            lambda folder: [path.unlink() for path in folder.rglob("*[1-9].png")],
            "has 10 images; 100 are needed, of which 80 % train",
        ),
        (lambda folder: [path.rename(path.with_suffix(".txt")) for path in folder.rglob("*.png")], "no images in"),
    ],
)
def test_too_little_is_refused_in_a_line(images: Make, spoil: Callable[[Path], object], message: str) -> None:
    folder = images()
    spoil(folder)
    with pytest.raises(DatasetError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_wrong_paths_say_what_they_are(images: Make, tmp_path: Path) -> None:
    folder = images()
    with pytest.raises(DatasetError, match="a folder is folder:PATH"):
        load_dataset(f"tar:{folder}", None)
    with pytest.raises(DatasetError, match="an archive is tar:PATH"):
        load_dataset(f"folder:{folder}/cat/000.png", None)
    (tmp_path / "x.tar").write_bytes(b"no tar at all")
    with pytest.raises(DatasetError, match="is not an archive that can be read"):
        load_dataset(f"tar:{tmp_path}/x.tar", None)
    with pytest.raises(DatasetError, match=r"images are 20×20; networks take squares .*; PATH#16 brings"):
        load(images(side=20, name="odd"))


def test_what_is_advised_of_sizes_can_be_done(images: Make) -> None:
    assert load(images(side=20), "#16").shape == (3, 16, 16)
    with pytest.raises(
        DatasetError, match=r"images are 6×6; .* nothing is enlarged: leave out images below 8×8"
    ) as caught:
        load(images(side=6, name="tiny"))
    assert "#" not in str(caught.value)


def test_too_few_images_in_a_split_are_counted(images: Make) -> None:
    folder = images(("train/a", "train/b", "test/a", "test/b"), 12)
    with pytest.raises(DatasetError, match="has 4 images for validation; 10 are needed"):
        load(folder)
