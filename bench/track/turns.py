"""Timing in turn: the sides' processes are alive at the same time, and only one works at any moment, for a short slice.

For each benchmark both sides build it and warm up on the same cores, or one of them might have the busier neighbours. Then they are timed
in turns of one slice each, A B, B A, A B, …, so that the two slices of a turn lie within tens of milliseconds of each other: what comes and
goes on the machine (neighbours, clocks) is met by both or, where it hits one slice alone, spoils one turn of many. `median_log_ratio` is
the result of a pair of processes: the median over turns.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.track.checkouts import Checkout
from bench.track.processes import Processes, Worker, ask_all
from bench.track.timed.clock import lent

__all__ = ["Measurement", "measure", "median_log_ratio", "plan"]

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
class Measurement:
    """What the process of a side measured.

    Attributes:
        timings: by benchmark, `seconds` per step for each slice and what is known of the work; or `error`.
        environment: versions, threads, machine and clocks at the end.
    """

    timings: dict[str, dict[str, Any]]
    environment: dict[str, Any] = field(default_factory=dict)


def measure(processes: Processes, sides: Mapping[str, Checkout], names: Sequence[str]) -> dict[str, Measurement]:
    """Time benchmarks in a fresh process per side, in turn; the first of the sides has the first slice.

    Raises:
        MeasuringError: if a side cannot be measured at all.
    """
    with processes.opened(*sides.values()) as workers:
        cores = lent()
        drawn = [random.sample(cores, min(processes.threads, len(cores))) for _ in names]
        answers = {name: in_turn(workers, name, on) for name, on in zip(names, drawn, strict=True)}
        environments = [worker.ask("environment") | {"threads": processes.threads} for worker in workers]
    return {
        side: Measurement({name: each[index] for name, each in answers.items()}, environments[index])
        for index, side in enumerate(sides)
    }


def in_turn(workers: Sequence[Worker], name: str, cores: Sequence[int]) -> list[dict[str, Any]]:
    """Return each process's answer for a benchmark, all on the same cores; where one fails, the others' are incomplete."""
    answers = ask_all(workers, "built", name=name)
    if any("error" in answer for answer in answers):
        return answers
    for answer, worker in zip(answers, workers, strict=True):
        answer |= worker.ask("warmed", seconds=WARM_UP, cores=list(cores))
        answer["seconds"] = []
    if any("error" in answer for answer in answers):
        return answers
    steps, turns = plan([answer["step"] for answer in answers])
    order = list(zip(workers, answers, strict=True))
    for turn in range(turns):
        if turn >= ENOUGH_TURNS and turn % 2 == 0 and standard_error([a["seconds"] for a in answers]) < PRECISE:
            break
        for worker, answer in order if turn % 2 == 0 else reversed(order):
            timed = worker.ask("timed", steps=steps)
            if "error" in timed:
                answer["error"] = timed["error"]
                return answers
            answer["seconds"].append(timed["seconds"])
    return answers


def plan(seconds: Sequence[float]) -> tuple[int, int]:
    """Return the steps per slice, the same on all sides, and the most turns, given about what a step takes on each side."""
    step = max(min(seconds), 1e-9)
    steps = max(1, round(SLICE / step))
    turns = min(max(int(MEASURED / (steps * step)), FEWEST_TURNS), TURNS)
    return steps, turns - turns % 2


def standard_error(seconds: Sequence[Sequence[float]]) -> float:
    """Return that of the median over turns of the log-ratio of two sides, or of the log-seconds of one, as if these were normal.

    Their spread is the median absolute deviation, which a few spoiled turns do not change.
    """
    values = [math.log(turn[-1] / (turn[0] if len(turn) > 1 else 1.0)) for turn in zip(*seconds, strict=True)]
    middle = statistics.median(values)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in values)
    return 1.2533 * spread / math.sqrt(len(values))


def median_log_ratio(old: Sequence[float], new: Sequence[float]) -> float:
    """Return the median over turns of log(new / old) of their seconds.

    Example:
        >>> round(median_log_ratio([1.0, 1.0, 9.0], [1.1, 1.1, 1.1]), 3)
        0.095
    """
    return statistics.median(math.log(after / before) for before, after in zip(old, new, strict=True))
