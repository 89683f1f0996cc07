"""Measuring processes: fresh interpreters that run `bench.track.timed` of this checkout on the library of a side.

Each has the same Python, the same fixed number of threads, a bare environment and no network. They do one thing at a time, when asked. A
process that dies takes with it only the benchmark it was at; the rest is asked of another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import bench.track.timed as timed_package
from bench.track.sides import TIMED, Side, last_line
from bench.track.timed.worker import Order

__all__ = ["MeasuringError", "Processes", "Worker", "at_once"]

KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT", "LANG")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LOOK = 1.0  # seconds between looks whether a silent process is alive


class MeasuringError(RuntimeError):
    """A side cannot be measured at all."""


class NoAnswerError(RuntimeError):
    """Why a process gives no answer."""


@dataclass(frozen=True)
class Processes:
    """How measuring processes are started.

    Arguments:
        scratch: a folder for them to work in.
        device: "cpu" or "cuda".
        threads: of torch and of the libraries under it.
        file: Python file with other `BENCHMARKS`; None for the package's own.
        timeout: seconds for each answer, after which the process is ended.
    """

    scratch: Path
    device: str = "cpu"
    threads: int = 1
    file: Path | None = None
    timeout: float = 300.0

    @contextlib.contextmanager
    def opened(self, *sides: Side) -> Iterator[list[Worker]]:
        """A fresh process of each side, started at once; all are ended with the block.

        Raises:
            MeasuringError: if a side cannot be measured at all.
        """
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(Worker(self, side)) for side in sides]
            for worker in workers:
                worker.await_ready()
            yield workers

    def listed(self, side: Side, timed: Path | None = None) -> dict[str, dict[str, Any]]:
        """Version, unit and quickness of the benchmarks by name.

        Arguments:
            side: where the library comes from.
            timed: the measuring code; this package's own if None.

        Raises:
            MeasuringError: if the side cannot be measured at all.
        """
        with Worker(self, side, timed) as worker:
            said = worker.ask("listed")
        if "error" in said:
            raise MeasuringError(f"{side}: {said['error']}")
        benchmarks: dict[str, dict[str, Any]] = said["benchmarks"]
        return benchmarks

    def checked(self, sides: Sequence[Side], names: Sequence[str]) -> list[dict[str, dict[str, Any]]]:
        """For each side by benchmark, the statistics in which what it makes is wrong (`differs`), or `error`; all sides work at once.

        Raises:
            MeasuringError: if a side cannot be measured at all.
        """
        with self.opened(*sides) as workers:
            said = {name: at_once(workers, "checked", name=name) for name in names}
        return [{name: answers[index] for name, answers in said.items()} for index in range(len(sides))]

    def own_versions(self, side: Side) -> dict[str, str]:
        """Versions of the benchmarks as the side itself defines them, by name; empty where it defines none.

        A file of benchmarks outside the side is the same for all.
        """
        timed = side.root / TIMED
        if self.file is not None or not (timed / "__main__.py").is_file():
            return {}
        try:
            return {name: str(said["version"]) for name, said in self.listed(side, timed).items()}
        except MeasuringError:
            return {}

    def environment(self, side: Side) -> dict[str, str]:
        """A bare environment with the side's library first."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return (
            kept
            | dict.fromkeys(THREADS, str(self.threads))
            | {"PYTHONPATH": str(side.root), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        )


class Worker(contextlib.AbstractContextManager["Worker"]):
    """The measuring process of a side; where it dies, another one is started for the next question.

    Arguments:
        ways: how it is started.
        side: where the library comes from.
        timed: the measuring code; this package's own if None.
    """

    def __init__(self, ways: Processes, side: Side, timed: Path | None = None) -> None:
        self.ways, self.side = ways, side
        self.main = (timed or Path(timed_package.__file__).parent) / "__main__.py"
        self.running: Running | None = None

    def __enter__(self) -> Worker:
        self.running = Running(self.ways, self.side, self.main)
        return self

    def __exit__(self, *_: object) -> None:
        if self.running is not None:
            self.running.end()

    def await_ready(self) -> Running:
        """The process, once it has said that it is ready.

        Raises:
            MeasuringError: if it refuses, or dies before.
        """
        running = self.running = self.running or Running(self.ways, self.side, self.main)
        if not running.ready:
            try:
                said = running.receive(self.ways.timeout)
            except NoAnswerError as death:
                raise MeasuringError(f"{self.side}: {death}") from death
            if "refused" in said:
                raise MeasuringError(f"{self.side}: {said['refused']}")
            running.ready = True
        return running

    def tell(self, do: str, **arguments: Any) -> None:
        """Let it do something whose answer `hear` will give.

        Raises:
            MeasuringError: if a process was to be started for it and could not.
        """
        self.await_ready().send({"do": do, **arguments})

    def hear(self) -> dict[str, Any]:
        """Its answer; `error` if it failed, died or took too long."""
        running = self.await_ready()
        try:
            return running.receive(self.ways.timeout)
        except NoAnswerError as death:
            running.end()
            self.running = None
            return {"error": str(death)}

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Tell and hear."""
        self.tell(do, **arguments)
        return self.hear()


def at_once(workers: Sequence[Worker], do: str, **arguments: Any) -> list[dict[str, Any]]:
    """The answers of all, who work at the same time.

    Raises:
        MeasuringError: if a process was to be started and could not.
    """
    for worker in workers:
        worker.tell(do, **arguments)
    return [worker.hear() for worker in workers]


class Running:
    """A process and its channel."""

    def __init__(self, ways: Processes, side: Side, main: Path) -> None:
        self.ready = False
        self.channel, theirs = Pipe()
        handle, name = tempfile.mkstemp(dir=ways.scratch)
        self.errors = Path(name)
        file = str(ways.file) if ways.file else None
        order = Order(ways.device, ways.threads, str(side.root), theirs.fileno(), file)
        with theirs, os.fdopen(handle, "wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", str(main), json.dumps(asdict(order))],
                cwd=ways.scratch,
                env=ways.environment(side),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def send(self, message: dict[str, Any]) -> None:
        """Say something to it; that it is gone shows when it is to answer."""
        with contextlib.suppress(OSError):
            self.channel.send_bytes(json.dumps(message).encode())

    def receive(self, timeout: float) -> dict[str, Any]:
        """What it says next.

        Raises:
            NoAnswerError: if it does not within `timeout` seconds, or cannot any more.
        """
        deadline = time.monotonic() + timeout
        try:
            while not self.channel.poll(min(LOOK, max(deadline - time.monotonic(), 0.0))):
                if self.process.poll() is not None:  # and a child of it keeps the channel open
                    raise NoAnswerError(self.cause())
                if time.monotonic() >= deadline:
                    raise NoAnswerError(f"its process took more than {timeout:g} seconds")
            said: dict[str, Any] = json.loads(self.channel.recv_bytes())
        except (EOFError, OSError) as error:
            raise NoAnswerError(self.cause()) from error
        return said

    def cause(self) -> str:
        """How it died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LOOK)
        code = self.process.poll()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        if not code:
            return "its process ended without a word"
        return f"ended with code {code}: {last_line(self.errors.read_text(errors='replace'))}"

    def end(self) -> None:
        """End the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.channel.close()
        self.errors.unlink(missing_ok=True)
