"""What the harness itself takes per run: `bench run` on many runs of a throw-away model whose training sleeps.

    python -m tests.throughput.overhead --tasks 2000 --seconds 1 --jobs 2

prints the time that each place for a worker was not asleep, per run, all in all and without the plan and the report; and the processor
time of all processes together per run, which says what there is to gain where other work takes the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

__all__ = ["overhead"]

PACKAGE = {
    "sleeper-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: sleeper\nVersion: 1\n",
    "sleeper-1.dist-info/entry_points.txt": "[gebm_bench.models]\nsleeper = sleeper:Sleeper\n",
    "sleeper.py": """
import math, os, time
import torch
from torch import nn
from bench.core.model import Model
from gebm.components import component

class Sleep:
    done, total = 0, 1

    def step(self):
        time.sleep(float(os.environ["SLEEP"]))
        self.done = 1
        return {"loss": 0.0}

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state):
        self.done = state["done"]

@component("models", "sleeper", "sleeps, and is a standard normal density", fits=("tabular",))
class Sleeper(Model):
    def modules(self):
        return {"unused": nn.Linear(4, 4)}

    def steps(self):
        return 1

    def fit(self, session):
        session.drive("sleep", Sleep())

    def log_prob(self, rows):
        return -rows.square().sum(1) / 2 - rows.shape[1] / 2 * math.log(2 * math.pi)

    def sample(self, count, generator):
        return torch.randn(count, *self.dataset.shape, generator=generator)
""",
}
SUITE = """
name = "sleep"
summary = "runs that sleep"
kind = "density"

[profiles.quick]
datasets = ["npy:{rows}"]
models = ["sleeper"]
seeds = [0]
minutes_per_run = {minutes}
energy = {{ widths = [4], bound = 1 }}
likelihood = {{ steps = 1 }}
training = {{ base_steps = 1 }}
refit = {{ steps = 1 }}
evaluation = {{ shown_samples = 100 }}

[profiles.quick.flows]
realnvp = {{ family = "realnvp" }}
"""


ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER, for the server of workers to be waited for when the command has left it


def processor_seconds() -> float:
    """Processor time of all descendants so far, once they have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def overhead(folder: Path, tasks: int, seconds: float, jobs: int) -> dict[str, float]:
    """Run so many tasks, and return seconds: of the whole command, from the first run's begin to the last one's end, what is left of both
    per run and place when sleep is taken off, and processor time per run.
    """
    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(2000, 8)))
    (folder / "sleep.toml").write_text(SUITE.format(rows=folder / "rows.npy", minutes=seconds / 60))
    command = [sys.executable, "-m", "bench", "run", "--suite", str(folder / "sleep.toml"), "--jobs", str(jobs)]
    command += ["--seeds", f"0-{tasks - 1}"]
    variables = os.environ | {"PYTHONPATH": str(folder), "SLEEP": str(seconds)}
    begun = time.time()
    subprocess.run([*command, "--store", str(folder / "store")], env=variables, check=True, stdout=subprocess.DEVNULL)
    whole = time.time() - begun
    runs = list((folder / "store" / "runs").glob("*/*/*"))
    assert len(runs) == tasks
    first = min((run / "spec.json").stat().st_mtime for run in runs)
    between = max((run / "status.json").stat().st_mtime for run in runs) - first
    spent = {"whole": whole, "before": first - begun, "runs": between, "after": begun + whole - first - between}
    idle = {f"{name}, per run": spent[name] * jobs / tasks - seconds for name in ("whole", "runs")}
    return {**spent, **idle, "processors, per run": processor_seconds() / tasks}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        for name, value in overhead(Path(folder), asked.tasks, asked.seconds, asked.jobs).items():
            print(f"{name:20} {value:9.3f} s")


if __name__ == "__main__":
    main()
