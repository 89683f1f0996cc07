"""A repository of a library that takes as long as its commits say, and benchmarks of it: real processes, without torch."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.track import turns

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
import time


def step(seconds):
    time.sleep(seconds)


def differing():
    return []
"""
SLOW = LIBRARY.replace("sleep(seconds)", "sleep(2 * seconds)")
WRONG = LIBRARY.replace("sleep(seconds)", "sleep(0.5 * seconds)").replace("return []", "return ['energy']")
BROKEN = LIBRARY.replace("time.sleep(seconds)", "raise ValueError('no such nap')")
KILLED = LIBRARY.replace("time.sleep(seconds)", "import os; os.kill(os.getpid(), 9)")


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naps need no warming up and are even: few short slices. Commands in processes of their own keep the usual ones."""
    monkeypatch.setattr(turns, "WARM_UP", 0.0)
    monkeypatch.setattr(turns, "SLICE", 0.004)
    monkeypatch.setattr(turns, "TURNS", 4)


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True).stdout


def worktrees(folder: Path) -> int:
    """How many worktrees a repository has, its own included."""
    return git(folder, "worktree", "list", "--porcelain").count("worktree ")


@pytest.fixture
def commit(tmp_path: Path) -> Callable[..., Path]:
    """Commit a version of the library to the repository and tag it; the repository is at `tmp_path/repository`."""
    repository = tmp_path / "repository"

    def make(tag: str, library: str = LIBRARY) -> Path:
        package = repository / "gebm"
        package.mkdir(parents=True, exist_ok=True)
        if not (repository / ".git").exists():
            git(repository, "init", "--quiet", "--initial-branch=main")
        (package / "__init__.py").write_text(library)
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--allow-empty", "-m", tag)
        git(repository, "tag", tag)
        return repository

    return make


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    """The file of benchmarks, outside the repository."""
    path = tmp_path / "naps.py"
    path.write_text(BENCHMARKS)
    return path
