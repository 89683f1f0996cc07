"""Runs in this process on a disk that fails: power cuts after every operation, refusals of every call, and what is left afterwards."""

from __future__ import annotations

import errno
import functools
import itertools
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from bench.core.run_folder import LOG
from bench.core.runner import execute
from bench.core.session import Session
from bench.core.store import Store
from bench.core.task import Outcome, Task

from .disk import Log, crashed, failing, lay_out, recording
from .studies import numbers, tasks, write_suite

__all__ = ["REFUSALS", "Study", "often_saved", "power_cut", "power_cuts", "refusals", "refused"]

STEPS = 12  # of a training; its state is saved after every one
REFUSALS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS, "EMFILE": errno.EMFILE}


@contextmanager
def often_saved() -> Iterator[None]:
    """Let runs save their state after every step, where they would do so every few seconds."""
    with mock.patch("bench.core.runner.Session", functools.partial(Session, log_every=2, save_every=0.0)):
        yield


@dataclass
class Study:
    """One run, what it finds undisturbed, and the operations by which it does so; `root` is where its store is laid out again and again."""

    suite: str
    model: str
    folder: Path
    cache: Path
    task: Task = field(init=False)
    log: Log = field(init=False)
    expected: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.folder / "store"
        (self.task,) = tasks(write_suite(self.suite, self.folder, STEPS), self.root, [self.model])
        self.fresh()
        with often_saved(), recording(self.root) as self.log:
            assert self.do().state == "done"
        self.expected = self.found()

    def fresh(self) -> None:
        """Lay out a store with nothing in it but its cache."""
        shutil.rmtree(self.root, ignore_errors=True)
        Store(self.root).create()
        shutil.copytree(self.cache, self.root / "cache", dirs_exist_ok=True)

    def do(self) -> Outcome:
        """Do what is missing of the run."""
        return execute(self.task, lambda _: None, lambda: False)

    def lookup(self) -> str:
        """What the store says of the run."""
        return Store(self.root).lookup(self.task).state

    def found(self) -> dict[str, dict[str, Any]]:
        """The numbers of the run, and of the run that it starts from, if it starts from one."""
        both = [self.task.spec.run_id] + ([self.task.base.spec.run_id] if self.task.base else [])
        return {run: numbers(Store(self.root), run) for run in both}

    def ended_well(self) -> str:
        """Do the run again; '' if it ends with the numbers expected of it, else what is wrong."""
        with often_saved():
            outcome = self.do()
        if outcome.state not in ("done", "hit"):
            return f"{outcome.state}: {outcome.reason}"
        aside = self.root / "aside"  # what is set aside stays as it was
        if left := [path.name for path in self.root.rglob("*.tmp") if not path.is_relative_to(aside)]:
            return f"left behind: {left[0]}"
        found = self.found()
        changed = [
            f"{run} {name}" for run in found for name in found[run] if found[run][name] != self.expected[run].get(name)
        ]
        return f"changed: {', '.join(changed[:3])}" if changed or found.keys() != self.expected.keys() else ""


def power_cuts(study: Study) -> list[tuple[int, int | None]]:
    """Every moment at which power can be lost, with a seed for what of the unsynced is lost then; None for all of it."""
    return list(itertools.product(range(len(study.log.operations) + 1), (None, 0, 1)))


def power_cut(study: Study, length: int, seed: int | None) -> str:
    """Lose power after so many operations, and do the run again; '' if all is well afterwards."""
    study.fresh()
    lay_out(crashed(study.log, length, None if seed is None else random.Random(f"{length} {seed}")), study.root)
    if length == len(study.log.operations) and study.lookup() != "hit":
        return "a run that was done is lost"
    return study.ended_well()


def refusals(study: Study) -> list[tuple[str, int, bool]]:
    """Every call that can be refused, by each error, once and from then on."""
    found = []
    for name, error in REFUSALS.items():
        study.fresh()
        with often_saved(), failing(study.root, 0, error, False) as counted:
            study.do()
        found += list(itertools.product([name], range(1, counted.calls + 1), (False, True)))
    return found


def refused(study: Study, name: str, number: int, lasting: bool) -> str:
    """Refuse a call with an error, then do the run again on a disk that is well; '' if all is well afterwards."""
    study.fresh()
    try:
        with often_saved(), failing(study.root, number, REFUSALS[name], lasting) as found:
            outcome = study.do()
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    if not found.refused:
        return "nothing was refused"
    needed = any(not each.endswith(LOG) for each in found.refused)  # no run fails for its log
    if needed and lasting and name != "EMFILE" and outcome.state in ("done", "hit"):
        return f"{found.refused[0]} was refused, and the run ended as {outcome.state}"
    if "\n" in outcome.reason:
        return f"more than a line: {outcome.reason}"
    return study.ended_well()
