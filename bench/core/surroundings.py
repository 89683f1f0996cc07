"""Where a run computes, and what is recorded of it: device, versions, memory."""

from __future__ import annotations

import platform
import resource
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from bench.machine import cores, cpu_name

__all__ = ["environment", "memory_words", "peak_memory", "resolve_device"]


def resolve_device(name: str) -> torch.device:
    """'auto' is a CUDA device where there is one."""
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))


def environment(device: torch.device) -> dict[str, Any]:
    """What made the numbers: versions and the machine in words, no names or paths."""
    libraries = ("torch", "numpy", "scipy", "torch-fidelity", "scikit-learn")
    return {
        "versions": {name: version(name) for name in libraries} | {"python": platform.python_version()},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
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
