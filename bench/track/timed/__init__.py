"""What is timed, and the process that times it.

A measuring process runs this folder's code against the library of either side of a comparison, so that both sides are timed by the very
same code: `__main__` puts this package in the place of the library's own `bench.track.timed`. Nothing here may import other parts of
`bench.track`; `gebm`, `baselines` and the rest of `bench` are those of the side.
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
        step: does the work once; what it returns is ignored.
        amount: units of the benchmark that one step makes.
        check: statistics in which what the fast path makes differs from the truth; empty if it is right.
        gradient_evaluations, forward_evaluations: of E(G(z)), over all rows of a step.
        precision: dtype of the matrix products ("float32", "bfloat16"), whose peak it is compared with; None where a step has none.
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
        build: makes the work on a device; the settings are its arguments.
        settings: of `build`, by name; they are part of the benchmark's version.
        quick: whether it is in the quick subset.
    """

    name: str
    unit: str
    build: Callable[..., Work]
    settings: dict[str, Any]
    quick: bool = False

    def work(self, device: str) -> Work:
        """The work, built on a device ("cpu" or "cuda")."""
        return self.build(device=device, **self.settings)
