"""What is handed to a worker and what comes back; light enough for the process that only plans and watches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.components.digests import Stage
from bench.core.spec import Readout, RunSpec

__all__ = ["Outcome", "Places", "Task"]


@dataclass(frozen=True)
class Places:
    """Where a run finds what it needs and computes.

    Arguments:
        store: root of the store.
        data: folder of local data, or None.
        weights: folder of extractors' weights, or None.
        cache: folder of decoded images, or None.
        device: 'auto', 'cpu' or 'cuda'.
    """

    store: Path
    data: Path | None = None
    weights: Path | None = None
    cache: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Task:
    """A run and everything needed to do it, in any process.

    Arguments:
        spec: the resolved run.
        readouts: what to read out of the trained model.
        training: the code that trains it.
        reading: the code behind each readout, in their order.
        places: where things are.
        source: what `bench.data.load_dataset` takes.
        fresh: set aside what is there and start again.
        retrain: train again what other code or another device trained.
        base: the training, without readouts, of the run that this one starts from, if it starts from one.
        raises: let out, once it is recorded, the error that ends the run, to debug it.
        deadline: when the run is to leave off, on the clock `time.monotonic`, or None; what is unfinished by then is scored as it stands.
    """

    spec: RunSpec
    readouts: tuple[Readout, ...]
    training: Stage
    reading: tuple[Stage, ...]
    places: Places
    source: str
    fresh: bool = False
    retrain: bool = False
    base: Task | None = None
    raises: bool = False
    deadline: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task ended, or where it is. `queued`: where it goes on without this process; `busy`: another process works on it; `abort`:
    nothing can go on (the store is full).

    `scored`: there are scores though the run is not done.
    """

    state: Literal["done", "hit", "failed", "stopped", "queued", "busy", "abort"]
    reason: str = ""
    scored: bool = False
