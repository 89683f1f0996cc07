"""Runs: paired where they should be, identical after an interruption, and a row with its reason when they fail."""

from __future__ import annotations

import _thread
import errno
import itertools
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.model import build_model
from bench.core.phases import minibatches
from bench.core.plan import Selection, make_plan
from bench.core.run_folder import LOG
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import Suite, load_suite
from bench.core.task import Places, Task
from bench.data import Dataset, load_dataset
from bench.images.models import LatentModel
from gebm import energy_steps
from gebm.refit import EnergyRefit
from gebm.training import AlternatingTraining

from ...faults import studies
from ...faults.disk import failing
from ..conftest import changed, do, plan_one

MODELS = ("gebm", "gebm-dv", "gan-hinge", "gan-ns")


def built(task: Task, dataset: Dataset | None = None) -> LatentModel:
    """The untrained model of a task, of one on the digits without a dataset."""
    model = build_model(task.spec, dataset or load_dataset("digits", None), torch.device("cpu"))
    assert isinstance(model, LatentModel)
    return model


def numbers(store: Store, task: Task) -> dict[str, Any]:
    """Everything a run found that is not a duration."""
    return studies.numbers(store, task.spec.run_id)


def ignore(_: Any) -> None:
    """A progress callback."""


def test_models_of_a_comparison_are_paired(tiny: Suite, store: Store) -> None:
    models = {name: built(plan_one(tiny, store, name).task) for name in MODELS}
    first = models["gebm"]
    for model in models.values():
        assert model.facts() == first.facts()
        assert type(model.base.network) is type(first.base.network)
        for one, other in ((model.base, first.base), (model.energy, first.energy)):
            for name, value in one.state_dict().items():
                assert torch.equal(value, other.state_dict()[name]), name
        one, other = (minibatches(each, "data-order", 8, each.codec.dequantise).next() for each in (model, first))
        assert torch.equal(one, other)
        latents = (each.base.prior.sample(3, each.streams.generator("evaluation-latents")) for each in (model, first))
        assert torch.equal(*latents)
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
def test_an_interrupted_run_is_identical(tiny: Suite, store: Store, finished: Store, model: str) -> None:
    """Stopped at every 17th look, through training, refit, chains and evaluations alike."""
    task = plan_one(tiny, store, model).task
    assert stops_until_done(task, 17) >= 3
    assert numbers(store, task) == numbers(finished, task)


def test_a_dataset_that_changed_since_the_plan_is_not_used(tiny: Suite, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "t.npy"

    def write(seed: int) -> None:
        np.save(file, np.random.default_rng(seed).normal(size=(400, 8)))

    write(0)
    task = plan_one(load_suite("density"), store, "flow-realnvp", datasets=[f"npy:{file}"]).task
    write(1)
    outcome = execute(task, ignore, lambda: False)
    assert outcome.state == "failed"
    assert outcome.reason == "dataset 'npy-t' changed since the run was planned; the same command plans it anew"
    assert store.folder(task.spec).training() is None


def by_older_torch(task: Task) -> Task:
    """A task as it was planned with another version of torch."""
    return replace(task, training=replace(task.training, versions={**task.training.versions, "torch": "0"}))


def test_a_library_that_changed_since_the_plan_is_not_used(tiny: Suite, store: Store) -> None:
    outcome = execute(by_older_torch(plan_one(tiny, store).task), ignore, lambda: False)
    assert outcome.state == "failed"
    assert outcome.reason == f"torch 0 → {version('torch')} since the run was planned; the same command plans it anew"


def test_code_that_changed_since_the_plan_is_not_run(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    other = {name: {**getattr(task.training, name), "gebm.objectives": "0"} for name in ("code", "texts")}
    outcome = execute(replace(task, training=replace(task.training, **other)), ignore, lambda: False)
    assert outcome.state == "failed"
    assert outcome.reason == "gebm.objectives changed since the run was planned; the same command plans it anew"


@pytest.mark.parametrize("model", ["gebm", "gan-ns+refit"])
def test_a_state_that_other_libraries_left_is_not_continued(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Nor if the run starts from one that they trained to its end."""
    task, looks = plan_one(tiny, store, model).task, 17
    older = replace(by_older_torch(task), base=task.base and by_older_torch(task.base))
    with monkeypatch.context() as then:
        then.setattr("bench.core.runner.replaced", lambda _: "")
        if older.base:
            assert execute(older.base, ignore, lambda: False).state == "done"
        stopped = execute(older, ignore, lambda asked=itertools.count(): next(asked) >= looks)  # type: ignore[misc]
    assert stopped.state == "stopped"
    for phase in (AlternatingTraining, EnergyRefit):
        monkeypatch.setattr(phase, "load_state_dict", lambda *_: pytest.fail("continued"))
    told: list[dict[str, Any]] = []
    assert execute(task, told.append, lambda: False).state == "done"
    warnings = [each["warning"] for each in told if "warning" in each]
    assert warnings[-1].endswith("was left by other code, libraries or device; this run starts again")


def test_a_readout_that_never_asks_is_left(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an annealed log Z of minutes; it starts anew when the run is continued."""
    reading = threading.Event()

    def endless(*_: Any) -> None:
        reading.set()
        while True:
            time.sleep(0.01)

    task = plan_one(tiny, store, "gan-ns").task
    with monkeypatch.context() as patch:
        patch.setattr("bench.images.evaluation.read_base", endless)
        outcome = execute(task, ignore, reading.is_set)
    assert (outcome.state, outcome.reason) == ("stopped", "stopped after all 60 steps")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert execute(task, ignore, lambda: False).state == "done"


def test_nan_is_a_row_and_the_suite_goes_on(tiny: Suite, store: Store) -> None:
    hot = changed(tiny, "training", learning_rate=1e3, energy_learning_rate=1e3)
    outcome = do(plan_one(hot, store))
    assert outcome.state == "failed"
    assert outcome.reason.startswith("diverged: ")
    assert "not finite in training at step 50" in outcome.reason
    again = plan_one(hot, store)
    assert (again.found.state, again.pending) == ("failed", False)
    # as when another process did it: not trained again
    assert execute(again.task, ignore, lambda: 1 / 0).state == "failed"  # type: ignore[arg-type,return-value]
    assert do(plan_one(tiny, store, "data")).state == "done"


def test_a_crash_is_a_row_with_its_traceback_and_is_tried_again(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LatentModel, "fit", lambda *_: 1 / 0)
        outcome = do(plan_one(tiny, store, "gan-ns"))
    assert (outcome.state, outcome.reason) == ("failed", "error: ZeroDivisionError: division by zero")
    planned = plan_one(tiny, store, "gan-ns")
    log = store.folder(planned.task.spec) / LOG
    assert "ZeroDivisionError" in log.read_text()
    assert planned.pending
    assert do(planned).state == "done"
    assert log.read_text().rstrip().endswith("done")


def test_out_of_memory_is_a_row(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(LatentModel, "fit", fit)
    assert do(plan_one(tiny, store)).reason == "out of memory"


def shortage(tried: str, allocated: str, processes: str = "") -> str:
    """What torch says of a device of 23.50 GiB, 1.25 GiB of it free."""
    return (
        f"CUDA out of memory. Tried to allocate {tried}. GPU 0 has a total capacity of 23.50 GiB of which 1.25 GiB is free. {processes}"
        f"Of the allocated memory {allocated} is allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated. If reserved "
        "but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


ALONE = "Including non-PyTorch memory, this process has 22.25 GiB memory in use. "
SHARED = (
    "Process 81 has 11.75 GiB memory in use. Including non-PyTorch memory, this process has 10.50 GiB memory in use. "
)


@pytest.mark.parametrize(
    ("told", "batch_size", "reason"),
    [
        (
            shortage("3.00 GiB", "21.50 GiB"),
            128,
            "at least 24.50 GiB, 23.25 GiB available; batch_size 64 should fit",
        ),
        (shortage("3.00 GiB", "21.50 GiB", ALONE), 100, "23.25 GiB available; batch_size 64 should fit"),
        (
            shortage("60.00 GiB", "4.00 GiB"),
            128,
            "at least 64.00 GiB, 5.75 GiB available; batch_size 8 should fit",
        ),
        (
            shortage("3.00 GiB", "9.75 GiB", SHARED),
            128,
            "11.50 GiB available, 11.75 GiB held by other processes; batch_size 64 should fit",
        ),
        (shortage("1.50 GiB", "21.50 GiB"), 128, "23.25 GiB available in fragments; batch_size 64 should fit"),
        ("HIP out of memory.", 16, "at batch_size 16; a smaller one may fit"),
    ],
)
def test_out_of_device_memory_says_which_batch_would_fit(
    told: str, batch_size: int, reason: str, tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(_: Any) -> None:
        raise torch.OutOfMemoryError(told)

    monkeypatch.setattr(AlternatingTraining, "step", step)
    outcome = do(plan_one(changed(tiny, "training", batch_size=batch_size), store))
    assert outcome.state == "failed"
    assert outcome.reason.startswith(f"out of device memory in training at batch_size {batch_size}")
    assert outcome.reason.endswith(reason)
    assert plan_one(changed(tiny, "training", batch_size=batch_size), store).pending


def test_out_of_device_memory_outside_training_names_no_batch(
    tiny: Suite, done: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(*_: Any) -> None:
        raise torch.OutOfMemoryError(shortage("3.00 GiB", "21.50 GiB"))

    monkeypatch.setattr(LatentModel, "sample", compute)
    planned = plan_one(tiny, done, "gan-ns")
    for path in (done.folder(planned.task.spec).path / "evals").iterdir():
        path.unlink()
    assert do(planned).reason == "out of device memory: needs at least 24.50 GiB, 23.25 GiB available"


def test_a_status_that_cannot_be_read_now_is_left_alone(tiny: Suite, done: Store) -> None:
    planned = plan_one(tiny, done)
    status = done.folder(planned.task.spec) / "status.json"
    kept = status.read_bytes()
    with failing(status.parent, 1, errno.EMFILE, False):
        outcome = do(planned)
    assert (outcome.state, outcome.reason) == ("failed", f"{status} cannot be read: Too many open files")
    assert status.read_bytes() == kept
    assert do(planned).state == "hit"


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_run_that_no_thread_can_hold_is_not_begun(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    task = replace(plan_one(tiny, store).task, raises=False)
    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", refuse)
        outcome = execute(task, lambda _: None, lambda: False)
    assert (outcome.state, outcome.reason) == ("failed", f"not begun: {error or 'out of memory'}")
    assert not store.folder(task.spec).path.exists()
    assert store.holder(task.spec.run_id) is None


def test_fresh_starts_again_and_keeps_the_old(tiny: Suite, done: Store) -> None:
    planned = plan_one(tiny, done, "gan-ns", fresh=True)
    before = numbers(done, planned.task)
    assert planned.pending
    assert do(planned).state == "done"
    assert numbers(done, planned.task) == before
    assert len(list((done.root / "aside").iterdir())) == 1


def test_real_data_runs_once_whatever_the_seeds(tiny: Suite, store: Store) -> None:
    plan = make_plan(tiny, Selection(models=["data", "gan-ns"], seeds=[4, 5, 6]), Places(store.root))
    specs = [(p.task.spec.model, p.task.spec.seed) for p in plan]
    assert specs == [("data", 4), ("gan-ns", 4), ("gan-ns", 5), ("gan-ns", 6)]


def test_the_peak_of_memory_is_recorded_and_said(tiny: Suite, make_store: Callable[[str], Store]) -> None:
    store = make_store("store")
    planned = plan_one(tiny, store, "data")
    outcome = do(planned)
    peak = store.folder(planned.task.spec).read_json("training.json")["peak_memory"]  # type: ignore[index]
    assert peak.keys() == {"resident"}
    assert 2**26 < peak["resident"] < 2**36  # torch alone takes more than 64 MiB, in whatever unit the system counts
    assert outcome.reason == f"peak memory {peak['resident'] / 2**20:,.0f} MiB resident"


def test_the_precision_of_a_profile_reaches_both_phases(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = plan_one(changed(tiny, precision="bf16"), store).task
    config = plan_one(tiny, store).task.spec.config
    assert {config[phase]["precision"] for phase in ("training", "refit")} == {"float32"}
    precisions: list[str] = []

    def mixed(name: str, *_: Any) -> Any:
        precisions.append(name)
        return nullcontext()

    monkeypatch.setattr(energy_steps, "mixed_precision", mixed)
    assert execute(task, ignore, lambda: False).state == "done"
    assert precisions.count("bf16") == len(precisions) >= 60 + 20


def test_runs_choose_kernels_that_give_the_same_bits_again(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an H100 two trainings in float32 from one seed ended apart without it, five pairs of five."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    assert do(plan_one(tiny, store)).state == "done"
    assert torch.backends.cudnn.deterministic
