"""What a campaign does before its runs."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from typing import Any

import pytest

from bench.components import registry
from bench.core import leases
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


def test_how_far_a_run_is_elsewhere_is_what_its_holder_says(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "PERIODS", leases.Periods(heartbeat=0.05))
    planned = plan_one(tiny, store, "gan-ns")
    campaign, name = Campaign(tiny, "quick", [planned], store, 1), planned.task.spec.run_id
    told = {"phase": "training", "step": 7, "total": 60}
    with store.lock(planned.task.spec) as held:
        assert held is not None
        assert campaign.glance(name) is None
        held.note = told
        deadline = time.monotonic() + 30
        while campaign.glance(name) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert campaign.glance(name) == told
    assert campaign.glance(name) is None
