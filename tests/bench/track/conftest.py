"""Libraries that take as long as their source says, and benchmarks of them: real processes, without torch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.track import turns
from bench.track.checkouts import Checkout
from bench.track.processes import Processes

BENCHMARKS = """
import time

from bench.track.timed import Benchmark, Work


def nap(seconds, device):
    import gebm

    def step():
        gebm.step(seconds)

    return Work(step, 1.0, lambda: gebm.differing())


BENCHMARKS = (
    Benchmark("nap", "naps", nap, {"seconds": 0.002}, quick=True),
    Benchmark("long-nap", "naps", nap, {"seconds": 0.02}),
)
"""
LIBRARY = """
import os, subprocess, time


def step(seconds):
    time.sleep(seconds)


def differing():
    return []
"""


def stepping(code: str) -> str:
    """The library with another step."""
    return LIBRARY.replace("time.sleep(seconds)", code)


SLOWER = stepping("start = time.perf_counter(); time.sleep(seconds); time.sleep(time.perf_counter() - start)")
BROKEN = stepping("raise ValueError('no such nap')")


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naps need no warming up and are even: few short slices. Commands in processes of their own keep the usual ones."""
    monkeypatch.setattr(turns, "WARM_UP", 0.0)
    monkeypatch.setattr(turns, "SLICE", 0.004)
    monkeypatch.setattr(turns, "TURNS", 4)


def write_library(folder: Path, source: str = LIBRARY) -> Checkout:
    """A folder that holds a version of the library."""
    (folder / "gebm").mkdir(parents=True, exist_ok=True)
    (folder / "gebm" / "__init__.py").write_text(source)
    return Checkout(folder.name, folder)


def commit(repository: Path, tag: str, source: str = LIBRARY) -> Path:
    """Commit a version of the library and tag it."""
    write_library(repository, source)
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", tag)
    git(repository, "tag", tag)
    return repository


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True).stdout


def track(*arguments: object) -> Result:
    """Run a command of the group in this process."""
    return CliRunner().invoke(main, ["track", *map(str, arguments)])


@pytest.fixture(scope="session")
def naps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of benchmarks."""
    path = tmp_path_factory.mktemp("benchmarks") / "naps.py"
    path.write_text(BENCHMARKS)
    return path


@pytest.fixture
def processes(tmp_path: Path, naps: Path) -> Processes:
    return Processes(tmp_path, file=naps)
