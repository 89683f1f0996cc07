"""Official datasets: the real RedWine and MINIBOONE splits where they are at hand; small files in the official layouts for the others."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import Dataset, DatasetError, load_dataset
from bench.data.dkef import dithered
from bench.data.maf import continuous_columns, uncorrelated_columns

from .conftest import facts, old_frame

Place = Callable[..., Path]
RNG = np.random.default_rng(7)


def sizes(dataset: Dataset) -> tuple[int, ...]:
    return tuple(len(rows) for rows in dataset.splits.values())


def all_rows(dataset: Dataset) -> np.ndarray:
    return np.concatenate(list(dataset.splits.values())).astype(np.float64)


def test_redwine_is_the_published_protocol(real_data: Path) -> None:
    dataset = load_dataset("redwine", real_data)
    assert sizes(dataset) == (1296, 144, 159)
    assert dataset.shape == (11,)
    assert facts(dataset).duplicates.total == 240
    assert facts(dataset).duplicates.in_train["test"] > 0
    assert not facts(dataset).unverified
    train = dataset.splits["train"].astype(np.float64)
    np.testing.assert_allclose(np.cov(train.T, ddof=0), np.eye(11), atol=1e-4)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    assert np.abs(dataset.splits["test"].mean(axis=0)).max() > 1e-3  # fitted to the training rows alone


def test_redwine_rows_are_the_public_codes_in_its_order(real_data: Path) -> None:
    """Row for row what the public code makes of seed 3, up to the rotation that whitening leaves free."""
    data = np.loadtxt(real_data / "winequality-red.csv", delimiter=";", skiprows=1)[:, :-1]
    np.random.seed(3)  # noqa: NPY002 (as the public code does)
    np.random.shuffle(data)  # noqa: NPY002
    for column in range(11):
        gap = np.median(np.diff(np.unique(data[:, column])))
        data[:, column] += (np.random.rand(len(data)) * 2 - 1) * gap  # noqa: NPY002
    centred = data - data.mean(axis=0)
    original = all_rows(load_dataset("redwine-original@3", real_data))
    inverse = np.linalg.inv(np.cov(centred.T, ddof=0))
    np.testing.assert_allclose(
        np.square(original).sum(axis=1), np.einsum("ni,ij,nj->n", centred, inverse, centred), rtol=1e-4
    )


def test_splits_of_different_seeds_differ_and_original_whitening_sees_the_test_rows(real_data: Path) -> None:
    names = ("redwine", "redwine@1", "redwine@2", "redwine-original")
    ours, first, second, original = (load_dataset(name, real_data) for name in names)
    assert len({each.digest for each in (ours, first, second, original)}) == 4
    assert load_dataset("redwine@0", real_data).digest == ours.digest
    assert first.name == "redwine@1"
    np.testing.assert_allclose(np.cov(all_rows(original).T, ddof=0), np.eye(11), atol=1e-4)
    assert facts(ours).log_det != facts(original).log_det


def test_miniboone_small_is_mafs_validation_and_test_split(real_data: Path) -> None:
    dataset = load_dataset("miniboone-small", real_data)
    assert sizes(dataset) == (2956, 328, 3648)
    rows = np.concatenate([np.load(real_data / "miniboone" / f"{split}.npy") for split in ("val", "test")])
    np.testing.assert_array_equal(np.concatenate(list(dataset.splits.values())), rows.astype(np.float32))


def wine(path: Path, rows: int = 400) -> None:
    values = np.round(RNG.gamma(3.0, 1.0, (rows, 12)), 1)
    np.savetxt(path, values, "%.1f", ";", header=";".join(f'"c{i}"' for i in range(12)), comments="")


def test_whitewine_in_its_layout(place: Place, tmp_path: Path) -> None:
    place("winequality-white.csv", wine, verified=False)
    dataset = load_dataset("whitewine", tmp_path)
    assert sizes(dataset) == (324, 36, 40)
    assert dataset.shape == (11,)
    assert facts(dataset).unverified


def test_noise_fills_the_gap_between_values() -> None:
    values = RNG.integers(0, 20, (5000, 2)) * np.array([0.1, 5.0])
    noise = dithered(values, np.random.RandomState(0)) - values
    assert np.abs(noise).max(axis=0) == pytest.approx([0.1, 5.0], rel=0.01)
    assert len(np.unique(noise)) == noise.size


def parkinsons(path: Path) -> None:
    values = RNG.standard_normal((300, 22))
    for copy, of, sign in ((9, 8, 1), (12, 8, 1), (16, 15, -1), (20, 19, 1)):
        values[:, copy] = sign * values[:, of] + 0.01 * RNG.standard_normal(300)
    header = "subject#," + ",".join(f"c{i}" for i in range(1, 22))
    np.savetxt(path, values, delimiter=",", header=header, comments="")


def test_parkinsons_drops_identifiers_and_correlated_columns(place: Place, tmp_path: Path) -> None:
    place("parkinsons_updrs.data", parkinsons, verified=False)
    dataset = load_dataset("parkinsons@2", tmp_path)
    assert dataset.shape == (19 - 3,)  # of the negative pair none goes: only the first drop is by the absolute value
    assert sizes(dataset) == (243, 27, 30)


def hepmass_files(place: Place, test_has_mass: bool) -> tuple[np.ndarray, np.ndarray]:
    """The archive's two tables: label, 27 features of which five are discrete and one is cut off below, and the test file's mass."""
    made = []
    for name, rows, extra in (("1000_train.csv", 900, False), ("1000_test.csv", 420, test_has_mass)):
        features = RNG.standard_normal((rows, 27)).round(6)
        features[:, [5, 9, 13, 17, 21]] = RNG.integers(0, 3, (rows, 5))
        features[:, 22] = np.maximum(features[:, 22], 0)
        labels = (np.arange(rows) % 3 > 0).astype(float)
        table = np.column_stack([labels, features, *([np.full(rows, 1000.0)] if extra else [])])
        header = ",".join(["# label", *(f"f{i}" for i in range(27)), *(["mass"] if extra else [])])
        place(
            f"maf/hepmass/{name}",
            lambda path, table=table, header=header: np.savetxt(path, table, "%.6f", ",", header=header, comments=""),
        )
        made.append(features[labels == 1])
    return made[0], made[1]


@pytest.mark.parametrize("test_has_mass", [True, False])
def test_hepmass_in_both_protocols(
    place: Place, tmp_path: Path, test_has_mass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = hepmass_files(place, test_has_mass)
    kept = [i for i in range(27) if i not in (5, 9, 13, 17, 21, 22)]
    dataset = load_dataset("hepmass", tmp_path)
    assert sizes(dataset) == (540, 60, 280)
    assert facts(dataset).features == tuple(f"f{i}" for i in kept)
    assert not facts(dataset).unverified
    expected = (test[:, kept] - train[:, kept].mean(axis=0)) / train[:, kept].std(axis=0, ddof=1)
    np.testing.assert_allclose(dataset.splits["test"], expected, atol=1e-5)
    monkeypatch.setattr("bench.data.dkef.HEPMASS_TEST", 200)
    other = load_dataset("hepmass-dkef@1", tmp_path)
    assert other.shape == (22,)
    assert sizes(other) == (612, 68, 200)


def test_miniboone_in_both_protocols(place: Place, tmp_path: Path) -> None:
    rows = RNG.standard_normal((1000, 43)) * 3 + 1
    place("maf/miniboone/data.npy", lambda path: np.save(path, rows))
    dataset = load_dataset("miniboone", tmp_path)
    assert sizes(dataset) == (810, 90, 100)
    expected = (rows - rows[:900].mean(axis=0)) / rows[:900].std(axis=0)
    np.testing.assert_allclose(all_rows(dataset), expected, atol=1e-5)
    assert facts(dataset).log_det == pytest.approx(-np.log(rows[:900].std(axis=0)).sum())
    assert sizes(load_dataset("miniboone-dkef", tmp_path)) == (810, 90, 100)
    assert load_dataset("miniboone-dkef-original", tmp_path).shape == (43,)


def test_power_is_what_the_public_code_makes(place: Place, tmp_path: Path) -> None:
    rows = np.round(RNG.gamma(2.0, 1.0, (500, 8)), 2)
    place("maf/power/data.npy", lambda path: np.save(path, rows))
    rng, data = np.random.RandomState(42), rows.copy()
    rng.shuffle(data)
    data = np.delete(np.delete(data, 3, axis=1), 1, axis=1)
    voltage, gap, metering = 0.01 * rng.rand(500, 1), 0.001 * rng.rand(500, 1), rng.rand(500, 3)
    data = data + np.hstack([gap, voltage, metering, np.zeros((500, 1))])
    expected = (data - data[:450].mean(axis=0)) / data[:450].std(axis=0)
    dataset = load_dataset("power", tmp_path)
    assert sizes(dataset) == (405, 45, 50)
    np.testing.assert_allclose(all_rows(dataset), expected, atol=1e-5)


def gas_columns(rows: int = 600) -> dict[str, np.ndarray]:
    columns = {name: RNG.standard_normal(rows) for name in ("Time", "Meth", "Eth", *(f"R{i}" for i in range(1, 11)))}
    columns["R4"] = columns["R2"] + 0.01 * RNG.standard_normal(rows)
    columns["R7"] = -columns["R3"]
    return columns


def test_gas_from_a_pickle_of_old_pandas(place: Place, tmp_path: Path) -> None:
    columns = gas_columns()
    columns["R7"] = columns["R9"] * 1.0 + 0.01 * RNG.standard_normal(600)
    place("maf/gas/ethylene_CO.pickle", lambda path: old_frame(path, columns))
    dataset = load_dataset("gas", tmp_path)
    kept = [f"R{i}" for i in (1, 3, 4, 5, 6, 8, 9, 10)]
    assert facts(dataset).features == tuple(kept)
    assert sizes(dataset) == (486, 54, 60)
    raw = np.stack([columns[name] for name in kept], axis=1)
    np.testing.assert_allclose(all_rows(dataset), (raw - raw.mean(axis=0)) / raw.std(axis=0, ddof=1), atol=1e-5)


class Harmful:
    """Runs a command when it is unpickled by someone who lets it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> object:
        return Path.touch, (self.witness,)


def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(place: Place, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    place("maf/gas/ethylene_CO.pickle", pickle.dumps(Harmful(witness)))
    with pytest.raises(DatasetError, match="can be read safely"):
        load_dataset("gas", tmp_path)
    assert not witness.exists()
    for content in (pickle.dumps([1, 2]), b"nonsense", b"", pickle.dumps({"_data": 1})):
        place("maf/gas/ethylene_CO.pickle", content)
        with pytest.raises(DatasetError, match="ethylene_CO"):
            load_dataset("gas", tmp_path)


def test_bsds300_is_as_it_is_in_the_file(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    rows = {"train": 90, "validation": 10, "test": 20}
    splits = {split: RNG.standard_normal((count, 63)) for split, count in rows.items()}

    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.update(splits)

    place("maf/BSDS300/BSDS300.hdf5", make)
    dataset = load_dataset("bsds300", tmp_path)
    for split, values in splits.items():
        np.testing.assert_array_equal(dataset.splits[split], values.astype(np.float32))
    place("maf/BSDS300/BSDS300.hdf5", b"not HDF5")
    with pytest.raises(DatasetError, match="HDF5 file of three splits"):
        load_dataset("bsds300", tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match=r"pip install \"gebm-bench\[tabular\]\""):
        load_dataset("bsds300", tmp_path)


def test_columns_that_repeat_or_correlate() -> None:
    rows = RNG.standard_normal((100, 4))
    rows[:6, 1] = -9.0  # six times the smallest value
    rows[:50, 2] = 9.0  # often, but not the smallest: MAF's code keeps it
    assert continuous_columns(rows) == [0, 2, 3]
    rows[:, 3] = rows[:, 0] + 1e-3 * rows[:, 2]
    assert uncorrelated_columns(rows) == [1, 2, 3]


@pytest.mark.parametrize(
    "name", ["redwine", "parkinsons-original", "gas", "bsds300", "hepmass-dkef", "miniboone-small"]
)
@pytest.mark.parametrize("root", ["none", "empty"])
def test_files_that_are_not_there_are_named_with_the_remedy(name: str, root: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"{name} needs .*: bench data fetch {name}, or BENCH_DATA=folder"):
        load_dataset(name, None if root == "none" else tmp_path)


@pytest.mark.parametrize("content", [b"a;b\n1;x\n", b"a;b\n1;2\n", b"\xff\xfe\x00"])
def test_files_of_another_form_are_refused_in_a_line(place: Place, tmp_path: Path, content: bytes) -> None:
    place("winequality-white.csv", content, verified=False)
    with pytest.raises(DatasetError, match=r"winequality-white\.csv") as caught:
        load_dataset("whitewine", tmp_path)
    assert "\n" not in str(caught.value)
