"""Energies fitted afterwards: the base is trained once and shared, whoever needs it first; what it cannot give is said."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from bench.core.campaign import bases, ordered
from bench.core.model import capabilities
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import Suite
from bench.core.task import Task
from bench.executors.jobs import Job
from bench.executors.processes import awaited
from bench.files import write_bytes
from bench.images.models import LatentModel
from gebm.temperature import ScaledEnergy

from ..conftest import changed, do, plan_one
from ..core.test_runner import built, ignore, numbers, stops_until_done


def weights(store: Store, task: Task, part: str) -> dict[str, torch.Tensor]:
    """The weights of one part of a run."""
    found = load_file(store.folder(task.spec) / "checkpoint.safetensors")
    return {name.removeprefix(f"{part}."): value for name, value in found.items() if name.startswith(f"{part}.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two parts are the same, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_base_is_that_of_the_gans_own_run_and_is_trained_once(
    tiny: Suite, done: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gan = plan_one(tiny, done, "gan-ns").task
    before = numbers(done, gan)
    driven: list[str] = []
    drive = LatentModel.fit
    monkeypatch.setattr(
        LatentModel, "fit", lambda model, session: driven.append(model.spec.model) or drive(model, session)
    )
    for energy in ("refit", "own", "warm"):
        task = plan_one(tiny, done, f"gan-ns+{energy}").task
        assert task.base is not None
        assert task.base.spec.run_id == gan.spec.run_id
        assert do(plan_one(tiny, done, f"gan-ns+{energy}")).state == "done"
        assert same(weights(done, task, "base"), weights(done, gan, "base"))
        assert same(weights(done, task, "energy"), weights(done, gan, "energy")) == (energy == "own")
    assert driven == []  # no GAN was trained
    assert numbers(done, gan) == before


def test_without_the_gans_run_it_is_trained_on_the_way(tiny: Suite, store: Store, finished: Store) -> None:
    """With the bits of a run of its own, which then only has to be read out."""
    assert do(plan_one(tiny, store, "gan-ns+refit")).state == "done"
    gan = plan_one(tiny, store, "gan-ns")
    assert gan.found.state == "partial"
    assert gan.found.reason == "1 evaluation to do"
    assert same(weights(store, gan.task, "base"), weights(finished, gan.task, "base"))
    assert do(gan).state == "done"
    assert numbers(store, gan.task) == numbers(finished, gan.task)


def test_an_interrupted_run_is_identical_though_its_base_was_interrupted_too(
    tiny: Suite, make_store: Any, done: Store
) -> None:
    task = plan_one(tiny, done, "gan-ns+refit").task
    assert do(plan_one(tiny, done, "gan-ns+refit")).state == "done"
    store = make_store("stopped")
    moved = dataclasses.replace(task.places, store=store.root)
    base = task.base and dataclasses.replace(task.base, places=moved)
    stopped = dataclasses.replace(task, places=moved, base=base)
    assert stops_until_done(stopped, 17) >= 3
    assert numbers(store, stopped) == numbers(done, task)


def test_fresh_weights_are_the_same_for_every_base_and_are_not_the_gans(tiny: Suite, done: Store) -> None:
    tasks = [plan_one(tiny, done, name).task for name in ("gan-ns+refit", "gan-hinge+refit", "gebm+refit")]
    first, *others = (built(task).discriminator.state_dict() for task in tasks)
    assert all(same(first, other) for other in others)


def test_a_warm_start_starts_at_the_discriminator(tiny: Suite, done: Store) -> None:
    gan = plan_one(tiny, done, "gan-ns").task
    state = load_file(done.folder(gan.spec) / "checkpoint.safetensors")
    for energy, warm in (("refit", False), ("warm", True), ("own", True)):
        model = built(plan_one(tiny, done, f"gan-ns+{energy}").task)
        model.start_from(state)
        assert same(model.discriminator.state_dict(), weights(done, gan, "energy")) == warm


def test_it_samples_by_chains_and_a_bare_gan_does_not(tiny: Suite, done: Store) -> None:
    assert "latent-chains" in capabilities(built(plan_one(tiny, done, "gan-ns+own").task))
    assert "latent-chains" not in capabilities(built(plan_one(tiny, done, "gan-ns").task))


def test_a_calibrated_energy_keeps_its_scale(tiny: Suite, done: Store) -> None:
    settings = dataclasses.replace(tiny.profiles["quick"].refit, calibrated=True)
    suite = changed(tiny, post_hoc=settings)
    planned = plan_one(suite, done, "gan-ns+refit")
    assert planned.task.spec.identity != plan_one(tiny, done, "gan-ns+refit").task.spec.identity
    assert do(planned).state == "done"
    assert "log_scale" in weights(done, planned.task, "energy")
    model = built(planned.task)
    model.load(load_file(done.folder(planned.task.spec) / "checkpoint.safetensors"))
    assert isinstance(model.energy, ScaledEnergy)


def test_a_checkpoint_without_a_discriminator_is_named_with_what_to_do(tiny: Suite, done: Store) -> None:
    gan = plan_one(tiny, done, "gan-ns").task
    state = load_file(done.folder(gan.spec) / "checkpoint.safetensors")
    bare = {name: value for name, value in state.items() if not name.startswith("energy.")}
    model = built(plan_one(tiny, done, "gan-ns+own").task)
    with pytest.raises(ValueError, match="the run of gan-ns was kept without its discriminator; `bench run --retrain`"):
        model.start_from(bare)
    built(plan_one(tiny, done, "gan-ns+refit").task).start_from(bare)  # which needs none


def test_a_base_that_diverged_fails_what_starts_from_it(tiny: Suite, store: Store) -> None:
    hot = changed(tiny, "training", learning_rate=1e3, energy_learning_rate=1e3)
    outcome = do(plan_one(hot, store, "gebm+refit"))
    assert outcome.state == "failed"
    assert outcome.reason.startswith("gebm, which this run starts from, diverged: ")
    assert plan_one(hot, store, "gebm").found.diverged
    assert do(plan_one(hot, store, "gebm+refit")).reason.startswith("gebm, which this run starts from, diverged")


def test_a_damaged_base_is_trained_again(tiny: Suite, done: Store) -> None:
    gan = plan_one(tiny, done, "gan-ns").task
    path = done.folder(gan.spec) / "checkpoint.safetensors"
    whole = weights(done, gan, "base")
    write_bytes(path, save({"base.nothing": torch.zeros(1)}))  # in place of the file, which is mapped into memory
    assert do(plan_one(tiny, done, "gan-ns+refit")).state == "done"
    assert same(weights(done, gan, "base"), whole)


def test_what_starts_from_a_stale_base_is_stale_until_both_are_trained_again(tiny: Suite, done: Store) -> None:
    folder = done.folder(plan_one(tiny, done, "gan-ns").task.spec)
    training = folder.read_json("training.json")
    assert training
    training["stage"]["versions"]["torch"] = "0"
    folder.write_json("training.json", training)
    (folder / "status.json").unlink()
    told: list[dict[str, Any]] = []
    assert execute(plan_one(tiny, done, "gan-ns+refit").task, told.append, lambda: False).state == "done"
    assert any("gan-ns, which this run starts from, is stale (torch 0 → " in each.get("warning", "") for each in told)
    assert plan_one(tiny, done, "gan-ns+refit").found.stale.startswith("torch 0 → ")
    again = plan_one(tiny, done, "gan-ns+refit", retrain=True)
    assert again.found.state == "stale"
    assert do(again).state == "done"
    assert [plan_one(tiny, done, name).found.stale for name in ("gan-ns", "gan-ns+refit")] == ["", ""]


def test_a_base_that_another_process_trains_is_waited_for(tiny: Suite, store: Store) -> None:
    gan, task = (plan_one(tiny, store, name).task for name in ("gan-ns", "gan-ns+refit"))
    with store.lock(gan.spec) as mine:
        assert mine
        outcome = execute(task, ignore, lambda: False)
    assert (outcome.state, outcome.reason) == ("busy", "another process works on gan-ns, which this run starts from")
    assert do(plan_one(tiny, store, "gan-ns+refit")).state == "done"


def test_a_trained_base_is_read_whoever_holds_it(tiny: Suite, done: Store) -> None:
    """As when several runs start from it at the same moment."""
    gan, task = (plan_one(tiny, done, name).task for name in ("gan-ns", "gan-ns+refit"))
    with done.lock(gan.spec) as mine:
        assert mine
        assert execute(task, ignore, lambda: False).state == "done"


def test_a_job_waits_for_the_run_it_starts_from(tiny: Suite, done: Store) -> None:
    task = plan_one(tiny, done, "gan-ns+refit").task
    assert task.base is not None
    after = bases(task)
    assert after == (task.base.spec.run_id,)
    gan, own = Job(after[0], "", ()), Job("own", "", (), after)
    assert awaited(own, [(0.0, gan), (0.0, own)], [])
    assert not awaited(own, [(0.0, own)], [])
    assert not awaited(gan, [(0.0, gan), (0.0, own)], [])


def test_runs_that_others_start_from_come_first_within_their_seed(tiny: Suite, store: Store) -> None:
    plan = [plan_one(tiny, store, name, seed) for seed in (1, 0) for name in ("gebm", "gan-ns", "gan-ns+refit")]
    names = [(p.task.spec.model, p.task.spec.seed) for p in ordered({p.task.spec.run_id: p for p in plan}).values()]
    assert names == [
        *(("gan-ns", 1), ("gebm", 1), ("gan-ns+refit", 1)),
        *(("gan-ns", 0), ("gebm", 0), ("gan-ns+refit", 0)),
    ]


def test_a_longer_gan_needs_to_know_how_long(tiny: Suite, done: Store) -> None:
    with pytest.raises(ValueError, match=r"gan-ns\+time needs longer_base_steps in the profile quick"):
        plan_one(tiny, done, "gan-ns+time")
    longer = plan_one(changed(tiny, longer_base_steps=90), done, "gan-ns+time").task.spec
    gan = plan_one(tiny, done, "gan-ns").task.spec
    assert longer.config["training"] == gan.config["training"] | {"base_steps": 90}
