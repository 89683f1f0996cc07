"""A campaign through Slurm, struck at moments drawn by chance, then typed again until it is done: `FAULTS=5`, so many of each strike.

Every number is compared, bit for bit, with those that processes find when nothing happens to them.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.executors import queue

from ..faults.kill_trials import PATIENCE, Campaign, kill
from .cluster import NODES, Cluster, variables, wait_until

ASKED = int(os.environ.get("FAULTS", "0"))
THROUGH_SLURM = ("--slurm", "time=30,signal_delay_s=20", "--wait")


@dataclass
class OnSlurm(Campaign):
    """The tiny density suite on a cluster, and what processes find of it."""

    cluster: Cluster = field(kw_only=True)
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.options = THROUGH_SLURM
        self.fresh()
        begun = time.monotonic()
        assert self.ended(self.start()) == 0
        self.seconds = time.monotonic() - begun
        assert not self.changed()

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        return super().start(*self.options, *options)

    def fresh(self) -> None:
        """Begin with an empty queue and store."""
        self.cluster.command("scancel", "--user=root")
        wait_until(lambda: not self.cluster.command("squeue", "--noheader"), "an empty queue")
        super().fresh()

    def ended(self, front: subprocess.Popen[bytes], seconds: float = PATIENCE) -> int | None:
        """The exit code of a command, or None if it is not over in time; Slurm does not hold requeued jobs back meanwhile."""
        deadline = time.monotonic() + seconds
        while front.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.SubprocessError):  # the controller may be down
                self.cluster.hurry()
            time.sleep(0.5)
        return front.returncode

    def trial(self, strike: str, seed: int) -> str:
        self.fresh()
        said, chance = self.log.stat().st_size, random.Random(f"{strike} {seed}")
        fronts = [self.start()]
        self.ended(fronts[0], chance.uniform(0.1, 1.0) * self.seconds)
        fronts += STRIKES[strike](self, fronts[0].pid, chance) or []
        for _ in range(4):
            codes = [self.ended(front) for front in fronts]
            if None in codes:
                return "stuck"
            if b"Traceback" in self.log.read_bytes()[said:]:
                return "a traceback"
            if codes == [0] and (missing := self.known[""].keys() - self.found().keys()):
                return f"missing: {min(missing)}"
            if codes == [0]:
                return self.changed()
            fronts = [self.start()]
        return "lost: not done after it was typed four times more"

    def running(self, chance: random.Random) -> queue.Place | None:
        """One of the jobs that run, if any does."""
        places = [each for each in queue.places(self.root / "jobs").values() if each.node and each.alive]
        return chance.choice(places) if places else None


Strike = Callable[[OnSlurm, int, random.Random], list[subprocess.Popen[bytes]] | None]


def to_a_job(*words: str) -> Strike:
    """A command of Slurm, given the number of a job that runs."""

    def strike(campaign: OnSlurm, _: int, chance: random.Random) -> None:
        if place := campaign.running(chance):
            with contextlib.suppress(subprocess.CalledProcessError):  # it has ended just now
                campaign.cluster.command(*words, place.id)

    return strike


def step_killed(campaign: OnSlurm, _: int, chance: random.Random) -> None:
    """SIGKILL every process of one step."""
    if place := campaign.running(chance):
        ours = {f"SLURM_CONF={campaign.cluster.configuration}", f"SLURMD_NODENAME={place.node}"}
        for process in Path("/proc").glob("[0-9]*"):
            if ours <= variables(process) and b"submitit" in (process / "cmdline").read_bytes():
                kill(int(process.name))


def daemon_killed(campaign: OnSlurm, _: int, chance: random.Random) -> None:
    """SIGKILL a node's daemon, and start it again; its jobs know nothing of it."""
    node = chance.choice(NODES)
    campaign.cluster.end(node, signal.SIGKILL)
    time.sleep(chance.uniform(0, 5))
    campaign.cluster.start_node(node)


def node_lost(campaign: OnSlurm, _: int, chance: random.Random) -> None:
    """A node dies with all its jobs, and comes back."""
    node = chance.choice(NODES)
    campaign.cluster.lose(node)
    time.sleep(chance.uniform(0, 15))
    campaign.cluster.start_node(node)


def controller_killed(campaign: OnSlurm, _: int, chance: random.Random) -> None:
    """End the controller, and start it again."""
    campaign.cluster.end("slurmctld", chance.choice([signal.SIGKILL, signal.SIGTERM]))
    time.sleep(chance.uniform(0, 5))
    campaign.cluster.start_controller()
    wait_until(campaign.cluster.states, "the controller")


def front_killed(campaign: OnSlurm, front: int, chance: random.Random) -> list[subprocess.Popen[bytes]]:
    """SIGKILL the command, and type it again at once."""
    kill(front)
    return [campaign.start()]


def joined(campaign: OnSlurm, _: int, chance: random.Random) -> list[subprocess.Popen[bytes]]:
    """Another front end on the same store, and a `bench run` in processes."""
    options, campaign.options = campaign.options, ()
    local = campaign.start()
    campaign.options = options
    return [campaign.start(), local]


STRIKES: dict[str, Strike] = {
    "scancel": to_a_job("scancel"),
    "scontrol requeue": to_a_job("scontrol", "requeue"),
    "its time is up": to_a_job("scancel", "--signal=USR2"),
    "job's processes killed": step_killed,
    "job killed by Slurm": to_a_job("scancel", "--signal=KILL", "--full"),
    "slurmd killed, started again": daemon_killed,
    "node lost, back again": node_lost,
    "slurmctld ended, started again": controller_killed,
    "front end killed": front_killed,
    "two front ends, and processes": joined,
}


@pytest.fixture(scope="module")
def campaign(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> OnSlurm:
    return OnSlurm("density", tmp_path_factory.mktemp("campaign"), cluster=cluster)


@pytest.mark.skipif(not ASKED, reason="minutes of real runs: FAULTS=5")
@pytest.mark.parametrize("strike", STRIKES)
def test_struck_and_typed_again(campaign: OnSlurm, strike: str) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "0"))
    wrong = [f"{strike} {n}: {words}" for n in range(seed, seed + ASKED) if (words := campaign.trial(strike, n))]
    print(f"| {strike} | {campaign.suite} | {ASKED} | {len(wrong)} |")
    assert not wrong, "\n".join(wrong)
