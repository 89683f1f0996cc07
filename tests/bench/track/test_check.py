"""`bench track check`: slowdowns large enough for any machine in real processes, and everything that can go wrong on the way."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from bench.track import checkouts
from bench.track.check import NEW, OLD, BenchmarkResult, Check
from bench.track.decide import Design, Verdict
from bench.track.turns import Measurement

from .conftest import BROKEN, LIBRARY, SLOWER, commit, git, stepping, track, write_library
from .simulation import SimulatedMachine

WRONG = LIBRARY.replace("return []", "return ['energy']").replace("sleep(seconds)", "sleep(0.5 * seconds)")
KILLED = stepping("os.kill(os.getpid(), 9)")


def check(new: Path, naps: Path, against: object, *more: object) -> Result:
    """Run a short check of that folder."""
    return track(
        "check", "--repo", new, "--benchmarks", naps, "--against", against, "--threads", 1, "--pairs", 4, *more
    )


def complaint(result: Result, code: int = 2) -> str:
    """The one line that a failed command ends with."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.output.splitlines() if line.startswith("bench: ")]
    return line


def test_a_slowdown_of_the_library_is_regressed_and_its_removal_improved(naps: Path, tmp_path: Path) -> None:
    """Twice the sleep: four pairs show it at 99 % while their log-ratios spread by less than 0.29; less is for the simulated machine."""
    repository = commit(tmp_path / "repository", "fast")
    commit(repository, "slow", SLOWER)
    files = ["--json", tmp_path / "check.json", "--markdown", tmp_path / "check.md"]
    found = check(repository, naps, "fast", *files)
    assert found.exit_code == 1, found.output
    content = json.loads((tmp_path / "check.json").read_text())
    nap = content["benchmarks"]["nap"]
    assert nap["verdict"] == "regressed"
    assert nap["judgement"]["ratio"] == pytest.approx(2, rel=0.1)
    assert [len(pair) for side in (OLD, NEW) for pair in nap["seconds"][side]] == [4] * 8
    assert content["sides"]["old"]["environment"]["threads"] == 1
    assert "| `nap` |" in (tmp_path / "check.md").read_text()
    assert "❌ regressed" in (tmp_path / "check.md").read_text()
    write_library(repository, LIBRARY + "# a remark\n")
    back = check(repository, naps, "slow")
    assert back.exit_code == 0
    assert "uncommitted changes" in back.output
    assert "1 improved" in back.output


def test_faster_but_wrong_fails_whatever_its_speed(naps: Path, tmp_path: Path) -> None:
    old, new = write_library(tmp_path / "old"), write_library(tmp_path / "new", WRONG)
    found = check(new.root, naps, old.root)
    assert found.exit_code == 1
    assert "nap: no longer right, whatever its speed: energy" in found.output


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (BROKEN, "ValueError: no such nap"),
        (KILLED, "killed by SIGKILL"),
        ("syntax error", "SyntaxError: invalid syntax"),
    ],
)
def test_a_benchmark_that_fails_on_one_side(naps: Path, tmp_path: Path, source: str, reason: str) -> None:
    good, bad = write_library(tmp_path / "good").root, write_library(tmp_path / "bad", source).root
    found = check(bad, naps, good, "--full")
    assert found.exit_code == 3
    assert f"nap: fails on the new side: {reason}" in found.output
    assert f"long-nap: fails on the new side: {reason}" in found.output
    found = check(good, naps, bad)
    assert found.exit_code == 0
    assert f"nap: fails on the old side: {reason}" in found.output
    assert "1 not comparable" in found.output


def test_what_is_not_there_is_said_in_a_line(naps: Path, tmp_path: Path) -> None:
    repository = commit(tmp_path / "repository", "with")
    git(repository, "rm", "-rq", "--cached", "gebm")
    git(repository, "commit", "--quiet", "-m", "without")
    (tmp_path / "empty").mkdir()
    wrong = {
        "nowhere": "no revision 'nowhere' in",
        "--force": "no revision '--force' in",
        str(tmp_path / "empty"): "does not hold the package gebm",
        "HEAD": "does not hold the package gebm yet",
    }
    for against, message in wrong.items():
        assert message in complaint(check(repository, naps, against))
    assert "does not hold the package gebm" in complaint(check(tmp_path / "empty", naps, "HEAD"))
    assert "did you mean 'nap'?" in complaint(check(repository, naps, "with", "--only", "napp"))
    (tmp_path / "none.py").write_text("BENCHMARKS = ()\n")
    assert "there are no benchmarks" in complaint(check(repository, tmp_path / "none.py", "with", "--full"))


def test_without_git(naps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder can be compared with a folder; a revision needs git."""
    old, new = write_library(tmp_path / "old").root, write_library(tmp_path / "new").root
    assert "is not a git repository" in complaint(check(new, naps, "HEAD"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in complaint(check(new, naps, "HEAD"))
    found = check(new, naps, old, "--tolerance", "2")
    assert found.exit_code == 0
    assert "1 fine" in found.output


def test_an_editable_installation_is_no_side_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Editable:
        version = "1"

        @staticmethod
        def locate_file(_: str) -> Path:
            return tmp_path

    monkeypatch.setattr(checkouts.importlib.metadata, "distribution", lambda _: Editable())
    with pytest.raises(checkouts.CheckoutError, match="editable"):
        checkouts.installed()
    write_library(tmp_path)
    assert checkouts.installed().root == tmp_path.resolve()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("--device", "cuda"), {"CUDA_VISIBLE_DEVICES": ""}, "no CUDA device is available"),
        ((), {"BENCH_THREADS": "many"}, "BENCH_THREADS'): 'many' is not a valid integer range"),
        (("--margin", "0.5"), {}, "0 <= margin < tolerance must hold"),
        (("--pairs", "2"), {}, "--pairs"),
        (("--minutes", "0"), {}, "--minutes"),
    ],
)
def test_usage_is_complained_about(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if "cuda" in arguments:
        monkeypatch.setattr("bench.machine.device_names", tuple)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = track("check", "--against", "HEAD", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from bench.cli import main\n"
        "for name in ((), ('check',), ('record',), ('history',), ('calibrate',)):\n"
        "    assert CliRunner().invoke(main, ['track', *name, '--help']).exit_code == 0, name\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'matplotlib', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_changed_benchmark_is_not_compared_and_an_unknown_one_is() -> None:
    found = Check(Design(), [BenchmarkResult("same"), BenchmarkResult("changed"), BenchmarkResult("new")])
    one, two = {"version": "1"}, {"version": "2"}
    found.judge_versions({"same": one, "changed": one}, {"same": one, "changed": two, "new": one})
    assert [result.verdict for result in found.results] == [None, Verdict.NOT_COMPARABLE, None]


def test_correctness_is_judged_before_speed() -> None:
    right, wrong = {"differs": []}, {"differs": ["energy", "norm"]}
    old = {"new wrong": right, "old wrong": wrong, "both wrong": wrong, "right": right}
    new = {"new wrong": wrong, "old wrong": right, "both wrong": wrong, "right": right}
    found = Check(Design().up_to(3), [BenchmarkResult(name) for name in old])
    for result in found.results:
        result.judge_answers(old[result.name], new[result.name])
    verdicts = [Verdict.REGRESSED, Verdict.NOT_COMPARABLE, Verdict.NOT_COMPARABLE, None]
    assert [result.verdict for result in found.results] == verdicts
    asked: list[tuple[str, ...]] = []

    def timed(sides: Sequence[str], names: Sequence[str]) -> dict[str, Measurement]:
        asked.append(tuple(names))
        return {side: Measurement({"right": {"seconds": [1.0]}}) for side in sides}

    found.run(timed)
    assert found.exit_code == 1
    assert set(asked) == {("right",)}


def test_which_side_goes_first_alternates() -> None:
    machine = SimulatedMachine(0.0, np.random.default_rng(0))
    Check(Design().up_to(4), [BenchmarkResult("step")]).run(machine)
    assert [sides for sides, _ in machine.asked] == [(OLD, NEW), (NEW, OLD), (OLD, NEW), (NEW, OLD)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_half_way_it_cleans_up(number: signal.Signals, naps: Path, tmp_path: Path) -> None:
    repository = commit(tmp_path / "repository", "only")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "bench", "track", "check", "--repo", repository, "--benchmarks", naps]
    command += ["--against", "HEAD", "--only", "long-nap"]
    heeding = functools.partial(signal.signal, number, signal.SIG_DFL)  # a shell's background jobs ignore SIGINT
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heeding) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "right on both sides" in line)
        assert len(list(scratch.glob("bench-track-*/gebm"))) == 1
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(30) == 130
    assert "bench: interrupted; nothing was decided" in said
    assert "Traceback" not in said
    assert list(scratch.iterdir()) == []
    assert git(repository, "worktree", "list").count("\n") == 1


def test_a_check_leaves_no_process_behind(naps: Path, tmp_path: Path) -> None:
    """A benchmark's own children end with its process."""
    spawning = write_library(tmp_path, stepping("subprocess.Popen(['sleep', '98765'])"))
    assert check(tmp_path, naps, spawning.root, "--pairs", "3").exit_code == 0
    time.sleep(0.1)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 98765" not in listing
