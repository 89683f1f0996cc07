"""From the sides to a check: which benchmarks, are they the same on both sides, are they right, and then which is slower."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.registry import UnknownNameError, closest
from bench.track.check import NEW, OLD, Budget, Check, Line, Timings, judge_laws, judge_versions, run_check, undecided
from bench.track.decide import Design
from bench.track.processes import Processes
from bench.track.sides import Side
from bench.track.turns import measure

__all__ = ["Comparison", "Say", "compare", "select"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """A check with what it was of.

    Attributes:
        check: the outcome.
        sides: "old" and "new".
        environments: of the first process of each side.
        device, threads, seconds: what was measured on, and how long it took in all.
    """

    check: Check
    sides: Mapping[str, Side]
    environments: Mapping[str, dict[str, Any]]
    device: str
    threads: int
    seconds: float


def select(processes: Processes, side: Side, patterns: Sequence[str], full: bool) -> dict[str, dict[str, Any]]:
    """The benchmarks of a side, by name: those that match a pattern (`ula-*`), or without patterns the quick ones, or all.

    Raises:
        UnknownNameError: for a pattern that matches none, or if there is nothing to choose.
        MeasuringError: if the side cannot be asked.
    """
    known = processes.listed(side)
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise UnknownNameError(f"no benchmark '{pattern}'; {closest(pattern, known)}")
    if patterns:
        return {name: known[name] for name in known if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    chosen = {name: said for name, said in known.items() if full or said.get("quick")}
    if not chosen:
        raise UnknownNameError("none of these benchmarks is quick; add --full, or name some with --only")
    return chosen


def compare(
    processes: Processes,
    old: Side,
    new: Side,
    names: Mapping[str, Mapping[str, Any]],
    design: Design,
    minutes: float,
    say: Say,
) -> Comparison:
    """Check the new side against the old one.

    Arguments:
        processes: how to measure.
        old, new: the sides.
        names: the benchmarks, of `select` on the new side.
        design: the rule.
        minutes: the time budget, the checks of laws included.
        say: called with a line about how it goes.

    Raises:
        MeasuringError: if a side cannot be measured at all.
    """
    start = time.monotonic()
    sides, lines = {OLD: old, NEW: new}, [Line(name) for name in names]
    versions = {name: str(said.get("version")) for name, said in names.items()}
    judge_versions(lines, processes.own_versions(old), versions)
    wanted = [line.name for line in undecided(lines)]
    laws = processes.checked((old, new), wanted) if wanted else [{}, {}]
    judge_laws(lines, dict(zip((OLD, NEW), laws, strict=True)))
    say(f"{len(undecided(lines))} of {len(lines)} benchmarks are right on both sides and can be compared")
    environments: dict[str, dict[str, Any]] = {}

    def both(order: Sequence[str], wanted: Sequence[str]) -> Mapping[str, Timings]:
        answers = dict(zip(order, measure(processes, [sides[side] for side in order], wanted), strict=True))
        for side in order:
            environments.setdefault(side, answers[side].environment)
        return {side: answers[side].results for side in order}

    def progress(pairs: int, open_lines: Sequence[Line]) -> None:
        say(f"pair {pairs} after {time.monotonic() - start:.0f} s; {len(open_lines)} undecided")

    budget = Budget(start + 60 * minutes, time.monotonic)
    check = run_check(design, lines, both, budget, progress)
    return Comparison(check, sides, environments, processes.device, processes.threads, time.monotonic() - start)
