"""What is recorded of where a run was made."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys

import pytest

from bench.core.surroundings import cluster_job

NODE = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LOADEDMODULES": "cuda/12"}, {}),
        (NODE, {"id": "17", "node": "n1", "modules": []}),
        (
            NODE | {"SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "2", "LOADEDMODULES": "gcc/12:cuda/12"},
            {"id": "15_2", "node": "n1", "modules": ["gcc/12", "cuda/12"]},
        ),
    ],
)
def test_a_job_of_a_cluster_is_recorded_with_its_node_and_modules(
    variables: dict[str, str], expected: dict[str, object]
) -> None:
    assert cluster_job(variables) == expected


def test_a_run_computes_on_its_own_threads_whatever_computes_and_whenever_that_is_loaded() -> None:
    script = """
import numpy, torch, threadpoolctl
from bench.core.surroundings import limit_threads
limit_threads(1)
import scipy.linalg
print([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info())])
"""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    said = subprocess.run([sys.executable, "-c", script], env=free, capture_output=True, text=True, check=True).stdout
    assert set(ast.literal_eval(said)) == {1}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    script = """
import resource, torch
from bench.core.surroundings import keep_memory
keep_memory()
torch.set_num_threads(1)
x = torch.ones(2**20, requires_grad=True)  # 4 MiB
def use():
    y = x
    for _ in range(8):
        y = y.sigmoid()
    torch.autograd.grad(y.sum(), x)
for _ in range(100):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 * 1024, "pages; without it often ten times as many"
