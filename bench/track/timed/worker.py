"""A measuring process: does one thing at a time as it is asked to, and waits at its channel without using the processor in between.

Messages are JSON objects. The process says `ready` (or `refused`) and then answers each request with one message: the values of the method
of `Session` that it names in `do`, or `error`. It ends when the other end of the channel is closed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.track.timed import Benchmark, Work
from bench.track.timed.clock import clocks, flops_of_step, matmul_peak, sample, warm_up
from bench.track.timed.cores import lent, stay_on
from bench.track.timed.version import version

__all__ = ["Order", "Session", "definitions", "serve"]

LIBRARIES = ("torch", "numpy", "scipy", "torch-fidelity", "torchvision", "scikit-learn")
REQUESTS = ("listed", "checked", "built", "warmed", "timed", "environment")


@dataclass(frozen=True)
class Order:
    """What a process is started with.

    Attributes:
        device: "cpu" or "cuda".
        threads: of torch, as the environment variables of the process say.
        root: folder that the library must come from.
        channel: file descriptor of its end of a `multiprocessing.Pipe`.
        file: Python file with other `BENCHMARKS`; None for this package's own.
    """

    device: str
    threads: int
    root: str
    channel: int
    file: str | None = None


def serve(order: Order) -> None:
    """Answer requests until there are no more."""
    sys.addaudithook(refuse_network)
    with Connection(order.channel) as channel:
        try:
            require_library(Path(order.root))
            session = Session({benchmark.name: benchmark for benchmark in definitions(order.file)}, order)
        except Exception as error:
            channel.send_bytes(json.dumps({"refused": describe(error)}).encode())
            return
        channel.send_bytes(b'{"ready": true}')
        while True:
            try:
                request = json.loads(channel.recv_bytes())
            except EOFError:
                return
            channel.send_bytes(json.dumps(session.answer(**request)).encode())


def require_library(root: Path) -> None:
    """Refuse to measure another library than the one asked for."""
    spec = importlib.util.find_spec("gebm")
    if spec is None or spec.origin is None:
        raise ImportError("there is no package gebm on this side")
    found = Path(spec.origin).resolve().parents[1]
    if found != root.resolve():
        raise ImportError(f"the library was to come from {root}, but comes from {found}")


def definitions(file: str | None) -> Sequence[Benchmark]:
    """Return the benchmarks of a file, or of this package."""
    if file is None:
        module = importlib.import_module("bench.track.timed.catalogue")
    else:
        spec = importlib.util.spec_from_file_location("timed_file", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is not a Python file")
        module = sys.modules["timed_file"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    benchmarks: Sequence[Benchmark] = module.BENCHMARKS
    return benchmarks


@dataclass
class Session:
    """What a process does, one method per request.

    Arguments:
        benchmarks: by name.
        order: what the process was started with.
    """

    benchmarks: Mapping[str, Benchmark]
    order: Order
    work: Work | None = field(default=None, init=False)
    cores: list[int] = field(default_factory=lent, init=False)

    def answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Return the values of the method, or its error in a line."""
        try:
            if do not in REQUESTS:
                raise LookupError(f"no request '{do}'")
            found: dict[str, Any] = getattr(self, do)(**arguments)
        except Exception as error:
            return {"error": describe(error)}
        return found

    def listed(self) -> dict[str, Any]:
        """Return what is known without running anything, by name."""
        found = {
            name: {"version": version(benchmark), "unit": benchmark.unit, "quick": benchmark.quick}
            for name, benchmark in self.benchmarks.items()
        }
        return {"benchmarks": found}

    def build(self, name: str) -> Work:
        """Build a benchmark on the device."""
        benchmark = self.benchmarks[name]
        return benchmark.build(device=self.order.device, **benchmark.settings)

    def checked(self, name: str) -> dict[str, Any]:
        """Return the statistics in which the output of a benchmark is wrong."""
        return {"differs": self.build(name).check()}

    def built(self, name: str) -> dict[str, Any]:
        """Build a benchmark in the place of the one before, on any core, and return what a step is."""
        stay_on(self.cores)
        self.work = None
        self.work = work = self.build(name)
        return {
            "unit": self.benchmarks[name].unit,
            "version": version(self.benchmarks[name]),
            "amount": work.amount,
            "gradient_evaluations": work.gradient_evaluations,
            "forward_evaluations": work.forward_evaluations,
            "flops": flops_of_step(work.step) if work.precision else 0.0,
            "precision": work.precision,
        }

    def warmed(self, seconds: float, cores: Sequence[int]) -> dict[str, Any]:
        """Warm up what was built for so long, on these cores; return about what a step takes, and the machine's peak in this process."""
        work, device = self.current_work(), self.order.device
        stay_on(cores)
        return {
            "step": warm_up(work.step, seconds, device),
            "peak": matmul_peak(work.precision, device) if work.precision else 0.0,
            "clocks": clocks(device),
        }

    def timed(self, steps: int) -> dict[str, Any]:
        """Time a slice, in seconds per step. Before several steps, an untimed one brings the caches back."""
        work, device = self.current_work(), self.order.device
        if steps > 1:
            sample(work.step, 1, device)
        return {"seconds": sample(work.step, steps, device)}

    def current_work(self) -> Work:
        """Return what was built."""
        if self.work is None:
            raise LookupError("nothing was built")
        return self.work

    def environment(self) -> dict[str, Any]:
        """Return interpreter, machine, threads, versions of the libraries under the one that is timed, and clocks."""
        known = {name: installed(name) for name in LIBRARIES}
        found: dict[str, Any] = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "threads": self.order.threads,
            "cores": len(self.cores) or os.cpu_count(),
            "time": time.time(),
            "packages": {name: number for name, number in known.items() if number},
            "clocks": clocks(self.order.device),
        }
        if "torch" in sys.modules:
            import torch

            found["capability"] = torch.backends.cpu.get_cpu_capability()
            if self.order.device == "cuda":
                found["gpu"] = torch.cuda.get_device_name()
        return found


def installed(name: str) -> str | None:
    """Return a package's version, if it is there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def refuse_network(event: str, _arguments: tuple[Any, ...]) -> None:
    """Refuse connections, as an audit hook: a measuring process has no business on a network."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError("a measuring process must not use the network")


def describe(error: Exception) -> str:
    """Return an error in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
