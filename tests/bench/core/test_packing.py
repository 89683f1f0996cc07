"""How many runs share a CUDA device: what its memory holds by the peak of runs on its model, never more than the processor can feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench.core.campaign import Campaign
from bench.core.packing import CONTEXT, USABLE, Packing, packing_of
from bench.core.run_folder import RunFolder
from bench.core.store import Store
from bench.core.suite import Suite
from bench.core.task import Outcome
from bench.executors.jobs import Job, JobEvent

from ..conftest import plan_one

GIB = 2**30
TWO = [("GPU", 80 * GIB), ("GPU", 80 * GIB)]


Record = Callable[[Path, str, dict[str, int]], None]


@pytest.fixture
def record(synthetic: ModuleType) -> Record:
    """What a run leaves of the memory that it took."""

    def leave(folder: Path, device: str, peak: dict[str, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        training = synthetic.TRAINED | {"checkpoint": "c" * 64, "peak_memory": peak}
        RunFolder(folder).write_json("training.json", training)
        RunFolder(folder).write_json("env.json", {"device": device})

    return leave


@pytest.mark.parametrize("peak", [1, GIB, 7 * GIB, 35 * GIB, 36 * GIB, 200 * GIB])
def test_as_many_runs_share_a_device_as_fit_and_one_always_does(peak: int) -> None:
    found = Packing(TWO, 10**6, peaks={"GPU": peak}).per_device
    assert found == 1 or found * (peak + CONTEXT) <= USABLE * 80 * GIB
    assert (found + 1) * (peak + CONTEXT) > USABLE * 80 * GIB


def test_cores_jobs_and_the_smaller_device_bound_it() -> None:
    assert Packing(TWO, 4, peaks={"GPU": GIB}).workers == 8
    assert Packing(TWO, 4, 5, {"GPU": GIB}).workers == 5
    assert Packing([*TWO, ("small", 8 * GIB)], 40, peaks={"GPU": GIB, "small": 3 * GIB}).per_device == 2
    assert Packing([*TWO, ("small", 8 * GIB)], 40, peaks={"GPU": GIB}).per_device == 1


def test_a_peak_counts_on_its_own_model_of_device_only_and_the_highest_does(tmp_path: Path, record: Record) -> None:
    store = Store(tmp_path)
    record(tmp_path / "runs/d/a/1-s0", "GPU", {"resident": GIB, "device": 2 * GIB})
    record(tmp_path / "runs/d/a/1-s1", "GPU", {"device": 70 * GIB})  # a seed of what was asked already
    record(tmp_path / "runs/d/b/2-s0", "GPU", {"device": 5 * GIB})
    record(tmp_path / "runs/d/c/3-s0", "another", {"device": 40 * GIB})
    record(tmp_path / "runs/d/e/4-s0", "CPU", {"resident": 60 * GIB})
    runs = ["d/a/1-s0", "d/a/1-s1", "d/b/2-s0", "d/c/3-s0", "d/e/4-s0", "d/f/5-s0"]
    packing = packing_of(store, runs, TWO, 64)
    assert packing.peaks == {"GPU": 5 * GIB, "another": 40 * GIB}
    assert packing.words.startswith("13 runs per CUDA device, by a peak of 5,120 MiB on GPU")
    assert (
        packing_of(store, runs[3:], TWO, 64).words
        == "1 run per CUDA device until the peak memory of one on GPU is known"
    )


def test_the_first_run_that_ends_tells_how_many_follow_side_by_side(tiny: Suite, store: Store, record: Record) -> None:
    planned = plan_one(tiny, store, "gan-ns")
    campaign = Campaign(tiny, "quick", [planned], store, 2, packing=Packing(TWO, 3))
    job = Job(planned.task.spec.run_id, "module:name", (planned.task,))
    record(store.folder(planned.task.spec).path, "GPU", {"device": 2 * GIB})
    campaign.recorded(JobEvent(job, "done", Outcome("failed")), {job.name: planned})
    assert campaign.workers == 2
    campaign.recorded(JobEvent(job, "done", Outcome("done")), {job.name: planned})
    assert campaign.workers == 6
