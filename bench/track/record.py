"""Measuring one side alone: a recording for the history, and A/A pairs for a calibration."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.track.check import Line, Timings, draw_pair, undecided
from bench.track.compare import Say
from bench.track.history import machine_name
from bench.track.processes import Processes
from bench.track.sides import Side, SideError, git
from bench.track.turns import measure

__all__ = ["pairs_of_the_same", "recording"]


def recording(processes: Processes, side: Side, names: Sequence[str], count: int, say: Say) -> dict[str, Any]:
    """What the history keeps of a side: raw samples of `count` processes.

    Benchmarks that fail, or make the wrong thing, are kept with their reason and without samples.

    Raises:
        SideError: if the side is under no git, so that there is no commit to record.
        MeasuringError: if it cannot be measured at all.
    """
    if side.commit is None:
        raise SideError(f"{side.root} has no commit, and the history is kept by commits; record in a git repository")
    (laws,) = processes.checked((side,), names)
    kept: dict[str, dict[str, Any]] = {}
    for name in names:
        if reason := laws[name].get("error") or ", ".join(laws[name]["differs"]):
            kept[name] = {"error": reason}
    environments = []
    for number in range(count):
        wanted = [name for name in names if "error" not in kept.get(name, {})]
        if not wanted:
            break
        (answers,) = measure(processes, (side,), wanted)
        environments.append(answers.environment)
        for name, said in answers.results.items():
            if "error" in said:
                kept[name] = {"error": said["error"]}
            else:
                samples = [*kept.get(name, {}).get("seconds", []), said["seconds"]]
                kept[name] = said | {"seconds": samples}
        say(f"process {number + 1} of {count}")
    environment = environments[0] if environments else {}
    return {
        "machine": machine_name(environment, processes.device),
        "commit": side.commit,
        "commit_time": float(git(side.root, "show", "--no-patch", "--format=%ct", side.commit) or 0),
        "dirty": side.dirty,
        "recorded": time.time(),
        "device": processes.device,
        "environment": environment,
        "ends": [each.get("clocks", {}) for each in environments],
        "benchmarks": kept,
    }


def pairs_of_the_same(
    processes: Processes, side: Side, names: Sequence[str], count: int, deadline: float, say: Say
) -> list[Line]:
    """A/A: pairs of processes of the very same code, until there are `count` or the time of `time.monotonic` is over."""
    lines = [Line(name) for name in names]

    def both(order: Sequence[str], wanted: Sequence[str]) -> Mapping[str, Timings]:
        answers = measure(processes, [side for _ in order], wanted)
        return {label: answer.results for label, answer in zip(order, answers, strict=True)}

    for number in range(count):
        if not undecided(lines) or time.monotonic() > deadline:
            break
        draw_pair(number, undecided(lines), both)
        say(f"pair {number + 1} of {count}")
    return lines
