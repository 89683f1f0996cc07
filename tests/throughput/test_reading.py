"""How long it takes to read and report 2,000 runs of 30 scores, and how much memory; timed only when asked for (`--benchmark-only`).

Cold: no cache of the scan; the system may still hold the files. Warm: nothing changed since the last scan.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.core.store import Store
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


@pytest.fixture(scope="module")
def store(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made: Store = synthetic.make(tmp_path_factory.mktemp("big") / "store")
    return made


def forget(store: Store) -> None:
    for path in store.cache.glob("scan*"):
        path.unlink()


def report(store: Store) -> int:
    return len(render(scan(store)))


def test_cold(benchmark: BenchmarkFixture, store: Store) -> None:
    assert benchmark.pedantic(report, (store,), setup=lambda: forget(store), rounds=3)


def test_warm(benchmark: BenchmarkFixture, store: Store) -> None:
    scan(store)
    assert benchmark.pedantic(report, (store,), rounds=5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory(benchmark: BenchmarkFixture, store: Store) -> None:
    """Peak resident memory in MB of a process of its own, cold; limit 500. Linux only: elsewhere a child shows its parent's peak."""
    forget(store)
    command = [sys.executable, "-c", MEMORY, str(store.root)]
    done = benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1)
    benchmark.extra_info["peak_mb"] = float(done.stdout)
    assert float(done.stdout) < 500
