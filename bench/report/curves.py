"""Training curves as they lie in the store: JSON lines, read as far as they are whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "median_bins", "read_curve"]

_Array = NDArray[np.float64]
_ENDINGS = ("_loss", "_likelihood", "_gain")


@dataclass(frozen=True)
class Curve:
    """Losses over all steps of a run. A phase that counts its steps from the start again is moved behind the last.

    Attributes:
        steps: shape (n,).
        losses: name to values, shape (n,), NaN where a phase has no such loss.
        phases: (first step, name) of every phase.
    """

    steps: _Array
    losses: Mapping[str, _Array]
    phases: Sequence[tuple[float, str]]


def read_curve(path: Path) -> Curve:
    """Read a curve; a line cut off by a crash ends it, a file that cannot be read is an empty curve."""
    records = _records(path)
    names = list(dict.fromkeys(name for record in records for name in record if name.endswith(_ENDINGS)))
    steps: list[float] = []
    phases: list[tuple[float, str]] = []
    offset = 0.0
    for record in records:
        step, phase = _number(record["step"]), str(record.get("phase", ""))
        if not phases or phases[-1][1] != phase:
            offset = steps[-1] if steps and step <= steps[-1] else 0.0
            phases.append((offset + step if not steps else max(steps[-1], offset), phase))
        steps.append(offset + step)
    losses = {name: np.array([_number(record.get(name)) for record in records]) for name in names}
    return Curve(np.array(steps), losses, phases)


def median_bins(steps: _Array, values: _Array, bins: int = 150) -> tuple[_Array, _Array]:
    """Medians of at most `bins` runs of neighbours, without the missing values: a line that the eye can follow."""
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    if len(values) <= bins:
        return steps, values
    parts = np.array_split(np.arange(len(values)), bins)
    return np.array([steps[part].mean() for part in parts]), np.array([np.median(values[part]) for part in parts])


def _records(path: Path) -> list[dict[str, object]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    records: list[dict[str, object]] = []
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if isinstance(record, dict) and isinstance(record.get("step"), int | float):
            records.append(record)
    return records


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
