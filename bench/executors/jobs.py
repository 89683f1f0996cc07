"""The contract of executors: jobs go in, events come out, and jobs that have begun are asked to stop rather than killed.

An executor is a component of kind `executors`, here or in another package (entry points `gebm_bench.executors`): something that is called
with `Terms` and returns an `Executor`. Registered with `local=True` it computes on this machine, and the time and the devices of this
machine are shared out among its jobs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

__all__ = ["Assign", "Executor", "ExecutorError", "Job", "JobEvent", "QueueError", "Terms", "depths"]

Progress = Callable[[dict[str, Any]], None]


class ExecutorError(ValueError):
    """What an executor is asked for cannot be had here; nothing has been started."""


class QueueError(RuntimeError):
    """A queue of jobs does not answer, or it or this machine takes no more."""


@dataclass(frozen=True)
class Job:
    """A function `module:name`, called with the arguments, a progress callback and a `should_stop`.

    It is not started before the jobs named in `after`, where they are among those to be done, have ended in whatever way. `resources` says
    what it needs as a class of its own: 'prepare' for what all others read, 'run', 'read' for readouts of what is trained, or 'report'.
    """

    name: str
    function: str
    arguments: tuple[Any, ...]
    after: tuple[str, ...] = ()
    resources: Literal["prepare", "run", "read", "report"] = "run"

    def call(self, progress: Progress, should_stop: Callable[[], bool]) -> Any:
        """Do it, in this process, and return its outcome."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)(*self.arguments, progress, should_stop)


@dataclass(frozen=True)
class JobEvent:
    """What happened to a job, with a `value`.

    queued (where it waits, in words), started (where, in words, if there is a choice), progress (a dictionary), done (its outcome),
    killed (how), note (a sentence about jobs) or tick (nothing but time has passed).
    """

    job: Job
    kind: Literal["queued", "started", "progress", "done", "killed", "note", "tick"]
    value: Any = None


@dataclass(frozen=True)
class Terms:
    """What an executor is told before it is given jobs.

    Arguments:
        workers: most jobs at once; None if nobody said.
        devices: CUDA devices of this machine, named as CUDA_VISIBLE_DEVICES names them.
        settings: the executor's own, from files and the command line.
        folder: where it may remember jobs that outlive this process, under names of its own.
        lock: holds that folder against other processes.
        wait: whether to follow jobs to their end where they would go on without this process.
        glance: how far a job is that runs elsewhere, by name, as its progress callback would tell; None if nobody knows.
        room: most jobs at once as of now, where that changes as jobs end; None where `workers` says it all.
    """

    workers: int | None = None
    devices: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path("jobs")
    lock: Callable[[], AbstractContextManager[Any]] = nullcontext
    wait: bool = False
    glance: Callable[[str], dict[str, Any] | None] = lambda _name: None
    room: Callable[[], int] | None = None


Assign = Callable[[Job], Job]


class Executor(Protocol):
    """Does jobs somewhere.

    Raises:
        ExecutorError: when it is made, if its settings cannot be had.
    """

    def run(
        self,
        jobs: Sequence[Job],
        should_stop: Callable[[], bool],
        assign: Assign = lambda job: job,
        preload: Sequence[str] = (),
    ) -> Iterator[JobEvent]:
        """Do jobs, yielding events; every job ends in `done` or `killed`, or stays `queued` where it goes on without this process.

        When `should_stop` turns true, no job is started any more, and running ones are asked to stop and still report; jobs that go on
        without this process are left alone. An event of kind `tick` comes now and then. `assign` is given each job as it starts, and gives
        what is to be done, under the same name. Modules in `preload` are what the jobs will import.
        """
        ...


def depths(jobs: Sequence[Job]) -> dict[str, int]:
    """Return by name how many of these jobs must come one after the other before each."""
    known, found = {job.name: job for job in jobs}, dict[str, int]()

    def depth(name: str) -> int:
        if name not in found:
            found[name] = max((depth(each) + 1 for each in known[name].after if each in known), default=0)
        return found[name]

    return {name: depth(name) for name in known}
