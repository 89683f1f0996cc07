"""How long it takes to read and report thousands of runs of 30 scores, to show their states and to plan them, and how much memory.

Timed only when asked for (`--benchmark-only`); `-k "not 20000"` leaves out the larger store, which takes minutes to make. A report is its
text; what figures take depends on datasets and models alone. Cold: no cache of the scan; the system may still hold the files. Warm:
nothing changed since the last scan.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cli import main
from bench.core.plan import Planned, Selection, make_plan
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.core.task import Places
from bench.report import render
from bench.results.frame import scan

MEMORY = """
import sys
from pathlib import Path
from bench.report import render
from bench.results.frame import scan
from bench.core.store import Store
render(scan(Store(Path(sys.argv[1]))))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024)
"""
LIMITS = {2_000: 500, 20_000: 1500}
"""MB of memory by runs."""


@pytest.fixture(scope="module", params=LIMITS, ids="{}-runs".format)
def store(request: pytest.FixtureRequest, synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made: Store = synthetic.make(tmp_path_factory.mktemp("big") / "store", 10, 20, request.param // 200)
    return made


def forget(store: Store) -> None:
    for path in store.cache.glob("*.sealed"):
        path.unlink()


def report(store: Store) -> int:
    return len(render(scan(store)))


def test_cold(benchmark: BenchmarkFixture, store: Store) -> None:
    assert benchmark.pedantic(report, (store,), setup=lambda: forget(store), rounds=3)


def test_warm(benchmark: BenchmarkFixture, store: Store) -> None:
    scan(store)
    assert benchmark.pedantic(report, (store,), rounds=5)


def test_status(benchmark: BenchmarkFixture, store: Store) -> None:
    shown = benchmark.pedantic(lambda: CliRunner().invoke(main, ["status", "--store", str(store.root)]), rounds=5)
    assert shown.stdout.endswith(" done\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory(benchmark: BenchmarkFixture, store: Store) -> None:
    """Peak resident memory in MB of a process of its own, cold. Linux only: elsewhere a child shows its parent's peak."""
    forget(store)
    command = [sys.executable, "-c", MEMORY, str(store.root)]
    done = benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1)
    benchmark.extra_info["peak_mb"] = peak = float(done.stdout)
    assert peak < next(
        limit for runs, limit in LIMITS.items() if len(list((store.root / "runs").glob("*/*/*"))) <= runs
    )


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], list[Planned]]:
    """Plan 10,000 runs of the suite `images` in one store."""
    places = Places(tmp_path_factory.mktemp("planned") / "store", device="cpu")
    models = ["gebm", "gan-hinge", "gan-ns", "gan-ns+refit"]
    selection = Selection("quick", ["digits"], models, range(2500))
    return lambda: make_plan(load_suite("images"), selection, places)


def test_plan_of_nothing_done(benchmark: BenchmarkFixture, plan: Callable[[], list[Planned]]) -> None:
    assert len(benchmark.pedantic(plan, rounds=3)) == 10_000


def test_plan_of_all_done(
    benchmark: BenchmarkFixture, plan: Callable[[], list[Planned]], synthetic: ModuleType
) -> None:
    planned = plan()
    synthetic.make_planned(planned, Store(planned[0].task.places.store).create())
    assert {each.found.state for each in benchmark.pedantic(plan, rounds=3)} == {"hit"}
