"""Leases: who works on what, in a folder that several machines may share, with clocks that differ and caches that lag behind.

A lease is a folder of numbered files, `<name>/1`, `<name>/2`, …: the highest number is the lease as it stands, lower ones are history.

- *Taking it* is making the file of the next number, exclusively. The file server does that for one process only, whatever anybody's
  cache says (NFS since version 3, Lustre, BeeGFS, SMB, local disks). A rename replaces a file unseen, and may end a lease that is alive.
- *Holding it* is rewriting that file, which nobody else writes, every `heartbeat` seconds, from a thread of its own.
- *Free* is what was released, what belongs to a process of this machine that is gone (known at once), and what has not changed for `stale`
  seconds of this machine's own monotonic clock. Since when it has not is kept beside it, in `seen-…`, one file per machine, so that
  processes that look in now and then count together. Clocks of two machines are never compared.
- *A holder that was stopped*, by a signal, a suspended machine or a disk that hangs, finds that its last heartbeat is more than `doubt`
  seconds old and does not trust what it reads: it takes the next number itself. If somebody else has, the lease is lost:
  `Held.require` raises, and whoever held it leaves the run alone.

So no two processes pass `require` at once as long as what is written is seen elsewhere within `stale − doubt` seconds. A process that is
stopped between `require` and a write can still write one file late; such files are whole, and what does not match the hashes in the status
is never used. Where exclusive creation is not kept, of two holders the one who wrote first finds the other's name at its next heartbeat,
and stops. Holders that die on other machines are followed within `stale` seconds and one look.
"""

from __future__ import annotations

import _thread
import hashlib
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Held", "Lease", "LeaseLostError", "Leases", "Machine", "Periods"]

KEPT = 64  # files of one lease; older ones are removed, long after the last cache has forgotten them
JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


class LeaseLostError(RuntimeError):
    """Somebody else has taken over: whoever held the lease leaves everything as it is."""


class Periods(NamedTuple):
    """Seconds between heartbeats; since a heartbeat that counts, until it is doubted; without a change, until a lease is free."""

    heartbeat: float = 20.0
    doubt: float = 40.0
    stale: float = 120.0


PERIODS = Periods()


@dataclass(frozen=True)
class Lease:
    """What a lease says.

    Attributes:
        owner: a random name of whoever holds it.
        host: its machine, for people.
        place: its machine as it was booted, and its process namespace: where `pid` means something.
        pid, born: its process, and when that began in the system's own units.
        job: the id that a cluster's scheduler gave it, or ''.
        since, seen: when it was taken and last confirmed, seconds of the holder's own wall clock: to be shown, and nothing else.
        beat: how often it was confirmed.
        note: what the holder says it is doing, as far as it does: `phase`, `step`, `total`, `losses`.
        released: whether it was given back.
    """

    owner: str
    host: str
    place: str
    pid: int
    born: str
    job: str
    since: float
    seen: float
    beat: int = 0
    note: Mapping[str, Any] = field(default_factory=dict)
    released: bool = False

    @property
    def words(self) -> str:
        """Such as "process 4711 on node7, job 31415"."""
        return f"process {self.pid} on {self.host}" + (f", job {self.job}" if self.job else "")


class Machine:
    """All that leases ask of the machine that they are used on: files, its clock, its processes. Raises OSError if the disk does."""

    def names(self, folder: Path) -> list[str]:
        """The names in a folder; none if there is no such folder."""
        with suppress(FileNotFoundError):
            return [path.name for path in folder.iterdir()]
        return []

    def read(self, path: Path) -> bytes:
        """What is in a file; nothing if it is absent."""
        with suppress(FileNotFoundError):
            return path.read_bytes()
        return b""

    def create(self, path: Path, content: bytes) -> bool:
        """Make a file, and its folder; False if it exists."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb", buffering=0) as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def rewrite(self, path: Path, content: bytes) -> None:
        """Replace what is in an existing file, in place: readers elsewhere keep the file that they know."""
        with path.open("r+b", buffering=0) as file:
            file.write(content)
            file.truncate()

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def clock(self) -> float:
        """Seconds by which a holder tells how old its heartbeat is: they go on while a process is stopped or the machine is suspended."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def patience(self) -> float:
        """Seconds by which others tell how long nothing has changed, one clock for the whole machine: they stop while that is suspended."""
        return time.monotonic()

    def place(self) -> str:
        """A name of this machine since it was booted and of the processes that this one sees, such as other machines do not have."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
        except OSError:
            return f"{socket.gethostname()}-{uuid.getnode():x}".replace("/", "-")

    def introduce(self) -> Lease:
        """A lease in the name of this process."""
        job = next((os.environ[name] for name in JOB_VARIABLES if os.environ.get(name)), "")
        pid, now = os.getpid(), time.time()
        return Lease(uuid.uuid4().hex, socket.gethostname(), self.place(), pid, born(pid), job, now, now)

    def gone(self, lease: Lease) -> bool:
        """Whether the holder is known to have ended: a process of this machine that is no more."""
        if lease.place != self.place():
            return False
        try:
            os.kill(lease.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's
        return bool(now := born(lease.pid)) and now != lease.born


def born(pid: int) -> str:
    """When a process began, in the system's own units; "ended" if it waits to be buried, '' where the system does not tell."""
    try:
        state, *values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if state in "ZX" else values[18]


def parsed(content: bytes) -> Lease | None:
    """What a file says; None if it is just being written, or damaged."""
    try:
        value, _ = json.JSONDecoder().raw_decode(content.decode())  # what follows is the end of a longer one
        return Lease(**value)
    except (ValueError, TypeError):
        return None


class Leases:
    """The leases in a folder, as one process uses them.

    Arguments:
        folder: made when the first lease is taken.
        machine: where this process is.
        periods: the same for all who use the folder.
    """

    def __init__(self, folder: Path, machine: Machine | None = None, periods: Periods | None = None) -> None:
        self.folder, self.machine, self.periods = folder, machine or Machine(), periods or PERIODS

    @contextmanager
    def hold(self, name: str) -> Iterator[Held | None]:
        """Hold a lease inside the block, confirming it all the while; None if somebody else holds it.

        Raises:
            OSError: if the folder cannot be read or written.
        """
        held = self.claim(name)
        if held is None:
            yield None
            return
        ended = threading.Event()
        try:
            # not by Thread.start, which waits for ever for a thread that finds no memory to begin with; `require` confirms without it, too
            _thread.start_new_thread(held.keep, (ended,))
            yield held
        finally:
            ended.set()
            held.release()

    def claim(self, name: str) -> Held | None:
        """Take a lease if it is free; whoever holds it must `beat`, and `release` it in the end."""
        asked = self.machine.patience()
        number, content = self.newest(name)
        if number and not self._free(name, number, content, asked):
            return None
        held = Held(self, name, number)
        with suppress(LeaseLostError):
            held.require()
        return None if held.lost else held

    def holder(self, name: str) -> Lease | None:
        """Who holds a lease as far as can be told at once: a holder that died on another machine still does."""
        lease = parsed(self.newest(name)[1])
        return None if lease is None or self._ended(lease) else lease

    def newest(self, name: str) -> tuple[int, bytes]:
        """The number of a lease and what is in its file; 0 if it was never taken."""
        number = max(self.numbers(name), default=0)
        return number, self.machine.read(self.path(name, number)) if number else b""

    def numbers(self, name: str) -> list[int]:
        """The numbers of all files of a lease."""
        return [int(each) for each in self.machine.names(self.folder / name) if each.isdecimal()]

    def path(self, name: str, number: int) -> Path:
        """The file of a number."""
        return self.folder / name / str(number)

    def _ended(self, lease: Lease) -> bool:
        return lease.released or self.machine.gone(lease)

    def _free(self, name: str, number: int, content: bytes, asked: float) -> bool:
        """Whether a lease that was read after `asked` may be taken; what was seen is remembered."""
        lease = parsed(content)
        if lease and self._ended(lease):
            return True
        path = self.folder / name / f"seen-{self.machine.place()}"
        what, now = f"{number} {hashlib.sha256(content).hexdigest()[:16]}", self.machine.patience()
        before, _, since = self.machine.read(path).decode(errors="replace").rpartition(" since ")
        with suppress(ValueError):
            if before == what and float(since) <= asked:  # it is more after a reboot
                return asked - float(since) >= self.periods.stale
        record = f"{what} since {now!r}".encode()
        if not self.machine.create(path, record):
            self.machine.rewrite(path, record)
        return False


class Held:
    """A lease in this process's hands, once `require` has taken it. Threads may share it.

    Arguments:
        leases: where it is.
        name: its name.
        number: of the file that it follows.

    Attributes:
        note: what the holder is doing; others read it after the next heartbeat.
        lost: why it is not held any more; '' as long as it is.
    """

    def __init__(self, leases: Leases, name: str, number: int) -> None:
        self.leases, self.name, self.number = leases, name, number
        self.machine, self.periods = leases.machine, leases.periods
        self.note: Mapping[str, Any] = {}
        self.lost = ""
        self._lease = self.machine.introduce()
        self._confirmed = -math.inf
        self._mutex = threading.Lock()

    def require(self) -> None:
        """Go on only if the lease is held for certain, which costs next to nothing as long as it is confirmed regularly.

        Raises:
            LeaseLostError: if it is lost.
            OSError: if that cannot be told, since the disk is away.
        """
        while self.lost or self.machine.clock() - self._confirmed > self.periods.doubt:
            with self._mutex:
                if self.lost:
                    raise LeaseLostError(self.lost)
                if self.machine.clock() - self._confirmed > self.periods.doubt:
                    self._renew()

    def beat(self) -> None:
        """Confirm the lease, if it is not lost, and tell the note.

        Raises:
            OSError: if the disk is away; nothing is lost by that alone.
        """
        with self._mutex:
            start = self.machine.clock()
            if self.lost or self._taken():
                return
            self.machine.rewrite(self._path, self._content())
            if self.machine.clock() - self._confirmed > self.periods.doubt:  # late: somebody may have seen it before
                self._renew()
            else:
                self._confirmed = start

    def keep(self, ended: threading.Event) -> None:
        """Beat until it has ended, or is lost."""
        while not self.lost and not ended.wait(self.periods.heartbeat):
            with suppress(OSError, MemoryError):  # the next one may do
                self.beat()

    def release(self) -> None:
        """Give the lease back, if it is not lost. Where the disk is away, others find that nobody confirms it."""
        with self._mutex, suppress(OSError):
            if not self.lost:
                self.lost = "it was released"
                self.machine.rewrite(self._path, self._content(released=True))

    @property
    def _path(self) -> Path:
        return self.leases.path(self.name, self.number)

    def _content(self, **changes: Any) -> bytes:
        note = dict(self.note)
        self._lease = replace(self._lease, seen=time.time(), beat=self._lease.beat + 1, note=note, **changes)
        return json.dumps(asdict(self._lease), default=str).encode()

    def _renew(self) -> None:
        """Take the next number, which nobody else can have then."""
        start = self.machine.clock()
        made = self.machine.create(self.leases.path(self.name, self.number + 1), self._content())
        self.number += 1
        if self._taken(made):
            return
        self._confirmed = start
        for old in self.leases.numbers(self.name):
            if old <= self.number - KEPT:
                self.machine.remove(self.leases.path(self.name, old))

    def _taken(self, made: bool = True) -> bool:
        """Whether anything but this lease is seen in its place, or the file could not be `made`; then it is lost, and says to whom."""
        number, content = self.leases.newest(self.name)
        other = parsed(content)
        if made and number == self.number and other and other.owner == self._lease.owner:
            return False
        self.lost = f"{other.words if other else 'another process'} has taken over"
        return True
