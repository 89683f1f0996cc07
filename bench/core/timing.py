"""How long runs take that nobody has timed yet: two steps of each phase of their training are taken, in a process of their own. Readouts
take what they took in an earlier run of the model; extractors that are to be trained first are timed by a few steps, too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.core.campaign import preparations
from bench.core.plan import Planned, readout_seconds
from bench.core.session import Phase, Progress, Session
from bench.core.store import Store
from bench.core.task import Task
from bench.executors.jobs import Job, Terms
from bench.executors.processes import Processes
from bench.metrics import extractor_entry

__all__ = ["extractor_seconds", "measured", "preparing", "training_seconds"]

FEW, MORE = 2, 12  # steps by which an extractor is timed


def measured(planned: Sequence[Planned], devices: Sequence[str] = ()) -> list[Planned]:
    """Return a plan in which runs of unknown duration have that of their training, where it can be had, and of their readouts, where an
    earlier run tells; without one they are timed as "trained".
    """
    unknown = {p.task.spec.identity: p.task for p in planned if p.pending and p.timing == "unknown"}
    jobs = [Job(name, "bench.core.timing:training_seconds", (task,)) for name, task in unknown.items()]
    events = Processes(Terms(1, devices)).run(jobs, lambda: False) if jobs else ()
    found = {event.job.name: event.value for event in events if event.kind == "done" and event.value is not None}
    return [_with_seconds(p, found[p.task.spec.identity]) if p.task.spec.identity in found else p for p in planned]


def _with_seconds(planned: Planned, training: float) -> Planned:
    reading = readout_seconds(Store(planned.task.places.store), planned.task.spec)
    return replace(planned, seconds=training + (reading or 0.0), timing="trained" if reading is None else "measured")


def preparing(planned: Sequence[Planned]) -> dict[str, float | None]:
    """Return the extractors that are to be trained before these runs, and about how many seconds each takes.

    They are timed only where runs were, for that takes a process to start; None stands for what was not timed, or could not be.
    """
    timed = any(p.timing in ("measured", "trained") for p in planned)
    jobs = []
    for job in preparations(p for p in planned if p.pending):
        task, extractor = job.arguments
        cached = any(Store(task.places.store).cache.glob(f"{extractor}-*.sealed"))
        if extractor_entry(extractor).name in ("in-domain", "in-domain-half") and not cached:
            jobs.append(Job(extractor, "bench.core.timing:extractor_seconds", (task,)))
    events = Processes(Terms(1)).run(jobs, lambda: False) if jobs and timed else ()
    return {job.name: None for job in jobs} | {event.job.name: event.value for event in events if event.kind == "done"}


def extractor_seconds(task: Task, _progress: Progress, _should_stop: Callable[[], bool]) -> float | None:
    """How long an in-domain extractor of a run's dataset trains, from ten steps; None where they cannot be taken. A job's function."""
    import torch

    from bench.data import load_dataset
    from bench.data.images import PixelCodec
    from bench.metrics.classifier import default_steps, fit

    def took(steps: int) -> float:
        start = time.perf_counter()
        fit(images, labels, 0, steps)
        return time.perf_counter() - start

    try:
        dataset = load_dataset(task.source, task.places.data, task.places.cache)
        images = PixelCodec(dataset.levels).to_bytes(torch.from_numpy(dataset.splits["train"][:1000]))
        labels = torch.arange(len(images)) % 2  # which of them makes no difference
        few = min(took(FEW) for _ in range(2))  # what is done once does not count
        return (took(MORE) - few) / (MORE - FEW) * default_steps(min(images.shape[2:]), images.shape[1])
    except Exception:  # whatever it is, the run itself will say
        return None


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
