"""A process a task, a few at a time: a run that is killed or runs out of memory takes nothing with it and becomes a row.

Workers are forked from a server that has torch loaded already, report over a pipe, and stop, with everything saved, when asked or when the
parent is gone.
"""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["Job", "JobEvent", "run_jobs"]

POLL = 0.25  # seconds between looks at the clock and at busy runs


@dataclass(frozen=True)
class Job:
    """A function `module:name`, called in a worker with the arguments, a progress callback and a `should_stop`."""

    name: str
    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job: started, progress (with `value`), done (with its outcome in `value`), killed."""

    job: Job
    kind: str
    value: Any = None


@dataclass
class Worker:
    """A running process and its end of the pipe."""

    job: Job
    process: BaseProcess
    connection: Connection
    outcome: Any = field(default=None)


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    should_stop: Callable[[], bool],
    assign: Callable[[Job], Job] = lambda job: job,
) -> Iterator[JobEvent]:
    """Run jobs, `workers` at a time, yielding events; a job that says it is busy elsewhere is tried again until it is not.

    When `should_stop` turns true, no job is started any more and running ones are asked to stop; they still report. An event of kind
    `tick` with the first job comes at least every quarter second, for displays. `assign` is given each job as it starts, and gives what is
    to be done, under the same name.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.core.runner"])
    waiting, running = deque(jobs), list[Worker]()
    not_before: dict[str, float] = {}
    stopping = False
    try:
        while waiting or running:
            if should_stop() and not stopping:
                stopping = True
                waiting.clear()
                ask_to_stop(running)
            while (job := next_ready(waiting, not_before)) and len(running) < workers:
                waiting.remove(job)
                running.append(start(context, assign(job)))
                yield JobEvent(job, "started")
            handles = [worker.connection for worker in running]
            if handles:
                wait(handles, timeout=POLL)
            else:
                time.sleep(POLL)
            for worker in list(running):
                yield from listen(worker)
                if worker.outcome is not None or not worker.process.is_alive():
                    yield from listen(worker)  # what it said last
                    running.remove(worker)
                    event = settle(worker)
                    if event.kind == "done" and getattr(event.value, "state", "") == "busy" and not stopping:
                        not_before[worker.job.name] = time.monotonic() + 1
                        waiting.append(worker.job)
                    yield event
            if jobs:
                yield JobEvent(jobs[0], "tick")
    finally:
        ask_to_stop(running)
        for worker in running:
            worker.process.join(timeout=30)
            if worker.process.is_alive():
                worker.process.kill()


def next_ready(waiting: deque[Job], not_before: dict[str, float]) -> Job | None:
    """The first waiting job whose pause is over."""
    now = time.monotonic()
    return next((job for job in waiting if not_before.get(job.name, 0.0) <= now), None)


def start(context: Any, job: Job) -> Worker:
    """Fork a worker for a job."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(theirs, job), name=job.name, daemon=False)
    process.start()
    theirs.close()
    return Worker(job, process, ours)


def ask_to_stop(running: Sequence[Worker]) -> None:
    """Send every running worker a SIGTERM, on which it saves and ends."""
    for worker in running:
        if worker.process.is_alive():
            worker.process.terminate()


def listen(worker: Worker) -> Iterator[JobEvent]:
    """Everything a worker has sent."""
    try:
        while worker.connection.poll():
            kind, value = worker.connection.recv()
            if kind == "outcome":
                worker.outcome = value
            else:
                yield JobEvent(worker.job, kind, value)
    except (EOFError, OSError):
        return


def settle(worker: Worker) -> JobEvent:
    """Wait for a worker's end and say how it ended."""
    worker.process.join()
    worker.connection.close()
    if worker.outcome is not None:
        return JobEvent(worker.job, "done", worker.outcome)
    code = worker.process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return JobEvent(worker.job, "killed", f"killed by {name}{hint}")
    return JobEvent(worker.job, "killed", f"its process ended with code {code} and said nothing")


def work(connection: Connection, job: Job) -> None:
    """In the worker: call the job's function, report, and stop when asked or when nobody listens."""
    stop = False

    def ask(_signal: int, _frame: Any) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, ask)

    def progress(value: dict[str, Any]) -> None:
        nonlocal stop
        try:
            connection.send(("progress", value))
        except OSError:
            stop = True

    module, _, name = job.function.partition(":")
    outcome = getattr(importlib.import_module(module), name)(*job.arguments, progress, lambda: stop)
    connection.send(("outcome", outcome))
    connection.close()
