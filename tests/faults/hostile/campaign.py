"""A campaign of hostile input: so many cases of every kind, each read in a process that is watched and may die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from bench.markdown import table

from .kinds import LAYOUTS

__all__ = ["Ended", "cases_of", "outcome_table", "run_cases"]

ROOT = Path(__file__).parents[3]
MOST_SECONDS = 10.0  # of processor time that a case may take
PATIENCE = 60.0  # seconds of anything, where others work on the machine


class Ended(NamedTuple):
    """How a case ended: 'read', 'refused' or 'failed', and in what words."""

    layout: int
    number: int
    state: str
    why: str

    @property
    def kind(self) -> str:
        """What kind of input it was."""
        return LAYOUTS[self.layout].kind

    def words(self, seed: int) -> str:
        """The failure, and the command that does it again."""
        again = f"python -m tests.faults.hostile --seed {seed} --layout {self.layout} --number {self.number}"
        return f"{self.kind}: {self.why}\n    {again}"


class Worker:
    """A process that reads cases; it is replaced when it has died or hung."""

    def __init__(self) -> None:
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": tempfile.gettempdir()}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.hostile.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | quiet,
        )
        os.set_blocking(self._pipe("stdout").fileno(), False)
        self._unread = b""

    def _pipe(self, name: str) -> IO[bytes]:
        found: IO[bytes] = getattr(self.process, name)
        return found

    def ask(self, layout: int, number: int, seed: int) -> tuple[str, str]:
        """Do a case; a worker that dies or does not answer in time is killed, and that is how the case ended."""
        pipe = self._pipe("stdin")
        pipe.write(f"{layout} {number} {seed}\n".encode())
        pipe.flush()
        state, why = self._answer(PATIENCE * 10, MOST_SECONDS * 30)  # it may have to start, and to make files
        return self._answer(PATIENCE, MOST_SECONDS) if state == "made" else ("failed", f"not made: {why}")

    def _answer(self, patience: float, most_seconds: float) -> tuple[str, str]:
        start, began = time.monotonic(), self._processor_seconds()
        while b"\n" not in self._unread:
            self._unread += self._pipe("stdout").read() or b""
            if self.process.poll() is not None and b"\n" not in self._unread:
                code = self.process.returncode
                return "failed", f"killed by {signal.Signals(-code).name}" if code < 0 else self._last_words()
            if self._processor_seconds() - began > most_seconds or time.monotonic() - start > patience:
                self.close()
                return "failed", f"no answer after {time.monotonic() - start:.0f} seconds"
            time.sleep(0.001 if time.monotonic() - start < 1 else 0.05)
        line, _, self._unread = self._unread.partition(b"\n")
        state, why = json.loads(line)
        return state, why

    def _last_words(self) -> str:
        said = self._pipe("stderr").read().decode(errors="replace").strip().splitlines()
        return f"the process ended: {said[-1] if said else 'in silence'}"

    def _processor_seconds(self) -> float:
        """Seconds of processor time that the worker has had; as many as before where it is gone."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def cases_of(count: int, kinds: Sequence[str] = ()) -> list[tuple[int, int]]:
    """So many cases in all, as (layout, number): equally many of each kind, of these or of all, in turn of its layouts by their weights."""
    chosen = [index for index, layout in enumerate(LAYOUTS) if not kinds or layout.kind in kinds]
    names = list(dict.fromkeys(LAYOUTS[index].kind for index in chosen))
    found = []
    for place, name in enumerate(names):
        own = [index for index in chosen if LAYOUTS[index].kind == name]
        turns = sorted((turn / LAYOUTS[index].weight, index) for index in own for turn in range(LAYOUTS[index].weight))
        share = count // len(names) + (place < count % len(names))
        numbers: Counter[int] = Counter()
        for i in range(share):
            index = turns[i % len(turns)][1]
            found.append((index, numbers[index]))
            numbers[index] += 1
    return sorted(found)


def run_cases(
    cases: Sequence[tuple[int, int]], seed: int, tell: Callable[[Ended], Any] = lambda _ended: None
) -> list[Ended]:
    """Do the cases, one after the other, and return how each ended."""
    found: list[Ended] = []
    worker = Worker()
    try:
        for layout, number in cases:
            if not worker.alive:
                worker.close()
                worker = Worker()
            found.append(Ended(layout, number, *worker.ask(layout, number, seed)))
            tell(found[-1])
    finally:
        worker.close()
    return found


def outcome_table(ended: Sequence[Ended]) -> str:
    """Cases, read, refused and failed of every kind, in Markdown."""
    counts = Counter((each.kind, each.state) for each in ended)
    kinds = list(dict.fromkeys(each.kind for each in ended))
    states = ("read", "refused", "failed")
    rows = [[kind, *(counts[kind, state] for state in states)] for kind in kinds]
    rows.append(["all", *(sum(row[i + 1] for row in rows) for i in range(len(states)))])  # type: ignore[misc]
    shown = [[row[0], *(f"{number:,}" for number in (sum(row[1:]), *row[1:]))] for row in rows]  # type: ignore[arg-type]
    return table(("input", "cases", *states), shown, [1, 2, 3, 4])
