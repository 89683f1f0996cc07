"""Measuring processes: fresh interpreters that run `bench.track.timed` of this checkout on the library of a side.

Each has the same Python, the same fixed number of threads, a bare environment and no network, and does one thing at a time when asked. A
process that dies takes with it only the benchmark it was working on; another one is started for the rest.
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
from bench.track.checkouts import Checkout, last_line
from bench.track.timed.worker import Order

__all__ = ["MeasuringError", "Processes", "Worker", "ask_all"]

KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT", "LANG")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL = 1.0  # seconds between looks at whether a silent process is alive
TIMED = Path(timed_package.__file__).parent


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
    def opened(self, *checkouts: Checkout, timed: Path = TIMED) -> Iterator[list[Worker]]:
        """Start a fresh process per checkout, all at once, and end them with the block.

        Arguments:
            checkouts: where each library comes from.
            timed: folder of the measuring code.

        Raises:
            MeasuringError: if a side cannot be measured at all.
        """
        with contextlib.ExitStack() as stack:
            workers = []
            for checkout in checkouts:
                workers.append(Worker(self, checkout, timed))
                stack.callback(workers[-1].end)
            for worker in workers:
                worker.await_ready()
            yield workers

    def listed(self, checkout: Checkout, timed: Path = TIMED) -> dict[str, dict[str, Any]]:
        """Return version, unit and quickness of each benchmark by name.

        Raises:
            MeasuringError: if the side cannot be measured at all.
        """
        with self.opened(checkout, timed=timed) as (worker,):
            answer = worker.ask("listed")
        if "error" in answer:
            raise MeasuringError(f"{checkout}: {answer['error']}")
        benchmarks: dict[str, dict[str, Any]] = answer["benchmarks"]
        return benchmarks

    def own_versions(self, checkout: Checkout) -> dict[str, str]:
        """Return the versions of the benchmarks that the checkout itself defines; a file of benchmarks is the same for all sides."""
        timed = checkout.root / "bench/track/timed"
        if self.file is not None or not (timed / "__main__.py").is_file():
            return {}
        try:
            return {name: str(facts["version"]) for name, facts in self.listed(checkout, timed).items()}
        except MeasuringError:
            return {}

    def checked(self, checkouts: Sequence[Checkout], names: Sequence[str]) -> list[dict[str, dict[str, Any]]]:
        """Return per side and benchmark the statistics in which its output is wrong (`differs`), or `error`; all sides work at once.

        Raises:
            MeasuringError: if a side cannot be measured at all.
        """
        with self.opened(*checkouts) as workers:
            answers = {name: ask_all(workers, "checked", name=name) for name in names}
        return [{name: each[index] for name, each in answers.items()} for index in range(len(checkouts))]


class Worker:
    """The measuring process of a side; if it dies, another one is started for the next question."""

    def __init__(self, processes: Processes, checkout: Checkout, timed: Path) -> None:
        self.processes, self.checkout, self.main = processes, checkout, timed / "__main__.py"
        self.start()

    def start(self) -> None:
        """Start the process; `await_ready` waits for it."""
        self.alive, self.ready = True, False
        self.channel, theirs = Pipe()
        handle, name = tempfile.mkstemp(dir=self.processes.scratch)
        self.errors = Path(name)
        ways, root = self.processes, str(self.checkout.root)
        order = Order(ways.device, ways.threads, root, theirs.fileno(), str(ways.file) if ways.file else None)
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= dict.fromkeys(THREADS, str(ways.threads))
        environment |= {"PYTHONPATH": root, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        with theirs, os.fdopen(handle, "wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", str(self.main), json.dumps(asdict(order))],
                cwd=ways.scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def await_ready(self) -> None:
        """Wait until the process can be asked.

        Raises:
            MeasuringError: if it refuses or dies first.
        """
        if not self.alive:
            self.start()
        if self.ready:
            return
        try:
            answer = self.receive()
        except NoAnswerError as death:
            raise MeasuringError(f"{self.checkout}: {death}") from death
        if "refused" in answer:
            raise MeasuringError(f"{self.checkout}: {answer['refused']}")
        self.ready = True

    def tell(self, do: str, **arguments: Any) -> None:
        """Ask for something whose answer `hear` will return.

        Raises:
            MeasuringError: if a process was to be started for it and could not.
        """
        self.await_ready()
        with contextlib.suppress(OSError):  # that it is gone shows when it should answer
            self.channel.send_bytes(json.dumps({"do": do, **arguments}).encode())

    def hear(self) -> dict[str, Any]:
        """Return its answer; `error` if it failed, died or took too long."""
        try:
            return self.receive()
        except NoAnswerError as death:
            self.end()
            return {"error": str(death)}

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        self.tell(do, **arguments)
        return self.hear()

    def receive(self) -> dict[str, Any]:
        """Return its next message.

        Raises:
            NoAnswerError: if none comes in time, or none can come any more.
        """
        deadline = time.monotonic() + self.processes.timeout
        try:
            while not self.channel.poll(min(POLL, max(deadline - time.monotonic(), 0.0))):
                if self.process.poll() is not None:  # and a child of it keeps the channel open
                    raise NoAnswerError(self.cause())
                if time.monotonic() >= deadline:
                    raise NoAnswerError(f"its process took more than {self.processes.timeout:g} seconds")
            message: dict[str, Any] = json.loads(self.channel.recv_bytes())
        except (EOFError, OSError) as error:
            raise NoAnswerError(self.cause()) from error
        return message

    def cause(self) -> str:
        """Return how it died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(POLL)
        code = self.process.poll()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        if not code:
            return "its process ended without a word"
        return f"ended with code {code}: {last_line(self.errors.read_text(errors='replace'))}"

    def end(self) -> None:
        """End the process and whatever it started."""
        if not self.alive:
            return
        self.alive = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.channel.close()
        self.errors.unlink(missing_ok=True)


def ask_all(workers: Sequence[Worker], do: str, **arguments: Any) -> list[dict[str, Any]]:
    """Return the answers of all, who work at the same time.

    Raises:
        MeasuringError: if a process was to be started and could not.
    """
    for worker in workers:
        worker.tell(do, **arguments)
    return [worker.hear() for worker in workers]
