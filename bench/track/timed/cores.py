"""The cores on which a process works: two processes that are compared share theirs, and with them the neighbours there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["lent", "stay_on"]

TASKS = Path("/proc/self/task")


def lent() -> list[int]:
    """Return the numbers of the cores that this process may use; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def stay_on(cores: Iterable[int]) -> None:
    """Keep all threads of this process, and those to come, on these cores; without any, or where the system cannot, do nothing."""
    numbers = set(cores)
    if numbers and TASKS.is_dir():
        for task in TASKS.iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), numbers)
