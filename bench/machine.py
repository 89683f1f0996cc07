"""What the machine lends this process: cores, CUDA devices, a pause of the garbage collector for work that makes no garbage.

And which commit of the code it has.
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "commit",
    "cores",
    "cpu_name",
    "cuda_devices",
    "device_memories",
    "device_names",
    "no_collection",
    "thread_pools",
]

DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Where a driver of devices that torch calls CUDA shows itself: NVIDIA's, also in containers and under Windows, and AMD's."""
SEEN = """
import torch
for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    print(torch.cuda.get_device_properties(number).total_memory, torch.cuda.get_device_name(number))
"""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def thread_pools() -> Any:
    """The thread pools of the libraries that are loaded when this is first called: a `threadpoolctl.ThreadpoolController`."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def cpu_name() -> str:
    """The processor's model name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def cuda_devices(wanted: str) -> tuple[str, ...]:
    """Return the CUDA devices that a run on `wanted` ('auto', 'cpu' or 'cuda') may use, as CUDA_VISIBLE_DEVICES would name them.

    torch counts them, in a process of its own, so that this one neither loads torch nor initialises CUDA.
    """
    if wanted == "cpu" or (wanted == "auto" and not any(Path(sign).exists() for sign in DRIVERS)):
        return ()
    named, count = os.environ.get("CUDA_VISIBLE_DEVICES"), len(device_names())
    names = map(str, range(count)) if named is None else (name.strip() for name in named.split(","))
    return tuple(names)[:count]


def device_names() -> tuple[str, ...]:
    """Return the models of the CUDA devices that torch sees; why it sees none, it may say on standard error."""
    return tuple(name for _, _, name in _devices_seen())


def device_memories() -> tuple[int, ...]:
    """Return the bytes of memory of the CUDA devices that torch sees."""
    return tuple(int(memory) for memory, _, _ in _devices_seen())


@functools.cache
def _devices_seen() -> tuple[tuple[str, str, str], ...]:
    done = subprocess.run([sys.executable, "-c", SEEN], stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603
    return tuple(line.partition(" ") for line in done.stdout.splitlines())


@contextmanager
def no_collection() -> Iterator[None]:
    """No search for reference cycles meanwhile: records made by the ten thousand hold none, and looking takes a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def commit() -> str:
    """The commit of this checkout, with "-dirty" if it was changed since; '' where the code is no checkout of git."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
