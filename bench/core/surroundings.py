"""Where a run computes, and what is recorded of it: device, versions, memory."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import resource
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from bench.components.digests import LIBRARIES, library_version
from bench.machine import commit, cores, cpu_name, thread_pools

__all__ = [
    "environment",
    "keep_memory",
    "limit_threads",
    "memory_words",
    "peak_memory",
    "resolve_device",
    "shortage_words",
]

TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 2**31 - 1), (-3, 32 * 2**20)
"""Parameters of glibc's mallopt and their largest values: free bytes above which some are given back; the size from which a block is mapped
by itself."""
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
AMOUNT = f"([0-9.]+) ({'|'.join(UNITS)})"
TOLD = {
    "tried": f"Tried to allocate {AMOUNT}",
    "total": f"total capacity of {AMOUNT}",
    "free": f"of which {AMOUNT} is free",
    "own": f"this process has {AMOUNT} memory in use",
    "allocated": f"{AMOUNT} is allocated by PyTorch",
    "unused": f"{AMOUNT} is reserved by PyTorch but unallocated",
}
"""What torch's error says of a device's memory; not every device says everything."""


def resolve_device(name: str) -> torch.device:
    """'auto' is a CUDA device where there is one."""
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))


def limit_threads(count: int) -> None:
    """Compute on so many threads: torch, and the linear algebra under numpy and scipy, which reads the variable if it is loaded later."""
    torch.set_num_threads(count)
    os.environ["OPENBLAS_NUM_THREADS"] = str(count)
    for pool in thread_pools().select(user_api="blas").lib_controllers:
        if pool.num_threads != count:  # in a worker, forked as it is, setting them costs 20 ms
            pool.set_num_threads(count)


def keep_memory() -> None:
    """Keep freed memory in this process. By default glibc (mallopt(3)) gives large blocks back to the system, which every step of training
    then asks for again, page by page.
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        for parameter, bytes_ in (TRIM_THRESHOLD, MMAP_THRESHOLD):
            library.mallopt(parameter, bytes_)


def environment(device: torch.device) -> dict[str, Any]:
    """What made the numbers: versions, commit and the machine in words, no names or paths; in a cluster's job, which one it was."""
    libraries = ("torch", "numpy", "scipy", "torch_fidelity", "sklearn")
    return {
        "versions": {LIBRARIES[name]: library_version(name) for name in libraries}
        | {"python": platform.python_version()},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "commit": commit(),
        "job": cluster_job(os.environ),
    }


def cluster_job(variables: Mapping[str, str]) -> dict[str, Any]:
    """The job of a Slurm cluster that this is: its id, its node and the modules that were loaded; nothing elsewhere."""
    if "SLURM_JOB_ID" not in variables:
        return {}
    array, index = variables.get("SLURM_ARRAY_JOB_ID"), variables.get("SLURM_ARRAY_TASK_ID")
    return {
        "id": variables["SLURM_JOB_ID"] if array is None else f"{array}_{index}",
        "node": variables.get("SLURMD_NODENAME", ""),
        "modules": [name for name in variables.get("LOADEDMODULES", "").split(":") if name],
    }


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most memory, in bytes, that this process has had so far: resident, and of a CUDA device what tensors took there."""
    unit = 1 if platform.system() == "Darwin" else 1024
    found = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        found["device"] = torch.cuda.max_memory_allocated(device)
    return found


def memory_words(peak: Mapping[str, int]) -> str:
    """Such as "peak memory 1,204 MiB on the device, 812 MiB resident"."""
    places = {"device": "on the device", "resident": "resident"}
    return "peak memory " + ", ".join(f"{peak[key] / 2**20:,.0f} MiB {at}" for key, at in places.items() if key in peak)


def shortage_words(error: torch.OutOfMemoryError, phase: str, batch_size: int | None) -> str:
    """What was wanted of a device's memory and what there was, by torch's own message, and the batch that would fit, as far as can be told.

    It is the largest power of two below `batch_size` that needs no more than there is if memory is proportional to it. It "should" fit: a
    step that failed may have wanted more than it got to, and weights do not shrink with the batch.
    """
    words = f"out of device memory in {phase}" if phase else "out of device memory"
    words += "" if batch_size is None else f" at batch_size {batch_size}"
    matches = {name: re.search(pattern, str(error)) for name, pattern in TOLD.items()}
    told = {name: float(found[1]) * UNITS[found[2]] for name, found in matches.items() if found}
    if not {"tried", "free", "allocated", "unused"} <= told.keys():
        return words if batch_size is None else f"{words}; a smaller one may fit"
    needed, room = told["allocated"] + told["tried"], told["allocated"] + told["unused"] + told["free"]
    fragmented = " in fragments" if room >= needed else ""
    words += f": needs at least {needed / 2**30:.2f} GiB, {room / 2**30:.2f} GiB available{fragmented}"
    others = told.get("total", 0.0) - told["free"] - told.get("own", math.inf)
    if others > 2**28:
        words += f", {others / 2**30:.2f} GiB held by other processes"
    fitting = 0.0 if batch_size is None else min(batch_size - 1, batch_size * room / needed)
    return f"{words}; batch_size {2 ** math.floor(math.log2(fitting))} should fit" if fitting >= 1 else words
