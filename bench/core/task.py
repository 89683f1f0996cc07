"""What is handed to a worker and what comes back; light enough for the process that only plans and watches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.core.spec import Readout, RunSpec
from bench.core.store import Store

__all__ = ["Outcome", "Task", "record_death", "record_failure"]


@dataclass(frozen=True)
class Task:
    """A run and everything needed to do it, in any process.

    Arguments:
        spec: the resolved run.
        readouts: what to read out of the trained model.
        store: root of the store.
        data: folder of local data, or None.
        weights: folder of extractors' weights, or None.
        device: 'auto', 'cpu' or 'cuda'.
        fresh: set aside what is there and start again.
        source: what `bench.data.load_dataset` takes, where that is more than the spec's dataset, such as the path of a file.
        cache: folder of decoded images, or None.
        deadline: when the run is to leave off, on the clock `time.monotonic`, or None; what is unfinished by then is scored as it stands.
    """

    spec: RunSpec
    readouts: tuple[Readout, ...]
    store: Path
    data: Path | None
    weights: Path | None
    device: str
    fresh: bool = False
    source: str = ""
    cache: Path | None = None
    deadline: float | None = None

    @property
    def dataset_source(self) -> str:
        """The source, or for a task made without one the dataset's name."""
        return self.source or self.spec.dataset


@dataclass(frozen=True)
class Outcome:
    """How a task ended. `busy`: another process works on it; `abort`: nothing can go on (the store is full).

    `scored`: there are scores though the run is not done.
    """

    state: Literal["done", "hit", "failed", "stopped", "busy", "abort"]
    reason: str = ""
    scored: bool = False


def record_failure(task: Task, reason: str, details: str = "") -> Outcome:
    """Make a failed run a row with its reason, and keep a traceback for whoever looks into it; the caller holds the run."""
    try:
        Store(task.store).fail(task.spec, reason, details)
    except OSError as error:
        return Outcome("abort", f"cannot write to the store {task.store}: {error.strerror}; and before that: {reason}")
    return Outcome("failed", reason)


def record_death(task: Task, reason: str) -> Outcome:
    """Record a worker that was killed, unless it had just finished or another process has taken the run over."""
    store = Store(task.store)
    with store.lock(task.spec) as mine:
        if not mine:
            return Outcome("busy", "another process works on this run")
        if store.lookup(task.spec, task.readouts).state == "hit":
            return Outcome("done")
        return record_failure(task, reason)
