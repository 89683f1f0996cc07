"""Workers that are kept busy: does memory stay flat, is every file closed and every process buried?

    python -m tests.faults.load --minutes 60 --jobs 8

does runs of the images and the density suite, with tiny settings and many seeds, half of the workers on each, looks at all processes every
ten seconds, prints what it saw in twelve parts, and exits with code 1 if anything has grown from the second quarter to the last, a zombie
was seen twice, a run has failed, or a process outlives its command.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from bench.core.store import Store
from bench.markdown import table

from .studies import SUITES, cache_for, write_suite

__all__ = ["Load", "grown"]

STEPS = 600
SEEDS = 3000  # more than an hour has time for
MIB = 2**20
ROLES = ("front end", "server", "worker")
SLACK = {"MiB": 16.0, "": 3.0}
"""What may be added to a twentieth, in MiB or in number."""


@dataclass
class Load:
    """Commands under way, and what was seen of them: by what is counted, one value per look."""

    folder: Path
    fronts: list[int] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    zombies: set[int] = field(default_factory=set)
    unburied: set[int] = field(default_factory=set)

    def start(self, suite: str, jobs: int) -> subprocess.Popen[bytes]:
        """A `bench run` of many seeds, in a session and with a folder of temporary files of its own."""
        (temporary := self.folder / "tmp").mkdir(exist_ok=True)
        store = Store(self.folder / suite).create()
        if suite == "images":
            cache_for(store.cache)
        command = [sys.executable, "-m", "bench", "run", "--suite", str(write_suite(suite, self.folder, STEPS))]
        command += ["--store", str(store.root), "--jobs", str(jobs), "--seeds", f"0-{SEEDS - 1}"]
        with (self.folder / f"{suite}.log").open("wb") as log:
            started = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"TMPDIR": str(temporary)}
            )
        self.fronts.append(started.pid)
        return started

    def processes(self) -> dict[int, list[str]]:
        """What the system says of each process of the commands, by its number."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) in self.fronts:
                    found[int(folder.name)] = fields
        return found

    def look(self) -> None:
        """Look at everything once; of the processes of one role the largest counts."""
        there = self.processes()
        values = dict.fromkeys((f"{role} {what}" for role in ROLES for what in ("MiB", "files", "threads")), 0.0)
        values["all MiB"] = 0.0
        for number, fields in there.items():
            parent = int(fields[1])
            role = ROLES[0 if number in self.fronts else 1 if parent in self.fronts else 2]
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                own = {"MiB": int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / MIB, "threads": float(fields[17])}
                own["files"] = len(list(Path(f"/proc/{number}/fd").iterdir()))
                for what, value in own.items():
                    values[f"{role} {what}"] = max(values[f"{role} {what}"], value)
                rollup = Path(f"/proc/{number}/smaps_rollup").read_text()
                values["all MiB"] += int(rollup.partition("\nPss:")[2].split()[0]) / 1024
        values["temporary files"] = len(list((self.folder / "tmp").rglob("*")))
        shared = os.statvfs("/dev/shm")
        values["shared MiB"] = (shared.f_blocks - shared.f_bfree) * shared.f_frsize / MIB
        for what, value in values.items():
            self.seen[what].append(value)
        zombies = {number for number, fields in there.items() if fields[0] == "Z"}
        self.unburied |= zombies & self.zombies
        self.zombies = zombies

    def ended(self) -> Counter[str]:
        """How many runs ended in what state."""
        paths = self.folder.glob("*/runs/*/*/*/status.json")
        return Counter(json.loads(path.read_text())["state"] for path in paths)

    def rows(self, parts: int = 12) -> list[list[str]]:
        """The mean of every value over parts of the time."""
        ends = [len(self.seen["all MiB"]) * part // parts for part in range(parts + 1)]
        spans = [slice(start, end) for start, end in itertools.pairwise(ends) if start < end]
        return [[what, *(f"{fmean(values[span]):,.0f}" for span in spans)] for what, values in self.seen.items()]


def grown(seen: dict[str, list[float]]) -> list[str]:
    """What is larger in the last quarter of the time than in the second, by more than a twentieth and some slack, as sentences."""

    def means(values: Sequence[float]) -> tuple[float, float]:
        quarter = max(len(values) // 4, 1)
        return fmean(values[quarter : 2 * quarter] or values), fmean(values[-quarter:])

    found = []
    for what, (before, after) in ((what, means(values)) for what, values in seen.items()):
        if after > 1.05 * before + SLACK["MiB" if what.endswith("MiB") else ""]:
            found.append(f"{what}: {before:,.0f}, then {after:,.0f}")
    return found


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=8)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        load = Load(Path(folder))
        commands = [load.start(suite, asked.jobs // len(SUITES)) for suite in SUITES]
        end = time.monotonic() + 60 * asked.minutes
        while time.monotonic() < end and all(command.poll() is None for command in commands):
            time.sleep(10)
            load.look()
        wrong = [f"{command.args} has ended" for command in commands if command.poll() is not None]
        for command in commands:
            command.send_signal(signal.SIGINT)
        for command in commands:
            command.wait(300)
        end = time.monotonic() + 60
        while load.processes() and time.monotonic() < end:
            time.sleep(1)
        wrong += [f"a zombie: {number}" for number in load.unburied]
        wrong += [f"outlives its command: {number}" for number in load.processes()]
        ended = load.ended()
        wrong += [f"{ended['failed']} runs failed"] * (ended["failed"] > 0) + grown(load.seen)
        rows = load.rows()
        print(table(["mean of every part", *map(str, range(1, len(rows[0])))], rows, range(1, len(rows[0]))))
        print(f"{ended['done']:,} runs done; {'; '.join(wrong) or 'nothing has grown'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
