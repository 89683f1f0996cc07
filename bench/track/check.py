"""A check: pairs of processes, a fresh one of each side working in turn, until every benchmark is decided or the budget is spent."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.track.decide import FEWEST_PAIRS, Design, Judgement, Verdict, judge
from bench.track.turns import middle_log_ratio

__all__ = ["Budget", "Check", "Line", "Measure", "Timings", "exit_code", "judge_laws", "judge_versions", "run_check"]

OLD, NEW = "old", "new"


Timings = Mapping[str, Mapping[str, Any]]


class Measure(Protocol):
    """Times benchmarks in a fresh process of each of the sides ("old" and "new"), the first of them first in turn.

    By side and name the answer has either `seconds`, raw samples, one a turn, or `error`.
    """

    def __call__(self, sides: Sequence[str], names: Sequence[str], /) -> Mapping[str, Timings]: ...


@dataclass(frozen=True)
class Budget:
    """When to stop drawing pairs: at the time `deadline` of `clock`, in its seconds."""

    deadline: float = math.inf
    clock: Callable[[], float] = lambda: 0.0


@dataclass
class Line:
    """What a check says of one benchmark.

    Attributes:
        name: of the benchmark.
        verdict: None while undecided.
        note: why it failed, is not comparable, or is wrong.
        judgement: the last look; None where there was none.
        pairs: raw samples by side, a list a pair, one a turn, in seconds a step.
        details: the rest of what the first process of each side said.
    """

    name: str
    verdict: Verdict | None = None
    note: str = ""
    judgement: Judgement | None = None
    pairs: dict[str, list[list[float]]] = field(default_factory=lambda: {OLD: [], NEW: []})
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def log_ratios(self) -> list[float]:
        """log(new / old) of each pair, the median over its turns."""
        return [middle_log_ratio(old, new) for old, new in zip(self.pairs[OLD], self.pairs[NEW], strict=True)]

    def seconds(self, side: str) -> float | None:
        """The median over processes of the seconds a step."""
        pairs = self.pairs[side]
        return statistics.median(statistics.median(samples) for samples in pairs) if pairs else None


@dataclass(frozen=True)
class Check:
    """The outcome of a check."""

    design: Design
    lines: tuple[Line, ...]
    pairs: int
    out_of_time: bool


def run_check(
    design: Design,
    lines: Sequence[Line],
    measure: Measure,
    budget: Budget = Budget(),
    progress: Callable[[int, Sequence[Line]], None] | None = None,
) -> Check:
    """Draw pairs and look, until all is decided.

    Arguments:
        design: the rule.
        lines: one a benchmark; those with a verdict already are left alone, and do not share the error rate.
        measure: times the benchmarks of one process.
        budget: no pair is begun that would end after it if it took as long as the last one.
        progress: called after each pair with the number of pairs and what is still undecided.
    """
    family = sum(line.verdict is None for line in lines)
    before, pairs, took, out_of_time = 0, 0, 0.0, False
    for look in design.looks:
        while pairs < look and undecided(lines) and not out_of_time:
            began = budget.clock()
            if began + took > budget.deadline:
                out_of_time = True
                break
            draw_pair(pairs, undecided(lines), measure)
            pairs += 1
            took = budget.clock() - began
            if progress is not None:
                progress(pairs, undecided(lines))
        last = out_of_time or look == design.looks[-1]
        for line in undecided(lines):
            decide(line, design, before, last, family)
        before = pairs
        if last or not undecided(lines):
            break
    return Check(design, tuple(lines), pairs, out_of_time)


def undecided(lines: Sequence[Line]) -> list[Line]:
    """Those without a verdict."""
    return [line for line in lines if line.verdict is None]


def draw_pair(number: int, lines: Sequence[Line], measure: Measure) -> None:
    """One process of each side; which is first alternates."""
    names = [line.name for line in lines]
    order = (OLD, NEW) if number % 2 == 0 else (NEW, OLD)
    results = measure(order, names)
    for line in lines:
        said = {side: results[side].get(line.name, {"error": "no answer"}) for side in order}
        if any("error" in answer for answer in said.values()):
            line.verdict, line.note = failure({side: str(answer.get("error", "")) for side, answer in said.items()})
            continue
        for side, answer in said.items():
            line.pairs[side].append(list(answer["seconds"]))
            line.details.setdefault(side, {key: value for key, value in answer.items() if key != "seconds"})


def failure(errors: Mapping[str, str]) -> tuple[Verdict, str]:
    """The verdict and the note for a benchmark that failed: on the old side alone there is nothing to compare with."""
    if errors[NEW]:
        both = " (on the old side, too)" if errors[OLD] else ""
        return Verdict.FAILED, f"fails on the new side{both}: {errors[NEW]}"
    return Verdict.NOT_COMPARABLE, f"fails on the old side: {errors[OLD]}"


def decide(line: Line, design: Design, before: int, last: bool, family: int) -> None:
    """Look at a line, and give it a verdict if there is one."""
    ratios = line.log_ratios
    if len(ratios) < FEWEST_PAIRS:
        if last:
            line.verdict = Verdict.INCONCLUSIVE
            line.note = f"only {len(ratios)} pairs fitted into the time; {FEWEST_PAIRS} are the least"
        return
    level = design.level(len(ratios), before, last, family)
    line.judgement = judge(ratios, level, design)
    if last or line.judgement.verdict is not Verdict.INCONCLUSIVE:
        line.verdict = line.judgement.verdict


def judge_laws(lines: Sequence[Line], differing: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Speed never without correctness: a benchmark whose fast path makes the wrong thing is decided before it is timed.

    Arguments:
        lines: given verdicts here.
        differing: by side and benchmark, `differs` (statistics) or `error`.
    """
    for line in undecided(lines):
        said = {side: differing[side].get(line.name, {"error": "no answer"}) for side in (OLD, NEW)}
        errors = {side: str(answer.get("error", "")) for side, answer in said.items()}
        wrong = {side: ", ".join(answer.get("differs", ())) for side, answer in said.items()}
        if any(errors.values()):
            line.verdict, line.note = failure(errors)
        elif wrong[NEW] and wrong[OLD]:
            line.verdict, line.note = Verdict.NOT_COMPARABLE, f"wrong on both sides: {wrong[NEW]}"
        elif wrong[NEW]:
            line.verdict, line.note = Verdict.REGRESSED, f"no longer right, whatever its speed: {wrong[NEW]}"
        elif wrong[OLD]:
            line.verdict, line.note = Verdict.NOT_COMPARABLE, f"wrong on the old side: {wrong[OLD]}"


def judge_versions(lines: Sequence[Line], old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """A benchmark whose own code changed between the sides is not compared; one that the old side does not know yet is."""
    for line in undecided(lines):
        if line.name in old and line.name in new and old[line.name] != new[line.name]:
            line.verdict = Verdict.NOT_COMPARABLE
            line.note = "the benchmark's own code changed between the sides"


def exit_code(check: Check) -> int:
    """1 if anything regressed; 3 if nothing did but something fails on the new side; else 0."""
    verdicts = {line.verdict for line in check.lines}
    if Verdict.REGRESSED in verdicts:
        return 1
    return 3 if Verdict.FAILED in verdicts else 0
