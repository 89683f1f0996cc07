"""Runs that had to leave off: scored as they stand and labelled so, and continued as if they had never stopped."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench import claims
from bench.core.campaign import Shares
from bench.core.files import read_sealed
from bench.core.plan import Planned, Selection, make_plan, wants_work
from bench.core.runner import execute
from bench.core.spec import Suite
from bench.core.store import Store
from bench.core.suite_files import load_suite
from bench.core.task import Outcome, Task
from bench.executors.processes import Job
from bench.report import render
from bench.report.comparisons import compare
from bench.results.compare.pairs import compare as compare_stores
from bench.results.compare.sides import Side
from bench.results.frame import run_states, scan
from bench.results.scores import read_scores, split_sections
from gebm.base import recompute_normalisation
from gebm.training import DivergedError

from ..conftest import plan_one
from ..core.test_runner import built, ignore, numbers
from ..images.test_image_networks import both_families, folder, planned, quick_extractor, suite_path  # noqa: F401


def leave_off(task: Task, seconds: float = -1.0) -> Outcome:
    """Work on a run until so long from now: a deadline that has passed leaves time for one step."""
    return execute(dataclasses.replace(task, deadline=time.monotonic() + seconds), ignore, lambda: False)


def remember(store: Store, *plans: Planned) -> None:
    """List runs as a campaign does."""
    runs = []
    for p in plans:
        listed = {key: getattr(p.task.spec, key) for key in ("dataset", "model", "seed", "identity")}
        readouts = [readout.model_dump(mode="json") for readout in p.task.readouts]
        runs.append({**listed, "run": p.task.spec.run_id, "readouts": readouts})
    store.write_manifest({"suite": "tiny", "profile": "quick", "runs": runs})


@both_families
def test_a_run_that_leaves_off_is_scored_and_ends_with_the_same_bits(suite_path: Path, tmp_path: Path) -> None:  # noqa: F811
    """Scored after a step, stopped without a score two steps on, and so forth."""
    suite = load_suite(str(suite_path))
    whole, pieces = Store(tmp_path / "whole").create(), Store(tmp_path / "pieces").create()
    expected = planned(suite, whole, "gebm").task
    assert execute(expected, ignore, lambda: False).state == "done"
    task = planned(suite, pieces, "gebm").task
    run = pieces.folder(task.spec)
    reasons = []
    while True:
        outcome = leave_off(task)
        assert (outcome.state, outcome.scored) == ("stopped", True), outcome
        assert not (run / "status.json").exists()
        if (run / "training.json").exists():
            break
        found = pieces.lookup(task.spec, task.readouts)
        assert found.state == "partial"
        assert outcome.reason in found.reason
        reasons.append(outcome.reason)
        assert (run / "resume.pt").exists()
        (evaluation,) = (run.unfinished / "evals").glob("*.json")  # those of earlier checkpoints are gone
        assert evaluation.stem == task.readouts[0].identity(run.unfinished.training()["checkpoint"])
        looks = iter(range(10))
        assert execute(task, ignore, lambda looks=looks: next(looks) >= 1).state == "stopped"  # type: ignore[misc]
    assert wants_work(planned(suite, pieces, "gebm"))
    assert execute(task, ignore, lambda: False).state == "done"
    assert reasons == [
        "scored after 1 of 6 base steps, the energy not refitted on the frozen base",
        "scored after 4 of 6 base steps, the energy not refitted on the frozen base",
        "scored after all 6 base steps and 2 of 4 steps of the energy's refit",
    ]
    assert numbers(pieces, task) == numbers(whole, expected)
    assert not run.unfinished.path.exists()


def test_what_is_scored_is_the_averaged_base_with_statistics_of_its_own(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    for _ in range(3):
        leave_off(task)
    run = store.folder(task.spec)
    saved = torch.load(io.BytesIO(read_sealed(run / "resume.pt")), weights_only=True)
    state = saved["phases"]["training"]
    kept = load_file(run.unfinished / "checkpoint.safetensors")
    model = built(task)
    model.base.load_state_dict({k.removeprefix("module."): v for k, v in state["average"].items() if k != "n_averaged"})
    generator = torch.Generator()
    generator.set_state(state["generator"])
    recompute_normalisation(model.base, generator)
    for name, value in model.base.state_dict().items():
        assert torch.equal(kept[f"base.{name}"], value), name
    for name, value in state["energy"].items():
        assert torch.equal(kept[f"energy.{name}"], value), name


def endless(suite: Suite) -> Suite:
    """A suite whose training does not end in the time of a test."""
    changed = suite.model_copy(deep=True)
    profile = changed.profiles["quick"]
    training = profile.training.model_copy(update={"base_steps": 1_000_000})
    changed.profiles["quick"] = profile.model_copy(update={"training": training})
    return changed


def test_every_readout_is_scored_where_time_allows(tiny: Suite, store: Store) -> None:
    found = plan_one(endless(tiny), store)
    outcome = leave_off(found.task, 8.0)
    assert "of 1,000,000 base steps" in outcome.reason
    remember(store, found)
    frame, facts = scan(store)
    assert not facts
    assert set(frame["sampler"]) == {"base", "ula", "likelihood"}
    assert set(frame["status"]) == {"unfinished"}
    assert frame["reason"].str.match(r"after [\d,]+ of 1,000,000 base steps, the energy not refitted").all()
    for format_ in ("markdown", "html", "csv", "json"):
        assert "1,000,000 base steps" in render(frame, facts, format_), format_
    assert "No scores" in render(frame, facts, "latex")


def test_unfinished_scores_stand_apart_and_decide_nothing(tiny: Suite, store: Store) -> None:
    plans = [plan_one(tiny, store, name, seed) for name in ("gebm", "gan-ns") for seed in (0, 1)]
    for p in plans[1:]:
        assert execute(p.task, ignore, lambda: False).state == "done"
    for _ in range(2):
        leave_off(plans[0].task)
    remember(store, *plans)
    frame, facts = scan(store)
    unfinished = frame[frame["status"] == "unfinished"]
    assert set(unfinished["run"]) == {plans[0].task.spec.run_id}
    assert set(unfinished["reason"]) == {"after 2 of 120 base steps, the energy not refitted on the frozen base"}
    (section,) = split_sections(read_scores(frame))
    metrics = ["fd[digits-cnn]"]
    found = compare(section, metrics)
    assert {seed for each in found for seed in each.difference.seeds} == {1}
    judged = claims.judge([section], claims.load_claims())
    assert all(plans[0].task.spec.run_id not in finding.runs for finding in judged)
    page = render(frame, facts, "markdown")
    assert "unfinished: seed 0 after 2 of 120 base steps" in page
    assert "seed 0 is unfinished (shown apart)" in page
    side = Side(store.root, None)
    told = compare_stores(side, side)
    assert [(each.seeds, each.reason.split(",")[0]) for each in told.unpaired[:1]] == [
        ((0,), "unfinished: after 2 of 120 base steps")
    ]
    (state,) = [state for state in run_states(store) if state[0] == plans[0].task.spec.run_id]
    assert state[1] == "partial"
    assert state[2].startswith("unfinished; scored after 2 of 120 base steps")


def test_final_scores_replace_those_of_the_unfinished_run(tiny: Suite, store: Store) -> None:
    found = plan_one(tiny, store, "gan-ns")
    leave_off(found.task)
    remember(store, found)
    assert set(scan(store)[0]["status"]) == {"unfinished"}
    assert execute(found.task, ignore, lambda: False).state == "done"
    frame, facts = scan(store)
    assert set(frame["status"]) == {"done"}
    assert len(facts) == 1


def test_a_damaged_score_of_an_unfinished_run_is_not_shown(tiny: Suite, store: Store) -> None:
    found = plan_one(tiny, store, "gan-ns")
    leave_off(found.task)
    remember(store, found)
    (evaluation,) = (store.folder(found.task.spec).unfinished / "evals").glob("*.json")
    evaluation.write_text(evaluation.read_text().replace('"steps": 0', '"steps": 1'))
    frame, _ = scan(store)
    assert frame[["status", "metric"]].to_numpy().tolist() == [["partial", None]]
    weights = store.folder(found.task.spec).unfinished / "checkpoint.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert store.folder(found.task.spec).scored_so_far() is None


def test_a_score_that_is_not_finite_yet_fails_no_run(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise DivergedError("fd is nan")

    task = plan_one(tiny, store, "gan-ns").task
    with monkeypatch.context() as patch:
        patch.setattr("bench.core.runner.check_finite", broken)
        outcome = leave_off(task)
    assert (outcome.state, outcome.reason, outcome.scored) == ("stopped", "stopped after 1 of 120 base steps", False)
    assert store.lookup(task.spec, task.readouts).reason == "training unfinished"
    assert execute(task, ignore, lambda: False).state == "done"


def test_whoever_asks_to_stop_is_not_kept_waiting_by_scores(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    outcome = execute(task, ignore, lambda: True)
    assert (outcome.state, outcome.scored) == ("stopped", False)
    assert not store.folder(task.spec).unfinished.path.exists()


def jobs(plans: list[Planned]) -> list[Job]:
    return [Job(p.task.spec.run_id, "", (p.task,)) for p in plans]


def shares(plans: list[Planned], seconds: list[float], workers: int, minutes: float, used: Any) -> list[float]:
    """What each run gets in seconds if it uses `used` of what it got, one worker's worth."""
    now = [1000.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.core.campaign.time.monotonic", lambda: now[0])
        names = [job.name for job in jobs(plans)]
        allotted = Shares(dict(zip(names, seconds, strict=True)), workers, 1000.0 + 60 * minutes)
        got = []
        for job in jobs(plans):
            got.append(allotted.assign(job).arguments[0].deadline - now[0])
            now[0] += used * got[-1] / workers
    return got


def test_time_is_shared_as_runs_are_expected_to_take(tiny: Suite, store: Store) -> None:
    plans = make_plan(tiny, Selection(models=["gebm", "gan-hinge", "gan-ns"], seeds=[0]), store)
    assert shares(plans, [60, 60, 60], 1, 6, used=1.0) == pytest.approx([120, 120, 120])
    assert shares(plans, [120, 60, 60], 1, 4, used=1.0) == pytest.approx([120, 60, 60])
    assert shares(plans, [60, 60, 60], 1, 6, used=0.5) == pytest.approx([120, 150, 225])  # left over, given on
    assert shares(plans, [60, 60, 60], 3, 6, used=0.0) == pytest.approx([360, 360, 360])
    job = jobs(plans)[0]
    assert Shares({job.name: 60}, 1, math.inf).assign(job) is job
    preparation = Job("extractor", "", (plans[0].task,))
    assert Shares({job.name: 60}, 1, 2000.0).assign(preparation) is preparation
