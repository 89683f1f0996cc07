"""Sides are timed in turn by processes of their own; a known slowdown of the library is found in real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.track import turns
from bench.track.check import NEW, OLD, Line, draw_pair
from bench.track.processes import Processes
from bench.track.sides import working_tree
from bench.track.turns import measure, middle_log_ratio, plan

from .conftest import LIBRARY
from .simulation import SimulatedMachine

Commit = Callable[..., Path]
SLOWER = """
import time


def step(seconds):
    start = time.perf_counter()
    time.sleep(seconds)
    time.sleep({share} * (time.perf_counter() - start))


def differing():
    return []
"""
LOGGING = """
import os
import time


def step(seconds):
    start = time.monotonic()
    time.sleep(seconds)
    with open({log!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{start}} {{time.monotonic()}} {{os.sched_getaffinity(0)}}\\n")


def differing():
    return []
"""


@pytest.mark.parametrize(("share", "verdicts"), [(0.0, {"fine", "inconclusive"}), (0.25, {"regressed"})])
def test_a_sleep_proportional_to_the_step(
    share: float, verdicts: set[str], commit: Commit, benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies between is for the simulated clock, whose noise is known."""
    monkeypatch.setattr(turns, "TURNS", 8)
    commit("before", SLOWER.format(share=0.0))
    arguments = ["track", "check", "--repo", str(commit("after", SLOWER.format(share=share))), "--against", "before"]
    arguments += ["--benchmarks", str(benchmarks), "--only", "long-nap", "--pairs", "8"]
    found = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "check.json")])
    said = json.loads((tmp_path / "check.json").read_text())["benchmarks"]["long-nap"]
    assert said["verdict"] in verdicts, found.output
    assert found.exit_code == (1 if share else 0)
    assert said["judgement"]["ratio"] == pytest.approx(1 + share, rel=0.1)


def test_one_side_works_at_a_time_on_the_others_core_and_each_is_first_in_half_of_the_turns(
    commit: Commit, benchmarks: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    side = working_tree(commit("only", LOGGING.format(log=str(log))))
    first, second = measure(Processes(tmp_path, file=benchmarks), (side, side), ["long-nap"])
    assert len(first.results["long-nap"]["seconds"]) == len(second.results["long-nap"]["seconds"]) == 4
    steps = [line.split(" ", 3) for line in log.read_text().splitlines()]
    ends, starts = [float(step[2]) for step in steps], [float(step[1]) for step in steps]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    order = "".join("A" if step[0] == steps[0][0] else "B" for step in steps)
    assert order == "AABB" + "ABBA" * 2
    (cores,) = {step[3] for step in steps}
    assert len(eval(cores)) == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [("os.kill(os.getpid(), 9)", "killed by SIGKILL"), ("os._exit(0)", "its process ended without a word")],
)
def test_a_process_that_dies_takes_with_it_only_the_benchmark_it_was_at(
    end: str, reason: str, commit: Commit, benchmarks: Path, tmp_path: Path
) -> None:
    good = working_tree(commit("good"))
    copy = tmp_path / "copy" / "gebm"
    copy.mkdir(parents=True)
    deadly = f"import os; {end} if seconds < 0.01 else time.sleep(seconds)"
    (copy / "__init__.py").write_text(LIBRARY.replace("time.sleep(seconds)", deadly))
    ways = Processes(tmp_path, file=benchmarks)
    well, dying = measure(ways, (good, working_tree(copy.parent)), ["nap", "long-nap"])
    assert dying.results["nap"] == {**dying.results["nap"], "error": reason}
    assert "error" not in well.results["nap"]
    for answers in (well, dying):
        assert len(answers.results["long-nap"]["seconds"]) == 4


def test_a_process_whose_child_keeps_its_channel_is_found_dead(
    commit: Commit, benchmarks: Path, tmp_path: Path
) -> None:
    forking = "import os; os.kill(os.getpid(), 9) if os.fork() else time.sleep(1000)"
    side = working_tree(commit("forking", LIBRARY.replace("time.sleep(seconds)", forking)))
    (answers,) = measure(Processes(tmp_path, file=benchmarks), (side,), ["nap"])
    assert answers.results["nap"]["error"] == "killed by SIGKILL"


@pytest.mark.parametrize(
    ("seconds", "steps", "count"),
    [([1e-5, 2e-5], 2000, 20), ([0.02, 0.05], 1, 20), ([0.2, 0.2], 1, 12), ([3.0, 3.0], 1, 4), ([0.0], 20_000_000, 20)],
)
def test_slices_are_short_and_turns_even(
    seconds: list[float], steps: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert plan(seconds) == (steps, count)


class Scripted:
    """A process whose slices are known."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds = iter(seconds)

    def tell(self, do: str, **_: object) -> None:
        self.answer = {"timed": lambda: {"seconds": next(self.seconds)}, "warmed": lambda: {"step": 0.02}}.get(do, dict)

    def hear(self) -> dict[str, float]:
        return self.answer()

    def ask(self, do: str, **_: object) -> dict[str, float]:
        self.tell(do)
        return self.hear()


@pytest.mark.parametrize(("spread", "count"), [(0.001, 8), (0.3, 20)])
def test_turns_end_early_once_their_median_is_precise(
    spread: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slice in eight takes twice as long, in either case; alone, a process is precise about its own seconds."""
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    seconds = np.exp(rng.normal(0, spread, (2, 20)))
    seconds[0, 5::8] *= 2
    for sides in (seconds, seconds[:1]):
        said = turns.in_turn([Scripted(row) for row in sides.tolist()], "step", [])  # type: ignore[misc]
        assert [len(answer["seconds"]) for answer in said] == [count] * len(sides)


def test_the_standard_error_is_that_of_a_median() -> None:
    """Of 20 normal values, against 4,000 repetitions; the spread of 20 is itself uncertain, so on average."""
    rng = np.random.default_rng(1)
    rows = np.exp(rng.normal(0, 0.1, (4000, 1, 20)))
    said = [turns.standard_error(row) for row in rows.tolist()]
    assert np.mean(said) == pytest.approx(np.std(np.median(np.log(rows[:, 0]), axis=1)), rel=0.1)


def test_load_that_comes_and_goes_and_slices_that_are_cut_into_hardly_move_a_pair() -> None:
    """400 pairs of processes that differ by 3 % each, the least spread there can be, under a load that changes the seconds by 30 %."""
    machine, line = SimulatedMachine(0.0, np.random.default_rng(0)), Line("step")
    for number in range(400):
        draw_pair(number, [line], machine)
    one_after_the_other = [
        np.log(np.median(new) / np.median(old)) for old, new in zip(line.pairs[OLD], line.pairs[NEW][1:], strict=False)
    ]
    assert np.std(line.log_ratios) < 0.05
    assert np.std(one_after_the_other) > 0.15


def test_sides_of_other_lengths_are_no_turns() -> None:
    with pytest.raises(ValueError, match="shorter"):
        middle_log_ratio([1.0, 1.0], [1.0])
