"""How long a run takes that nobody has timed: measured by two steps of each phase, in another process, in every kind of suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.core.plan import Planned, Selection, make_plan
from bench.core.store import Store
from bench.core.suite import Suite, load_suite
from bench.core.task import Places
from bench.core.timing import measured, preparing, training_seconds

from ..conftest import changed


def planned(suite: Suite[Any], folder: Path, *models: str, **chosen: Any) -> list[Planned]:
    selection = Selection(models=models, seeds=[0], **chosen)
    return make_plan(suite, selection, Places(folder / "store", folder, device="cpu"))


def seconds(plan: Planned) -> float | None:
    return training_seconds(plan.task, lambda _: None, lambda: False)


def test_unknown_times_are_measured_and_known_ones_kept(tiny: Suite[Any], tmp_path: Path) -> None:
    unknown = planned(changed(tiny, minutes_per_run=None), tmp_path, "gebm", "data")
    assert [p.timing for p in unknown] == ["unknown", "known"]  # the data take no training
    found = measured(unknown)
    assert [p.timing for p in found] == ["trained", "known"]
    assert found[0].seconds > 0
    assert [p.task for p in found] == [p.task for p in unknown]
    assert not (tmp_path / "store").exists()
    known = planned(tiny, tmp_path, "gebm")
    assert measured(known) == known


def test_twice_the_steps_take_longer(tiny: Suite[Any], tmp_path: Path) -> None:
    short, long = (changed(tiny, "training", base_steps=steps) for steps in (10, 10**6))
    first, second = (seconds(planned(suite, tmp_path, "gan-ns")[0]) for suite in (short, long))
    assert first is not None
    assert second is not None
    assert second > first


@pytest.mark.parametrize("model", ["gan-ns+refit", "gan-ns+warm"])
def test_what_starts_from_another_run_is_measured_without_it(tiny: Suite[Any], tmp_path: Path, model: str) -> None:
    assert seconds(planned(tiny, tmp_path, model)[0])


@pytest.mark.parametrize("model", ["flow-realnvp", "gebm-frozen-kale", "gebm-flow-kale", "gebm-scratch-kale"])
def test_flows_and_their_energies_are_measured_too(tmp_path: Path, model: str) -> None:
    (plan,) = planned(load_suite("density"), tmp_path, model, datasets=["known-density-8"])
    assert seconds(plan)


def test_what_takes_no_steps_is_not_measured(tmp_path: Path) -> None:
    (plan,) = planned(load_suite("density"), tmp_path, "kde", datasets=["known-density-8"])
    assert seconds(plan) is None


def test_readouts_take_what_they_took_with_other_settings(tiny: Suite[Any], done: Store) -> None:
    other = changed(changed(tiny, minutes_per_run=None), "training", base_steps=61)
    (plan,) = make_plan(other, Selection(models=["gan-ns"], seeds=[0]), Places(done.root, device="cpu"))
    (status,) = done.root.glob("runs/digits/gan-ns/*/status.json")
    spent = json.loads(status.read_text())["seconds"]
    (found,) = measured([plan])
    assert found.timing == "measured"
    assert found.seconds > spent["sampling"] + spent["scoring"]


def test_extractors_that_are_not_in_the_store_are_timed_too(tiny: Suite[Any], done: Store, tmp_path: Path) -> None:
    plan = planned(changed(tiny, minutes_per_run=None), tmp_path, "gan-ns", "data")
    assert [*preparing(plan).values()] == [None]  # no run had to be timed
    (seconds,) = preparing(measured(plan)).values()
    assert seconds is not None
    assert 0.1 < seconds < 600  # 1,200 steps
    chosen = Selection(models=["gan-ns"], seeds=[1])
    assert preparing(make_plan(tiny, chosen, Places(done.root, device="cpu"))) == {}
