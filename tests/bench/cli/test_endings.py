"""Commands that end before their time: interrupts, kills, limits, a full disk, a reader that leaves. Nothing is lost, in one line."""

from __future__ import annotations

import _thread
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.core.store import Store

from .conftest import BENCH, bench, scores, slow, suite_file

ENDLESS = 10**6  # steps of a training that no test waits for

REFUSING = """
import os, sys


def refuse():
    raise BlockingIOError(11, "Resource temporarily unavailable")


if any("forkserver" in each for each in sys.orig_argv):
    os.fork = refuse
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    command = [*BENCH, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def works(store: Store) -> bool:
    """Return whether a process holds a run of the store."""
    return any(store.leases.holder(path.name) for path in (store.root / "locks").glob("digits*"))


def test_interrupted_killed_and_continued_gives_identical_numbers(
    tmp_path: Path, make_store: Callable[[str], Store]
) -> None:
    whole, pieces = make_store("whole"), make_store("pieces")
    suite = ("--suite", slow(tmp_path, steps=3000), "--jobs", 1)
    process = start("run", *suite, "--store", pieces.root)
    wait_for(lambda: any(pieces.root.rglob("spec.json")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "nothing is lost, the same command continues" in errors
    assert any(pieces.root.rglob("resume.pt"))  # so that continuing means continuing
    process = start("run", *suite, "--store", pieces.root)
    wait_for(lambda: works(pieces))
    os.killpg(process.pid, signal.SIGKILL)  # parent, workers and fork server at once
    process.communicate(timeout=60)
    assert not any(pieces.root.rglob("status.json"))
    bench("run", *suite, "--store", pieces.root)
    bench("run", *suite, "--store", whole.root)
    assert scores(pieces.root) == scores(whole.root)


def test_a_second_interrupt_leaves_at_once(tmp_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tmp_path, steps=ENDLESS), "--store", store.root)
    wait_for(lambda: works(store))
    for pid in victims(process.pid):
        os.kill(pid, signal.SIGSTOP)  # or it may have heeded the first one before the second comes
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)  # a signal that comes while the first is pending would be one with it
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1, errors
    assert "once more to leave at once" in errors
    wait_for(lambda: not works(store), 10)


def test_an_interrupt_is_heeded_while_log_z_is_estimated(store: Store) -> None:
    settings = ("likelihood.steps=100", "refit.steps=50", "refit.partition_samples=1000")
    endless = [f"--set={each}" for each in (*settings, "evaluation.partition_samples=1000000000")]
    process = start(
        *("run", "--suite", "density", "--model", "gebm-frozen-kale", "--dataset", "known-density-8"),
        *("--seeds", 0, "--store", store.root, *endless),
    )
    wait_for(lambda: any(store.root.rglob("training.json")))
    time.sleep(2)  # minutes of it are left
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "nothing is lost, the same command continues" in errors
    (status,) = store.root.rglob("gebm-frozen-kale/*/status.json")
    assert json.loads(status.read_text())["state"] == "unfinished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["server starts", "run is at work"])
def test_what_asks_all_processes_at_once_ends_them_as_if_it_asked_the_command(
    tmp_path: Path, store: Store, number: signal.Signals, moment: str
) -> None:
    """As a terminal does on Ctrl-C, and a batch system at the end of a job's time."""
    process = start("run", "--suite", slow(tmp_path, steps=ENDLESS), "--store", store.root)
    wait_for(lambda: works(store) if moment == "run is at work" else servers(process.pid))
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert errors.splitlines()[-1].endswith("interrupted; nothing is lost, the same command continues")
    assert "Traceback" not in errors
    assert "killed" not in errors
    assert not works(store)


def test_output_that_nobody_reads_any_more_ends_the_command_and_its_workers(tmp_path: Path, store: Store) -> None:
    """As `bench run | head` does."""
    suite = slow(tmp_path, '["gan-ns", "gan-hinge", "data"]', 3000)
    with start("run", "--suite", suite, "--store", store.root) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(120) == 1
    wait_for(lambda: not works(store), 30)


def test_a_store_that_is_removed_after_its_first_run_is_said(tmp_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tmp_path, '["data", "gebm"]', ENDLESS), "--store", store.root)
    wait_for(lambda: any(store.root.rglob("status.json")) and works(store))
    store.root.rename(tmp_path / "moved")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "2 runs: 1 done, 1 abort" in output
    assert errors.splitlines()[-1].endswith("is gone: it was moved or removed meanwhile")


@pytest.mark.parametrize("command", [("claims",), ("show", "digits/gebm/*-s0")])
def test_a_terminal_that_lacks_signs_shows_others_for_them(command: tuple[str, ...], ran: tuple[Path, str]) -> None:
    name, *runs = command
    found = [str(each.relative_to(ran[0] / "runs")) for run in runs for each in (ran[0] / "runs").glob(run)]
    asked = [*BENCH, name, *found, "--store", str(ran[0])]
    done = subprocess.run(asked, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0), done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert b"?" in done.stdout


def test_a_terminal_that_does_not_know_its_width_is_shown_everything(ran: tuple[Path, str]) -> None:
    asked = [*BENCH, "claims", "--store", str(ran[0])]
    texts = [
        subprocess.run(asked, env=os.environ | {"COLUMNS": width}, capture_output=True, check=True).stdout
        for width in ("80", "0")
    ]
    assert texts[0] == texts[1] != b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
@pytest.mark.parametrize("command", ["--help", "list", "run"])
def test_output_into_a_full_disk_is_one_line(command: str, tmp_path: Path, store: Store) -> None:
    options = ["--suite", str(slow(tmp_path)), "--store", str(store.root)] if command == "run" else []
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*BENCH, command, *options], stdout=full, stderr=subprocess.PIPE, text=True, env=buffered)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    assert done.stderr.splitlines()[-1] == "bench: cannot write: No space left on device"


def test_a_folder_for_temporary_files_that_is_none_for_sockets_is_said(tmp_path: Path, store: Store) -> None:
    (folder := tmp_path / ("long" * 30)).mkdir()
    command = [*BENCH, "run", "--suite", str(slow(tmp_path)), "--store", str(store.root)]
    done = subprocess.run(
        command, env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench: no process can be started")


def test_a_server_that_may_start_no_process_is_one_line(tmp_path: Path, store: Store) -> None:
    (tmp_path / "sitecustomize.py").write_text(REFUSING)
    command = [*BENCH, "run", "--suite", str(slow(tmp_path)), "--store", str(store.root)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench: no process can be started")


def test_a_command_that_may_start_no_thread_is_one_line(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    output = bench("run", "--suite", slow(tmp_path), "--store", store.root, code=1).output
    assert output.splitlines()[-1].startswith("bench: no thread can be started")


def test_workers_stop_when_their_parent_is_killed(tmp_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tmp_path, steps=ENDLESS), "--store", store.root)
    wait_for(lambda: works(store))
    process.kill()
    process.communicate()
    wait_for(lambda: not works(store), 30)
    assert not any(store.root.rglob("status.json"))


def test_two_at_once_do_every_run_once(tmp_path: Path, store: Store) -> None:
    suite = slow(tmp_path, '["gan-ns", "gan-hinge"]')
    processes = [start("run", "--suite", suite, "--store", store.root, "--jobs", 1) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    endings = [output.splitlines()[-1] for output in outputs]
    assert sum(int(ending.split(" done")[0].split()[-1]) for ending in endings if " done" in ending) == 2, outputs
    assert not list((store.root / "aside").iterdir())
    assert {row["status"] for row in scores(store.root)} <= {"done", "collapsed"}


def test_a_killed_worker_is_a_row_and_the_rest_goes_on(tmp_path: Path, store: Store) -> None:
    options = ("--suite", slow(tmp_path, '["gan-ns", "data"]'), "--store", store.root)
    process = start("run", *options, "--jobs", 1)
    wait_for(lambda: works(store))
    for pid in victims(process.pid):
        os.kill(pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "killed by SIGKILL" in errors
    assert "2 runs: 1 done, 1 failed" in output
    assert any("SIGKILL" in str(row["reason"]) for row in scores(store.root))
    assert "2 runs: 1 done, 1 hit" in bench("run", *options).stdout


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


def servers(parent: int) -> list[int]:
    """Return the servers that a command's workers are forked from."""
    return [child for child in children(parent) if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()]


def victims(parent: int) -> list[int]:
    """Return the workers: grandchildren of the command, forked from its fork server."""
    return [grandchild for child in children(parent) for grandchild in children(child)]


def test_max_minutes_stops_cleanly_and_continues(tmp_path: Path, store: Store) -> None:
    endless = suite_file(tmp_path, ("base_steps = 60", "base_steps = 1000000"))
    where = ("--suite", endless, "--store", store.root, "--model", "gan-ns", "--seeds", 0)

    def steps_done(beyond: int, minutes: float = 0.1) -> int:
        """Return the steps done in all; twice the time is given where a busy machine did not get beyond so many."""
        stopped = bench("run", *where, "--max-minutes", minutes, "--jobs", 1, code=1)
        assert "--max-minutes reached; nothing is lost" in stopped.stderr
        found = [json.loads(path.read_text()) for path in store.root.rglob("status.json")]
        assert all(status["state"] == "unfinished" for status in found)  # scored as it stands, and said so
        done = max((int(status["steps_done"]) for status in found), default=0)
        assert minutes < 3, "no step in three minutes"
        return done if done > beyond else steps_done(beyond, 2 * minutes)

    assert steps_done(steps_done(0)) > 0


def test_a_diverging_suite_exits_with_1_and_shows_the_rows(tmp_path: Path, store: Store) -> None:
    hot = suite_file(
        tmp_path, ("base_steps = 60", "base_steps = 60\nlearning_rate = 1000\nenergy_learning_rate = 1000")
    )
    done = bench("run", "--suite", hot, "--store", store.root, "--seeds", "0", code=1)
    assert "diverged: " in done.stderr
    assert "4 runs: 3 done, 1 failed" in done.stdout
    reasons = {row["model"]: row["reason"] for row in scores(store.root)}
    assert "diverged" in str(reasons["gebm"])
