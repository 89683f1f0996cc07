"""`bench track check` in real processes: slowdowns large enough for any machine, and everything that can go wrong on the way."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.track import sides
from bench.track.check import NEW, OLD, Line, exit_code, judge_laws, judge_versions, run_check
from bench.track.decide import Design, Verdict
from bench.track.processes import MeasuringError, Processes
from bench.track.turns import measure

from .conftest import BROKEN, KILLED, LIBRARY, SLOW, WRONG, worktrees
from .simulation import SimulatedMachine

PRIOR = """
class GaussianPrior:
    def __init__(self, dimension):
        self.dimension = dimension

    def sample(self, count, generator):
        return [0.0] * count * self.dimension
"""
FEW = ("--threads", "1", "--pairs", "4")
Commit = Callable[..., Path]


def check(repository: Path, benchmarks: Path, against: str, *more: str, **options: object) -> Result:
    """Run a check of that repository."""
    arguments = [
        "track",
        "check",
        "--repo",
        str(repository),
        "--benchmarks",
        str(benchmarks),
        "--against",
        against,
        *FEW,
        *more,
    ]
    return CliRunner().invoke(main, arguments, **options)  # type: ignore[arg-type]


def verdicts(path: Path) -> dict[str, str]:
    """By benchmark."""
    return {name: said["verdict"] for name, said in json.loads(path.read_text())["benchmarks"].items()}


def test_twice_as_slow_is_regressed_and_twice_as_fast_improved(
    commit: Commit, benchmarks: Path, tmp_path: Path
) -> None:
    commit("fast")
    repository = commit("slow", SLOW)
    found = check(
        repository, benchmarks, "fast", "--json", str(tmp_path / "o.json"), "--markdown", str(tmp_path / "o.md")
    )
    assert found.exit_code == 1, found.output
    assert verdicts(tmp_path / "o.json") == {"nap": "regressed"}
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["benchmarks"]["nap"]["judgement"]["ratio"] == pytest.approx(2, rel=0.4)
    assert [len(content["benchmarks"]["nap"]["seconds"][side]) for side in ("old", "new")] == [4, 4]
    assert {len(turns) for turns in content["benchmarks"]["nap"]["seconds"]["new"]} == {4}
    assert content["sides"]["old"]["environment"]["threads"] == 1
    assert "| `nap` |" in (tmp_path / "o.md").read_text()
    assert "❌ regressed" in (tmp_path / "o.md").read_text()
    back = check(commit("fast-again"), benchmarks, "slow", "--json", str(tmp_path / "b.json"))
    assert back.exit_code == 0
    assert verdicts(tmp_path / "b.json") == {"nap": "improved"}
    assert worktrees(repository) == 1


def test_the_same_code_does_not_regress_and_a_dirty_tree_is_said_to_be_one(commit: Commit, benchmarks: Path) -> None:
    repository = commit("only")
    (repository / "gebm" / "__init__.py").write_text(LIBRARY + "# a remark\n")
    found = check(repository, benchmarks, "HEAD", "--tolerance", "2")
    assert found.exit_code == 0
    assert "uncommitted changes" in found.output
    assert "1 fine" in found.output


def test_faster_but_wrong_fails_whatever_its_speed(commit: Commit, benchmarks: Path) -> None:
    commit("right")
    found = check(commit("wrong", WRONG), benchmarks, "right")
    assert found.exit_code == 1
    assert "nap: no longer right, whatever its speed: energy" in found.output


@pytest.mark.parametrize(("library", "reason"), [(BROKEN, "ValueError: no such nap"), (KILLED, "killed by SIGKILL")])
def test_a_benchmark_that_fails_on_one_side(commit: Commit, benchmarks: Path, library: str, reason: str) -> None:
    commit("good")
    found = check(commit("bad", library), benchmarks, "good", "--full")
    assert found.exit_code == 3
    assert f"nap: fails on the new side: {reason}" in found.output
    assert f"long-nap: fails on the new side: {reason}" in found.output
    found = check(commit("mended"), benchmarks, "bad")
    assert found.exit_code == 0
    assert f"nap: fails on the old side: {reason}" in found.output
    assert "1 not comparable" in found.output


def test_a_side_that_cannot_be_imported_at_all_fails_its_benchmarks(commit: Commit, benchmarks: Path) -> None:
    commit("good")
    found = check(commit("bad", "syntax error"), benchmarks, "good")
    assert found.exit_code == 3
    assert "fails on the new side: SyntaxError" in found.output


def complaint(result: Result, code: int) -> str:
    """The one line that a failed command ends with."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.output.splitlines() if line.startswith("bench: ")]
    assert len(lines) == 1
    return lines[0]


def test_what_is_not_there_is_said_in_a_line(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    repository = commit("only")
    assert "no revision 'nowhere' in" in complaint(check(repository, benchmarks, "nowhere"), 2)
    assert "no revision '--force' in" in complaint(check(repository, benchmarks, "--force"), 2)
    (tmp_path / "empty").mkdir()
    assert "does not hold the package gebm" in complaint(check(repository, benchmarks, str(tmp_path / "empty")), 2)
    assert "does not hold the package gebm" in complaint(check(tmp_path / "empty", benchmarks, "HEAD"), 2)
    assert "did you mean 'nap'?" in complaint(check(repository, benchmarks, "HEAD", "--only", "napp"), 2)
    assert worktrees(repository) == 1


def test_the_page_on_throughput_has_an_example_that_works(commit: Commit, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "throughput.md").read_text()
    (tmp_path / "mine.py").write_text(page.split("```python\n")[1].split("```")[0])
    repository = commit("only")
    (repository / "gebm" / "__init__.py").write_text(PRIOR)
    (found,) = measure(Processes(tmp_path, file=tmp_path / "mine.py"), (sides.working_tree(repository),), ["prior"])
    assert found.results["prior"]["amount"] == 1000
    assert found.results["prior"]["unit"] == "draws"
    assert min(found.results["prior"]["seconds"]) > 0


def test_slow_processes_are_ended(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    side = sides.working_tree(commit("stuck", LIBRARY.replace("sleep(seconds)", "sleep(1000)")))
    (found,) = measure(Processes(tmp_path, file=benchmarks, timeout=2.0), (side,), ["nap"])
    assert found.results["nap"]["error"] == "its process took more than 2 seconds"


def test_a_process_has_no_network_and_the_library_of_its_side(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    calling = LIBRARY.replace("time.sleep(seconds)", "import socket; socket.create_connection(('127.0.0.1', 9))")
    side = sides.working_tree(commit("calling", calling))
    ways = Processes(tmp_path, file=benchmarks)
    (found,) = measure(ways, (side,), ["nap"])
    assert "must not use the network" in found.results["nap"]["error"]
    with pytest.raises(MeasuringError, match=r"no package gebm|was to come from"):
        measure(ways, (sides.Side("nothing", tmp_path),), ["nap"])


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("--device", "cuda"), {}, "no CUDA device is available"),
        ((), {"BENCH_THREADS": "many"}, "BENCH_THREADS: 'many' is not a number of threads"),
        (("--margin", "0.5"), {}, "0 <= margin < tolerance must hold"),
        (("--pairs", "2"), {}, "--pairs"),
        (("--minutes", "0"), {}, "--minutes"),
    ],
)
def test_usage_is_complained_about(
    arguments: tuple[str, ...], environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arguments[:1] == ("--device",):
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device here")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["track", "check", "--against", "HEAD", *arguments])
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


def test_a_revision_before_the_library(commit: Commit, benchmarks: Path) -> None:
    repository = commit("with")
    subprocess.run(["git", "-C", repository, "rm", "-rq", "--cached", "gebm"], check=True)
    author = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    subprocess.run(["git", "-C", repository, *author, "commit", "-qm", "without"], check=True)
    assert "does not hold the package gebm yet" in complaint(check(repository, benchmarks, "HEAD"), 2)
    assert worktrees(repository) == 1


def test_without_git(commit: Commit, benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder can be compared with a folder; a revision needs git."""
    old, new = tmp_path / "old", tmp_path / "new"
    for side in (old, new):
        (side / "gebm").mkdir(parents=True)
        (side / "gebm" / "__init__.py").write_text(LIBRARY)
    assert "is not a git repository" in complaint(check(new, benchmarks, "HEAD"), 2)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in complaint(check(commit_free(new), benchmarks, "HEAD"), 2)
    found = check(new, benchmarks, str(old), "--tolerance", "2")
    assert found.exit_code == 0
    assert "1 fine" in found.output


def commit_free(folder: Path) -> Path:
    """The same folder, under no git."""
    assert not (folder / ".git").exists()
    return folder


def test_an_editable_installation_is_no_side_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Editable:
        version = "1"

        @staticmethod
        def locate_file(_: str) -> Path:
            return tmp_path

    monkeypatch.setattr(sides.importlib.metadata, "distribution", lambda _: Editable())
    with pytest.raises(sides.SideError, match="editable"):
        sides.installed()
    (tmp_path / "gebm").mkdir()
    assert sides.installed().root == tmp_path.resolve()


def test_a_changed_benchmark_is_not_compared_and_an_unknown_one_is() -> None:
    lines = [Line("same"), Line("changed"), Line("new")]
    judge_versions(lines, {"same": "1", "changed": "1"}, {"same": "1", "changed": "2", "new": "1"})
    assert [line.verdict for line in lines] == [None, Verdict.NOT_COMPARABLE, None]


def test_laws_are_judged_before_speed() -> None:
    right, wrong = {"differs": []}, {"differs": ["energy", "norm"]}
    lines = [Line("new wrong"), Line("old wrong"), Line("both wrong"), Line("right")]
    judge_laws(
        lines,
        {
            OLD: {"new wrong": right, "old wrong": wrong, "both wrong": wrong, "right": right},
            NEW: {"new wrong": wrong, "old wrong": right, "both wrong": wrong, "right": right},
        },
    )
    assert [line.verdict for line in lines] == [
        Verdict.REGRESSED,
        Verdict.NOT_COMPARABLE,
        Verdict.NOT_COMPARABLE,
        None,
    ]
    asked: list[tuple[str, ...]] = []

    def timed(sides: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, dict[str, object]]]:
        asked.append(tuple(names))
        return {side: {"right": {"seconds": [1.0]}} for side in sides}

    assert exit_code(run_check(Design().up_to(3), lines, timed)) == 1
    assert set(asked) == {("right",)}


def test_which_side_goes_first_alternates() -> None:
    machine = SimulatedMachine(0.0, np.random.default_rng(0))
    run_check(Design().up_to(4), [Line("step")], machine)
    assert [sides for sides, _ in machine.asked] == [(OLD, NEW), (NEW, OLD), (OLD, NEW), (NEW, OLD)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_half_way_it_cleans_up(
    number: signal.Signals, commit: Commit, benchmarks: Path, tmp_path: Path
) -> None:
    repository = commit("only")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "bench", "track", "check", "--repo", repository, "--benchmarks", benchmarks]
    environment = os.environ | {"TMPDIR": str(scratch)}
    command += ["--against", "HEAD", "--only", "long-nap"]
    heeding = functools.partial(signal.signal, number, signal.SIG_DFL)  # a shell's background jobs ignore SIGINT
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heeding) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("pair 1"):
                break
        assert worktrees(repository) == 2
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(30) == 130
    assert "bench: interrupted; nothing was decided" in said
    assert "Traceback" not in said
    assert worktrees(repository) == 1
    assert list(scratch.iterdir()) == []


def test_a_worktree_left_by_a_killed_check_is_removed_by_the_next(commit: Commit, tmp_path: Path) -> None:
    repository = commit("only")
    gone = subprocess.Popen(["true"])
    gone.wait()
    for owner in (gone.pid, os.getpid()):
        left = tmp_path / f"{sides.PREFIX}{owner}-x" / sides.CHECKOUT
        subprocess.run(["git", "-C", repository, "worktree", "add", "-q", "--detach", left], check=True)
    sides.remove_abandoned(repository)
    assert worktrees(repository) == 2  # its own, and that of a living process
    assert not (tmp_path / f"{sides.PREFIX}{gone.pid}-x").exists()


def test_a_check_leaves_no_process_behind(commit: Commit, benchmarks: Path, tmp_path: Path) -> None:
    """A benchmark's own children end with its process."""
    spawning = LIBRARY.replace("import time", "import subprocess, sys, time").replace(
        "time.sleep(seconds)", "subprocess.Popen(['sleep', '98765'])"
    )
    found = check(commit("spawning", spawning), benchmarks, "HEAD", "--pairs", "3")
    assert found.exit_code == 0
    time.sleep(0.1)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 98765" not in listing
