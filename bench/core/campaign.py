"""A whole `bench run`: extractors first, then the runs that are not done, side by side; every end is recorded."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.components import registry
from bench.components.digests import top
from bench.components.registry import UnknownNameError
from bench.core.manifests import read_manifest, write_manifest, write_tag
from bench.core.packing import Packing
from bench.core.plan import Planned, Selection, make_plan
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError
from bench.core.task import Outcome, Task
from bench.core.variants import SettingError
from bench.data import DatasetError, load_dataset
from bench.data.hygiene import CONCERNS
from bench.executors.jobs import Executor, Job, JobEvent

__all__ = ["Campaign"]

SMALLEST_SHARE = 0.05  # of the whole time: what is left over is given out again as long as it is more


class TimeBudget:
    """The time until a deadline, given out to runs as they start, in proportion to how long each is expected to take.

    Arguments:
        seconds: how long each run is expected to take.
        workers: runs side by side.
        deadline: on the clock `time.monotonic`; infinite for none.
    """

    def __init__(self, seconds: Mapping[str, float], workers: int, deadline: float) -> None:
        self.waiting, self.workers, self.deadline = dict(seconds), workers, deadline

    def assign(self, job: Job) -> Job:
        """Return a job that is about to start, with a deadline if it is a run."""
        if job.name not in self.waiting or self.deadline == math.inf:
            return job
        now = time.monotonic()
        whole = sum(self.waiting.values()) / self.workers
        own = self.waiting.pop(job.name)
        (task,) = job.arguments
        return replace(job, arguments=(replace(task, deadline=now + (self.deadline - now) * own / max(whole, own)),))


@dataclass
class Campaign:
    """The runs of a plan being done.

    Arguments:
        suite: what the plan was made from, remembered in the store for the report.
        profile: its profile.
        planned: the plan.
        store: where runs are kept.
        workers: runs side by side.
        tag: a name under which these runs are remembered besides; none if empty.
        keep: whether runs that were remembered earlier stay listed though the suite does not resolve to them.
        devices: CUDA devices that they are spread over, see `bench.machine.cuda_devices`; none leaves the choice to each process.
        packing: what decides how many share a device and so `workers`, which grows or falls as runs end; None where it is fixed.
    """

    suite: Suite[Any]
    profile: str
    planned: Sequence[Planned]
    store: Store
    workers: int
    tag: str = ""
    keep: bool = False
    devices: Sequence[str] = ()
    packing: Packing | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def pending(self) -> dict[str, Planned]:
        """The runs that are to be done, by id."""
        return {p.task.spec.run_id: p for p in self.planned if p.pending}

    @property
    def expected_seconds(self) -> float:
        """How long they will take about, side by side."""
        seconds = [p.seconds for p in self.pending.values()]
        return max(sum(seconds) / self.workers, max(seconds, default=0.0))

    def run(
        self,
        executor: Executor,
        should_stop: Callable[[], bool],
        deadline: float = math.inf,
        last: Sequence[Job] = (),
    ) -> Iterator[JobEvent]:
        """Do what is to be done, yielding events for a display; `outcomes` fills by run id.

        Until a `deadline` on the clock `time.monotonic` every run gets its part of the time, and is scored as it stands if that does not
        suffice; what others leave over goes to those that did not finish. Jobs in `last` are done when all runs have ended.
        """
        self.remember()
        smallest = SMALLEST_SHARE * (deadline - time.monotonic())

        def stop() -> bool:
            aborted = "abort" in {outcome.state for outcome in self.outcomes.values()}  # such as when the store is full
            return aborted or should_stop() or time.monotonic() > deadline

        todo = self.pending
        for p in self.planned:
            if not p.pending:
                state: Any = "hit" if p.found.state == "hit" else "failed"
                self.outcomes[p.task.spec.run_id] = Outcome(state, p.found.reason)
        first, runs, preload = preparations(todo.values()), todo, imports(todo.values())
        while runs and not stop():
            budget = TimeBudget({name: p.seconds for name, p in runs.items()}, self.workers, deadline)
            jobs = [
                Job(name, "bench.core.runner:execute", (p.task,), bases(p.task), "read" if p.found.trained else "run")
                for name, p in ordered(runs).items()
            ]
            ending = [replace(job, after=tuple(todo)) for job in last]
            for event in executor.run([*first, *jobs, *ending], stop, budget.assign, preload):
                if event.kind == "queued" and event.job.name in todo:
                    self.outcomes[event.job.name] = Outcome("queued", event.value)
                yield self.recorded(event, todo) if event.kind in ("done", "killed") else event
            late = {name for name in runs if name in self.outcomes and self.outcomes[name].state == "stopped"}
            runs = {name: replace(p, task=replace(p.task, fresh=False)) for name, p in runs.items() if name in late}
            first = []
            if deadline == math.inf or deadline - time.monotonic() < smallest:
                break
        for name in todo:
            self.outcomes.setdefault(name, Outcome("stopped", "not started"))

    def begin_anew(self) -> None:
        """Set aside now what is to be done afresh: a job that is queued again later must not do so a second time."""
        for task in (p.task for p in self.planned if p.task.fresh):
            with self.store.create().lock(task.spec) as mine:
                if mine:
                    self.store.set_aside(task.spec)
        self.planned = [replace(p, task=replace(p.task, fresh=False)) for p in self.planned]

    def glance(self, name: str) -> dict[str, Any] | None:
        """How far a run is that another machine works on, as its progress would be told; None if there is no telling."""
        holder = self.store.holder(name)
        return dict(holder.note) if holder and holder.note else None

    def recorded(self, event: JobEvent, runs: Mapping[str, Planned]) -> JobEvent:
        """A job's end with its outcome, remembered; a run whose process was killed is recorded for it."""
        name = event.job.name
        outcome: Outcome = event.value if event.kind == "done" else Outcome("failed", str(event.value))
        if event.kind == "killed" and name in runs:
            from bench.core.runner import record_death

            outcome = record_death(runs[name].task, outcome.reason)
        if self.packing and name in runs and outcome.state == "done":
            self.packing.learn(self.store.folder(runs[name].task.spec))
            self.workers = self.packing.workers
        if outcome.state == "abort" or (name in runs and outcome.state != "busy"):
            self.outcomes[name] = outcome
        return JobEvent(event.job, "done", outcome)

    def remember(self) -> None:
        """Tell the store which runs make up this suite: these, and earlier ones that it still resolves to or that are to be kept."""
        place = {"suite": self.suite.name, "profile": self.profile, "kind": self.suite.kind}
        with self.store.lock_manifest():
            before = read_manifest(self.store, self.suite.name, self.profile)["runs"]
            earlier = before if self.keep else [listed(p) for p in self.still_planned(before)]
            runs = {run["run"]: run for run in [*earlier, *map(listed, self.planned)]}
            ordered = sorted(runs.values(), key=lambda run: (run["dataset"], run["seed"]))
            write_manifest(self.store, {**place, "runs": ordered})
            if self.tag:
                write_tag(self.store, self.tag, {**place, "runs": [listed(p) for p in self.planned]})

    def still_planned(self, runs: Sequence[Mapping[str, Any]]) -> list[Planned]:
        """Return the runs of an earlier manifest that the suite, as it is now, resolves to unchanged."""
        kept, places = [], self.planned[0].task.places
        load = functools.cache(lambda source: load_dataset(source, places.data, places.cache))
        for run in runs:
            asked, settings = run.get("asked", run["model"]), run.get("set", {})
            selection = Selection(self.profile, [run["source"]], [asked], [run["seed"]], settings, allow=CONCERNS)
            try:
                found = make_plan(self.suite, selection, places, load)
            except (SuiteError, SettingError, UnknownNameError, DatasetError):
                continue
            kept += [p for p in found if p.task.spec.run_id == run["run"]]
        return kept


def ordered(runs: Mapping[str, Planned]) -> dict[str, Planned]:
    """Return the runs of each dataset and seed together, first those that others start from, so that nobody waits for long."""
    needed = {base for p in runs.values() for base in bases(p.task)}
    groups = dict.fromkeys((p.task.spec.dataset, p.task.spec.seed) for p in runs.values())
    places = {group: place for place, group in enumerate(groups)}

    def place(item: tuple[str, Planned]) -> tuple[int, bool]:
        spec = item[1].task.spec
        return places[spec.dataset, spec.seed], item[0] not in needed

    return dict(sorted(runs.items(), key=place))


def bases(task: Task) -> tuple[str, ...]:
    """Return the ids of the runs that a run starts from."""
    return () if task.base is None else (task.base.spec.run_id, *bases(task.base))


def imports(todo: Iterable[Planned]) -> list[str]:
    """The modules that these runs import, which takes seconds; those of other packages may fail, and are left to the runs.

    So each run has them as they were when the first one began, whoever edits them meanwhile.
    """
    stages = (stage for p in todo for stage in (p.task.training, *p.task.reading))
    ours = dict.fromkeys(module for stage in stages for module in stage.code if top(module) in registry.BUILT_IN)
    return ["torch._dynamo", *ours]  # counting operations needs it


def preparations(todo: Iterable[Planned]) -> list[Job]:
    """Jobs that train the extractors, so that no run waits for one."""
    wanted: dict[tuple[str, str], Task] = {}
    for p in todo:
        for readout in p.task.readouts:
            if extractor := getattr(readout, "extractor", None):
                wanted.setdefault((p.task.source, extractor), p.task)
    return [
        Job(
            f"extractor {extractor} of {source}",
            "bench.core.runner:prepare_extractor",
            (task, extractor),
            (),
            "prepare",
        )
        for (source, extractor), task in wanted.items()
    ]


def listed(planned: Planned) -> dict[str, Any]:
    """A run as a manifest lists it; of one with other settings, also its label, how it was asked for and what differs."""
    spec, readouts = planned.task.spec, planned.task.readouts
    asked = {
        "label": planned.label,
        "asked": planned.asked,
        "set": dict(planned.settings),
        "changes": dict(planned.changes),
    }
    return {
        **{key: value for key, value in asked.items() if value and value != spec.model},
        **{key: getattr(spec, key) for key in ("dataset", "model", "seed", "identity")},
        "run": spec.run_id,
        "source": planned.task.source,
        "readouts": [readout.model_dump(mode="json") for readout in readouts],
    }
