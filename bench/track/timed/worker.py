"""A measuring process: does one thing at a time as it is asked to, and waits at its channel without using the processor in between.

Messages are JSON. A request is the name of a method of `Session` and its arguments; the answer is what that returns, or `error`, or
`refused` if nothing can be measured at all. The process ends when the other end of the channel is closed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.track.timed import Benchmark, Work
from bench.track.timed.clock import clocks, flops_of_step, lent, matmul_peak, sample, stay_on, warm_up

__all__ = ["Session", "serve"]

LIBRARIES = ("torch", "numpy", "scipy", "torch-fidelity", "torchvision", "scikit-learn")


def serve(channel: int, device: str, root: Path, file: str | None = None) -> None:
    """Answer requests until there are no more.

    Arguments:
        channel: file descriptor of this process's end of a `multiprocessing.Pipe`.
        device: "cpu" or "cuda".
        root: folder that the library must come from.
        file: Python file with other `BENCHMARKS`; None for the catalogue.
    """
    sys.addaudithook(refuse_network)
    with Connection(channel) as asked, contextlib.suppress(EOFError):
        try:
            require_library(root)
            session = Session(defined_in(file), device)
        except Exception as error:
            asked.send_bytes(json.dumps({"refused": describe(error)}).encode())
            return
        while True:
            request = json.loads(asked.recv_bytes())
            asked.send_bytes(json.dumps(session.answer(**request)).encode())


def refuse_network(event: str, _arguments: tuple[Any, ...]) -> None:
    """Refuse connections, as an audit hook: a measuring process has no business on a network."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError("a measuring process must not use the network")


def require_library(root: Path) -> None:
    """Refuse to measure another library than the one asked for."""
    spec = importlib.util.find_spec("gebm")
    if spec is None or spec.origin is None:
        raise ImportError("there is no package gebm on this side")
    found = Path(spec.origin).resolve().parents[1]
    if found != root.resolve():
        raise ImportError(f"the library was to come from {root}, but comes from {found}")


def defined_in(file: str | None) -> Sequence[Benchmark]:
    """Return the benchmarks of a file, or of the catalogue."""
    if file is None:
        from bench.track.timed.catalogue import BENCHMARKS

        return BENCHMARKS
    defined: Sequence[Benchmark] | None = runpy.run_path(file, run_name="timed_file").get("BENCHMARKS")
    if defined is None:
        raise ImportError(f"{file} does not define BENCHMARKS")
    return defined


class Session:
    """What a process does, one method per request."""

    def __init__(self, benchmarks: Sequence[Benchmark], device: str) -> None:
        self.benchmarks = {benchmark.name: benchmark for benchmark in benchmarks}
        self.device = device
        self.cores = lent()
        self.work: Any = None

    def answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Return the values of the method, or its error in a line."""
        try:
            found: dict[str, Any] = getattr(self, do)(**arguments)
        except Exception as error:
            return {"error": describe(error)}
        return found

    def listed(self) -> dict[str, Any]:
        """Return what is known without running anything, by name."""
        every = self.benchmarks.values()
        return {"benchmarks": {b.name: {"version": b.version, "unit": b.unit, "quick": b.quick} for b in every}}

    def checked(self, name: str) -> dict[str, Any]:
        """Return the statistics in which the output of a benchmark is wrong."""
        return {"differs": self.build(name).check()}

    def built(self, name: str) -> dict[str, Any]:
        """Build a benchmark in the place of the one before, on any core, and return what a step is."""
        stay_on(self.cores)
        self.work = None  # before there are two in memory
        self.work = work = self.build(name)
        return {
            "unit": self.benchmarks[name].unit,
            "version": self.benchmarks[name].version,
            "amount": work.amount,
            "gradient_evaluations": work.gradient_evaluations,
            "forward_evaluations": work.forward_evaluations,
            "flops": flops_of_step(work.step) if work.precision else 0.0,
            "precision": work.precision,
        }

    def build(self, name: str) -> Work:
        """Build a benchmark on the device."""
        benchmark = self.benchmarks[name]
        return benchmark.build(device=self.device, **benchmark.settings)

    def warmed(self, seconds: float, cores: Sequence[int]) -> dict[str, Any]:
        """Warm up what was built for so long, on these cores; return about what a step takes, and the machine's peak in this process."""
        stay_on(cores)
        return {
            "step": warm_up(self.work.step, seconds, self.device),
            "peak": matmul_peak(self.work.precision, self.device) if self.work.precision else 0.0,
            "clocks": clocks(self.device),
        }

    def timed(self, steps: int) -> dict[str, Any]:
        """Time a slice, in seconds per step. Before several steps, an untimed one brings the caches back."""
        if steps > 1:
            sample(self.work.step, 1, self.device)
        return {"seconds": sample(self.work.step, steps, self.device)}

    def environment(self) -> dict[str, Any]:
        """Return interpreter, machine, versions of the libraries under the one that is timed, and clocks."""
        found: dict[str, Any] = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": len(self.cores) or os.cpu_count(),
            "time": time.time(),
            "packages": {},
            "clocks": clocks(self.device),
        }
        for name in LIBRARIES:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found["packages"][name] = importlib.metadata.version(name)
        if "torch" in sys.modules:
            import torch

            found["capability"] = torch.backends.cpu.get_cpu_capability()
            if self.device == "cuda":
                found["gpu"] = torch.cuda.get_device_name()
        return found


def describe(error: Exception) -> str:
    """Return an error in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
