"""Measuring processes: fresh interpreters that run `bench.track.timed` of this checkout on the library of a side.

Each has the same Python, the same fixed number of threads, a bare environment and no network. One runs at a time. A process that dies takes
with it only the benchmark it was at; the rest is asked of another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bench.track.timed as timed_package
from bench.track.sides import TIMED, Side, last_line
from bench.track.timed.worker import Order

__all__ = ["Answers", "MeasuringError", "Processes"]

KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT", "LANG")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class MeasuringError(RuntimeError):
    """A side cannot be measured at all."""


@dataclass
class Answers:
    """What a process said.

    Attributes:
        environment: of the process: versions, threads, machine.
        results: by benchmark; `error` in place of the values where it failed.
        end: clocks at the end.
    """

    environment: dict[str, Any] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Processes:
    """How measuring processes are started.

    Arguments:
        scratch: a folder for their output.
        device: "cpu" or "cuda".
        threads: of torch and of the libraries under it.
        file: Python file with other `BENCHMARKS`; None for the package's own.
        timeout: seconds for each benchmark of a process, after which the process is ended.
    """

    scratch: Path
    device: str = "cpu"
    threads: int = 1
    file: Path | None = None
    timeout: float = 300.0

    def ask(self, side: Side, task: str, names: Sequence[str] = (), timed: Path | None = None) -> Answers:
        """Let a fresh process (more, if it dies) do a task on a side.

        Arguments:
            side: where the library comes from.
            task: "list", "time" or "check".
            names: the benchmarks, in order; none means all.
            timed: the measuring code; this package's own if None.

        Raises:
            MeasuringError: if the side cannot be measured at all.
        """
        answers, left = Answers(), tuple(names)
        while True:
            out = self.scratch / "out.jsonl"
            out.unlink(missing_ok=True)
            order = Order(
                task, left, self.device, self.threads, str(side.root), str(out), str(self.file) if self.file else None
            )
            death = self.run(order, side, timed or Path(timed_package.__file__).parent)
            at = read(out, answers, side)
            if at is not None:
                answers.results[at] = {"error": death or "its process ended without a word"}
            elif not answers.end:
                raise MeasuringError(f"{side}: {death or 'its process ended without a word'}")
            left = tuple(name for name in left if name not in answers.results)
            if at is None or not left:
                return answers

    def run(self, order: Order, side: Side, timed: Path) -> str:
        """Run one process to its end; how it died, or '' if it did not."""
        command = [sys.executable, "-P", str(timed / "__main__.py"), json.dumps(asdict(order))]
        limit = self.timeout * max(1, len(order.names))
        log = self.scratch / "stderr.txt"
        with log.open("w") as errors:
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=self.scratch,
                env=self.environment(side),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                return f"its process took more than {limit:g} seconds"
            finally:
                end_group(process)
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended with code {code}: {last_line(log.read_text(errors='replace'))}" if code else ""

    def environment(self, side: Side) -> dict[str, str]:
        """A bare environment with the side's library first."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return (
            kept
            | dict.fromkeys(THREADS, str(self.threads))
            | {"PYTHONPATH": str(side.root), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        )

    def own_versions(self, side: Side) -> dict[str, str]:
        """Versions of the benchmarks as the side itself defines them, by name; empty where it defines none.

        A file of benchmarks outside the side is the same for all.
        """
        timed = side.root / TIMED
        if self.file is not None or not (timed / "__main__.py").is_file():
            return {}
        try:
            answers = self.ask(side, "list", timed=timed)
        except MeasuringError:
            return {}
        return {name: result["version"] for name, result in answers.results.items() if "version" in result}


def read(out: Path, answers: Answers, side: Side) -> str | None:
    """Take in what a process wrote; the benchmark it was at, if it did not come to its end.

    Raises:
        MeasuringError: if it refused.
    """
    at: str | None = None
    for line in out.read_text().splitlines() if out.exists() else ():
        try:
            said = json.loads(line)
        except ValueError:  # cut off in the middle of a line
            break
        kind = said.pop("kind")
        if kind == "refused":
            raise MeasuringError(f"{side}: {said['error']}")
        if kind == "environment":
            answers.environment = said
        elif kind == "begin":
            at = said["name"]
        elif kind == "result":
            answers.results[said.pop("name")] = said
            at = None
        elif kind == "end":
            answers.end = said
    return at


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
