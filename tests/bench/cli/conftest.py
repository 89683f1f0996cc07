"""The command line as tests type it, a suite small enough for it, and a store in which that has been run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.core.store import Store

from ..conftest import TINY

BENCH = [sys.executable, "-m", "bench"]
SUITE = TINY.replace("[profiles.quick.evaluation]", '[profiles.quick.evaluation]\nmetrics = ["fid"]')


def bench(*arguments: object, code: int = 0) -> Result:
    """Run a command in this process; workers are processes of their own all the same."""
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    return result


def scores(store: Path) -> list[dict[str, object]]:
    """Return the report's rows."""
    rows: list[dict[str, object]] = json.loads(bench("report", "--store", store, "--format", "json").stdout)
    return rows


def suite_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the tiny suite with some text replaced."""
    text = SUITE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{'-'.join(map(str, map(len, (new for _, new in changes))))}.toml"
    path.write_text(text)
    return path


def slow(folder: Path, models: str = '["gebm"]', steps: int = 600) -> Path:
    """Write a suite of one seed whose runs take some seconds each, or with more steps as long as a test likes."""
    return suite_file(
        folder,
        ("base_steps = 60", f"base_steps = {steps}"),
        ("seeds = [0, 1]", "seeds = [0]"),
        ('["gebm", "gan-hinge", "gan-ns", "data"]', models),
    )


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, extractor_cache: Path) -> tuple[Path, str]:
    """A store in which the tiny suite has been run by a process of its own, and what that printed."""
    store = Store(tmp_path_factory.mktemp("finished") / "store").create()
    shutil.copytree(extractor_cache, store.cache, dirs_exist_ok=True)
    (store.root.parent / "tiny.toml").write_text(SUITE)
    command = [*BENCH, "run", "--suite", str(store.root.parent / "tiny.toml"), "--store", str(store.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # of the workers and their server too
    return store.root, done.stdout


@pytest.fixture
def own(ran: tuple[Path, str], tmp_path: Path) -> Store:
    """A copy of that store to spoil, its suite beside it."""
    (tmp_path / "tiny.toml").write_text(SUITE)
    return Store(Path(shutil.copytree(ran[0], tmp_path / "own")))
