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
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import bench.track.timed as timed_package
from bench.track.checkouts import Checkout

__all__ = ["MeasuringError", "Processes", "Worker", "ask_all"]

KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT", "LANG")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL = 1.0  # seconds between looks at whether a silent process is alive
MAIN = Path(timed_package.__file__).with_name("__main__.py")


class MeasuringError(RuntimeError):
    """A side cannot be measured at all."""


@dataclass(frozen=True)
class Processes:
    """How measuring processes are started.

    Arguments:
        scratch: a folder for them to work in.
        device: "cpu" or "cuda".
        threads: of torch and of the libraries under it.
        file: Python file with other `BENCHMARKS`; None for the catalogue.
        timeout: seconds for each answer, after which the process is ended.
    """

    scratch: Path
    device: str = "cpu"
    threads: int = 1
    file: Path | None = None
    timeout: float = 300.0

    @contextlib.contextmanager
    def opened(self, *checkouts: Checkout) -> Iterator[list[Worker]]:
        """Start a fresh process on each library, all at once, and end them with the block."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(contextlib.closing(Worker(self, checkout))) for checkout in checkouts]

    def listed(self, checkout: Checkout) -> dict[str, dict[str, Any]]:
        """Return version, unit and quickness of each benchmark by name.

        Raises:
            MeasuringError: if the side cannot be measured at all.
        """
        with self.opened(checkout) as (worker,):
            answer = worker.ask("listed")
        if "error" in answer:
            raise MeasuringError(f"{checkout}: {answer['error']}")
        benchmarks: dict[str, dict[str, Any]] = answer["benchmarks"]
        return benchmarks

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

    def __init__(self, processes: Processes, checkout: Checkout) -> None:
        self.processes, self.checkout = processes, checkout
        self.start()

    def start(self) -> None:
        """Start the process; it need not be waited for."""
        self.alive = True
        self.channel, theirs = Pipe()
        self.errors = tempfile.TemporaryFile(dir=self.processes.scratch)  # noqa: SIM115
        device, root, file = self.processes.device, str(self.checkout.root), self.processes.file
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= dict.fromkeys(THREADS, str(self.processes.threads))
        environment |= {"PYTHONPATH": root, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        order = [str(theirs.fileno()), device, root, *([str(file)] if file else [])]
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", str(MAIN), *order],
                cwd=self.processes.scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def close(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            self.alive = False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.channel.close()
            self.errors.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer, as `hear` does."""
        self.tell(do, **arguments)
        return self.hear()

    def tell(self, do: str, **arguments: Any) -> None:
        """Ask for something whose answer `hear` will return."""
        if not self.alive:
            self.start()
        with contextlib.suppress(OSError):  # that it is gone shows when it should answer
            self.channel.send_bytes(json.dumps({"do": do, **arguments}).encode())

    def hear(self) -> dict[str, Any]:
        """Return its answer; `error` if it failed, died or took too long.

        Raises:
            MeasuringError: if it refuses to measure anything.
        """
        deadline = time.monotonic() + self.processes.timeout
        try:
            while not self.channel.poll(POLL):
                if self.process.poll() is not None:  # and a child of it keeps the channel open
                    raise EOFError
                if time.monotonic() > deadline:
                    raise TimeoutError
            answer: dict[str, Any] = json.loads(self.channel.recv_bytes())
        except TimeoutError:
            answer = {"error": f"its process took more than {self.processes.timeout:g} seconds"}
            self.close()
        except (EOFError, OSError):
            answer = {"error": self.cause_of_death()}
            self.close()
        if "refused" in answer:
            raise MeasuringError(f"{self.checkout}: {answer['refused']}")
        return answer

    def cause_of_death(self) -> str:
        """Return how it died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(POLL)
        code = self.process.poll()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        if not code:
            return "its process ended without an answer"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
        return f"ended with code {code}: {last}"


def ask_all(workers: Sequence[Worker], do: str, **arguments: Any) -> list[dict[str, Any]]:
    """Return the answers of all, who work at the same time.

    Raises:
        MeasuringError: if one of them refuses to measure anything.
    """
    for worker in workers:
        worker.tell(do, **arguments)
    return [worker.hear() for worker in workers]
