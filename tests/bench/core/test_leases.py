"""Leases: never two who may write at once, whatever clocks and caches do; never lost for good; and whoever lost one finds out."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bench.core.leases import Held, Lease, LeaseLostError, Leases, Machine, Periods

LAG = 79.0  # seconds until a write is seen by every host, at most; the periods allow for 80


class Disk:
    """A shared disk: what was in each file since when, and how long ago each host looks at each name.

    Arguments:
        exclusive: whether creation is; else a file that the host does not see yet is replaced.
    """

    def __init__(self, exclusive: bool = True) -> None:
        self.now, self.exclusive, self.lag = 0.0, exclusive, 0.0
        self.history: dict[str, list[tuple[float, bytes]]] = {}
        self.views: dict[tuple[str, str], float] = {}

    def see(self, host: str, key: str) -> float:
        """The moment as of which a host sees a name now: never earlier than before, and no longer ago than caches keep things."""
        self.views[host, key] = max(self.views.get((host, key), -LAG), self.now - self.lag * LAG)
        return self.views[host, key]

    def content(self, host: str, name: str) -> bytes | None:
        """What a host finds in a file; None if it sees none."""
        when = self.see(host, name)
        return next((content for at, content in reversed(self.history.get(name, [])) if at <= when), None)

    def write(self, host: str, name: str, content: bytes) -> None:
        """Change a file; its own host sees that at once."""
        self.history.setdefault(name, []).append((self.now, content))
        self.views[host, name] = self.now

    def names(self, host: str) -> list[str]:
        """The files that a host sees: those that were there some time ago, and those that it has made or looked into."""
        when = self.see(host, "")
        first = {name: versions[0][0] for name, versions in self.history.items()}
        return [name for name, at in first.items() if at <= max(when, self.views.get((host, name), -LAG))]

    def newest(self) -> int:
        """The number of the lease in truth."""
        return max((int(name) for name in self.history if name.isdecimal()), default=0)


class Simulated(Machine):
    """A process on a host of the simulation, which waits before it does anything with the disk or looks at a clock."""

    def __init__(self, disk: Disk, host: str, skew: float, pid: int, wait: Callable[[], None], ended: set[int]) -> None:
        self.disk, self.host, self.skew, self.pid, self.wait, self.ended = disk, host, skew, pid, wait, ended

    def names(self, folder: Path) -> list[str]:
        self.wait()
        return self.disk.names(self.host)

    def read(self, path: Path) -> bytes:
        self.wait()
        return self.disk.content(self.host, path.name) or b""

    def create(self, path: Path, content: bytes) -> bool:
        self.wait()
        seen = self.disk.content(self.host, path.name) is not None
        if seen or (self.disk.exclusive and path.name in self.disk.history):
            return False
        self.disk.write(self.host, path.name, b"")
        self.wait()
        self.disk.write(self.host, path.name, content)
        return True

    def rewrite(self, path: Path, content: bytes) -> None:
        self.wait()
        self.disk.write(self.host, path.name, content)

    def clock(self) -> float:
        self.wait()
        return self.disk.now + self.skew

    patience = clock

    def place(self) -> str:
        return self.host

    def introduce(self) -> Lease:
        return Lease(f"owner {self.pid}, {self.disk.now}", self.host, self.host, self.pid, "", "", self.skew, self.skew)

    def gone(self, lease: Lease) -> bool:
        return lease.host == self.host and lease.pid in self.ended


class Stopped(BaseException):
    """The process is killed."""


class Actor:
    """A process that wants the lease: a thread that goes on, from one look at disk or clock to the next, only when it is told to."""

    def __init__(self, disk: Disk, host: str, skew: float, pid: int, ended: set[int]) -> None:
        self.disk, self.pid, self.ended, self.host = disk, pid, ended, host
        self.machine = Simulated(disk, host, skew, pid, self.wait, ended)
        self.leases = Leases(Path("runs"), self.machine)
        self.held: Held | None = None
        self.published, self.rounds, self.done, self.killed, self.problem = 0, 0, False, False, ""
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self.main, daemon=True)
        self._thread.start()

    def main(self) -> None:
        self._go.acquire()
        try:
            while not self.killed:
                self.work()
                self.rounds += 1
                self.wait()
        except Stopped:
            pass
        except BaseException as error:
            self.problem = repr(error)
        self.killed = True
        self._waits.release()

    def work(self) -> None:
        """Hold the lease until told to give it back; confirm it, and write results while it is held."""
        self.held = self.leases.claim("run")
        if self.held is None:
            return
        confirmed = self.machine.clock()
        try:
            while not self.done:
                if self.machine.clock() - confirmed > self.leases.periods.heartbeat:
                    confirmed = self.machine.clock()
                    self.held.beat()
                self.held.require()
                self.publish(self.held)
                self.rounds += 1
            self.held.release()
        except LeaseLostError:
            pass
        self.held = None

    def publish(self, held: Held) -> None:
        """Write a result, which is right only if nobody else may."""
        if held.number != self.disk.newest() and self.disk.exclusive:
            self.problem = f"{self.pid} writes under lease {held.number}, and there is {self.disk.newest()}"
        self.published += 1

    def wait(self) -> None:
        """Let others go on, for as long as it takes."""
        self._waits.release()
        self._go.acquire()
        if self.killed:
            raise Stopped

    def step(self) -> None:
        """Go on to the next look at disk or clock."""
        if not self.killed:
            self._go.release()
            self._waits.acquire()
        assert not self.problem, self.problem

    def turn(self) -> None:
        """Go on to the end of what is being done."""
        before = self.rounds
        while self.rounds == before and not self.killed:
            self.step()

    def kill(self) -> None:
        """End the process, as SIGKILL does."""
        self.killed = True
        self.ended.add(self.pid)
        self._go.release()
        self._thread.join()


class Sharing(RuleBasedStateMachine):
    """Four processes on three hosts want one lease, with whatever pauses, lags and deaths."""

    exclusive = True

    @initialize(skews=st.tuples(*[st.floats(-600, 600)] * 3))
    def start(self, skews: tuple[float, float, float]) -> None:
        self.disk, self.ended, self.pids = Disk(self.exclusive), set[int](), 0
        self.hosts = [("a", skews[0]), ("a", skews[0]), ("b", skews[1]), ("c", skews[2])]
        self.actors = [self.launched(*host) for host in self.hosts]

    def launched(self, host: str, skew: float) -> Actor:
        self.pids += 1
        return Actor(self.disk, host, skew, self.pids, self.ended)

    @rule(who=st.integers(0, 3), count=st.integers(1, 9))
    def step(self, who: int, count: int) -> None:
        for _ in range(count):
            self.actors[who].step()

    @rule(who=st.integers(0, 3), again=st.integers(1, 3))
    def turn(self, who: int, again: int) -> None:
        for _ in range(again):
            self.actors[who].turn()

    @rule(seconds=st.sampled_from([1.0, 19.0, 21.0, 39.0, 41.0, 79.0, 119.0, 121.0, 900.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.disk.now += seconds

    @rule(part=st.floats(0, 1))
    def lag(self, part: float) -> None:
        self.disk.lag = part

    @rule(who=st.integers(0, 3))
    def want_no_more_or_again(self, who: int) -> None:
        self.actors[who].done = not self.actors[who].done

    @rule(who=st.integers(0, 3))
    def die(self, who: int) -> None:
        self.actors[who].kill()
        self.actors[who] = self.launched(*self.hosts[who])

    def teardown(self) -> None:
        if hasattr(self, "actors"):
            try:
                self.settle()
            finally:
                for actor in self.actors:
                    actor.kill()

    def settle(self) -> None:
        """In the end those who lost a lease know it, and one process gets it after the others have died."""
        self.disk.lag = 0.0
        for _ in range(3):
            self.disk.now += 41
            for actor in self.actors:
                actor.turn()
        sure = [actor.held for actor in self.actors if actor.held and not actor.held.lost]
        assert len(sure) <= 1
        *others, last = self.actors
        for actor in others:
            actor.kill()
        last.done, before = False, last.published
        for _ in range(13):
            self.disk.now += 10
            last.turn()
        assert last.published > before


class Careless(Sharing):
    """The same on a disk that lets two processes make the same file: then the only promise is that one finds out."""

    exclusive = False


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=150, stateful_step_count=40)
TestCareless = Careless.TestCase
TestCareless.settings = settings(max_examples=50, stateful_step_count=40)
