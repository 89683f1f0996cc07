"""A check: pairs of processes, a fresh one of each side working in turn, until every benchmark is decided or the time is spent."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.components.registry import UnknownNameError, closest
from bench.track.checkouts import Checkout
from bench.track.decide import FEWEST_PAIRS, Design, Judgement, Verdict, judge
from bench.track.processes import MeasuringError, Processes
from bench.track.turns import Measurement, measure, median_log_ratio

__all__ = ["NEW", "OLD", "BenchmarkResult", "Check", "Measure", "Say", "check_throughput", "select"]

OLD, NEW = "old", "new"
Say = Callable[[str], None]
Measure = Callable[[Sequence[str], Sequence[str]], Mapping[str, Measurement]]
"""Times benchmarks (second argument) in a fresh process of each of the sides, "old" and "new"; the first named has the first slice."""


@dataclass
class BenchmarkResult:
    """The result of a check for one benchmark.

    Attributes:
        name: of the benchmark.
        verdict: None while undecided.
        note: why it failed, is not comparable, or is wrong.
        judgement: the last look; None where there was none.
        seconds: per step by side, a list per pair with one value per turn.
        details: what else the first process of each side answered.
    """

    name: str
    verdict: Verdict | None = None
    note: str = ""
    judgement: Judgement | None = None
    seconds: dict[str, list[list[float]]] = field(default_factory=lambda: {OLD: [], NEW: []})
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def log_ratios(self) -> list[float]:
        """log(new / old) of each pair, the median over its turns."""
        return [median_log_ratio(old, new) for old, new in zip(self.seconds[OLD], self.seconds[NEW], strict=True)]

    def settle(self, verdict: Verdict, note: str) -> None:
        """Set the verdict, and why."""
        self.verdict, self.note = verdict, note

    def judge_answers(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Settle what has an `error`, or `differs` from what is right: speed never without correctness.

        With an old side that fails or is wrong there is nothing to compare.
        """
        was_wrong, wrong = (", ".join(answer.get("differs", ())) for answer in (old, new))
        if "error" in new:
            both = " (on the old side, too)" if "error" in old else ""
            self.settle(Verdict.FAILED, f"fails on the new side{both}: {new['error']}")
        elif "error" in old:
            self.settle(Verdict.NOT_COMPARABLE, f"fails on the old side: {old['error']}")
        elif was_wrong:
            where = f"on both sides: {wrong}" if wrong else f"on the old side: {was_wrong}"
            self.settle(Verdict.NOT_COMPARABLE, f"wrong {where}")
        elif wrong:
            self.settle(Verdict.REGRESSED, f"no longer right, whatever its speed: {wrong}")

    def add(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Add a pair's timings."""
        self.judge_answers(old, new)
        if self.verdict is None:
            for side, timing in ((OLD, old), (NEW, new)):
                self.seconds[side].append(list(timing["seconds"]))
                self.details.setdefault(side, {key: value for key, value in timing.items() if key != "seconds"})

    def look(self, design: Design, before: int, last: bool, family: int) -> None:
        """Decide if the pairs so far allow it; the arguments are those of `Design.level`."""
        ratios = self.log_ratios
        if len(ratios) >= FEWEST_PAIRS:
            self.judgement = judge(ratios, design.level(len(ratios), before, last, family), design)
            if last or self.judgement.verdict is not Verdict.INCONCLUSIVE:
                self.verdict = self.judgement.verdict
        elif last:
            note = f"only {len(ratios)} pairs fitted into the time; {FEWEST_PAIRS} are the least"
            self.settle(Verdict.INCONCLUSIVE, note)


@dataclass
class Check:
    """A check of some benchmarks under a design, and what came of it.

    Attributes:
        design: the rule.
        results: one per benchmark; those with a verdict already are left alone and do not share the error rate.
        pairs: number of pairs of processes drawn.
        out_of_time: whether the time ended before all was decided.
        environments: of the first process of each side.
    """

    design: Design
    results: Sequence[BenchmarkResult]
    pairs: int = 0
    out_of_time: bool = False
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def undecided(self) -> list[BenchmarkResult]:
        """Those without a verdict."""
        return [result for result in self.results if result.verdict is None]

    @property
    def exit_code(self) -> int:
        """1 if anything regressed; 3 if nothing did but something fails on the new side; else 0."""
        verdicts = {result.verdict for result in self.results}
        return 1 if Verdict.REGRESSED in verdicts else 3 if Verdict.FAILED in verdicts else 0

    def judge_versions(self, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> None:
        """Settle benchmarks whose own code changed between the sides; one that the old side does not know is compared."""
        for result in self.undecided:
            if old.get(result.name, new[result.name])["version"] != new[result.name]["version"]:
                result.settle(Verdict.NOT_COMPARABLE, "the benchmark's own code changed between the sides")

    def draw_pair(self, timed: Measure) -> None:
        """Time one process of each side on what is undecided; which is first alternates."""
        undecided = self.undecided
        order = (OLD, NEW) if self.pairs % 2 == 0 else (NEW, OLD)
        measured = timed(order, [result.name for result in undecided])
        self.pairs += 1
        for result in undecided:
            result.add(measured[OLD].timings[result.name], measured[NEW].timings[result.name])
        for side in order:
            self.environments.setdefault(side, measured[side].environment)

    def run(
        self,
        timed: Measure,
        deadline: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        say: Say = lambda _: None,
    ) -> None:
        """Draw pairs and look, until all is decided.

        Arguments:
            timed: times the benchmarks of one pair.
            deadline: no pair is begun that would end after this reading of `clock` if it took as long as the one before.
            clock: seconds.
            say: called with a line after each pair.
        """
        family, before, took = len(self.undecided), 0, 0.0
        for look in self.design.looks:
            while self.pairs < look and self.undecided and not self.out_of_time:
                start = clock()
                self.out_of_time = start + took > deadline
                if not self.out_of_time:
                    self.draw_pair(timed)
                    took = clock() - start
                    say(f"pair {self.pairs}; {len(self.undecided)} undecided")
            for result in self.undecided:
                result.look(self.design, before, self.out_of_time or look == self.design.looks[-1], family)
            before = self.pairs


def check_throughput(
    processes: Processes,
    sides: Mapping[str, Checkout],
    benchmarks: Mapping[str, Mapping[str, Any]],
    design: Design,
    minutes: float,
    say: Say,
) -> Check:
    """Check the new side against the old one: the benchmarks of `select`, in that many minutes, the checks of correctness included.

    Raises:
        MeasuringError: if a side cannot be measured at all.
    """
    deadline = time.monotonic() + 60 * minutes
    check = Check(design, [BenchmarkResult(name) for name in benchmarks])
    check.judge_versions(own_benchmarks(processes, sides[OLD]), benchmarks)
    if wanted := [result.name for result in check.undecided]:
        old, new = processes.checked((sides[OLD], sides[NEW]), wanted)
        for result in check.undecided:
            result.judge_answers(old[result.name], new[result.name])
    say(f"{len(check.undecided)} of {len(check.results)} benchmarks are right on both sides and can be compared")
    check.run(lambda order, names: measure(processes, {side: sides[side] for side in order}, names), deadline, say=say)
    return check


def own_benchmarks(processes: Processes, checkout: Checkout) -> dict[str, dict[str, Any]]:
    """Return the benchmarks that a checkout itself defines; a file of benchmarks is the same for all sides."""
    catalogue = checkout.root / "bench/track/timed/catalogue.py"
    if processes.file is None and catalogue.is_file():
        with contextlib.suppress(MeasuringError):
            return dataclasses.replace(processes, file=catalogue).listed(checkout)
    return {}


def select(processes: Processes, checkout: Checkout, patterns: Sequence[str], full: bool) -> dict[str, dict[str, Any]]:
    """Return the benchmarks by name: those that match a pattern (`ula-*`), or without patterns the quick ones, or all.

    Raises:
        UnknownNameError: for a pattern that matches none, or if there is nothing to choose.
        MeasuringError: if the side cannot be asked.
    """
    known = processes.listed(checkout)
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise UnknownNameError(f"no benchmark '{pattern}'; {closest(pattern, known)}")
    if patterns:
        return {name: known[name] for name in known if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    chosen = {name: facts for name, facts in known.items() if full or facts["quick"]}
    if not chosen:
        quick = "none of these benchmarks is quick; add --full, or name some with --only"
        raise UnknownNameError(quick if known else "there are no benchmarks")
    return chosen
