"""On which cores a process works: two processes that are compared share theirs, and with them the neighbours there."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterable
from pathlib import Path

__all__ = ["lent", "some", "stay_on"]

TASKS = Path("/proc/self/task")


def lent() -> list[int]:
    """Numbers of the cores that this process may use; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def some(count: int) -> list[int]:
    """So many of the cores of this process, at random; all if there are no more."""
    cores = lent()
    return random.sample(cores, min(count, len(cores)))


def stay_on(cores: Iterable[int]) -> None:
    """Keep all threads of this process, and those to come, on these cores; where there are none, or the system cannot, nothing is done."""
    numbers = set(cores)
    if not numbers or not TASKS.is_dir():
        return
    for task in TASKS.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), numbers)
