"""`bench run` in processes of its own, struck at a moment drawn by chance; then typed again until it is done, and every number compared."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.store import Store

from .studies import numbers, write_suite

__all__ = ["STRIKES", "Campaign"]

STEPS = 600
PATIENCE = 600.0  # seconds after which a command is stuck
TRIES = 4


def processes(session: int) -> dict[int, tuple[int, str]]:
    """The processes of a session: parent and command line by number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = (int(fields[1]), command)
    return found


def roles(front: int) -> tuple[list[int], list[int]]:
    """The fork servers and the workers of a `bench run` that leads its session."""
    there = {number: parent for number, (parent, command) in processes(front).items() if "forkserver" in command}
    servers = [number for number, parent in there.items() if parent == front]
    return servers, [number for number, parent in there.items() if parent in servers]


@dataclass
class Campaign:
    """A suite in a folder, and what its runs find undisturbed."""

    suite: str
    folder: Path
    cache: Path
    expected: dict[str, dict[str, Any]] = field(init=False)
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.file, self.root = write_suite(self.suite, self.folder, STEPS), self.folder / "store"
        self.fresh()
        begun = time.monotonic()
        assert self.start().wait(PATIENCE) == 0
        self.seconds = time.monotonic() - begun
        self.expected = self.found()

    def fresh(self) -> None:
        """Begin with a store that has nothing but its extractor."""
        shutil.rmtree(self.root, ignore_errors=True)
        Store(self.root).create()
        shutil.copytree(self.cache, self.root / "cache", dirs_exist_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        """`bench run`, two runs side by side, in a session of its own."""
        command = [sys.executable, "-m", "bench", "run", "--suite", str(self.file), "--store", str(self.root)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--seeds", "0", "--jobs", "2"], stdout=log, stderr=log, start_new_session=True
            )

    def found(self) -> dict[str, dict[str, Any]]:
        """The numbers of all runs that are done."""
        done = sorted((self.root / "runs").glob("*/*/*/status.json"))
        names = [str(path.parent.relative_to(self.root / "runs")) for path in done]
        return {name: numbers(Store(self.root), name) for name in names if "/data/" not in name}

    def trial(self, strike: str, seed: int) -> str:
        """Strike a `bench run`, then type it again until it is done; '' if it ends with the numbers expected of it, else what is wrong."""
        self.fresh()
        chance = random.Random(f"{strike} {seed}")
        front = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            front.wait(chance.uniform(0.1, 1.0) * self.seconds)
        others = STRIKES[strike](self, front.pid, chance) or []
        for process in (front, *others):
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "stuck after the fault"
        for _ in range(TRIES):
            process = self.start()
            try:
                if process.wait(PATIENCE) == 0:
                    break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "stuck when typed again"
        else:
            return "lost: not done after it was typed four times more"
        found = self.found()
        names = [
            f"{run} {name}"
            for run, each in found.items()
            for name in each
            if each[name] != self.expected[run].get(name)
        ]
        return "changed: " + ", ".join(names[:3]) if names or found.keys() != self.expected.keys() else ""


Strike = Callable[[Campaign, int, random.Random], Any]


def kill(number: int, signal_number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal_number)


def worker_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL one worker."""
    if workers := roles(front)[1]:
        kill(chance.choice(workers))


def server_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL the server that workers are forked from."""
    for number in roles(front)[0]:
        kill(number)


def front_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL the command; its workers end by themselves."""
    kill(front)


def all_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL everything at once."""
    for number in [front, *processes(front)]:
        kill(number)


def worker_paused(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGSTOP a worker for a while."""
    if workers := roles(front)[1]:
        number = chance.choice(workers)
        kill(number, signal.SIGSTOP)
        time.sleep(chance.uniform(1, 5))
        kill(number, signal.SIGCONT)


def asked(number: int) -> Strike:
    """A signal to the command, on which it saves what is running."""

    def strike(_: Campaign, front: int, chance: random.Random) -> None:
        kill(front, number)

    return strike


def joined(campaign: Campaign, front: int, chance: random.Random) -> list[subprocess.Popen[bytes]]:
    """One or three more commands on the same store."""
    return [campaign.start() for _ in range(chance.choice([1, 3]))]


def joined_and_killed(campaign: Campaign, front: int, chance: random.Random) -> list[subprocess.Popen[bytes]]:
    """A second command on the same store, and the first one killed."""
    others = [campaign.start()]
    time.sleep(chance.uniform(0, campaign.seconds))
    all_killed(campaign, front, chance)
    return others


def cache_deleted(campaign: Campaign, front: int, chance: random.Random) -> None:
    """The cache folder vanishes, all but the extractor, which would take a minute."""
    for path in (campaign.root / "cache").iterdir():
        if path.is_file() and "cnn" not in path.name:
            path.unlink(missing_ok=True)


def damaged(campaign: Campaign, front: int, chance: random.Random) -> None:
    """Everything is killed, and a file of a run is flipped in one bit or cut short."""
    all_killed(campaign, front, chance)
    files = [path for path in sorted((campaign.root / "runs").rglob("*")) if path.is_file() and path.stat().st_size]
    if files:
        path = chance.choice(files)
        content = bytearray(path.read_bytes())
        at = chance.randrange(len(content))
        content[at] ^= 1 << chance.randrange(8)
        path.write_bytes(content if chance.random() < 0.5 else content[:at])


def clock_set_back(campaign: Campaign, front: int, chance: random.Random) -> None:
    """Everything is killed, and what was written is of tomorrow."""
    all_killed(campaign, front, chance)
    for path in campaign.root.rglob("*"):
        os.utime(path, times=(time.time() + 86_400,) * 2)


def starved(_: Campaign, front: int, chance: random.Random) -> None:
    """A worker gets no more memory than it has."""
    if workers := roles(front)[1]:
        number = chance.choice(workers)
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{number}/statm").read_text().split()[0])
            size = pages * os.sysconf("SC_PAGE_SIZE")
            resource.prlimit(number, resource.RLIMIT_AS, (size, size))


STRIKES: dict[str, Strike] = {
    "worker killed": worker_killed,
    "front end killed": front_killed,
    "fork server killed": server_killed,
    "all killed": all_killed,
    "worker paused": worker_paused,
    "SIGINT": asked(signal.SIGINT),
    "SIGTERM": asked(signal.SIGTERM),
    "two or four commands": joined,
    "two commands, one killed": joined_and_killed,
    "cache deleted": cache_deleted,
    "killed, a file damaged": damaged,
    "killed, clock set back": clock_set_back,
    "no more memory": starved,
}
