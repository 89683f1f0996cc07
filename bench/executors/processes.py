"""One process per job, a few at a time: a run that is killed or runs out of memory takes nothing with it and becomes a row.

Workers are forked from a server that has torch loaded already, one of them ahead of its job, report over a pipe, and stop, with everything
saved, when asked or when the parent is gone. What a terminal or a batch system sends to the whole group is for the parent alone: the server
lives on, and a worker that has just begun heeds it once it can. Where there are CUDA devices each worker sees one of them, chosen before it
initialises CUDA, which the server never does.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from bench.executors.jobs import Assign, Job, JobEvent, QueueError, Terms
from gebm.components import component

__all__ = ["Processes"]

POLL = 0.25  # seconds between looks at the clock and at busy runs
ALWAYS = ("bench.core.runner", "bench.cli")
"""Modules that every worker imports: what it does, and what the script does that was called."""
ASKING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals by which a command is asked to stop."""
UNKNOWN = 255  # the exit code of a process whose server is gone, alive or not


@dataclass
class Hand:
    """A process that waits for a job, and our end of the pipe to it."""

    process: BaseProcess
    connection: Connection


@dataclass
class Worker:
    """A running process, our end of the pipe, and the device that it sees; None where all see what there is."""

    job: Job
    process: BaseProcess
    connection: Connection
    device: str | None
    outcome: Any = None
    silent: bool = False  # it has closed its end of the pipe, as it does when it dies


@component("executors", "processes", "one process per run on this machine, a few side by side", local=True)
@dataclass(frozen=True)
class Processes:
    """A pool of processes; on CUDA devices each job sees the one with the fewest jobs as it starts.

    A job that says it is busy elsewhere is tried again until it is not. Modules in `preload` are imported once, by the server that workers
    are forked from. A tick comes at least every quarter second.
    """

    terms: Terms

    def run(
        self,
        jobs: Sequence[Job],
        should_stop: Callable[[], bool],
        assign: Assign = lambda job: job,
        preload: Sequence[str] = (),
    ) -> Iterator[JobEvent]:
        room, devices = self.terms.room or (lambda: self.terms.workers or 1), self.terms.devices
        # Linear algebra in the server and its workers begins with one thread; a run that has more asks for them.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*ALWAYS, *preload, "bench.executors.forked"])
        waiting = [(0.0, job) for job in jobs]  # with the time before which it is not tried again
        running: list[Worker] = []
        leaving: list[Worker] = []  # they have said how they ended, and nobody waits for their memory to be given back
        spare: Hand | None = None  # forked while others work, for the next job to begin at once
        stopping = False
        try:
            while waiting or running:
                if should_stop() and not stopping:
                    stopping = True
                    waiting.clear()
                    tell(running, signal.SIGTERM)
                for not_before, job in list(waiting):
                    if len(running) >= room():
                        break
                    if not_before <= time.monotonic() and not awaited(job, waiting, running):
                        waiting.remove((not_before, job))
                        device = freest(devices, running)
                        running.append(start(context, spare, assign(job), device))
                        spare = None
                        yield JobEvent(job, "started", device and f"CUDA device {device}")
                if waiting and spare is None:
                    spare = forked(context)
                if running:
                    wait([worker.connection for worker in running], timeout=POLL)
                else:
                    time.sleep(POLL)
                for worker in list(running):
                    code = worker.process.exitcode  # asked first: its last messages are read below
                    yield from listen(worker)
                    if code not in (None, UNKNOWN) or worker.silent or worker.outcome is not None:
                        running.remove(worker)
                        leaving.append(worker)
                        event = settle(worker)
                        if getattr(event.value, "state", "") == "busy" and not stopping:
                            waiting.append((time.monotonic() + 1, worker.job))
                        yield event
                leaving = [worker for worker in leaving if worker.process.is_alive()]
                if jobs:
                    yield JobEvent(jobs[0], "tick")
        except BaseException:  # such as a second Ctrl-C: what was saved seconds ago is safe
            tell(running, signal.SIGKILL)
            raise
        finally:
            if spare:
                spare.connection.close()  # which ends it
        for worker in leaving:
            worker.process.join()


def awaited(job: Job, waiting: Sequence[tuple[float, Job]], running: Sequence[Worker]) -> bool:
    """Whether a job that must come before this one has not ended."""
    unended = {other.name for _, other in waiting} | {worker.job.name for worker in running}
    return not unended.isdisjoint(job.after)


def freest(devices: Sequence[str], running: Sequence[Worker]) -> str | None:
    """Return the device with the fewest jobs, the first of several; None if there are no devices."""
    load = Counter(worker.device for worker in running)
    return min(devices, key=load.__getitem__, default=None)


def forked(context: Any, pauses: Sequence[float] = (0.1, 1.0)) -> Hand:
    """Fork a process for whatever job comes; again after these pauses, for a server that was just killed takes a while to die.

    Raises:
        QueueError: if this machine gives none.
    """
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=False)
    try:
        resource_tracker.ensure_running()  # which would lift the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)  # the server keeps it, and hands it on to workers
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        process.start()
    except (OSError, EOFError) as error:
        if pauses:
            time.sleep(pauses[0])
            return forked(context, pauses[1:])
        ended = "the server that they are forked from has ended (out of memory? a limit of processes?)"
        why = ended if isinstance(error, EOFError) else error
        raise QueueError(f"no process can be started: {why}") from error
    theirs.close()
    return Hand(process, ours)


def start(context: Any, spare: Hand | None, job: Job, device: str | None) -> Worker:
    """Give a job, on a device, to the process that waits for one, or to a new one if there is none or it has been killed."""
    hand = spare or forked(context)
    try:
        hand.connection.send((job, device))
    except OSError:
        hand = forked(context)
        with contextlib.suppress(OSError):  # killed as well: it ends as a worker that was killed
            hand.connection.send((job, device))
    return Worker(job, hand.process, hand.connection, device)


def tell(running: Sequence[Worker], number: signal.Signals) -> None:
    """Send every running worker a signal; on a SIGTERM it saves and ends."""
    for pid in filter(None, (worker.process.pid for worker in running)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def listen(worker: Worker) -> Iterator[JobEvent]:
    """Yield everything a worker has sent but its outcome, which is kept."""
    try:
        while worker.connection.poll():
            kind, value = worker.connection.recv()
            if kind == "outcome":
                worker.outcome = value
            else:
                yield JobEvent(worker.job, kind, value)
    except (EOFError, OSError):
        worker.silent = True


def settle(worker: Worker) -> JobEvent:
    """Return how a worker ended, as it said, or else as its process did; a device is free when the process is gone."""
    if worker.outcome is None or worker.device is not None:
        worker.process.join()
    worker.connection.close()
    if worker.outcome is not None:
        return JobEvent(worker.job, "done", worker.outcome)
    code = worker.process.exitcode or 0
    if code >= 0:
        return JobEvent(worker.job, "killed", f"its process ended with code {code} and without a result")
    name = next((each.name for each in signal.Signals if each == -code), f"signal {-code}")  # some have none
    likely = " (out of memory?)" if code == -signal.SIGKILL else ""
    return JobEvent(worker.job, "killed", f"killed by {name}{likely}")


def work(connection: Connection) -> None:
    """Wait for a job, call its function, report, and stop when asked or when nobody listens."""
    stop = False

    def ask(_signal: int, _frame: Any) -> None:
        nonlocal stop
        stop = True

    for number in ASKING:  # the parent decides what Ctrl-C means
        signal.signal(number, ask if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
    try:
        job, device = connection.recv()
    except (EOFError, OSError):
        return  # there is none
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # read when CUDA is initialised, which the function does

    def progress(value: dict[str, Any]) -> None:
        nonlocal stop
        try:
            connection.send(("progress", value))
        except OSError:
            stop = True

    outcome = job.call(progress, lambda: stop)
    with contextlib.suppress(OSError):  # the parent is gone; what matters is in the store
        connection.send(("outcome", outcome))
