"""The commands and the resume path with the published families of networks, on a synthetic folder of images in a few seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench.cli import main
from bench.core.plan import Selection, make_plan
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import SuiteError, load_suite
from bench.core.task import Places
from bench.data import load_dataset
from bench.metrics import classifier
from bench.metrics.extractors import load_extractor

from ..conftest import plan_one
from ..core.test_runner import built, ignore, numbers, stops_until_done

NETWORKS = {
    "sngan": 'family = "sngan", latent = 4, width = 2',
    "sngan-resnet": 'family = "sngan-resnet", latent = 4, width = 1',
}
SUITE = """
name = "small"
summary = "networks of images, too small to mean anything"

[profiles.quick]
datasets = ["DATASET"]
models = ["gebm", "gan-hinge", "gan-ns", "wgan-gp", "data"]
seeds = [0]
minutes_per_run = 0.02
network = { NETWORK }
refit = { steps = 4, batch_size = 8, check_every = 2, partition_samples = 16 }

[profiles.quick.training]
base_steps = 6
batch_size = 8
n_critic = 2
burst = 3
burst_every = 4
penalty_every = 2
ema = 0.9

[profiles.quick.evaluation]
samples = 20
partition_samples = 40
chains = [{ sampler = "ula", beta = 100, step_size = 1e-4, lengths = [1, 2] }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 60 images of 32×32, one bright at the top and one at the bottom."""
    rng = np.random.default_rng(0)
    for label in ("top", "bottom"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(60):
            image = rng.integers(0, 100, (32, 32, 3), dtype=np.uint8)
            image[slice(0, 16) if label == "top" else slice(16, 32)] += 150
            Image.fromarray(image).save(tmp_path / "pictures" / label / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def suite_path(folder: Path, request: pytest.FixtureRequest) -> Path:
    path = folder.parent / "small.toml"
    path.write_text(SUITE.replace("DATASET", f"folder:{folder}").replace("NETWORK", NETWORKS[request.param]))
    return path


@pytest.fixture(autouse=True)
def quick_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "default_steps", lambda size, channels: 5)


both_families = pytest.mark.parametrize("suite_path", NETWORKS, indirect=True)


@both_families
def test_an_interrupted_run_is_identical(suite_path: Path, tmp_path: Path) -> None:
    """Channels-last weights, spectral norms' vectors and Adam's moments come back with their bits and layout."""
    suite = load_suite(str(suite_path))
    whole, pieces = Store(tmp_path / "whole").create(), Store(tmp_path / "pieces").create()
    expected = plan_one(suite, whole, "gebm").task
    assert execute(expected, ignore, lambda: False).state == "done"
    task = plan_one(suite, pieces, "gebm").task
    assert stops_until_done(task, 4) >= 2
    assert numbers(pieces, task) == numbers(whole, expected)


@both_families
def test_models_of_a_comparison_have_the_same_networks_channels_last(suite_path: Path, tmp_path: Path) -> None:
    suite, store = load_suite(str(suite_path)), Store(tmp_path / "none")
    dataset = load_dataset(suite.profiles["quick"].datasets[0], None)
    models = [built(plan_one(suite, store, name).task, dataset) for name in ("gebm", "gan-hinge", "gan-ns", "wgan-gp")]
    assert all(model.facts() == models[0].facts() for model in models[1:])
    kernels = [weight for weight in models[0].energy.parameters() if weight.dim() == 4 and weight.shape[1] > 1]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    images = models[0].base(torch.randn(2, 4))
    assert images.shape == (2, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("suite_path", ["sngan"], indirect=True)
def test_the_command_trains_scores_and_finds_everything_again(
    suite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "decoded"))
    store = tmp_path / "store"
    (name,) = load_suite(str(suite_path)).profiles["quick"].datasets
    load_extractor("folder-pictures-cnn", load_dataset(name, None), Store(store).create().cache, None)
    arguments = ["run", "--suite", str(suite_path), "--store", str(store), "--model", "wgan-gp", "--model", "data"]
    result = CliRunner().invoke(main, [*arguments, "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "decoded").glob("folder-pictures-*/index.json"))) == 1
    (evaluation,) = store.glob("runs/folder-pictures/wgan-gp/*/evals/*.json")
    (row,) = json.loads(evaluation.read_text())["rows"]
    assert {"fd[folder-pictures-cnn]", "fd-infinity[folder-pictures-cnn]"} <= row["scores"].keys()
    assert row["frechet_curve"][-1] == [20, row["scores"]["fd[folder-pictures-cnn]"]]
    assert "right on held-out images" in row["key"]
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0
    assert "2 hit" in again.output


@pytest.mark.parametrize("suite_path", ["sngan-resnet"], indirect=True)
def test_what_cannot_be_done_is_said_before_anything_runs(suite_path: Path, folder: Path, tmp_path: Path) -> None:
    suite, places = load_suite(str(suite_path)), Places(tmp_path / "none")
    with pytest.raises(SuiteError, match=r"sngan-resnet takes images of side 32 or 64; folder-pictures-16 is 3×16×16"):
        make_plan(suite, Selection(datasets=[f"folder:{folder}#16"]), places)
    for path in folder.rglob("*.png"):
        path.rename(folder / f"{path.parent.name}-{path.name}")
    for label in ("top", "bottom"):
        (folder / label).rmdir()
    with pytest.raises(SuiteError, match=r"has no classes to train an in-domain extractor on; .*BENCH_WEIGHTS"):
        make_plan(suite, Selection(), places)


def test_the_shipped_suites_have_the_papers_settings() -> None:
    for name, family in (("cifar10", "sngan"), ("cifar10-resnet", "sngan-resnet")):
        paper = load_suite(name).profiles["paper"]
        assert paper.network == {"family": family, "latent": 100, "width": 64}
        training = paper.training
        assert (training.base_steps, training.batch_size, training.n_critic) == (150_000, 128, 5)
        assert (training.burst, training.burst_every, training.penalty, training.penalty_every) == (100, 500, 1.0, 1)
        assert (training.learning_rate, training.energy_learning_rate) == (1e-4, 1e-4)
        assert training.betas == (0.5, 0.999)
        assert {chain.beta for chain in paper.evaluation.chains} == {1, 100}
        assert max(max(chain.lengths) for chain in paper.evaluation.chains) == 1000
