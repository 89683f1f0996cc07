"""What a campaign does before its runs."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from bench.components import registry
from bench.core.campaign import Campaign, imports
from bench.core.store import Store
from bench.core.suite import Suite

from ..conftest import plan_one


def test_workers_share_the_modules_of_runs_but_not_those_of_other_packages(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = [plan_one(tiny, store, "gebm")]
    modules = imports(planned)
    assert {"bench.images.models", "bench.images.evaluation"} <= {*modules}
    for name in modules:
        importlib.import_module(name)
    known = registry.get

    def foreign(*which: Any) -> registry.Entry:
        return replace(known(*which), origin="another")

    monkeypatch.setattr(registry, "get", foreign)
    assert "bench.images.models" not in imports(planned)


def test_what_is_to_be_done_afresh_elsewhere_is_set_aside_once(tiny: Suite, done: Store) -> None:
    planned = plan_one(tiny, done, "gan-ns", fresh=True)
    campaign = Campaign(tiny, "quick", [planned], done, 1)
    campaign.begin_anew()
    assert len(list((done.root / "aside").iterdir())) == 1
    assert not done.folder(planned.task.spec).path.exists()
    assert [(p.task.fresh, p.pending) for p in campaign.planned] == [(False, True)]


def test_how_far_a_run_is_elsewhere_is_read_from_its_curve(tiny: Suite, done: Store) -> None:
    planned = plan_one(tiny, done, "gan-ns", fresh=True)
    campaign = Campaign(tiny, "quick", [planned], done, 1)
    told = campaign.glance(planned.task.spec.run_id)
    assert told is not None
    assert (told["phase"], told["step"]) == ("training", 60)
    assert "energy_loss" in told["losses"]
    assert campaign.glance("another") is None
