"""A whole `bench run`: extractors first, then the runs that are not done, side by side; every end is recorded."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.datasets import DatasetError, load_dataset
from bench.executors.processes import Job, JobEvent, run_jobs
from bench.plan import Planned, Selection, extractors, make_plan, wants_work
from bench.registry import UnknownNameError
from bench.spec import Suite, SuiteError
from bench.store import Store
from bench.task import Outcome, record_death

__all__ = ["Campaign"]


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

    def run(self, should_stop: Callable[[], bool]) -> Iterator[JobEvent]:
        """Do what is to be done, yielding events for a display; `outcomes` fills by run id."""
        self.remember()
        todo = [p for p in self.planned if wants_work(p)]
        for p in self.planned:
            if not wants_work(p):
                self.outcomes[p.task.spec.run_id] = Outcome(
                    "hit" if p.found.state == "hit" else "failed", p.found.reason
                )
        by_name = {p.task.spec.run_id: p for p in todo}
        runs = [Job(name, "bench.runner:execute", (p.task,)) for name, p in by_name.items()]
        for event in run_jobs([*self.preparations(todo), *runs], self.workers, lambda: self.aborted or should_stop()):
            yield self.recorded(event, by_name) if event.kind in ("done", "killed") else event
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
                "bench.runner:prepare_extractor",
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
