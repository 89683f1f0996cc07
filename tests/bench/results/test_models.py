"""Trained models come back as they were trained, without their data, and what is damaged or not theirs is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import bench
from bench.components import registry
from bench.core.model import Model, build_model
from bench.core.plan import resolve
from bench.core.rebuild import RebuildError, data_facts, rebuilt, without_rows
from bench.core.run_folder import RunFolder, StoreError
from bench.core.spec import RunSpec
from bench.core.store import NotInStoreError, Store
from bench.core.suite import SuiteError, load_suite
from bench.data import Dataset, DatasetError, load_dataset
from bench.data.images import PixelCodec
from bench.results.models import find_trained, rebuild
from bench.results.one_run import OneRun
from bench.results.samples import SamplingError, draw, plan
from bench.results.weights import WeightsError
from gebm.model import GEBM

from ...synthetic_store import change

CPU = torch.device("cpu")


def run_of(store: Store, model: str) -> RunFolder:
    (folder,) = (store.root / "runs/digits" / model).iterdir()
    return RunFolder(folder)


def loaded(store: Store, model: str) -> Model:
    return rebuild(*find_trained(run_of(store, model).path))


@pytest.mark.parametrize("model", ["gebm", "gan-ns"])
def test_a_loaded_model_makes_the_images_that_the_run_was_scored_by(finished: Store, model: str) -> None:
    rows = OneRun.read(run_of(finished, model)).rows
    (kept,) = (np.load(str(row.pictures)) for row in rows if row.sampler == "base")
    found, codec = loaded(finished, model), PixelCodec(17)
    x = found.sample(100, found.random_stream("evaluation-latents"))  # type: ignore[attr-defined]
    again = codec.to_bytes(codec.quantise(x)).numpy()[: len(kept)]
    np.testing.assert_array_equal(again, kept)


def test_a_gebm_is_a_gebm_by_whatever_name_its_run_goes(finished: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_of(finished, "gebm").path
    first = bench.load_model(folder)
    assert isinstance(first, GEBM)
    assert not any(each.requires_grad or module.training for module in first.modules() for each in module.parameters())
    monkeypatch.chdir(finished.root.parent)
    for name in (folder.relative_to(finished.root), folder.name, f"gebm/{folder.name[:4]}", "digits/gebm/"):
        again = bench.load_model(str(name), "store")
        assert isinstance(again, GEBM)
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert hasattr(bench.load_model("gan-ns", "store"), "sample")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "no run 'nosuch' in .*; `bench status`"),
        ("digits", "2 runs go by 'digits', .*gan-ns/.*, digits/gebm/"),
        ("", "name a run"),
    ],
)
def test_a_name_of_no_run_or_of_two_is_said(finished: Store, name: str, message: str) -> None:
    with pytest.raises(NotInStoreError, match=message):
        bench.load_model(name, finished.root)


def test_what_is_damaged_absent_or_foreign_is_refused(done: Store, tmp_path: Path) -> None:
    folder = run_of(done, "gebm")
    with pytest.raises(StoreError, match="no store at"):
        bench.load_model("gebm", tmp_path / "none")
    (folder / "checkpoint.safetensors").write_bytes((folder / "checkpoint.safetensors").read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is damaged; `bench run` of its suite does it again"):
        bench.load_model(folder.path)
    for name in ("training.json", "status.json"):
        (folder / name).unlink()
    with pytest.raises(WeightsError, match="has no trained model yet: missing, not run yet"):
        bench.load_model(folder.path)
    change(folder / "spec.json", kind=None)
    with pytest.raises(StoreError, match=r"spec.json lacks kind: written by another version"):
        bench.load_model(folder.path)


def test_a_copy_of_a_run_by_any_name_is_that_run(done: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run_of(done, "gebm").path, tmp_path / "mine")
    assert OneRun.read(RunFolder(tmp_path / "mine")).state == "done"
    monkeypatch.chdir(tmp_path / "mine")
    assert OneRun.read(RunFolder(Path())).state == "done"


def test_other_code_and_unfinished_training_are_warned_of(done: Store) -> None:
    folder = run_of(done, "gan-ns")
    training = folder.read_json("training.json")
    assert training is not None
    code = training["stage"]["code"] | {"gebm.model": "of other code"}
    change(folder / "training.json", stage=training["stage"] | {"code": code}, steps_done=7)
    with pytest.warns(UserWarning, match="digits/gan-ns/") as warned:
        bench.load_model(folder.path)
    first, second = (str(each.message) for each in warned)
    assert "was trained by other code or libraries (gebm.model changed)" in first
    assert "is unfinished: 7 of 60 steps, in training" in second


def test_a_run_of_before_facts_about_data_were_kept_reads_its_data(done: Store) -> None:
    folder = run_of(done, "gebm")
    change(folder / "training.json", data=None)
    assert loaded(done, "gebm").dataset.splits["train"].shape[1:] == (1, 8, 8)
    change(folder / "spec.json", dataset_digest="0" * 64)
    with pytest.raises(DatasetError, match=r"dataset 'digits' is not what digits/gebm/.* was trained on"):
        loaded(done, "gebm")


def test_weights_of_other_networks_are_refused_in_one_line(finished: Store) -> None:
    model = loaded(finished, "gebm")
    state = {name: value for name, value in model.state().items() if "base" in name}
    with pytest.raises(
        RebuildError, match=r"^the weights of digits/gebm/\S+ do not fit gebm of this version: .*[Mm]issing"
    ):
        rebuilt(model.spec, model.dataset, state, CPU)


def specs(suite: str, dataset: Dataset) -> Iterator[RunSpec]:
    """Every model of ours that a suite can train on a dataset."""
    loaded = load_suite(suite)
    for entry in registry.entries("models").values():
        if not entry.origin and dataset.kind in entry.facts.get("fits", ("image",)):
            with suppress(SuiteError):  # the suite lacks what the model is trained by
                yield resolve(loaded, "quick", dataset, entry, seed=0)


@pytest.mark.parametrize(
    ("suite", "source", "least"), [("images", "digits", 12), ("density", "csv:", 15), ("toy", "line", 3)]
)
def test_every_model_is_built_again_without_its_rows(
    suite: str, source: str, least: int, tmp_path: Path, tiny_path: Path
) -> None:
    """With the weights it had; only densities that are estimated and held-out data have rows in the place of weights."""
    table = np.random.default_rng(0).normal(size=(400, 3))
    np.savetxt(tmp_path / "table.csv", table, delimiter=",", header="a,b,c", comments="")
    source = f"csv:{tmp_path / 'table.csv'}" if source == "csv:" else source
    dataset, built = load_dataset(source, None), 0
    for spec in specs(str(tiny_path) if suite == "images" else suite, dataset):
        model = build_model(spec, dataset, CPU)
        if not model.modules():
            continue
        state = {name: value + 1 if value.is_floating_point() else value for name, value in model.state().items()}
        again = rebuilt(spec, without_rows(spec, data_facts(dataset)), state, CPU)
        assert again.state().keys() == state.keys(), spec.model
        assert all(torch.equal(again.state()[name], value) for name, value in state.items()), spec.model
        built += 1
    assert built >= least


def test_rows_of_a_model_without_data_are_an_error_that_says_so(finished: Store) -> None:
    with pytest.raises(DatasetError, match="loaded without its data, and this needs their train split"):
        loaded(finished, "gebm").dataset.splits["train"]


def test_draws_are_where_the_chain_ended_and_a_seed_gives_them_again(finished: Store) -> None:
    trained, weights = find_trained(run_of(finished, "gebm").path)
    model = rebuild(trained, weights)
    planned = plan(model, trained, "ula", 1.0, 5, None)
    assert str(planned) == "ula, 5 steps of 0.01 at β=1"  # the run's own chain's
    drawn, again, other = (draw(model, planned, 20, seed) for seed in (3, 3, 4))
    assert drawn.samples.shape == (20, 1, 8, 8)
    np.testing.assert_array_equal(drawn.samples, again.samples)
    assert (drawn.samples != other.samples).any()
    gebm, codec = model.gebm, PixelCodec(17)  # type: ignore[attr-defined]
    with torch.no_grad():
        x = gebm.base(torch.from_numpy(drawn.latents))
        np.testing.assert_allclose(gebm.energy(x).numpy(), drawn.energy, rtol=1e-3, atol=1e-5)
        assert (
            codec.to_bytes(codec.quantise(x)).numpy() == drawn.samples
        ).mean() > 0.99  # folded weights round otherwise


def test_a_colder_target_has_a_lower_energy(finished: Store) -> None:
    trained, weights = find_trained(run_of(finished, "gebm").path)
    model = rebuild(trained, weights)
    means = [
        float(np.mean(draw(model, plan(model, trained, "mala", beta, 200, 0.05), 200, 0).energy))  # type: ignore[arg-type]
        for beta in (0.0, 50.0)
    ]
    assert means[1] < means[0]


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ("gan-ns", ("ula", 1.0, 10, None), "gan-ns has no energy that a chain could follow"),
        ("gan-ns", ("ula", 1.0, 0, None), "a temperature is of a chain"),
        ("gebm", ("drs", 1.0, 10, None), "drs calibrates its own logit on held-out data"),
        ("gebm", ("independent", 1.0, 10, 0.1), "sampler 'independent' has no setting 'step_size'"),
    ],
)
def test_samples_that_cannot_be_had_are_refused(
    finished: Store, model: str, asked: tuple[object, ...], message: str
) -> None:
    trained, weights = find_trained(run_of(finished, model).path)
    with pytest.raises(SamplingError, match=message):
        plan(rebuild(trained, weights), trained, *asked)  # type: ignore[arg-type]
