"""A whole `bench run`: extractors first, then the runs that are not done, side by side; every end is recorded."""

from __future__ import annotations

import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.core.plan import Planned, Selection, extractors, make_plan, wants_work
from bench.core.registry import UnknownNameError
from bench.core.spec import Suite, SuiteError
from bench.core.store import Store
from bench.core.task import Outcome, record_death
from bench.data import DatasetError, load_dataset
from bench.executors.processes import Job, JobEvent, run_jobs

__all__ = ["Campaign"]

LEAST = 0.05  # of the time: what is left over is given out again as long as it is more


class Shares:
    """Parts of the time until a deadline, as long as the runs are expected to take; what one leaves over goes to the next ones.

    Arguments:
        seconds: how long each run is expected to take.
        workers: runs side by side.
        deadline: on the clock `time.monotonic`; infinite for none.
    """

    def __init__(self, seconds: Mapping[str, float], workers: int, deadline: float) -> None:
        self.waiting, self.workers, self.deadline = dict(seconds), workers, deadline

    def assign(self, job: Job) -> Job:
        """A job that is about to start, told when to leave off if it is a run."""
        if job.name not in self.waiting or self.deadline == math.inf:
            return job
        now = time.monotonic()
        own = self.waiting[job.name]
        needed = max(sum(self.waiting.values()) / self.workers, own)
        del self.waiting[job.name]
        (task,) = job.arguments
        return replace(job, arguments=(replace(task, deadline=now + (self.deadline - now) * own / needed),))


@dataclass
class Campaign:
    """The runs of a plan being done.

    Arguments:
        suite: what the plan was made from, remembered in the store for the report.
        profile: its profile.
        planned: the plan.
        store: where runs are kept.
        workers: processes side by side.
        tag: a name under which these runs are remembered besides; none if empty.
    """

    suite: Suite
    profile: str
    planned: Sequence[Planned]
    store: Store
    workers: int
    tag: str = ""
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def run(self, should_stop: Callable[[], bool], deadline: float = math.inf) -> Iterator[JobEvent]:
        """Do what is to be done, yielding events for a display; `outcomes` fills by run id.

        Until a `deadline` on the clock `time.monotonic` every run gets its part of the time, and is scored as it stands if that does not
        suffice; what others leave over goes to those that did not finish.
        """
        self.remember()
        least = LEAST * (deadline - time.monotonic())

        def stop() -> bool:
            return self.aborted or should_stop() or time.monotonic() > deadline

        todo = [p for p in self.planned if wants_work(p)]
        for p in self.planned:
            if not wants_work(p):
                self.outcomes[p.task.spec.run_id] = Outcome(
                    "hit" if p.found.state == "hit" else "failed", p.found.reason
                )
        by_name = {p.task.spec.run_id: p for p in todo}
        first, runs = self.preparations(todo), dict(by_name)
        while runs and not stop():
            shares = Shares({name: p.seconds for name, p in runs.items()}, self.workers, deadline)
            jobs = [Job(name, "bench.core.runner:execute", (p.task,)) for name, p in runs.items()]
            for event in run_jobs([*first, *jobs], self.workers, stop, shares.assign):
                yield self.recorded(event, by_name) if event.kind in ("done", "killed") else event
            late = {name for name in runs if name in self.outcomes and self.outcomes[name].state == "stopped"}
            runs = {name: replace(p, task=replace(p.task, fresh=False)) for name, p in runs.items() if name in late}
            first = []
            if deadline == math.inf or deadline - time.monotonic() < least:
                break
        for name in by_name:
            self.outcomes.setdefault(name, Outcome("stopped", "not started"))

    def recorded(self, event: JobEvent, runs: Mapping[str, Planned]) -> JobEvent:
        """A job's end with its outcome, remembered; a run whose process was killed is recorded for it."""
        name = event.job.name
        outcome: Outcome = event.value if event.kind == "done" else Outcome("failed", str(event.value))
        if event.kind == "killed" and name in runs:
            outcome = record_death(runs[name].task, outcome.reason)
        if outcome.state == "abort" or (name in runs and outcome.state != "busy"):
            self.outcomes[name] = outcome
        return JobEvent(event.job, "done", outcome)

    @property
    def aborted(self) -> bool:
        """Whether nothing can go on, such as when the store is full."""
        return any(outcome.state == "abort" for outcome in self.outcomes.values())

    def preparations(self, todo: Sequence[Planned]) -> list[Job]:
        """Jobs that train the extractors, so that no run waits for one."""
        return [
            Job(
                f"extractor {extractor}",
                "bench.core.runner:prepare_extractor",
                (dataset, extractor, todo[0].task),
            )
            for dataset, extractor in extractors(todo)
        ]

    def remember(self) -> None:
        """Tell the store which runs make up this suite: these, and earlier ones that it still resolves to."""
        with self.store.lock_manifest():
            manifest = self.store.read_manifest(self.suite.name, self.profile)
            runs = {p.task.spec.run_id: entry(p) for p in [*earlier(self, manifest["runs"]), *self.planned]}
            ordered = sorted(runs.values(), key=lambda run: (run["dataset"], run["seed"]))
            place = {"suite": self.suite.name, "profile": self.profile}
            self.store.write_manifest({**place, "runs": ordered})
            if self.tag:
                self.store.write_tag(self.tag, {**place, "runs": [entry(p) for p in self.planned]})

    def counts(self) -> Counter[str]:
        """How many runs ended in each state."""
        return Counter(outcome.state for outcome in self.outcomes.values())


def entry(planned: Planned) -> dict[str, Any]:
    """A run as a manifest lists it."""
    spec, readouts = planned.task.spec, planned.task.readouts
    listed: dict[str, Any] = {key: getattr(spec, key) for key in ("dataset", "model", "seed", "identity")}
    return listed | {
        "run": spec.run_id,
        "source": planned.task.dataset_source,
        "readouts": [readout.model_dump(mode="json") for readout in readouts],
    }


def earlier(campaign: Campaign, runs: Sequence[Mapping[str, Any]]) -> list[Planned]:
    """Runs of an earlier manifest that the suite, as it is now, would do just so."""
    kept = []
    load = functools.cache(functools.partial(load_dataset, cache=campaign.planned[0].task.cache))
    for run in runs:
        selection = Selection(campaign.profile, [run.get("source", run["dataset"])], [run["model"]], [run["seed"]])
        task = campaign.planned[0].task
        try:
            found = make_plan(
                campaign.suite,
                selection,
                campaign.store,
                task.data,
                task.weights,
                task.device,
                cache=task.cache,
                load=load,
            )
        except (SuiteError, UnknownNameError, DatasetError):
            continue
        kept += [p for p in found if p.task.spec.run_id == run["run"]]
    return kept
