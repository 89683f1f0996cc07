"""The screen while something goes on: bars with the time left on a terminal, plain lines where there is none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from bench.words import plural

if TYPE_CHECKING:
    from bench.core.campaign import Campaign
    from bench.executors.jobs import JobEvent

__all__ = ["Display", "decoding", "downloading", "loss_words"]

LINE_EVERY = 15.0  # seconds between lines where there is no terminal
DESCRIPTION, BAR = TextColumn("{task.description}"), BarColumn(bar_width=24)
LOSSES = ("energy_loss", "base_loss", "held_out_gain", "energy_gap")


Tell = Callable[[str, int, int], None]


def downloading() -> contextlib.AbstractContextManager[Tell]:
    """Show one bar per file; downloads report (name, bytes there, bytes in all)."""
    return reporting(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


def decoding() -> contextlib.AbstractContextManager[Tell]:
    """Show one bar per file that is decoded; decoding reports (what, done, total)."""
    return reporting(MofNCompleteColumn(), TimeElapsedColumn(), transient=True)


@contextlib.contextmanager
def reporting(*columns: ProgressColumn, transient: bool = False) -> Iterator[Tell]:
    """Show bars on standard error, each from its first report on; yield the function to report to."""
    bars = Progress(DESCRIPTION, BAR, *columns, console=Console(stderr=True), transient=transient)
    tasks: dict[str, TaskID] = {}

    def tell(name: str, done: int, total: int) -> None:
        if name not in tasks:
            bars.start()
            tasks[name] = bars.add_task(name)
        bars.update(tasks[name], completed=done, total=total or None)

    try:
        yield tell
    finally:
        if tasks:  # stopping prints a line
            bars.stop()


def loss_words(losses: Mapping[str, Any]) -> list[str]:
    """Return such as "energy loss 0.31" for each of the losses that are worth a look."""
    return [f"{key.replace('_', ' ')} {losses[key]:.3g}" for key in LOSSES if key in losses]


class Count(MofNCompleteColumn):
    """How many of all; nothing where there is no telling, as while a run is scored."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total is not None else Text()


class Display:
    """How a campaign goes: one bar per run and one for all of them on a terminal, lines now and then in a log or where it is not `live`."""

    def __init__(self, campaign: Campaign, console: Console, live: bool = True) -> None:
        self.console = console
        self.waiting = {name: p.seconds for name, p in campaign.pending.items()}
        self.planned = sum(self.waiting.values())
        self.begun = self.spoken = time.monotonic()
        self.end = self.begun + campaign.expected_seconds
        columns = (DESCRIPTION, BAR, Count(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
        self.progress = Progress(*columns, console=console, disable=not (live and console.is_terminal))
        self.whole = self.progress.add_task("runs", total=len(self.waiting), note="")
        self.bars: dict[str, TaskID] = {}
        self.say(f"{len(self.waiting)} of {plural(len(campaign.planned), 'run')} to do; {self.left()}")

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, event: JobEvent) -> None:
        """Show what happened."""
        name, value = event.job.name, event.value
        if event.kind == "note":
            self.say(value)
        elif event.kind == "queued" and name in self.bars:
            self.progress.remove_task(self.bars.pop(name))
            self.say(f"{name}  {value}")
        elif event.kind == "started":
            where = "" if value is None else f" on {value}"
            self.bars[name] = self.progress.add_task(name, total=None, note=f"started{where}")
        elif event.kind == "progress" and "warning" in value:
            self.say(f"{name}  {value['warning']}")
        elif event.kind == "progress":
            note = "  ".join([value.get("phase", ""), *loss_words(value.get("losses", {}))])
            (task,) = (task for task in self.progress.tasks if task.id == self.bars[name])
            task.total = value.get("total")  # `update` takes None for no change
            self.progress.update(task.id, completed=value.get("step", 0), note=note)
        elif event.kind == "done":
            if name in self.bars:  # a short job may have ended before it was seen to start
                self.progress.remove_task(self.bars.pop(name))
            if value.state != "busy":
                self.finish(name)
                self.say(f"{name}  {value.state}{f': {value.reason}' if value.reason else ''}; {self.left()}")
        self.progress.update(self.whole, note=self.left())
        if self.progress.disable and time.monotonic() - self.spoken > LINE_EVERY:
            self.spoken = time.monotonic()
            for bar in self.progress.tasks[1:]:
                step = "" if bar.total is None else f"step {bar.completed:.0f}/{bar.total:.0f}  "
                self.say(f"{bar.description}  {step}{bar.fields['note']}")

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
