"""The screen while a suite runs: a bar a run, the whole below, time left; plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
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
    from bench.core.task import Outcome
    from bench.executors.processes import JobEvent

__all__ = ["decoding", "downloading", "follow"]

LINE_EVERY = 15.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def downloading() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a file on standard error while downloads go on; yields what they tell their progress to."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(name: str, there: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=there, total=total or None)

        yield tell


@contextlib.contextmanager
def decoding() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for what is being decoded, if anything is; yields what that tells its progress to."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, TaskID] = {}
    shown = 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal shown
        if what in tasks and done != total and time.monotonic() - shown < 0.1:
            return
        shown = time.monotonic()
        if what not in tasks:
            bars.start()
            tasks[what] = bars.add_task(what)
        bars.update(tasks[what], completed=done, total=total or None)

    try:
        yield tell
    finally:
        if tasks:
            bars.stop()


def follow(campaign: Campaign, console: Console, should_stop: Callable[[], bool], deadline: float) -> None:
    """Run a campaign to its end, or until a deadline on the clock `time.monotonic`, and show how it goes."""
    clock = Clock(campaign)
    events = campaign.run(should_stop, deadline)
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"), console=console,
        ) as progress:  # fmt: skip
            show_bars(events, progress, clock)
    else:
        show_lines(events, console, clock)


class Clock:
    """How far the whole is and how long it may still take, from planned seconds corrected by what runs took."""

    def __init__(self, campaign: Campaign) -> None:
        from bench.core.plan import wants_work

        todo = [p for p in campaign.planned if wants_work(p)]
        self.seconds = {p.task.spec.run_id: p.seconds for p in todo}
        self.workers = campaign.workers
        self.total, self.kept = len(todo), len(campaign.planned) - len(todo)
        self.started: dict[str, float] = {}
        self.finished: set[str] = set()
        self.pace = 1.0  # measured over planned seconds of what is finished

    def start(self, name: str) -> None:
        """A run has started."""
        self.started[name] = time.monotonic()

    def finish(self, name: str) -> None:
        """A run has ended; learn from how long it took."""
        if name not in self.seconds or name not in self.started:
            return
        self.finished.add(name)
        took = time.monotonic() - self.started[name]
        if took > 5:
            self.pace = took / self.seconds[name]

    def left(self) -> str:
        """'about 2.5 min left'."""
        now = time.monotonic()
        remaining = []
        for name, seconds in self.seconds.items():
            if name not in self.finished:
                spent = now - self.started[name] if name in self.started else 0.0
                remaining.append(max(seconds * self.pace - spent, 1.0))
        if not remaining:
            return ""
        return f"about {max(sum(remaining) / self.workers, max(remaining)) / 60:.1f} min left"


def words(value: dict[str, Any]) -> str:
    """A worker's progress in a few words."""
    losses = value.get("losses", {})
    shown = [
        f"{name.replace('_', ' ')} {losses[name]:.3g}"
        for name in ("energy_loss", "base_loss", "held_out_gain")
        if name in losses
    ]
    return "  ".join([value.get("phase", ""), *shown])


def verdict(event: JobEvent) -> str:
    """How a job ended."""
    outcome: Outcome = event.value
    return outcome.state + (f": {outcome.reason}" if outcome.reason and outcome.state not in ("hit", "busy") else "")


def show_bars(events: Iterable[JobEvent], progress: Progress, clock: Clock) -> None:
    """On a terminal."""
    bars: dict[str, TaskID] = {}
    whole = progress.add_task("runs", total=clock.total, note=clock.left())
    if clock.kept:
        progress.console.print(f"{clock.kept} runs are there already")
    for event in events:
        name = event.job.name
        if event.kind == "started":
            clock.start(name)
            bars[name] = progress.add_task(name, total=None, note="starting")
        elif event.kind == "progress":
            if "warning" in event.value:
                progress.console.print(f"{name}: {event.value['warning']}", soft_wrap=True)
            else:
                step, total = event.value.get("step", 0), event.value.get("total")
                progress.update(bars[name], completed=step, total=total, note=words(event.value))
        elif event.kind == "done":
            if event.value.state != "busy":
                clock.finish(name)
            progress.remove_task(bars.pop(name))
            if event.value.state != "busy":
                progress.console.print(f"{name}  {verdict(event)}", soft_wrap=True, highlight=False)
        progress.update(whole, completed=len(clock.finished), note=clock.left())


def show_lines(events: Iterable[JobEvent], console: Console, clock: Clock) -> None:
    """In a log: a line when something starts or ends, and now and then in between."""
    begun, spoken = time.monotonic(), time.monotonic()
    latest: dict[str, str] = {}

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - begun:6.0f} s] {text}", soft_wrap=True, highlight=False, markup=False)

    say(f"{clock.total} runs to do, {clock.kept} there already; {clock.left()}")
    for event in events:
        name = event.job.name
        if event.kind == "started":
            clock.start(name)
            say(f"{name}  started")
        elif event.kind == "progress" and "warning" in event.value:
            say(f"{name}  {event.value['warning']}")
        elif event.kind == "progress":
            where = f"step {event.value['step']}/{event.value['total']}  " if "step" in event.value else ""
            latest[name] = f"{name}  {where}{words(event.value)}"
        elif event.kind == "done":
            if event.value.state != "busy":
                clock.finish(name)
            latest.pop(name, None)
            if event.value.state != "busy":
                say(f"{name}  {verdict(event)} ({len(clock.finished)} of {clock.total}; {clock.left()})")
        if time.monotonic() - spoken > LINE_EVERY:
            spoken = time.monotonic()
            for line in latest.values():
                say(line)
