"""`bench refit` as a user meets it: fitted, shown, and listed for good."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bench.core.run_folder import RunFolder
from bench.core.store import Store

from .conftest import SUITE, bench, scores

GENERATOR = """
from torch import nn


def tiny() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
"""


def test_what_was_fitted_is_shown_and_stays_listed(
    done: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's generator, a file's and a module's, each by a command of its own; the file and the earlier commands are needed no more."""
    suite, file = tmp_path / "tiny.toml", tmp_path / "generator.safetensors"
    suite.write_text(SUITE)
    (tmp_path / "somebodys.py").write_text(GENERATOR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    (run,) = (done.root / "runs/digits/gan-ns").iterdir()
    save_file(load_file(run / "checkpoint.safetensors"), file)
    options = ("--suite", suite, "--store", done.root)
    shown = bench("refit", f"digits/gan-ns/{run.name[:5]}", *options).output
    assert "gan-ns+refit" in shown
    assert "1 run: 1 done" in shown
    assert "1 run: 1 done" in bench("refit", file, "--steps", 10, *options).output
    file.unlink()
    assert "own-generator+refit" in bench("refit", "somebodys:tiny", "--latent", 6, *options).output
    models = [(row["suite"], row["model"]) for row in scores(done.root) if row["sampler"] == "base"]
    assert {suite for suite, _ in models} == {"tiny-refit"}
    assert sorted({model for _, model in models}) == ["gan-ns+refit", "own-generator+refit"]
    assert len({row["identity"] for row in scores(done.root)}) == 3
    assert "1 run: 1 hit" in bench("refit", f"digits/gan-ns/{run.name}", *options).output


def test_the_help_has_an_example() -> None:
    shown = bench("refit", "--help").output
    assert "bench refit digits/gan-ns/" in shown
    assert "package.module:name" in shown


def test_a_generator_that_is_not_trained_to_its_end_is_refused(done: Store, tmp_path: Path) -> None:
    suite, store = tmp_path / "tiny.toml", tmp_path / "runs"
    suite.write_text(SUITE)
    shutil.copytree(done.root, store)
    (run,) = (store / "runs/digits/gan-ns").iterdir()
    folder = RunFolder(run)
    training = folder.read_json("training.json")
    assert training is not None
    folder.write_json("training.json", training | {"steps_done": 3})
    refused = bench("refit", f"digits/gan-ns/{run.name}", "--suite", suite, "--store", store, code=2).stderr
    assert f"digits/gan-ns/{run.name} is trained for 3 of " in refused
    assert "finish it first, by its `bench run`" in refused


def test_settings_of_a_refit_name_another_model_and_are_in_its_command(done: Store, tmp_path: Path) -> None:
    suite = tmp_path / "tiny.toml"
    suite.write_text(SUITE)
    (run,) = (done.root / "runs/digits/gan-ns").iterdir()
    command = ("refit", f"digits/gan-ns/{run.name}", "--suite", suite, "--store", done.root)
    assert "gan-ns+refit[penalty=1]" in bench(*command, "--set", "refit.penalty=1", "--steps", 10).output
    page = bench("report", "--store", done.root, "--suite", "tiny-refit", "--format", "markdown").stdout
    assert (
        "--suite tiny.toml --profile quick --dataset digits --seed 0 --steps 10 --set refit.penalty=1 --store runs"
        in page
    )
    for wrong, words in (
        (
            "training.base_steps=5",
            "training.base_steps changes nothing here; a refit takes its settings from post_hoc, refit",
        ),
        ("refit.penality=1", "refit.penality: unknown key; did you mean 'penalty'?"),
    ):
        assert words in bench(*command, "--set", wrong, code=2).stderr
