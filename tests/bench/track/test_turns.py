"""Sides are timed in turn by processes of their own, on the same cores, and survive each other's death."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.track import processes as processes_module
from bench.track import turns
from bench.track.check import NEW, OLD, BenchmarkResult, Check
from bench.track.checkouts import Checkout
from bench.track.decide import Design
from bench.track.processes import MeasuringError, Processes
from bench.track.turns import measure, median_log_ratio, plan

from .conftest import stepping, write_library
from .simulation import SimulatedMachine

LOGGING = """start = time.monotonic()
    time.sleep(seconds)
    with open({log!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{start}} {{time.monotonic()}} {{os.sched_getaffinity(0)}}\\n")
"""
EXAMPLE = """
class GaussianPrior:
    def __init__(self, dimension):
        self.dimension = dimension

    def sample(self, count, generator):
        return [0.0] * count * self.dimension
"""
TORCH = """
class Generator:
    def __init__(self, device):
        self.manual_seed = lambda seed: self
"""


def test_one_side_works_at_a_time_on_the_others_core_and_each_is_first_in_half_of_the_turns(
    processes: Processes, tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    same = write_library(tmp_path, stepping(LOGGING.format(log=str(log))))
    found = measure(processes, {OLD: same, NEW: same}, ["long-nap"])
    assert [len(found[side].timings["long-nap"]["seconds"]) for side in (OLD, NEW)] == [4, 4]
    steps = [line.split(" ", 3) for line in log.read_text().splitlines()]
    ends, starts = [float(step[2]) for step in steps], [float(step[1]) for step in steps]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    order = "".join("A" if step[0] == steps[0][0] else "B" for step in steps)
    assert order == "AABB" + "ABBA" * 2
    (cores,) = {step[3] for step in steps}
    assert len(eval(cores)) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen on this system")
def test_threads_of_before_and_after_stay_on_the_cores_too() -> None:
    script = """
import os, threading
from bench.track.timed.clock import lent, stay_on
wake, seen = threading.Event(), []
def look():
    wake.wait()
    seen.append(os.sched_getaffinity(0))
before = threading.Thread(target=look)
before.start()
first = lent()[:1]
stay_on(first)
after = threading.Thread(target=look)
after.start()
wake.set()
before.join()
after.join()
assert seen == [set(first)] * 2, seen
stay_on([])
assert lent() == first
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("end", "reason"),
    [("os.kill(os.getpid(), 9)", "killed by SIGKILL"), ("os._exit(0)", "its process ended without an answer")],
)
def test_a_process_that_dies_takes_with_it_only_the_benchmark_it_was_at(
    end: str, reason: str, processes: Processes, tmp_path: Path
) -> None:
    good = write_library(tmp_path / "good")
    deadly = write_library(tmp_path / "deadly", stepping(f"{end} if seconds < 0.01 else time.sleep(seconds)"))
    found = measure(processes, {OLD: good, NEW: deadly}, ["nap", "long-nap"])
    assert found[NEW].timings["nap"]["error"] == reason
    assert "error" not in found[OLD].timings["nap"]
    assert [len(found[side].timings["long-nap"]["seconds"]) for side in (OLD, NEW)] == [4, 4]


def test_a_process_whose_child_keeps_its_channel_is_found_dead(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "POLL", 0.1)
    forking = write_library(tmp_path, stepping("os.kill(os.getpid(), 9) if os.fork() else time.sleep(1000)"))
    assert measure(processes, {NEW: forking}, ["nap"])[NEW].timings["nap"]["error"] == "killed by SIGKILL"


def test_slow_processes_are_ended(processes: Processes, tmp_path: Path) -> None:
    with processes.opened(write_library(tmp_path, stepping("time.sleep(1000)"))) as (worker,):
        worker.ask("built", name="nap")
        worker.processes = dataclasses.replace(processes, timeout=0.2)
        answer = worker.ask("timed", steps=1)
    assert answer == {"error": "its process took more than 0.2 seconds"}


def test_a_process_has_no_network_and_the_library_of_its_side(processes: Processes, tmp_path: Path) -> None:
    calling = write_library(tmp_path / "calling", stepping("import socket; socket.create_connection(('127.0.0.1', 9))"))
    found = measure(processes, {NEW: calling}, ["nap"])[NEW]
    assert "must not use the network" in found.timings["nap"]["error"]
    with pytest.raises(MeasuringError, match=r"no package gebm|was to come from"):
        measure(processes, {NEW: Checkout("nothing", tmp_path)}, ["nap"])


def test_the_page_on_throughput_has_an_example_that_works(tmp_path: Path) -> None:
    """With stand-ins for the library and torch, whose import takes longer than all else."""
    page = (Path(__file__).parents[3] / "docs" / "throughput.md").read_text()
    (tmp_path / "mine.py").write_text(page.split("```python\n")[1].split("```")[0])
    (tmp_path / "torch.py").write_text(TORCH)
    side = write_library(tmp_path, EXAMPLE)
    found = measure(Processes(tmp_path, file=tmp_path / "mine.py"), {NEW: side}, ["prior"])[NEW].timings["prior"]
    assert (found["amount"], found["unit"]) == (1000, "draws")
    assert min(found["seconds"]) > 0


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
    machine, result = SimulatedMachine(0.0, np.random.default_rng(0)), BenchmarkResult("step")
    check = Check(Design(), [result])
    for _ in range(400):
        check.draw_pair(machine)
    shifted = zip(result.seconds[OLD], result.seconds[NEW][1:], strict=False)
    one_after_the_other = [np.log(np.median(new) / np.median(old)) for old, new in shifted]
    assert np.std(result.log_ratios) < 0.05
    assert np.std(one_after_the_other) > 0.15


def test_sides_of_other_lengths_are_no_turns() -> None:
    with pytest.raises(ValueError, match="shorter"):
        median_log_ratio([1.0, 1.0], [1.0])
