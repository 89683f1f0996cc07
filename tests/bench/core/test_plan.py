"""Which datasets of a profile are planned: the first at hand of each choice, the absent ones named, none silently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.core.plan import Selection, make_plan, mixed_devices
from bench.core.store import Lookup
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places
from bench.data import NotAtHandError, load_dataset

from ..conftest import changed

DENSITY = """
name = "some"
summary = "a suite of one cheap model"
kind = "density"
[profiles.any-name]
datasets = DATASETS
models = ["kde"]
seeds = [0]
minutes_per_run = 1
flows.realnvp = { family = "realnvp", layers = 2, hidden = 8 }
energy = { widths = [8] }
likelihood = { steps = 1, batch_size = 8 }
training = { base_steps = 1, batch_size = 8 }
refit = { steps = 1, batch_size = 8 }
"""


def planned(folder: Path, datasets: str, *chosen: str) -> tuple[list[str], list[str]]:
    """The datasets that are planned, and what is said about the others."""
    path = folder / "some.toml"
    path.write_text(DENSITY.replace("DATASETS", datasets))
    suite: Suite = load_suite(str(path))
    said: list[str] = []
    places = Places(folder / "store", folder / "data")
    found = make_plan(suite, Selection("any-name", datasets=chosen), places, warn=said.append)
    return [each.task.spec.dataset for each in found], said


@pytest.mark.parametrize(
    ("datasets", "expected", "line"),
    [
        ('["known-density-8", "redwine"]', ["known-density-8"], "left out: redwine needs winequality-red.csv"),
        ('[["redwine", "known-density-8"]]', ["known-density-8"], "known-density-8 stands in: redwine needs"),
        ('[["known-density-8", "redwine"]]', ["known-density-8"], ""),
        ('[["redwine", "whitewine"], "known-density-8"]', ["known-density-8"], "left out: redwine needs"),
    ],
)
def test_what_is_not_at_hand_is_left_out_aloud(tmp_path: Path, datasets: str, expected: list[str], line: str) -> None:
    found, said = planned(tmp_path, datasets)
    assert found == expected
    assert said[0].startswith(line) if line else not said


def test_nothing_at_hand_or_asked_for_by_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotAtHandError, match=r"redwine needs winequality-red.csv: bench data fetch redwine"):
        planned(tmp_path, '[["redwine", "whitewine"]]')
    with pytest.raises(NotAtHandError, match="redwine needs"):
        planned(tmp_path, '["known-density-8"]', "known-density-8", "redwine")


def test_many_seeds_are_planned_as_each_is_alone(tiny: Suite, tmp_path: Path) -> None:
    models, places = ["gebm", "gan-ns+refit", "data"], Places(tmp_path)
    together = make_plan(tiny, Selection(models=models, seeds=[3, 0, 7]), places)
    alone = [make_plan(tiny, Selection(models=[model], seeds=[seed]), places) for seed in (3, 0, 7) for model in models]
    assert together == [p for plan in alone for p in plan if p.task.spec.model != "data" or p.task.spec.seed == 3]
    refit = together[4].task
    assert refit.base
    assert (refit.spec.seed, refit.base.spec.seed, refit.base.spec.model) == (0, 0, "gan-ns")
    assert len({p.task.spec.run_id for p in together}) == 7


def test_kinds_of_device_in_one_comparison_are_told(tiny: Suite, tmp_path: Path) -> None:
    done, todo = make_plan(tiny, Selection(models=["gebm"]), Places(tmp_path))
    done = replace(done, found=Lookup("hit", device="NVIDIA A100"))
    assert mixed_devices([done, todo], {"NVIDIA A100"}) == []
    assert "(1 on NVIDIA A100, 1 on cpu)" in mixed_devices([done, todo], {"cpu"})[0]
    assert "(1 on NVIDIA A100, 1 on NVIDIA H100)" in mixed_devices([done, todo], {"NVIDIA H100"})[0]
    again = replace(done, task=replace(done.task, fresh=True))
    assert mixed_devices([again, todo], {"cpu"}) == []
    (real,) = make_plan(tiny, Selection(models=["data"]), Places(tmp_path))
    assert mixed_devices([done, real], {"cpu"}) == []


def test_a_plan_without_data_says_what_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    shown = CliRunner().invoke(main, ["plan", "--suite", "cifar10", "--seeds", "0-1", "--model", "gebm"])
    assert shown.exit_code == 2
    assert shown.stdout == "cifar10 or cifar10-jpeg75/gebm  no data  seeds 0,1\n"
    assert shown.stderr.startswith("bench: cifar10 needs ")
    assert "bench data fetch cifar10" in shown.stderr


@pytest.mark.parametrize("datasets", ["[[]]", '[["redwine", "redwine"]]', '[["redwine", "rdwine"]]'])
def test_a_choice_is_of_datasets_that_there_are(tmp_path: Path, datasets: str) -> None:
    with pytest.raises(SuiteError, match="datasets"):
        planned(tmp_path, datasets)


def test_too_few_held_out_images_are_told_before_anything_runs(tiny: Suite, tmp_path: Path) -> None:
    many, said = changed(tiny, "evaluation", samples=500), list[str]()
    make_plan(many, Selection(), Places(tmp_path), warn=said.append)
    for suite in (tiny, many):
        chosen = Selection(datasets=["digits"], sweeps={"training.penalty": [1, 2]})
        make_plan(suite, chosen, Places(tmp_path), warn=said.append)
    assert said == [
        "digits has 400 held-out images and 500 are scored of each model: data gets no scores; --set evaluation.samples=400 scores as many "
        "of every model, or leave data out"
    ]


def test_a_classifier_of_one_class_is_refused_before_anything_runs(tiny: Suite, tmp_path: Path) -> None:
    digits = load_dataset("digits", None)
    one = replace(digits, labels={split: np.full_like(labels, 3) for split, labels in digits.labels.items()})
    with pytest.raises(SuiteError, match="digits has one class only in its training split to train an in-domain"):
        make_plan(tiny, Selection(), Places(tmp_path), lambda _: one)
