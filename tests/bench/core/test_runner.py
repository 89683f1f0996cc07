"""Runs: paired where they should be, identical after an interruption, and a row with its reason when they fail."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.core import registry
from bench.core.plan import Selection, make_plan, wants_work
from bench.core.runner import Task, execute
from bench.core.seeds import Streams
from bench.core.spec import Suite
from bench.core.store import Store
from bench.data import Dataset, load_dataset
from bench.images.models import LatentModel, build_model
from gebm import energy_steps

from ..conftest import plan_one

MODELS = ("gebm", "gebm-dv", "gan-hinge", "gan-ns")


def built(task: Task, dataset: Dataset | None = None) -> LatentModel:
    """The untrained model of a task, of one on the digits without a dataset."""
    spec = task.spec
    data = dataset or load_dataset("digits", None)
    model = build_model(spec, registry.get("models", spec.model).load(), data, torch.device("cpu"))
    assert isinstance(model, LatentModel)
    return model


def numbers(store: Store, task: Task) -> dict[str, Any]:
    """Everything a run found that is not a duration."""
    folder = store.folder(task.spec)
    found: dict[str, Any] = {"curve": (folder / "curve.jsonl").read_text()}
    found |= {name: (t.shape, t.numpy().tobytes()) for name, t in load_file(folder / "checkpoint.safetensors").items()}
    for path in sorted((folder.path / "evals").iterdir()):
        if path.suffix == ".npy":
            found[path.name] = path.read_bytes()
        else:
            result = json.loads(path.read_text())
            found[path.name] = {k: v for k, v in result.items() if k not in ("seconds", "sha256")}
    return found


def ignore(_: Any) -> None:
    """A progress callback."""


def test_models_of_a_comparison_are_paired(tiny: Suite, store: Store) -> None:
    tasks = {name: plan_one(tiny, store, name).task for name in MODELS}
    models = {name: built(task) for name, task in tasks.items()}
    first = models["gebm"]
    for model in models.values():
        assert model.facts() == first.facts()
        assert type(model.base.network) is type(first.base.network)
        for one, other in ((model.base, first.base), (model.energy, first.energy)):
            for name, value in one.state_dict().items():
                assert torch.equal(value, other.state_dict()[name]), name
        assert torch.equal(model.data_stream("data-order", 8).next(), first.data_stream("data-order", 8).next())
        latents = model.streams.generator("evaluation-latents")
        assert torch.equal(
            torch.randn(3, generator=latents), torch.randn(3, generator=first.streams.generator("evaluation-latents"))
        )
    other_seed = built(plan_one(tiny, store, "gebm", 1).task)
    assert other_seed.facts()["initial_weights"] != first.facts()["initial_weights"]
    assert other_seed.facts()["architecture"] == first.facts()["architecture"]


def test_construction_leaves_the_global_generator_alone(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    built(task)
    assert torch.equal(torch.rand(2), expected)


def test_certificate_counts_by_hand(tiny: Suite, store: Store) -> None:
    facts = built(plan_one(tiny, store).task).facts()
    generator = (4 * 16 + 16) + 2 * 16 + (16 * 64 + 64)
    assert facts["parameters"] == {"generator": generator, "discriminator": (64 * 16 + 16) + (16 + 1)}
    assert facts["flops"]["generator"] == 2 * (4 * 16 + 16 * 64)


def stops_until_done(task: Task, looks: int) -> int:
    """How often a run is stopped that has to stop after so many looks, and is continued, until it is done."""
    stops = 0
    while True:
        asked = itertools.count()
        outcome = execute(task, ignore, lambda asked=asked: next(asked) >= looks)  # type: ignore[misc]
        if outcome.state == "done":
            return stops
        assert outcome.state == "stopped", outcome
        stops += 1


@pytest.mark.parametrize("model", ["gebm", "gan-ns"])
def test_an_interrupted_run_is_identical(tiny: Suite, make_store: Callable[[str], Store], model: str) -> None:
    """Stopped at every 37th look, through training, refit, chains and evaluations alike."""
    whole, pieces = make_store("whole"), make_store("pieces")
    assert execute(plan_one(tiny, whole, model).task, ignore, lambda: False).state == "done"
    task = plan_one(tiny, pieces, model).task
    assert stops_until_done(task, 37) >= 3
    assert numbers(pieces, task) == numbers(whole, plan_one(tiny, whole, model).task)


def test_base_rows_start_from_the_same_latents(tiny: Suite, store: Store) -> None:
    """Chains of length 0 are the base: its images are those that the chain starts from."""
    gebm = plan_one(tiny, store).task
    model = built(gebm)
    streams = Streams(0, "digits", 0, "gan-ns")
    latents = model.base.prior.sample(5, streams.generator("evaluation-latents"))
    assert torch.equal(latents, model.base.prior.sample(5, model.streams.generator("evaluation-latents")))


def test_nan_is_a_row_and_the_suite_goes_on(tiny: Suite, store: Store) -> None:
    hot = tiny.model_copy(deep=True)
    profile = hot.profiles["quick"]
    training = profile.training.model_copy(update={"learning_rate": 1e30, "energy_learning_rate": 1e30})
    hot.profiles["quick"] = profile.model_copy(update={"training": training})
    planned = plan_one(hot, store)
    outcome = execute(planned.task, ignore, lambda: False)
    assert outcome.state == "failed"
    assert outcome.reason.startswith("diverged: ")
    assert "not finite in training at step 50" in outcome.reason
    again = plan_one(hot, store)
    assert (again.found.state, wants_work(again)) == ("failed", False)
    assert (
        execute(again.task, ignore, lambda: 1 / 0).state == "failed"
    )  # as when another process did it: not trained again
    assert execute(plan_one(tiny, store).task, ignore, lambda: False).state == "done"


def test_a_crash_is_a_row_with_its_traceback_and_is_tried_again(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LatentModel, "fit", lambda *_: 1 / 0)
        outcome = execute(plan_one(tiny, store).task, ignore, lambda: False)
    assert outcome.state == "failed"
    assert outcome.reason == "error: ZeroDivisionError: division by zero"
    planned = plan_one(tiny, store)
    assert "ZeroDivisionError" in (store.folder(planned.task.spec) / "error.txt").read_text()
    assert wants_work(planned)
    assert execute(planned.task, ignore, lambda: False).state == "done"


def test_out_of_memory_is_a_row(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(LatentModel, "fit", fit)
    assert execute(plan_one(tiny, store).task, ignore, lambda: False).reason == "out of memory"


def test_fresh_starts_again_and_keeps_the_old(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    execute(task, ignore, lambda: False)
    before = numbers(store, task)
    (planned,) = make_plan(tiny, Selection(models=["gebm"], seeds=[0]), store, fresh=True)
    assert wants_work(planned)
    assert execute(planned.task, ignore, lambda: False).state == "done"
    assert numbers(store, task) == before
    assert len(list((store.root / "attic").iterdir())) == 1


def test_real_data_runs_once_whatever_the_seeds(tiny: Suite, store: Store) -> None:
    plan = make_plan(tiny, Selection(models=["data", "gan-ns"], seeds=[4, 5, 6]), store)
    assert [(p.task.spec.model, p.task.spec.seed) for p in plan] == [
        ("data", 4),
        ("gan-ns", 4),
        ("gan-ns", 5),
        ("gan-ns", 6),
    ]


def test_the_peak_of_memory_is_recorded_and_said(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store, "gan-ns").task
    outcome = execute(task, ignore, lambda: False)
    peak = store.folder(task.spec).read_json("training.json")["peak_memory"]  # type: ignore[index]
    assert peak.keys() == {"resident"}
    assert 2**26 < peak["resident"] < 2**36  # torch alone takes more than 64 MiB, in whatever unit the system counts
    assert outcome.reason == f"peak memory {peak['resident'] / 2**20:,.0f} MiB resident"


def test_the_precision_of_a_profile_reaches_both_phases(tiny: Suite, store: Store) -> None:
    mixed = tiny.model_copy(deep=True)
    mixed.profiles["quick"] = tiny.profiles["quick"].model_copy(update={"precision": "bf16"})
    assert plan_one(tiny, store).task.spec.precision == "float32"
    task = plan_one(mixed, store).task
    precisions = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(energy_steps, "mixed_precision", lambda name, *_: precisions.append(name) or nullcontext())
        assert execute(task, ignore, lambda: False).state == "done"
    profile = tiny.profiles["quick"]
    assert precisions.count("bf16") == len(precisions) >= profile.training.base_steps + profile.refit.steps
