"""What is timed, and the process that times it.

A measuring process runs this folder's code against the library of either side, so that both are timed by the very same code: `__main__`
puts this package in the place of the library's own `bench.track.timed`. Nothing here may import other parts of `bench.track`; `gebm`,
`baselines` and the rest of `bench` are those of the side, so that only what every side has may be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Benchmark", "Work"]


@dataclass(frozen=True)
class Work:
    """Something built and warm, ready to be timed.

    Attributes:
        step: does the work once; its return value is ignored.
        amount: units of the benchmark per step.
        check: returns the statistics in which the fast path's output differs from the truth; empty if it is right.
        gradient_evaluations, forward_evaluations: of E(G(z)) per step, over all rows.
        precision: dtype of the matrix products ("float32", "bfloat16"), whose peak it is compared with; None where there are none.
    """

    step: Callable[[], object]
    amount: float
    check: Callable[[], list[str]]
    gradient_evaluations: float = 0.0
    forward_evaluations: float = 0.0
    precision: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A named piece of work.

    Attributes:
        name: unique, as `--only` matches it.
        unit: what is counted: chain-steps, images, draws, distances.
        build: makes the work on a device ("cpu" or "cuda"), given as `device` beside the settings.
        settings: keyword arguments of `build`; they are part of the benchmark's version.
        quick: whether it is in the quick subset.
    """

    name: str
    unit: str
    build: Callable[..., Work]
    settings: dict[str, Any]
    quick: bool = False
