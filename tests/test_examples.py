"""The example scripts do what they say, run as their readers would run them, and every example in a docstring of the library is right."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import baselines
import bench.cli.run
import gebm
from bench.core.runner import execute

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
HARNESS = ROOT / "examples" / "analyse_results.py"  # of `bench`; the others are of the library alone
MODULES = sorted(
    module.name
    for package in (gebm, baselines)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


def test_there_are_examples() -> None:
    names = ["analyse_results", "estimate_likelihood", "sample_latents", "train_gebm_2d"]
    assert [path.stem for path in EXAMPLES] == names


def run(path: Path) -> list[list[str]]:
    """The words of each line it prints; warnings are errors there too."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path != HARNESS], ids=lambda path: path.stem)
def test_examples_stand_on_the_library_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in imported} <= {"gebm", "torch", "__future__", "math"}


def test_train_gebm_2d() -> None:
    """The model is nearer the truth than the base, and gains most of what there is to gain but no more."""
    rows = {
        " ".join(words[:-3]): [float(word) for word in words[-3:]]
        for words in run(ROOT / "examples/train_gebm_2d.py")[1:]
    }
    for name in ("share of mode 4", "within 2 sd of a mode"):
        base, model, truth = rows[name]
        assert abs(model - truth) < 0.05
        assert abs(model - truth) < abs(base - truth)
    _, gain, kl = rows["likelihood gain (nats)"]
    assert 0.8 * kl < gain < kl + 0.02


def test_sample_latents() -> None:
    """Exact samplers agree with the closed form; ULA's variance is too large, as its step size says."""
    lines = run(ROOT / "examples/sample_latents.py")
    rows = {
        " ".join(words[: len(words) - count]): [float(word) for word in words[-count:]]
        for words, count in zip(lines[1:], [4, 6, 6, 6], strict=True)
    }
    truth = rows.pop("truth")
    ula = rows.pop("ULA(0.2)")
    assert len(rows) == 2
    for values in rows.values():
        assert values[:4] == pytest.approx(truth, abs=0.02)
    assert ula[2] > truth[2] + 0.02
    assert {values[5] for values in rows.values()} == {150}


def test_estimate_likelihood() -> None:
    """Both intervals hold the truth (they do in 95 % of seeds; this one is fixed), and a bracket's ends are in order."""
    lines = run(ROOT / "examples/estimate_likelihood.py")
    assert len(lines) == 4
    for words in lines[1:3]:
        lower, upper, low, high, truth = (float(word.strip("[],")) for word in words[-5:])
        assert low <= lower <= upper <= high
        assert low <= truth <= high


subprocess_run = subprocess.run


def bench_run(command: list[str], **settings: Any) -> Any:
    """Do what a `bench run` does, its options parsed by itself, in this process instead of a server of workers; git is asked as ever."""
    if command[0] == "git":
        return subprocess_run(command, **settings)
    assert command[:4] == [sys.executable, "-m", "bench", "run"]
    options = bench.cli.run.run.make_context("bench run", command[4:]).params
    for name in ("max_minutes", "executor", "slurm", "wait", "report_too"):
        assert not options.pop(name)
    campaign = bench.cli.run.make_campaign(**options)
    campaign.store.create()
    campaign.remember()
    for planned in campaign.pending.values():
        assert execute(planned.task, lambda _: None, lambda: False).state == "done"
    return None


def test_analyse_results(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It makes a store and reads it; on average over seeds the learned energy is nearer to the truth than the base."""
    monkeypatch.setattr(sys, "argv", [str(HARNESS)])
    monkeypatch.setattr(tempfile, "mkdtemp", lambda: str(tmp_path))
    monkeypatch.setattr(subprocess, "run", bench_run)
    runpy.run_path(str(HARNESS), run_name="__main__")
    printed = capsys.readouterr()
    assert not printed.err
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0][1:4] == ["rows,", lines[0][0], "of"]
    assert lines[0][-2:] == ["6", "runs"]
    assert lines[-1][0] == "line:"
    mean, low, high = (float(word.strip("[],")) for word in lines[-1][1:4])
    assert low < mean < high
    assert mean < 0
    assert lines[-1][4:7] == ["n", "=", "3"]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert not outcome.failed
