"""What a campaign does before its runs."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from bench.components import registry
from bench.core.campaign import imports
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
