"""One measuring process: builds benchmarks, warms up, reads the clock, and writes a JSON line for each.

Lines are written as things happen, so whoever started the process knows where it died: first the environment, then for each benchmark
`begin` and `result`.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.track.timed import Benchmark
from bench.track.timed.clock import clocks, flops_of_step, matmul_peak, sample
from bench.track.timed.version import version

__all__ = ["Order", "definitions", "work"]

LIBRARIES = ("torch", "numpy", "scipy", "torch-fidelity", "torchvision", "scikit-learn")
WARM_UP = 0.2  # seconds of steps before the first sample, at least one
MEASURED, MOST_SAMPLES = 0.3, 60  # seconds of steps that are timed, in so many samples at most


@dataclass(frozen=True)
class Order:
    """What a process is asked to do.

    Attributes:
        task: "list" names and versions, "time", or "check" the law of what is made.
        names: the benchmarks, in order; none means all.
        device: "cpu" or "cuda".
        threads: of torch.
        root: folder that the library must come from.
        out: file for the JSON lines.
        file: Python file with other `BENCHMARKS`; None for this package's own.
    """

    task: str
    names: tuple[str, ...]
    device: str
    threads: int
    root: str
    out: str
    file: str | None = None


def definitions(file: str | None) -> Sequence[Benchmark]:
    """The benchmarks of a file, or of this package."""
    if file is None:
        found: Sequence[Benchmark] = importlib.import_module("bench.track.timed.catalogue").BENCHMARKS
        return found
    spec = importlib.util.spec_from_file_location("timed_file", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["timed_file"] = module
    spec.loader.exec_module(module)
    listed: Sequence[Benchmark] = module.BENCHMARKS
    return listed


def work(order: Order) -> None:
    """Do what was ordered."""
    sys.addaudithook(offline)
    with Path(order.out).open("a", encoding="utf-8") as file:

        def say(kind: str, **content: Any) -> None:
            file.write(json.dumps({"kind": kind, **content}) + "\n")
            file.flush()

        try:
            library = library_root()
            if library != Path(order.root).resolve():
                raise ImportError(f"the library was to come from {order.root}, but comes from {library}")
            benchmarks = {benchmark.name: benchmark for benchmark in definitions(order.file)}
        except Exception as error:
            say("refused", error=describe(error))
            return
        say("environment", **environment(order))
        for name in order.names or benchmarks:
            say("begin", name=name)
            try:
                say("result", name=name, **TASKS[order.task](benchmarks[name], order.device))
            except Exception as error:
                say("result", name=name, error=describe(error))
        say("end", **clocks(order.device))


def listed(benchmark: Benchmark, _device: str) -> dict[str, Any]:
    """What is known without running anything."""
    return {"version": version(benchmark), "unit": benchmark.unit, "quick": benchmark.quick}


def timed(benchmark: Benchmark, device: str) -> dict[str, Any]:
    """Raw samples, in seconds a step, and what a step is."""
    work = benchmark.work(device)
    flops = flops_of_step(work.step) if work.precision else 0.0
    spent = 0.0
    while spent < WARM_UP:
        spent += sample(work.step, benchmark.steps, device) * benchmark.steps
    peak = matmul_peak(work.precision, device) if work.precision else 0.0
    seconds = [sample(work.step, benchmark.steps, device) for _ in range(benchmark.samples)]
    while sum(seconds) * benchmark.steps < MEASURED and len(seconds) < MOST_SAMPLES:
        seconds.append(sample(work.step, benchmark.steps, device))
    return {
        "unit": benchmark.unit,
        "version": version(benchmark),
        "seconds": seconds,
        "amount": work.amount,
        "gradient_evaluations": work.gradient_evaluations,
        "forward_evaluations": work.forward_evaluations,
        "flops": flops,
        "peak": peak,
        "precision": work.precision,
        "clocks": clocks(device),
    }


def checked(benchmark: Benchmark, device: str) -> dict[str, Any]:
    """Whether what it makes is right."""
    return {"differs": benchmark.work(device).check()}


TASKS = {"list": listed, "time": timed, "check": checked}


def library_root() -> Path:
    """The folder that holds the package `gebm` as this process finds it."""
    spec = importlib.util.find_spec("gebm")
    if spec is None or spec.origin is None:
        raise ImportError("there is no package gebm on this side")
    return Path(spec.origin).resolve().parents[1]


def environment(order: Order) -> dict[str, Any]:
    """Interpreter, machine, threads, and the versions of the libraries under the one that is timed."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": order.threads,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "time": time.time(),
        "packages": {name: number for name in LIBRARIES if (number := installed(name))},
    }
    if order.task != "list" and "torch" in sys.modules:
        import torch

        torch.set_num_threads(order.threads)
        found["capability"] = torch.backends.cpu.get_cpu_capability()
        if order.device == "cuda":
            found["gpu"] = torch.cuda.get_device_name()
    return found


def installed(name: str) -> str | None:
    """A package's version, if it is there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def offline(event: str, _arguments: tuple[Any, ...]) -> None:
    """An audit hook: a measuring process has no business on a network."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError("a measuring process must not use the network")


def describe(error: Exception) -> str:
    """An error in a line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
