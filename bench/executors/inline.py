"""One job after the other in this process, for debugging: breakpoints stop at the terminal, and what a job raises reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.executors.jobs import Assign, Job, JobEvent, Terms, depths
from gebm.components import component

__all__ = ["Inline"]


@component("executors", "inline", "one run after the other in this process, to debug: breakpoint() works", local=True)
@dataclass(frozen=True)
class Inline:
    """This process; what a job tells meanwhile is passed on when it has ended, its progress except for warnings dropped."""

    terms: Terms

    def run(
        self,
        jobs: Sequence[Job],
        should_stop: Callable[[], bool],
        assign: Assign = lambda job: job,
        preload: Sequence[str] = (),  # noqa: ARG002
    ) -> Iterator[JobEvent]:
        place = depths(jobs)
        for job in sorted(jobs, key=lambda job: place[job.name]):
            if should_stop():
                return
            yield JobEvent(job, "started")
            told: list[dict[str, Any]] = []
            outcome = assign(job).call(told.append, should_stop)
            yield from (JobEvent(job, "progress", value) for value in told if "warning" in value)
            yield JobEvent(job, "done", outcome)
