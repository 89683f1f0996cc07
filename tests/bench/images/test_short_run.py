"""The data-space control in the harness: paired with the other models, interrupted without a trace, its samples' cost in its row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.core.model import build_model, capabilities
from bench.core.plan import Selection, make_plan
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places
from bench.data import load_dataset
from bench.images.models import LatentModel
from bench.images.short_run import ShortRunModel

from ..conftest import TINY, changed, do, plan_one
from ..core.test_runner import built, ignore, numbers, stops_until_done

NAME = "ebm-short-run"
SETTINGS = "\n[profiles.quick.short_run]\nsteps = 40\nbatch_size = 16\nlangevin_steps = 3\nlearning_rate = 1e-3\n"


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """The tiny suite with settings for chains over pixels, scored by one metric."""
    path = tmp_path / "short.toml"
    path.write_text(TINY + SETTINGS)
    return changed(load_suite(str(path)), "evaluation", metrics=("fid",))


def model_of(suite: Suite, store: Store) -> ShortRunModel:
    model = build_model(plan_one(suite, store, NAME).task.spec, load_dataset("digits", None), torch.device("cpu"))
    assert isinstance(model, ShortRunModel)
    return model


def test_it_starts_from_the_discriminator_of_every_other_model(suite: Suite, store: Store) -> None:
    model, gebm = model_of(suite, store), built(plan_one(suite, store, "gebm").task)
    assert isinstance(gebm, LatentModel)
    torch.testing.assert_close(model.energy.state_dict(), gebm.energy.state_dict(), rtol=0, atol=0)
    facts, theirs = model.facts(), gebm.facts()
    for name in facts:
        assert facts[name] == {"discriminator": theirs[name]["discriminator"]}
    assert model.steps() == 40


def test_it_can_be_sampled_and_nothing_else(suite: Suite, store: Store) -> None:
    model = model_of(suite, store)
    model.freeze()
    assert capabilities(model) == ["samples"]
    with torch.no_grad():
        first, second = (model.sample(5, torch.Generator().manual_seed(0)) for _ in range(2))
    assert first.shape == (5, 1, 8, 8)
    assert torch.equal(first, second)
    (readout,) = plan_one(suite, store, NAME).task.readouts
    assert readout.kind == "base"


def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_bits(
    suite: Suite, make_store: Callable[[str], Store]
) -> None:
    whole, stopped = make_store("whole"), make_store("stopped")
    planned = plan_one(suite, whole, NAME)
    assert do(planned).state == "done"
    task = plan_one(suite, stopped, NAME).task
    assert stops_until_done(task, 17) >= 2
    assert numbers(whole, planned.task) == numbers(stopped, task)
    (path,) = (whole.folder(planned.task.spec) / "evals").glob("*.json")
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["steps"], row["gradient_evaluations"], row["forward_evaluations"]) == (0, 3, 0)


def test_samples_of_the_others_cost_no_evaluation_of_an_energy(finished: Store) -> None:
    rows = [
        row
        for path in finished.root.glob("runs/digits/gan-ns/*/evals/*.json")
        for row in json.loads(path.read_text())["rows"]
    ]
    assert [(row["gradient_evaluations"], row["forward_evaluations"]) for row in rows] == [(0, 0)]


def test_a_training_that_diverges_is_a_failed_run_with_its_reason(
    suite: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.short_run.LARGEST_LOSS", 1e-12)  # a spectral-normalised network cannot run away
    planned = plan_one(suite, store, NAME)
    outcome = execute(planned.task, ignore, lambda: False)
    assert outcome.state == "failed"
    assert "diverged: energy gap" in outcome.reason


def test_a_profile_without_its_settings_is_refused_in_one_line(tiny: Suite, store: Store) -> None:
    with pytest.raises(SuiteError, match=r"^suite .tiny.: ebm-short-run needs short_run in the profile quick$"):
        make_plan(tiny, Selection(models=[NAME]), Places(store.root))


def test_a_batch_larger_than_the_data_is_refused(suite: Suite, store: Store) -> None:
    with pytest.raises(SuiteError, match=r"batch_size 5000 is more than the .*; --set short_run.batch_size="):
        plan_one(changed(suite, "short_run", batch_size=5000), store, NAME)
