"""Workers are spread over CUDA devices, one device each, and the server that they are forked from never touches CUDA."""

from __future__ import annotations

import multiprocessing
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.executors.jobs import Job, Terms
from bench.executors.processes import Processes, Worker, freest

JOBS = '''
import os
import time
from pathlib import Path


def meet(folder, number, progress, should_stop):
    """Wait for the other three, and tell which device is seen."""
    (Path(folder) / str(number)).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(folder).iterdir())) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")
'''
BEGINNING = """
import gc

from bench.components import registry


def found(progress, should_stop):
    return registry.built_in.cache_info().currsize, gc.get_freeze_count()
"""
AHEAD = """
import os
import signal
import time
from pathlib import Path


def others():
    server = os.getppid()
    return set(map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())) - {os.getpid()}


def spare(progress, should_stop):
    deadline = time.monotonic() + 60
    while not (found := others()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return max(found)


def kill_spare(progress, should_stop):
    os.kill(killed := spare(progress, should_stop), signal.SIGKILL)
    while killed in others():
        time.sleep(0.01)
    return killed


def own(progress, should_stop):
    return os.getpid()
"""
DYING = """
import os
import signal
import time


def last_a_second(kills, progress, should_stop):
    if kills:
        os.kill(os.getppid(), signal.SIGKILL)  # the server
    time.sleep(1)
    progress({"phase": "alone"})
    return "done all the same"


def crash(number, progress, should_stop):
    os.kill(os.getpid(), number)
    time.sleep(60)
"""
IMPORTS = """
import importlib, pkgutil, torch
import bench.chains, bench.densities, bench.images

def caught(*_):
    raise SystemExit("CUDA was initialised by an import")

for name in ("_cuda_getDeviceCount", "_cuda_init"):
    setattr(torch._C, name, caught)
for package in (bench.chains, bench.densities, bench.images):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
importlib.import_module("bench.core.runner")
importlib.import_module("torch._dynamo")
"""


def on(device: str) -> Worker:
    """A worker on a device."""
    nothing: Any = SimpleNamespace()
    return Worker(Job("job", "module:name", ()), nothing, nothing, device)


@pytest.mark.parametrize("devices", [("0", "GPU-6b2e"), ()])
def test_jobs_alive_at_the_same_time_share_the_devices_evenly(
    devices: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meeting.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (folder := tmp_path / "here").mkdir()
    jobs = [Job(str(number), "meeting:meet", (str(folder), number)) for number in range(4)]
    events = list(Processes(Terms(4, devices)).run(jobs, lambda: False))
    seen = Counter(event.value for event in events if event.kind == "done")
    assert seen == Counter(dict.fromkeys(devices, 2) or {"all": 4})
    told = Counter(event.value for event in events if event.kind == "started")
    assert told == Counter({f"CUDA device {device}": 2 for device in devices} or {None: 4})


def test_more_jobs_run_side_by_side_once_there_is_room_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meeting.py").write_text(JOBS + "\n\ndef first(progress, should_stop):\n    return 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (folder := tmp_path / "here").mkdir()
    jobs = [Job("first", "meeting:first", ())]
    jobs += [Job(str(number), "meeting:meet", (str(folder), number)) for number in range(4)]
    ended, alive, most = [], set[str](), 0
    for event in Processes(Terms(1, ("0", "1"), room=lambda: 4 if ended else 1)).run(jobs, lambda: False):
        if event.kind == "started":
            alive.add(event.job.name)
            most = max(most, len(alive))
            assert ended or alive == {"first"}
        elif event.kind == "done":
            ended.append(event.job.name)
            alive.discard(event.job.name)
    assert (len(ended), most) == (5, 4)


def test_workers_read_no_registrations_and_collect_nothing_of_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs a run of a second a tenth of its time or more."""
    (tmp_path / "beginning.py").write_text(BEGINNING)
    monkeypatch.syspath_prepend(tmp_path)
    *_, done, _tick = Processes(Terms(1)).run([Job("first", "beginning:found", ())], lambda: False)
    read, frozen = done.value
    assert read == 1
    assert frozen > 100_000  # torch alone


def test_a_worker_is_forked_ahead_of_its_job_and_another_one_if_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ahead.py").write_text(AHEAD)
    monkeypatch.syspath_prepend(tmp_path)
    jobs = [Job(str(at), f"ahead:{name}", ()) for at, name in enumerate(("spare", "own", "kill_spare", "own"))]
    events = list(Processes(Terms(1)).run(jobs, lambda: False))
    spare, used, killed, other = (event.value for event in events if event.kind == "done")
    assert spare == used
    assert killed != other
    assert not [event for event in events if event.kind == "killed"]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}")]
)
def test_a_worker_that_crashes_is_said_to_whatever_the_signal(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    events = list(Processes(Terms(1)).run([Job("crash", "dying:crash", (number,))], lambda: False))
    assert [event.value for event in events if event.kind == "killed"] == [f"killed by {words}"]


def test_jobs_outlive_the_server_that_their_processes_were_forked_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    jobs = [Job(str(at), "dying:last_a_second", (kills,)) for at, kills in enumerate((True, False, False))]
    events = list(Processes(Terms(2)).run(jobs, lambda: False))
    assert [event.value for event in events if event.kind == "done"] == ["done all the same"] * 3
    assert [event.value for event in events if event.kind == "progress"] == [{"phase": "alone"}] * 3


def test_a_device_never_has_more_than_its_share_however_jobs_end() -> None:
    chance, devices, share = random.Random(0), ("0", "1", "2"), 2
    running: list[Worker] = []
    for _ in range(500):
        while len(running) < len(devices) * share:
            device = freest(devices, running)
            assert device is not None
            running.append(on(device))
        assert Counter(worker.device for worker in running) == dict.fromkeys(devices, share)
        chance.shuffle(running)
        del running[: chance.randrange(1, len(running))]


def test_what_workers_share_does_not_initialise_cuda() -> None:
    """A driver that was initialised before a fork cannot be used after it, and no longer reads CUDA_VISIBLE_DEVICES."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
