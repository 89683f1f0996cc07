"""Jobs of a Slurm cluster, submitted in arrays by submitit; they go on without the process that submitted them.

What all others read comes first, then the jobs that others start from, then the rest; Slurm's own dependencies keep the order. Before its
time is up a job gets a signal, on which it saves, is queued again and continues; so it does when Slurm takes its node away.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
import re
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bench.components.registry import closest
from bench.executors.jobs import Assign, ExecutorError, Job, JobEvent, QueueError, Terms, depths
from bench.executors.queue import Place, Submission, places, slurm, submissions
from bench.words import plural
from gebm.components import component

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

__all__ = ["Slurm", "Work"]

CLASSES = ("prepare", "run", "read", "report")
OURS = ("array", "dependency", "job_name", "name", "nodes", "ntasks", "ntasks_per_node", "tasks_per_node", "requeue")
NOT_SUBMITIT = ("time", "tasks_per_job")
NOT_SBATCH = (
    "array_parallelism",
    "setup",
    "signal_delay_s",
    "srun_args",
    "stderr_to_stdout",
    "tasks_per_job",
    "teardown",
    "use_srun",
)
DEFAULTS = {"time": 60, "stderr_to_stdout": True, "tasks_per_job": 1}
TIMES_UP = 10_000  # how often a job may run out of time before it is given up
BUSY_FOR = 600.0  # seconds for which a job waits for another process that holds its run
BUSY_PAUSE = 5.0  # seconds between its tries
LINE_EVERY = 30.0  # seconds between lines of a job's log
FIRST_ANSWER = 10.0  # seconds for the first question; a Slurm that is not set up right may not answer at all
SLOWEST_LOOK = 10.0  # seconds between two looks at the queue
LOOKS = 3  # at the queue before a job that left it without a result is called dead: file systems are slow to show files


@component("executors", "slurm", "jobs of a Slurm cluster, which go on without this process")
class Slurm:
    """A Slurm cluster, seen from a machine that can submit to it.

    Settings are options of `sbatch`, named with underscores, and submitit's own, such as `setup`, `signal_delay_s` (90 s before the time is
    up, unless said otherwise) and `array_parallelism`; and `tasks_per_job`, how many jobs of ours one of Slurm's does, one after another:
    it takes seconds to start. In tables `prepare`, `run`, `read` and `report` there may be others for jobs of that class.

    Raises:
        ExecutorError: if there is no Slurm, no submitit, or no place in the cluster for such jobs.
        QueueError: if Slurm does not answer.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.known: dict[str, Place] = {}
        if shutil.which("sbatch") is None:
            raise ExecutorError("slurm: no sbatch here; use it on a machine that submits to the cluster")
        if find_spec("submitit") is None:
            raise ExecutorError('slurm needs submitit: pip install "gebm-bench[slurm]"')
        asked = {name: self.settings(name) for name in CLASSES if name == "run" or name in terms.settings}
        for settings in asked.values():
            check(settings)

    def settings(self, resources: str) -> dict[str, Any]:
        """What a class of jobs asks for."""
        common = {key: value for key, value in self.terms.settings.items() if key not in CLASSES}
        return {**DEFAULTS, **common, **self.terms.settings.get(resources, {})}

    def run(
        self,
        jobs: Sequence[Job],
        should_stop: Callable[[], bool],
        assign: Assign = lambda job: job,
        preload: Sequence[str] = (),  # noqa: ARG002
    ) -> Iterator[JobEvent]:
        """Submit what is not in the queue already; where asked to wait, follow all of it to the end.

        Raises:
            QueueError: if Slurm takes no more; what was submitted by then stays, and is not submitted again.
        """
        with self.terms.lock():
            yield from self.submit([assign(job) for job in jobs])
        if self.terms.wait:
            yield from self.follow(jobs, should_stop)

    def submit(self, jobs: Sequence[Job]) -> Iterator[JobEvent]:
        """Submit jobs in arrays, in the order in which they depend on each other; the caller holds the folder of jobs."""
        folder = self.terms.folder
        folder.mkdir(parents=True, exist_ok=True)
        found = places(folder)
        self.known = {name: place for name, place in found.items() if place.alive}
        new = [job for job in jobs if job.name not in self.known]
        settled = {name for name, place in found.items() if not place.alive and place.result.exists()}
        for submission in submissions(folder):
            if settled.union(job.name for job in new).issuperset(submission.jobs):
                replace(submission, over=True).write(folder)
        yield from (JobEvent(job, "queued", self.known[job.name].words) for job in jobs if job.name in self.known)
        first = [job.name for job in jobs if job.resources == "prepare"]
        after: list[str] = []
        size = largest_array() if new else 1
        for group in waves(new, lambda resources: size * self.settings(resources)["tasks_per_job"]):
            needed = {name for job in group for name in (*job.after, *first)} - {job.name for job in group}
            last = after if self.terms.workers else []  # arrays follow each other, so that a limit holds over all
            after = sorted({*last, *(self.known[name].array for name in needed if name in self.known)}, key=int)
            try:
                made = self.submit_array(group, after)
            except QueueError as error:
                missing = sum(job.name not in self.known for job in jobs)
                words = f"{error}; {missing} of {plural(len(jobs), 'job')} not submitted, the same command does it"
                raise QueueError(words) from error
            self.known |= {place.job: place for place in made}
            waits = f", after {', '.join(after)}" if after else ""
            yield JobEvent(group[0], "note", f"Slurm job {made[0].array}: {described(group)}{waits}")
            yield from (JobEvent(job, "queued", self.known[job.name].words) for job in group)
            after = [made[0].array]

    def submit_array(self, jobs: Sequence[Job], after: Sequence[str]) -> list[Place]:
        """Submit jobs of one class together; they start when those of the arrays `after` have all ended."""
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        settings = self.settings(jobs[0].resources)
        each: int = settings["tasks_per_job"]
        names = tuple(job.name for job in jobs)
        submission = Submission(f"bench-{uuid.uuid4().hex[:12]}", names, time.time(), tasks_per_job=each)
        submission.write(self.terms.folder)
        files = self.terms.folder / submission.name
        executor = AutoExecutor(files, cluster="slurm", slurm_max_num_timeout=TIMES_UP)
        parameters = for_submitit(settings)
        if self.terms.workers:
            parameters["slurm_array_parallelism"] = self.terms.workers
        if after:
            parameters["slurm_dependency"] = f"afterany:{':'.join(after)}"
        executor.update_parameters(name=submission.name, **parameters)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # it prints what it raises
                made = executor.submit_array([Work(tuple(own)) for own in batched(jobs, each)])
        except (FailedJobError, FailedSubmissionError) as error:
            replace(submission, over=True).write(self.terms.folder)
            raise QueueError(f"sbatch: {' '.join(str(error).split())}") from error
        found = [Place(name, made[number // each].job_id, files, "PENDING") for number, name in enumerate(names)]
        replace(submission, id=found[0].array).write(self.terms.folder)
        return found

    def follow(self, jobs: Sequence[Job], should_stop: Callable[[], bool]) -> Iterator[JobEvent]:
        """Yield what happens to jobs until all have ended, looking at the queue now and then."""
        waiting = {job.name: job for job in jobs}
        shown: dict[str, str] = {}
        looks = dict.fromkeys(waiting, 0)
        begun = looked = time.monotonic() - SLOWEST_LOOK
        while waiting and not should_stop():
            now = time.monotonic()
            if now - looked > min(SLOWEST_LOOK, 1 + (now - begun) / 60):
                looked = now
                self.look()
                for name, job in list(waiting.items()):
                    place = self.known[name]
                    looks[name] = 0 if place.alive else looks[name] + 1
                    if not place.alive and (place.result.exists() or looks[name] > LOOKS):
                        del waiting[name]
                        yield ended(job, place)
                    elif place.alive and shown.get(name) != (seen := f"{place.node} {place.restarts}"):
                        shown[name] = seen
                        yield JobEvent(job, "started" if place.node else "queued", place.node or place.words)
                    if place.alive and place.node and (told := self.terms.glance(name)):
                        yield JobEvent(job, "progress", told)
            yield JobEvent(jobs[0], "tick")
            time.sleep(0.2)

    def look(self) -> None:
        """See where jobs are; while the scheduler does not answer, where they were. Another front end may have closed the books on some."""
        with contextlib.suppress(QueueError):
            found = places(self.terms.folder)
            self.known = {name: found.get(name, replace(place, state="")) for name, place in self.known.items()}


@dataclass(frozen=True)
class Work:
    """Jobs as a node does them, one after another. When its time is up it saves and is queued again; told to end, it saves and ends."""

    jobs: tuple[Job, ...]

    def __call__(self) -> dict[str, Any]:
        """Do what is not done, and return every job's outcome by its name."""
        from submitit import JobEnvironment

        times_up = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        queue_again: Any = signal.getsignal(times_up)  # submitit's handler, which has Slurm start this again
        asked: list[int] = []
        for each in (times_up, signal.SIGTERM):
            signal.signal(each, lambda number, _: asked.append(number))
        outcomes = {job.name: called(job, asked) for job in self.jobs}
        if times_up in asked and "stopped" in {getattr(outcome, "state", "") for outcome in outcomes.values()}:
            queue_again(times_up, None)
        return outcomes

    def checkpoint(self) -> DelayedSubmission:
        """What is to be done when this is started again: the same, from what is saved."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def called(job: Job, asked: Sequence[int]) -> Any:
    """A job's outcome; it stops once it is asked to, and waits for a while if another process has its run."""
    end = time.monotonic() + BUSY_FOR
    while True:
        outcome = job.call(Log(job.name), lambda: bool(asked))
        if getattr(outcome, "state", "") != "busy" or asked or time.monotonic() > end:
            return outcome
        time.sleep(BUSY_PAUSE)


class Log:
    """A job's progress, as lines of its log now and then."""

    def __init__(self, name: str) -> None:
        self.name, self.spoken = name, -math.inf

    def __call__(self, told: Mapping[str, Any]) -> None:
        if "warning" not in told and time.monotonic() - self.spoken < LINE_EVERY:
            return
        self.spoken = time.monotonic()
        words = told.get("warning") or f"{told.get('phase', '')} {told.get('step', '')}/{told.get('total', '')}"
        print(f"{time.strftime('%F %T')} {os.uname().nodename} {self.name}: {words}", flush=True)


def waves(jobs: Sequence[Job], most: Callable[[str], int]) -> Iterator[list[Job]]:
    """Yield jobs in groups of one class, none larger than an array of that class may be, each after all that it depends on.

    Jobs that others start from are a group of their own, so that these need not wait for the rest.
    """
    depth, needed = depths(jobs), {name for job in jobs for name in job.after}

    def place(job: Job) -> tuple[bool, int, bool, str]:
        return job.resources != "prepare", depth[job.name], job.name not in needed, job.resources

    for (*_, resources), group in itertools.groupby(sorted(jobs, key=place), key=place):
        yield from (list(part) for part in batched(list(group), most(resources)))


def batched(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """Yield jobs so many at a time."""
    yield from (jobs[start : start + size] for start in range(0, len(jobs), size))


def described(jobs: Sequence[Job]) -> str:
    """Such as "an array of 30 runs"."""
    return jobs[0].name if len(jobs) == 1 else f"an array of {len(jobs)} {jobs[0].resources}s"


def ended(job: Job, place: Place) -> JobEvent:
    """How a job ended that the queue has no more: with its outcome, or without one."""
    if not place.result.exists():
        return JobEvent(job, "killed", place.words)
    from submitit.core.utils import pickle_load

    kind, value = pickle_load(place.result)
    if kind == "success":
        return JobEvent(job, "done", value[job.name])
    return JobEvent(job, "killed", f"{str(value).strip().splitlines()[-1]}; its log is {place.log}")


def largest_array() -> int:
    """How many jobs an array may have in this cluster."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    return max(int(found[1]), 1) if found else 1000


def for_submitit(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as `AutoExecutor.update_parameters` takes them; options of sbatch that submitit does not know go through it unseen."""
    from submitit import SlurmExecutor

    known = SlurmExecutor._valid_parameters()
    others = {key.replace("_", "-"): value for key, value in settings.items() if key not in (*known, *NOT_SUBMITIT)}
    own = {f"slurm_{key}": value for key, value in settings.items() if key in known and key not in NOT_SUBMITIT}
    return own | {"timeout_min": minutes(settings["time"]), "slurm_additional_parameters": {"requeue": True, **others}}


def check(settings: Mapping[str, Any]) -> None:
    """Ask Slurm whether it has a place for such jobs.

    Raises:
        ExecutorError: in one line, if it has none.
        QueueError: if it does not answer.
    """
    if kept := [key for key in settings if key in OURS]:
        raise ExecutorError(f"slurm: {kept[0]} is not yours to set: a run is one task of one node, in an array")
    minutes(settings["time"])
    if not isinstance(settings["tasks_per_job"], int) or settings["tasks_per_job"] < 1:
        raise ExecutorError(f"slurm: tasks_per_job '{settings['tasks_per_job']}' is no number of tasks")
    there = slurm("sinfo", "--noheader", "--format=%R", patience=FIRST_ANSWER).split()
    for name in str(settings.get("partition", "")).split(","):
        if name and name not in there:
            raise ExecutorError(f"slurm: no partition '{name}'; {closest(name, there)}")
    options = [
        f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
        for key, value in settings.items()
        if key not in NOT_SBATCH
    ]
    try:
        slurm("sbatch", "--test-only", *options, "--wrap=true")
    except QueueError as error:
        raise ExecutorError(f"slurm: {error}") from error


def minutes(given: object) -> int:
    """A time limit as Slurm writes it, in minutes, rounded up: 90, 8:00:00, 1-12, 1-12:30 and their like.

    Raises:
        ExecutorError: if it is none.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(given).strip())
    if not found:
        raise ExecutorError(f"slurm: time '{given}' is no time limit; write minutes, or such as 8:00:00 or 1-12:00:00")
    days, *parts = (int(part) if part is not None else None for part in found.groups())
    given_parts = [part for part in parts if part is not None]
    if days is None and len(given_parts) < 3:
        given_parts.insert(0, 0)  # minutes, or minutes and seconds
    hours, minute, second = [*given_parts, 0, 0][:3]
    return max(math.ceil((days or 0) * 1440 + hours * 60 + minute + second / 60), 1)
