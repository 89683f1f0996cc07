"""What a reader of a trained model is given, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.core.model import Model
from bench.core.session import Progress
from bench.data import Dataset
from gebm.partition import LogPartition

__all__ = ["Context", "Result", "log_partition_facts", "result_row"]

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What one readout found.

    Arguments:
        values: what JSON can hold: `sampler`, `beta`, `step_size`, and `rows` of scores made by `result_row`.
        seconds: spent on `sampling` and on `scoring`.
        arrays: kept beside the values, by name; images of a row are named by its steps, six digits.
    """

    values: Mapping[str, Any]
    seconds: Mapping[str, float]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Context:
    """A trained model and what is at hand for reading it out.

    Arguments:
        model: evaluated as it is, frozen, in evaluation mode.
        dataset: real data.
        cache: folder of extractors and reference statistics.
        weights: folder of published extractors' weights, or None.
        progress: called with what is being done.
        should_stop: asked now and then; a readout that is asked to stop raises `InterruptedRunError` and starts anew later.
    """

    model: Model
    dataset: Dataset
    cache: Path
    weights: Path | None
    progress: Progress
    should_stop: Callable[[], bool]
    _made: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what `make` makes, made once for all readouts of the model."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[no-any-return]


def result_row(
    steps: int, scores: Mapping[str, float], key: str, cost: tuple[int, int] = (0, 0), collapsed: str = "", **facts: Any
) -> dict[str, Any]:
    """One row of a result: scores after so many steps, their key, and their cost in (gradient, forward) evaluations per sample."""
    return {
        "steps": steps,
        "gradient_evaluations": cost[0],
        "forward_evaluations": cost[1],
        "scores": dict(scores),
        "key": key,
        "collapsed": collapsed,
        **facts,
    }


def log_partition_facts(found: LogPartition) -> dict[str, Any]:
    """Return what a row says of an estimate of log Z; k̂ is that of the run which admits or refuses it."""
    shape, opinion = found.judge.pareto_k, found.opinion
    facts = {
        "estimate": found.estimate,
        "standard_error": found.standard_error,
        "reportable": found.reportable,
        "warnings": [*found.objections, *found.warnings],
        "pareto_k": shape if math.isfinite(shape or 0.0) else None,
        "admission": "its own weights" if found.admission is None else "an independent run",
        "horizon": found.horizon if math.isfinite(found.horizon) else None,
    }
    if opinion is not None:
        facts["upper"] = {
            "estimate": opinion.estimate,
            "standard_error": opinion.standard_error,
            "method": opinion.method,
            "reportable": opinion.reportable,
        }
    return facts
