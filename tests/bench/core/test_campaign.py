"""What a campaign does before its runs."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace

import pytest

from bench.core import leases
from bench.core.campaign import Campaign, imports
from bench.core.store import Store
from bench.core.suite import Suite

from ..conftest import plan_one


def test_workers_share_all_modules_of_runs_but_not_those_of_other_packages(tiny: Suite, store: Store) -> None:
    """So that whoever edits one while runs are waiting changes none of them."""
    planned = plan_one(tiny, store, "gebm")
    task = planned.task
    ours = {module for stage in (task.training, *task.reading) for module in stage.code}
    assert {"bench.images.models", "bench.images.evaluation", "gebm.networks.mlp"} <= ours
    foreign = replace(task.training, code={**task.training.code, "another.models": "0"})
    modules = imports([replace(planned, task=replace(task, training=foreign))])
    assert ours <= {*modules}
    assert "another.models" not in modules
    for name in modules:
        importlib.import_module(name)


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
