"""The executor of docs/cluster.md, run as it is on a stand-in for Dask."""

from __future__ import annotations

import re
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench.components import registry
from bench.executors.jobs import Job, Terms

PAGE = Path(__file__).parents[3] / "docs" / "cluster.md"
JOBS = """
DONE = []

def work(name, progress, should_stop):
    DONE.append(name)
    if name == "broken":
        raise MemoryError("no room")
    return name.upper()
"""


class Client:
    """Dask's, as far as the page uses it; like Dask's it waits for futures among the arguments."""

    def __init__(self, address: str) -> None:
        assert address == "tcp://head:8786"
        self.pool = ThreadPoolExecutor(4)

    def submit(self, function: Any, job: Job, before: list[Future[Any]], pure: bool) -> Future[Any]:
        def waited() -> Any:
            return function(job, [each.result() for each in before])

        return self.pool.submit(waited)

    def cancel(self, futures: list[Future[Any]]) -> None:
        assert futures == []
        self.pool.shutdown()


def test_the_executor_of_the_page_does_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "guest_executors.py").write_text(block)
    (tmp_path / "guest_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    stand_in = ModuleType("dask.distributed")
    stand_in.Client = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask", ModuleType("dask"))
    monkeypatch.setitem(sys.modules, "dask.distributed", stand_in)
    point = EntryPoint("dask", "guest_executors:Dask", "gebm_bench.executors")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    registry.entries.cache_clear()
    entry = registry.get("executors", "dask")
    assert (entry.summary, entry.facts) == ("workers of a Dask cluster", {})
    executor = entry.load()(Terms(settings={"address": "tcp://head:8786"}))
    names = ("second", "first", "broken")
    jobs = [Job(name, "guest_jobs:work", (name,), ("first",) * (name == "second")) for name in names]
    events = list(executor.run(jobs, lambda: False))
    ends = {event.job.name: (event.kind, event.value) for event in events if event.kind in ("done", "killed")}
    assert ends == {"first": ("done", "FIRST"), "second": ("done", "SECOND"), "broken": ("killed", "no room")}
    done: SimpleNamespace = sys.modules["guest_jobs"]  # type: ignore[assignment]
    assert done.DONE.index("first") < done.DONE.index("second")
    registry.entries.cache_clear()
