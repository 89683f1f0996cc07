"""Runs that had to leave off: scored in place as they stand, and continued as if they had never stopped."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bench.claims import judge, load_claims
from bench.core import runner
from bench.core.campaign import Campaign, TimeBudget
from bench.core.plan import Planned, Selection, make_plan
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import Suite, load_suite
from bench.core.task import Outcome, Places, Task
from bench.executors.jobs import Job
from bench.files import read_sealed
from bench.report import render
from bench.report.comparisons import compare
from bench.results.compare import compare_stores
from bench.results.frame import scan
from gebm.base import recompute_normalisation
from gebm.training import DivergedError

from ..conftest import changed, do, plan_one
from ..images.test_image_networks import both_families, folder, quick_extractor, suite_path  # noqa: F401
from .test_runner import built, ignore, numbers


def leave_off(task: Task, seconds: float = -1.0) -> Outcome:
    """Work on a run until so long from now: a deadline that has passed leaves time for one step."""
    return execute(dataclasses.replace(task, deadline=time.monotonic() + seconds), ignore, lambda: False)


def record(store: Store, task: Task, name: str = "training.json") -> dict[str, Any]:
    """A JSON file of a run."""
    found = store.folder(task.spec).read_json(name)
    assert found is not None
    return found


@both_families
def test_a_run_that_leaves_off_is_scored_and_ends_with_the_same_bits(suite_path: Path, tmp_path: Path) -> None:  # noqa: F811
    """Scored after a step, stopped without a score two steps on, and so forth."""
    suite = changed(load_suite(str(suite_path)), "evaluation", metrics=("fid",))
    whole, pieces = Store(tmp_path / "whole").create(), Store(tmp_path / "pieces").create()
    expected = plan_one(suite, whole).task
    assert execute(expected, ignore, lambda: False).state == "done"
    task = plan_one(suite, pieces).task
    run = pieces.folder(task.spec)
    done = []
    while True:
        outcome = leave_off(task)
        assert (outcome.state, outcome.scored) == ("stopped", True), outcome
        training = record(pieces, task)
        if training["steps_done"] == training["steps_asked"]:
            break
        status, found = record(pieces, task, "status.json"), pieces.lookup(task)
        words = f"{training['steps_done']} of 10 steps, in {training['phase']}"
        assert (status["state"], status["reason"]) == ("unfinished", words)
        assert (found.state, found.reason) == ("partial", f"{words}; scored")
        assert outcome.reason == f"scored after {words}"
        assert (run / "resume.pt").exists()
        (evaluation,) = (run / "evals").glob("*.json")  # those of earlier checkpoints are gone
        assert evaluation.stem == task.readouts[0].identity(training["checkpoint"])
        done.append((training["steps_done"], training["phase"]))
        looks = iter(range(10))
        assert execute(task, ignore, lambda looks=looks: next(looks) >= 1).state == "stopped"  # type: ignore[misc]
    assert plan_one(suite, pieces).pending
    assert execute(task, ignore, lambda: False).state == "done"
    assert done == [(1, "training"), (4, "training"), (8, "refit")]
    assert numbers(pieces, task) == numbers(whole, expected)
    assert not (run / "resume.pt").exists()


def test_what_is_scored_is_the_averaged_base_with_statistics_of_its_own(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    for _ in range(3):
        leave_off(task)
    run = store.folder(task.spec)
    saved = torch.load(io.BytesIO(read_sealed(run / "resume.pt")), weights_only=True)
    state = saved["phases"]["training"]
    kept = load_file(run / "checkpoint.safetensors")
    model = built(task)
    model.base.load_state_dict({k.removeprefix("module."): v for k, v in state["average"].items() if k != "n_averaged"})
    generator = torch.Generator()
    generator.set_state(state["generator"])
    recompute_normalisation(model.base, generator)
    for name, value in model.base.state_dict().items():
        assert torch.equal(kept[f"base.{name}"], value), name
    for name, value in state["energy"].items():
        assert torch.equal(kept[f"energy.{name}"], value), name


def test_every_readout_is_scored_where_time_allows(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "scoring_time", lambda seconds: seconds - 0.2)
    task = plan_one(changed(tiny, "training", base_steps=1_000_000), store).task
    outcome = leave_off(task, 120.0)  # a fifth of a second to train, the rest to score
    assert "of 1,000,020 steps, in training" in outcome.reason
    identities = {readout.identity(record(store, task)["checkpoint"]) for readout in task.readouts}
    assert {path.stem for path in (store.folder(task.spec) / "evals").glob("*.json")} == identities


def test_a_damaged_score_of_an_unfinished_run_is_not_used(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store, "gan-ns").task
    leave_off(task)
    run = store.folder(task.spec)
    (evaluation,) = (run / "evals").glob("*.json")
    evaluation.write_text(evaluation.read_text().replace('"steps": 0', '"steps": 1'))
    assert run.evaluation(evaluation.stem) is None
    assert store.lookup(task).state == "corrupt"
    weights = run / "checkpoint.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert run.training() is None


def test_a_score_that_is_not_finite_yet_fails_no_run(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise DivergedError("fd is nan")

    task = plan_one(tiny, store, "gan-ns").task
    with monkeypatch.context() as patch:
        patch.setattr("bench.core.runner.check_finite", broken)
        outcome = leave_off(task)
    reason = "stopped after 1 of 60 steps, in training"
    assert (outcome.state, outcome.reason, outcome.scored) == ("stopped", reason, False)
    assert store.lookup(task).state == "partial"
    assert execute(task, ignore, lambda: False).state == "done"


def test_whoever_asks_to_stop_is_not_kept_waiting_by_scores(tiny: Suite, store: Store) -> None:
    task = plan_one(tiny, store).task
    outcome = execute(task, ignore, lambda: True)
    assert (outcome.state, outcome.scored) == ("stopped", False)
    assert not (store.folder(task.spec) / "training.json").exists()


def test_unfinished_scores_stand_apart_decide_nothing_and_are_replaced(tiny: Suite, done: Store) -> None:
    """From the run's files to every reader of results; seed 1 of the GEBM leaves off, the other three runs are done."""
    plans = [plan_one(tiny, done, model, seed) for seed in (0, 1) for model in ("gebm", "gan-ns")]
    late = plans[2]
    assert do(plans[3]).state == "done"
    for _ in range(2):
        leave_off(late.task)
    Campaign(tiny, "quick", plans, done, 1).remember()
    results = scan(done)
    apart = results.scores[results.scores["status"] == "unfinished"]
    assert (set(apart["run"]), set(apart["reason"])) == ({late.task.spec.run_id}, {"after 2 of 80 steps, in training"})
    (section,) = results.sections()
    found = compare(section, ["fd[digits-cnn]"])
    assert {seed for each in found if each.difference for seed in each.difference.seeds} == {0}
    assert all(
        late.task.spec.run_id not in compared.runs
        for finding in judge([section], load_claims())
        for compared in finding.comparisons
    )
    page = render(results, "markdown")
    assert "seed 1 after 2 of 80 steps, in training" in page
    assert "1 of 2 seeds; seed 1 is unfinished (shown apart)" in page
    assert "| unfinished | seed 1 after 2 of 80 steps, in training |" in page  # once, though two readouts are missing
    told = compare_stores(str(done.root), str(done.root))
    reason = "unfinished: after 2 of 80 steps, in training"
    assert {(*each["seeds"], each["reason"]) for each in told["not_comparable"]} == {(1, reason)}
    assert do(late).state == "done"
    assert set(scan(done).scores["status"]) <= {"done", "refused"}  # of 200 draws log Z may not be reportable


def jobs(plans: list[Planned]) -> list[Job]:
    return [Job(p.task.spec.run_id, "", (p.task,)) for p in plans]


def given(plans: list[Planned], seconds: list[float], workers: int, minutes: float, used: float) -> list[float]:
    """What each run gets in seconds if it uses `used` of what it got, one worker's worth."""
    now = [1000.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.core.campaign.time.monotonic", lambda: now[0])
        names = [job.name for job in jobs(plans)]
        budget = TimeBudget(dict(zip(names, seconds, strict=True)), workers, 1000.0 + 60 * minutes)
        got = []
        for job in jobs(plans):
            got.append(budget.assign(job).arguments[0].deadline - now[0])
            now[0] += used * got[-1] / workers
    return got


def test_time_is_given_out_as_runs_are_expected_to_take(tiny: Suite, store: Store) -> None:
    chosen = Selection(models=["gebm", "gan-hinge", "gan-ns"], seeds=[0])
    plans = make_plan(tiny, chosen, Places(store.root, device="cpu"))
    assert given(plans, [60, 60, 60], 1, 6, used=1.0) == pytest.approx([120, 120, 120])
    assert given(plans, [120, 60, 60], 1, 4, used=1.0) == pytest.approx([120, 60, 60])
    assert given(plans, [60, 60, 60], 1, 6, used=0.5) == pytest.approx([120, 150, 225])  # left over, given on
    assert given(plans, [60, 60, 60], 3, 6, used=0.0) == pytest.approx([360, 360, 360])
    job = jobs(plans)[0]
    assert TimeBudget({job.name: 60}, 1, math.inf).assign(job) is job
    preparation = Job("extractor", "", (plans[0].task,))
    assert TimeBudget({job.name: 60}, 1, 2000.0).assign(preparation) is preparation


def test_a_run_that_was_scored_early_is_done_again_to_its_end(tiny: Suite, store: Store) -> None:
    first = plan_one(tiny, store, "gan-ns")
    leave_off(first.task)
    before = {path.name for path in (store.folder(first.task.spec) / "evals").iterdir()}
    assert do(plan_one(tiny, store, "gan-ns")).state == "done"
    after = {path.name for path in (store.folder(first.task.spec) / "evals").iterdir()}
    assert not before & after
    assert plan_one(tiny, store, "gan-ns").found.state == "hit"


def test_with_a_deadline_samples_are_scored_first_and_log_z_last(
    tiny: Suite, make_store: Callable[[str], Store]
) -> None:
    """And no number depends on the order."""
    suite = changed(tiny, "evaluation", exact=(1.0, "calibrated"), annealing=8)
    hurried, calm = make_store("hurried"), make_store("calm")
    told: list[str] = []
    task = plan_one(suite, hurried).task
    late = dataclasses.replace(task, deadline=time.monotonic() + 600)
    assert execute(late, lambda value: told.append(value.get("phase", "")), lambda: False).state == "done"
    kinds = {readout.title for readout in task.readouts}
    assert [each for each in dict.fromkeys(told) if each in kinds] == ["base", "chain", "exact", "temperature"]
    expected = plan_one(suite, calm).task
    assert execute(expected, ignore, lambda: False).state == "done"
    assert numbers(hurried, task) == numbers(calm, expected)


def test_what_was_scored_stays_in_reports_while_training_goes_on(tiny: Suite, store: Store) -> None:
    planned = plan_one(tiny, store, "gan-ns")
    Campaign(tiny, "quick", [planned], store, 1).remember()
    leave_off(planned.task)
    before = scan(store).scores
    looks = iter(range(10))
    assert not execute(planned.task, ignore, lambda: next(looks) >= 1).scored
    after = scan(store).scores
    assert set(before["reason"]) == {"after 1 of 60 steps, in training"}
    assert set(after["reason"]) == {"after 1 of 60 steps, in training; trained on since"}
    assert set(after["status"]) == {"unfinished"}
    assert after["value"].tolist() == before["value"].tolist()


def test_what_was_read_out_stays_in_reports_while_more_is(tiny: Suite, store: Store) -> None:
    planned = plan_one(tiny, store)
    Campaign(tiny, "quick", [planned], store, 1).remember()
    assert execute(planned.task, ignore, lambda: False).state == "done"
    before = scan(store).scores
    store.prepare(planned.task.spec)  # as for another suite that shares the run
    pd.testing.assert_frame_equal(scan(store).scores, before)
    first = sorted((store.folder(planned.task.spec) / "evals").glob("*.json"))[0]
    first.unlink()
    after = scan(store).scores
    (row,) = after[after["status"] == "partial"].itertuples()
    assert row.reason == "a readout is still to be done"
    kept = after[after["value"].notna()]
    assert 0 < len(kept) < before["value"].notna().sum()
    assert set(kept["value"]) < set(before["value"])


def test_what_is_read_out_of_a_trained_model_counts_while_its_chains_are_to_be_done(tiny: Suite, store: Store) -> None:
    planned, told = plan_one(tiny, store), list[str]()
    Campaign(tiny, "quick", [planned], store, 1).remember()
    outcome = execute(planned.task, lambda value: told.append(value.get("phase", "")), lambda: "chain" in told)
    assert outcome.scored
    results = scan(store)
    assert dict(zip(results.scores["sampler"].fillna(""), results.scores["status"], strict=True)) == {
        "base": "done",
        "likelihood": "done",
        "": "partial",
    }
    page = render(results, "markdown")
    assert "Held-out likelihood, gebm's energy over its base: " in page
    assert "No finished latent chain can be compared with a base yet" in page


def test_how_long_a_run_takes_is_not_what_an_unfinished_one_took(tiny: Suite, store: Store) -> None:
    leave_off(plan_one(tiny, store, "gan-ns").task)
    assert plan_one(tiny, store, "gan-ns", seed=1).seconds == pytest.approx(0.02 * 60)
