"""The screen while something goes on: bars with the time left on a terminal, plain lines where there is none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from bench.core.campaign import Campaign
    from bench.executors.processes import JobEvent

__all__ = ["Display", "decoding", "downloading"]

LINE_EVERY = 15.0  # seconds between lines where there is no terminal
DESCRIPTION, BAR = TextColumn("{task.description}"), BarColumn(bar_width=24)
LOSSES = ("energy_loss", "base_loss", "held_out_gain")


@contextlib.contextmanager
def downloading() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per file on standard error; yield the function that downloads report (name, bytes there, bytes in all) to."""
    columns = (DESCRIPTION, BAR, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield reporting(bars)


@contextlib.contextmanager
def decoding() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on standard error once something is decoded; yield the function that decoding reports (what, done, total) to."""
    bars = Progress(
        DESCRIPTION, BAR, MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
    tell = reporting(bars)

    def start_and_tell(what: str, done: int, total: int) -> None:
        bars.start()
        tell(what, done, total)

    try:
        yield start_and_tell
    finally:
        if bars.tasks:  # stopping prints a line
            bars.stop()


def reporting(bars: Progress) -> Callable[[str, int, int], None]:
    """Return a function that moves the bar of a name, made at its first report."""
    tasks: dict[str, TaskID] = {}

    def tell(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name)
        bars.update(tasks[name], completed=done, total=total or None)

    return tell


class Display:
    """How a campaign goes: one bar per run and one for all of them on a terminal, lines now and then in a log."""

    def __init__(self, campaign: Campaign, console: Console) -> None:
        self.console = console
        self.waiting = {p.task.spec.run_id: p.seconds for p in campaign.planned if p.wants_work}
        self.planned = sum(self.waiting.values())
        self.begun = self.spoken = time.monotonic()
        self.end = self.begun + max([self.planned / campaign.workers, *self.waiting.values()])
        columns = (DESCRIPTION, BAR, MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.whole = self.progress.add_task("runs", total=len(self.waiting), note="")
        self.bars: dict[str, TaskID] = {}
        self.say(f"{len(self.waiting)} of {len(campaign.planned)} runs to do; {self.left()}")

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, event: JobEvent) -> None:
        """Show what happened."""
        name, value = event.job.name, event.value
        if event.kind == "started":
            self.bars[name] = self.progress.add_task(name, total=None, note="started")
        elif event.kind == "progress" and "warning" in value:
            self.say(f"{name}  {value['warning']}")
        elif event.kind == "progress":
            step, total = value.get("step", 0), value.get("total")
            self.progress.update(self.bars[name], completed=step, total=total, note=words(value))
        elif event.kind == "done":
            self.progress.remove_task(self.bars.pop(name))
            if value.state != "busy":
                self.finish(name)
                self.say(f"{name}  {value.state}{f': {value.reason}' if value.reason else ''}; {self.left()}")
        self.progress.update(self.whole, note=self.left())
        if self.progress.disable and time.monotonic() - self.spoken > LINE_EVERY:
            self.spoken = time.monotonic()
            for bar in self.progress.tasks[1:]:
                self.say(f"{bar.description}  step {bar.completed:.0f}/{bar.total or '?'}  {bar.fields['note']}")

    def finish(self, name: str) -> None:
        """Count a run as finished, and learn the pace."""
        if self.waiting.pop(name, None) is not None:
            self.progress.advance(self.whole)
            now, rest = time.monotonic(), sum(self.waiting.values())
            self.end = now + (now - self.begun) * rest / (self.planned - rest)

    def left(self) -> str:
        """Return such as 'about 2.5 min left'."""
        return f"about {max(self.end - time.monotonic(), 0) / 60:.1f} min left" if self.waiting else "nothing left"

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        elapsed = time.monotonic() - self.begun
        self.console.print(f"[{elapsed:6.0f} s] {text}", soft_wrap=True, highlight=False, markup=False)


def words(value: dict[str, Any]) -> str:
    """Return a worker's progress in a few words."""
    losses = value.get("losses", {})
    shown = [f"{name.replace('_', ' ')} {losses[name]:.3g}" for name in LOSSES if name in losses]
    return "  ".join([value.get("phase", ""), *shown])
