"""Processes that are compared are kept on the same cores, threads and all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.track.timed.cores import lent, some

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen on this system")


def test_cores_are_drawn_from_those_lent() -> None:
    assert set(some(1)) <= set(lent())
    assert len(some(1)) == 1
    assert sorted(some(10_000)) == lent()


def test_threads_of_before_and_after_stay_too() -> None:
    script = """
import os, threading
from bench.track.timed.cores import lent, stay_on
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
