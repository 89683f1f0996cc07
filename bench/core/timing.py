"""How long runs take that nobody has timed yet: two steps of each phase of their training are taken, in a process of their own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.core.plan import Planned
from bench.core.session import Phase, Progress, Session
from bench.core.task import Task
from bench.executors.jobs import Job, Terms
from bench.executors.processes import Processes

__all__ = ["measured", "training_seconds"]


def measured(planned: Sequence[Planned], devices: Sequence[str] = ()) -> list[Planned]:
    """Return a plan in which runs of unknown duration have that of their training, sampling and scoring left out, where it can be had."""
    unknown = {p.task.spec.identity: p.task for p in planned if p.pending and p.timing == "unknown"}
    jobs = [Job(name, "bench.core.timing:training_seconds", (task,)) for name, task in unknown.items()]
    events = Processes(Terms(1, devices)).run(jobs, lambda: False) if jobs else ()
    found = {event.job.name: event.value for event in events if event.kind == "done" and event.value is not None}
    return [
        replace(p, seconds=found[p.task.spec.identity], timing="measured") if p.task.spec.identity in found else p
        for p in planned
    ]


class TwoSteps(Session):
    """A session that takes two steps of each phase, and adds up how long all of them would take."""

    expected = 0.0

    def drive(self, name: str, phase: Phase) -> None:  # noqa: ARG002
        phase.step()  # what is done once does not count
        start = time.perf_counter()
        phase.step()
        self.expected += (time.perf_counter() - start) * phase.total


def training_seconds(task: Task, progress: Progress, should_stop: Callable[[], bool]) -> float | None:
    """How long a run trains, from two steps of each phase on an untrained base; None where they cannot be taken.

    A job's function, see `bench.executors.jobs`.
    """
    from bench.core.runner import Run

    with tempfile.TemporaryDirectory() as folder:
        try:
            model = Run(task, progress, should_stop).build()
            if not model.steps():  # it is fitted at one go
                return None
            if task.base is not None:
                model.start_from(Run(task.base, progress, should_stop).build().state())
            session = TwoSteps(Path(folder), "", progress, should_stop)
            model.fit(session)
        except Exception:  # whatever it is, the run itself will say
            return None
    return session.expected
