"""Leases: never two who may write at once, whatever clocks and caches do; never lost for good; and whoever lost one finds out."""

from __future__ import annotations

import _thread
import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from greenlet import GreenletExit, getcurrent, greenlet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bench.core import leases
from bench.core.leases import Held, Lease, LeaseLostError, Leases, Machine, Periods
from bench.core.runner import execute
from bench.core.store import Store, flat
from bench.core.suite import Suite

from ..conftest import plan_one

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


class Actor:
    """A process that wants the lease, and goes on, from one look at disk or clock to the next, only when it is told to."""

    def __init__(self, disk: Disk, host: str, skew: float, pid: int, ended: set[int]) -> None:
        self.disk, self.pid, self.ended = disk, pid, ended
        self.machine = Simulated(disk, host, skew, pid, self.wait, ended)
        self.leases = Leases(Path("runs"), self.machine)
        self.held: Held | None = None
        self.published, self.rounds, self.done = 0, 0, False
        self._scheduler, self._process = getcurrent(), greenlet(self.main)

    def main(self) -> None:
        """Want the lease, again and again."""
        while True:
            self.work()
            self.rounds += 1
            self.wait()

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
        assert held.number == self.disk.newest() or not self.disk.exclusive
        self.published += 1

    def wait(self) -> None:
        """Let others go on, for as long as it takes."""
        self._scheduler.switch()

    def step(self) -> None:
        """Go on to the next look at disk or clock."""
        self._process.switch()

    def turn(self) -> None:
        """Go on to the end of what is being done."""
        before = self.rounds
        while self.rounds == before:
            self.step()

    def kill(self) -> None:
        """End the process, as SIGKILL does."""
        self.ended.add(self.pid)
        self._process.throw(GreenletExit)


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

    @rule(who=st.integers(0, 3), again=st.integers(1, 3))
    def turn(self, who: int, again: int) -> None:
        for _ in range(again):
            self.actors[who].turn()

    @rule(
        seed=st.integers(0, 10**6),
        stopped=st.sets(st.integers(0, 3), max_size=3),
        seconds=st.sampled_from([1.0, 4.0, 15.0]),
    )
    def go_on_in_some_order(self, seed: int, stopped: set[int], seconds: float) -> None:
        """Those who are not stopped go on a little, in turn, while time passes."""
        random = Random(seed)
        awake = [actor for who, actor in enumerate(self.actors) if who not in stopped]
        for _ in range(40):
            self.disk.now += random.expovariate(1) * seconds
            self.disk.lag = random.choice((0.0, random.random(), 1.0, 1.0))
            actor = random.choice(awake)
            for _ in range(random.choice((1, 2, 5, 10))):
                actor.step()

    @rule(who=st.integers(0, 3), steps=st.integers(0, 7), times=st.integers(8, 26))
    def look_twice(self, who: int, steps: int, times: int) -> None:
        """One looks at the lease, and again after a while of which it hardly sees anything; it may be stopped amid the second look."""
        actor = self.actors[who]
        self.disk.lag = 0.0
        actor.turn()
        for _ in range(steps):
            actor.step()
        for _ in range(times):
            self.disk.now += 5
            for other in self.actors:
                if other is not actor:
                    other.turn()
        self.disk.lag = 1.0
        actor.turn()

    @rule(seconds=st.sampled_from([19.0, 41.0, 121.0, 900.0]))
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
        for _ in range(6):
            self.disk.now += 21
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
TestSharing.settings = settings(max_examples=100, stateful_step_count=12)
TestCareless = Careless.TestCase
TestCareless.settings = settings(max_examples=30, stateful_step_count=12)


SHORT = Periods(0.05, 0.2, 0.6)
HOLD = f"""
import sys, time
from pathlib import Path
from bench.core.leases import LeaseLostError, Leases, Periods
with Leases(Path(sys.argv[1]), periods=Periods(*{tuple(SHORT)})).hold("run") as held:
    held.note = {{"phase": "training", "step": 3}}
    print("held", flush=True)
    try:
        while True:
            held.require()
            time.sleep(0.01)
    except LeaseLostError as lost:
        print(lost, flush=True)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease "run" of the folder until it is lost."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "held"
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_others_see_who_holds_a_lease_and_how_far_it_is(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    shared = Leases(tmp_path, periods=SHORT)
    assert shared.claim("run") is None
    wait_for(lambda: (there := shared.holder("run")) and there.note)
    there = shared.holder("run")
    assert there is not None
    assert (there.pid, there.note) == (holder.pid, {"phase": "training", "step": 3})
    assert shared.holder("another") is None


def test_a_killed_holder_is_followed_at_once(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    patient = Leases(tmp_path, periods=Periods(20, 40, 10**9))
    assert patient.claim("run") is None
    holder.kill()
    wait_for(lambda: patient.holder("run") is None)  # though nobody has asked how it ended yet
    held = patient.claim("run")
    assert held is not None
    held.require()
    held.release()
    assert patient.holder("run") is None
    with pytest.raises(LeaseLostError, match="released"):
        held.require()


def test_a_stopped_holder_is_followed_and_stands_back(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.send_signal(signal.SIGSTOP)
    claimed: list[Held] = []

    def claim() -> bool:
        claimed.extend(filter(None, [Leases(tmp_path, periods=SHORT).claim("run")]))  # as a new process each time
        return bool(claimed)

    wait_for(claim)
    holder.send_signal(signal.SIGCONT)
    assert line(holder) == f"{claimed[0].leases.machine.introduce().words} has taken over"


def test_a_lease_is_kept_up_while_one_call_takes_long(tmp_path: Path) -> None:
    shared = Leases(tmp_path, periods=SHORT)
    with shared.hold("run") as held:
        assert held is not None
        assert shared.claim("run") is None
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1_500_000)  # seconds without a look at the lease
        assert shared.claim("run") is None
        held.require()


DAMAGED = {"empty": b"", "torn": b'{"owner": "5e', "list": b"[]", "lacking": b'{"owner": 3}', "binary": b"\xff\xfe"}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_lease_is_waited_for_and_taken(content: bytes, tmp_path: Path) -> None:
    shared = Leases(tmp_path, periods=SHORT)
    assert shared.claim("run")
    shared.path("run", 1).write_bytes(content)
    assert shared.holder("run") is None
    assert shared.claim("run") is None
    wait_for(lambda: shared.claim("run"))


def test_a_file_is_made_once_and_rewritten_in_place(tmp_path: Path) -> None:
    """What the simulation takes for granted of real files."""
    machine, path = Machine(), tmp_path / "folder" / "1"
    assert machine.create(path, b"first")
    assert not machine.create(path, b"second")
    assert path.read_bytes() == b"first"
    number = path.stat().st_ino
    machine.rewrite(path, b"1st")
    assert (path.read_bytes(), path.stat().st_ino) == (b"1st", number)
    with pytest.raises(FileNotFoundError):
        machine.rewrite(tmp_path / "folder" / "2", b"")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_only_a_process_of_this_machine_is_known_to_have_ended() -> None:
    machine = Machine()
    own = machine.introduce()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    ended = replace(own, pid=process.pid)
    assert not machine.gone(own)
    assert machine.gone(ended)
    assert machine.gone(replace(own, born="0")), "its number is another process's by now"
    assert not machine.gone(replace(ended, place="another machine"))


class Told(Machine):
    """A machine of a name of its own whose clock says what it is told; things may happen once `before` it turns to the disk."""

    def __init__(self, name: str, now: float = 0.0) -> None:
        self.name, self.now = name, now
        self.before: dict[str, Callable[[], object]] = {}

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    patience = clock

    def place(self) -> str:
        return self.name

    def names(self, folder: Path) -> list[str]:
        self.before.pop("names", list)()
        return super().names(folder)

    def create(self, path: Path, content: bytes) -> bool:
        self.before.pop("create", list)()
        return super().create(path, content)

    def rewrite(self, path: Path, content: bytes) -> None:
        self.before.pop("rewrite", list)()
        super().rewrite(path, content)


def test_a_lease_is_free_once_it_was_seen_unchanged_for_long_enough(tmp_path: Path) -> None:
    """By the clock of one machine, from the end of the first look to the beginning of the last, since the machine was booted."""
    held, machine = Leases(tmp_path, Told("mine")).claim("run"), Told("other")
    assert held is not None

    def free(at: float, takes: float = 0.0) -> bool:
        machine.now = at
        machine.before["names"] = lambda: machine.wait(takes)
        return Leases(tmp_path, machine).claim("run") is not None

    assert not free(0, takes=121)
    assert not free(200, takes=200)
    assert Leases(tmp_path, Told("third", 500)).claim("run") is None
    held.beat()
    assert not free(242)
    assert not free(361)
    assert not free(0)  # booted again
    assert not free(119)
    assert free(120)


def test_a_heartbeat_counts_from_its_beginning(tmp_path: Path) -> None:
    """However long the disk takes; a holder whose last heartbeat is too old takes the next number."""
    machine = Told("mine")
    machine.before["create"] = lambda: machine.wait(30)
    held = Leases(tmp_path, machine).claim("run")
    assert held is not None
    machine.now = 41
    held.require()
    assert held.number == 2
    machine.before["rewrite"] = lambda: machine.wait(9)
    machine.now = 72
    held.beat()
    machine.now = 113
    held.require()
    assert held.number == 3


def test_who_lost_a_lease_finds_out_and_leaves_it_alone(tmp_path: Path) -> None:
    mine, other = Told("mine"), Told("other")
    held, shared = Leases(tmp_path, mine).claim("run"), Leases(tmp_path, other)
    assert held is not None
    assert shared.claim("run") is None
    mine.now = other.now = 121
    assert shared.claim("run")
    with pytest.raises(LeaseLostError, match="has taken over"):
        held.require()
    held.release()
    there = shared.holder("run")
    assert there is not None
    assert there.place == "other"


@pytest.mark.parametrize("there", ["nothing", "an older one"])
def test_a_lease_that_is_removed_is_lost(there: str, tmp_path: Path) -> None:
    machine = Told("mine")
    held = Leases(tmp_path, machine).claim("run")
    assert held is not None
    if there == "an older one":
        machine.now = 41
        held.require()
    held.leases.path("run", held.number).unlink()
    held.beat()
    with pytest.raises(LeaseLostError, match="has taken over"):
        held.require()


def test_a_heartbeat_that_comes_late_confirms_nothing(tmp_path: Path) -> None:
    """As a holder wakes up, another has seen no change for long enough and is about to take the lease."""
    mine, other = Told("mine"), Told("other")
    held = Leases(tmp_path, mine).claim("run")
    assert held is not None
    assert Leases(tmp_path, other).claim("run") is None
    mine.now = other.now = 121.0
    other.before["create"] = held.beat
    assert Leases(tmp_path, other).claim("run") is None
    held.require()


def test_a_heartbeat_that_never_begins_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no memory for a thread: whoever holds the lease confirms it all the same."""
    mine, other = Told("mine"), Told("other")
    monkeypatch.setattr(threading, "_start_new_thread", lambda *_: 0)
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 0)
    with Leases(tmp_path, mine).hold("run") as held:
        assert held is not None
        for now in range(0, 400, 50):
            mine.now = other.now = now
            held.require()
            assert Leases(tmp_path, other).claim("run") is None


def test_a_lease_is_given_back_where_no_thread_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start"), Leases(tmp_path).hold("run"):
            pass
    assert Leases(tmp_path, Told("other")).claim("run") is not None


def test_a_heartbeat_outlives_a_moment_without_memory(tmp_path: Path) -> None:
    held, ended = Leases(tmp_path, periods=SHORT).claim("run"), threading.Event()
    assert held is not None
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        if len(beats) > 1:
            ended.set()
        raise (MemoryError, OSError)[len(beats) - 1]

    held.beat = beat  # type: ignore[method-assign]
    held.keep(ended)
    assert len(beats) == 2


def test_leases_leave_few_files(tmp_path: Path) -> None:
    shared = Leases(tmp_path)
    for _ in range(leases.KEPT + 9):
        with shared.hold("run") as held:
            assert held is not None
    assert len(list((tmp_path / "run").iterdir())) == leases.KEPT


def test_a_run_that_is_taken_over_is_left_alone(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch, finished: Store
) -> None:
    monkeypatch.setattr(leases, "PERIODS", Periods(0.05, 60, 1.0))
    task = plan_one(tiny, store, "gan-ns").task
    folder = store.folder(task.spec)
    left: list[dict[str, bytes]] = []

    def take_over() -> bool:  # asked after every step, however fast they are
        if not left:
            threads = _thread._count()
            Held(store.leases, flat(task.spec.run_id), 1).require()  # as if nothing had been seen for long
            wait_for(lambda: _thread._count() < threads)  # there is no heartbeat any more
            left.append(contents(folder.path))
        return False

    outcome = execute(task, lambda _: None, take_over)
    assert outcome.state == "busy"
    assert "has taken over" in outcome.reason
    assert contents(folder.path) == left[0]
    wait_for(lambda: execute(task, lambda _: None, lambda: False).state == "done")
    weights = [(each.folder(task.spec) / "checkpoint.safetensors").read_bytes() for each in (store, finished)]
    assert weights[0] == weights[1]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
