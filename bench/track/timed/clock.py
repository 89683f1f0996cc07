"""The clock, read with the device synchronised, and what its readings depend on: cores, load, the peak of matrix products."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["clocks", "flops_of_step", "lent", "matmul_peak", "sample", "stay_on", "synchronise", "warm_up"]

PEAK_SIZE = {"cpu": 1024, "cuda": 8192}
PEAK_SECONDS = 0.25
THREADS = Path("/proc/self/task")


def lent() -> list[int]:
    """Return the numbers of the cores that this process may use; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def stay_on(cores: Iterable[int]) -> None:
    """Keep all threads of this process, and those to come, on these cores; without any, or where the system cannot, do nothing."""
    numbers = set(cores)
    if numbers and THREADS.is_dir():
        for thread in THREADS.iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), numbers)


def synchronise(device: str) -> None:
    """Wait until the device is done; there is nothing to wait for on a CPU."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def sample(step: Callable[[], object], steps: int, device: str) -> float:
    """Return the seconds per step of `steps` in a row."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise(device)
    return (time.perf_counter() - start) / steps


def warm_up(step: Callable[[], object], lasting: float, device: str) -> float:
    """Return the seconds of the fastest of the steps that take `lasting` seconds in all, at least two of them."""
    best, spent, done = float("inf"), 0.0, 0
    while spent < lasting or done < 2:
        seconds = sample(step, 1, device)
        best, spent, done = min(best, seconds), spent + seconds, done + 1
    return best


@cache
def matmul_peak(precision: str, device: str) -> float:
    """Return the FLOP/s of the fastest of the square matrix products that fit into a quarter of a second, with this process's threads."""
    import torch

    size = PEAK_SIZE[device]
    a = torch.randn(size, size, device=device).to(getattr(torch, precision))
    sample(lambda: a @ a, 2, device)
    return 2 * size**3 / warm_up(lambda: a @ a, PEAK_SECONDS, device)


def flops_of_step(step: Callable[[], object]) -> float:
    """Return the floating-point operations of one step's matrix products and convolutions, forward and backward, by torch's formulas.

    `FlopCounterMode` itself cannot be used: its module hooks do not go with `torch.autograd.grad` of a latent.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        total = 0

        def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            formula = flop_registry.get(func._overloadpacket)
            if formula is not None:
                self.total += formula(*args, **(kwargs or {}), out_val=result)
            return result

    with Counter() as counter:  # type: ignore[no-untyped-call]
        step()
    return float(counter.total)


def clocks(device: str) -> dict[str, Any]:
    """Return what may explain a slow sample: the load average, and a GPU's clocks, temperature and power according to nvidia-smi."""
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    tool = shutil.which("nvidia-smi") if device == "cuda" else None
    if tool:
        fields = "clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw"
        command = [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
        if done.returncode == 0:
            found["gpu"] = dict(zip(fields.split(","), (part.strip() for part in done.stdout.split(",")), strict=False))
    return found
