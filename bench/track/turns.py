"""Sides measured in turn: their processes are alive at the same time, and only one works at any moment, for a short slice.

For each benchmark both sides build it, and warm up on the same cores, or one of them might have the busier neighbours. Then they are timed
in turns of one slice each, A B, B A, A B, …, so that the two slices of a turn lie within tens of milliseconds of each other: what comes and
goes on the machine (neighbours, clocks) is met by both or, where it hits one slice alone, spoils one turn of many. `middle_log_ratio` is
what a pair of processes says: the median over turns.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.track.processes import Processes, Worker, at_once
from bench.track.sides import Side
from bench.track.timed.cores import some

__all__ = ["Answers", "measure", "middle_log_ratio", "plan"]

WARM_UP = 0.2
"""Seconds of steps before the first slice."""

SLICE = 0.02
"""Seconds: long against the clock's resolution and a switch of processes, short against the coming and going of load."""

TURNS, ENOUGH_TURNS, FEWEST_TURNS = 20, 8, 4
"""Slices of each side, even so that each side is first in half of them. From enough on they end when their median is precise."""

PRECISE = 0.01
"""Standard error of a pair's log-ratio below which more turns tell nothing: processes of the same code differ by more."""

MEASURED = 2.5
"""Seconds of slices of each side after which fewer turns will do; long steps get the fewest."""


@dataclass
class Answers:
    """What a side's process said.

    Attributes:
        environment: versions, threads, machine and clocks at the end.
        results: by benchmark what was timed, `seconds` a step for each slice; or `error`.
    """

    environment: dict[str, Any] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)


def measure(processes: Processes, sides: Sequence[Side], names: Sequence[str]) -> list[Answers]:
    """Time benchmarks in a fresh process of each side, in turn; the first of the sides has the first slice.

    Raises:
        MeasuringError: if a side cannot be measured at all.
    """
    with processes.opened(*sides) as workers:
        said = {name: in_turn(workers, name, some(processes.threads)) for name in names}
        environments = [worker.ask("environment") for worker in workers]
    return [
        Answers(environment, {name: results[index] for name, results in said.items()})
        for index, environment in enumerate(environments)
    ]


def in_turn(workers: Sequence[Worker], name: str, cores: Sequence[int]) -> list[dict[str, Any]]:
    """What each process says of a benchmark, all on the same cores; where one fails, what the others have is incomplete."""
    said = at_once(workers, "built", name=name)
    if failed(said):
        return said
    said = [
        built | worker.ask("warmed", seconds=WARM_UP, cores=list(cores))
        for built, worker in zip(said, workers, strict=True)
    ]
    if failed(said):
        return said
    steps, turns = plan([warmed["step"] for warmed in said])
    seconds: list[list[float]] = [result.setdefault("seconds", []) for result in said]
    order = list(zip(workers, said, strict=True))
    for turn in range(turns):
        if turn >= ENOUGH_TURNS and turn % 2 == 0 and standard_error(seconds) < PRECISE:
            break
        for worker, result in order if turn % 2 == 0 else reversed(order):
            timed = worker.ask("timed", steps=steps)
            if "error" in timed:
                result["error"] = timed["error"]
                return said
            result["seconds"].append(timed["seconds"])
    return said


def failed(said: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of them did."""
    return any("error" in result for result in said)


def plan(seconds: Sequence[float]) -> tuple[int, int]:
    """Steps of a slice, the same on all sides, and how many turns.

    Arguments:
        seconds: about what a step takes, on each side.
    """
    step = max(min(seconds), 1e-9)
    steps = max(1, round(SLICE / step))
    turns = min(max(int(MEASURED / (steps * step)), FEWEST_TURNS), TURNS)
    return steps, turns - turns % 2


def standard_error(seconds: Sequence[Sequence[float]]) -> float:
    """Of the median over turns of the log-ratio of two sides, or of the log-seconds of one, as if these were normal.

    Their spread is the median deviation from the median, which a few spoiled turns do not change.
    """
    values = [
        math.log(turn[-1] / turn[0]) if len(turn) > 1 else math.log(turn[0]) for turn in zip(*seconds, strict=True)
    ]
    middle = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in values)
    return 1.2533 * spread / math.sqrt(len(values))


def middle_log_ratio(old: Sequence[float], new: Sequence[float]) -> float:
    """log(new / old) of the seconds of each turn, and of these the median.

    Example:
        >>> round(middle_log_ratio([1.0, 1.0, 9.0], [1.1, 1.1, 1.1]), 3)
        0.095
    """
    return statistics.median(math.log(after / before) for before, after in zip(old, new, strict=True))
