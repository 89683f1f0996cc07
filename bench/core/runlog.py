"""A run's log: what its worker does and is warned of, a line each, for whoever looks into the run later. No number depends on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.core.run_folder import RunFolder
from bench.core.session import Progress

__all__ = ["logged", "warnings_noted"]


def logged(progress: Progress, folder: RunFolder) -> Progress:
    """Return a run's progress that also leaves a line in its log where a phase begins and for every warning."""
    phase = ""

    def tell(value: dict[str, Any]) -> None:
        nonlocal phase
        if "warning" in value:
            folder.log(f"warning: {value['warning']}")
        elif value.get("phase", phase) != phase:
            phase = value["phase"]
            folder.log(f"{phase}, step {value['step']} of {value['total']}" if value.get("total") else phase)
        progress(value)

    return tell


@contextmanager
def warnings_noted(folder: RunFolder) -> Iterator[None]:
    """Leave a line in a run's log for every warning of Python's inside the block, besides what is done with it anyway."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            folder.log(f"{category.__name__}: {message}")
            show(message, category, *where, **more)

        warnings.showwarning = note
        yield
