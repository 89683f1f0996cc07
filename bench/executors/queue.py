"""What a store has in the queue of a Slurm cluster: a record of every submission, and one question to the scheduler for all of them.

    jobs/<name>.json    a submission: Slurm's name for it, written first, and its jobs in the order of their array
    jobs/<name>/        its scripts, logs and results, as submitit keeps them

Jobs are found in the queue by the submission's name, so that one whose front end was killed before it knew the number is found too.
Nothing here needs submitit or torch.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.executors.jobs import QueueError
from bench.files import write_bytes, write_json
from bench.words import plural

__all__ = ["Place", "Submission", "cancel", "places", "slurm", "submissions"]

ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
FIELDS = ("Name", "ArrayJobID", "ArrayTaskID", "State", "NodeList", "StartTime", "Reason", "RestartCnt")
SPARSE = 10.0  # seconds for which the scheduler's last answer does for commands that only show it
ANSWER = "squeue.txt"


@dataclass(frozen=True)
class Submission:
    """Jobs submitted together, `tasks_per_job` of them to each of Slurm's jobs, which are an array if they are several.

    `id` is Slurm's number, empty until it is known.
    """

    name: str
    jobs: tuple[str, ...]
    submitted: float
    id: str = ""
    over: bool = False
    tasks_per_job: int = 1

    def write(self, folder: Path) -> None:
        """Record it."""
        write_json(folder / f"{self.name}.json", asdict(self))


@dataclass(frozen=True)
class Place:
    """Where a job is in the queue, in Slurm's words; the state is empty if Slurm knows of it no more."""

    job: str
    id: str
    files: Path
    state: str = ""
    node: str = ""
    since: str = ""
    reason: str = ""
    restarts: int = 0

    @property
    def array(self) -> str:
        """Slurm's number of the array that it is in, or its own."""
        return self.id.partition("_")[0]

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return bool(self.state) and self.state not in ENDED

    @property
    def result(self) -> Path:
        """Where submitit keeps what it returned."""
        return self.files / f"{self.id}_0_result.pkl"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.files / f"{self.id}_0_log.out"

    @property
    def words(self) -> str:
        """For people, such as "running on n1 since 2026-11-26T10:44:45"."""
        if self.state == "PENDING":
            again = f", begun {plural(self.restarts, 'time')} before" if self.restarts else ""
            return f"queued as Slurm job {self.id}{f' ({self.reason})' if self.reason else ''}{again}"
        if self.alive:
            return f"running on {self.node} since {self.since}"
        return f"Slurm job {self.id} ended{f': {self.state}' if self.state else ' without a result'}; its log is {self.log}"


def slurm(*command: str, patience: float = 60.0) -> str:
    """What a command of Slurm says within so many seconds.

    Raises:
        QueueError: if it fails or does not answer, with what it says of that.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        why = "is its controller up, and slurm.conf (SLURM_CONF) right?"
        raise QueueError(f"{command[0]}: Slurm has not answered for {patience:g} s; {why}") from error
    except OSError as error:
        raise QueueError(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = [line.removeprefix(f"{command[0]}: ").removeprefix("error: ") for line in done.stderr.splitlines()]
        last_words = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
        raise QueueError(f"{command[0]}: {[*last_words, *lines, f'exit code {done.returncode}'][0]}")
    return done.stdout


def submissions(folder: Path) -> list[Submission]:
    """Those of a store that are not known to be over, the oldest first."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    known = [Submission(**each | {"jobs": tuple(each["jobs"])}) for each in found]
    return sorted((each for each in known if not each.over), key=lambda each: each.submitted)


def places(folder: Path, newest: bool = True) -> dict[str, Place]:
    """The place in the queue of every job by name, where it was submitted last; `newest` insists on asking the scheduler now.

    Raises:
        QueueError: if the scheduler does not answer.
    """
    known = submissions(folder)
    rows = ask(folder, [each.name for each in known], newest) if known else {}
    found = {}
    for submission in known:
        several = len(submission.jobs) > submission.tasks_per_job
        for place, job in enumerate(submission.jobs):
            index = place // submission.tasks_per_job
            row = rows.get((submission.name, str(index) if several else "N/A"), {})
            if number := row.get("ArrayJobID") or submission.id:
                own = f"{number}_{index}" if several else number
                found[job] = Place(
                    job,
                    own,
                    folder / submission.name,
                    state=row.get("State", ""),
                    node=row.get("NodeList", ""),
                    since=row.get("StartTime", ""),
                    reason=row.get("Reason", ""),
                    restarts=int(row.get("RestartCnt", 0)),
                )
    return found


def ask(folder: Path, names: Sequence[str], newest: bool) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of the queue, those that ended minutes ago included, by submission and index in its array."""
    answer = folder / ANSWER
    wanted = ",".join(names)
    if not newest and (text := recent(answer, wanted)) is not None:
        return table(text)
    form = ",".join(f"{field}:|" for field in FIELDS)
    text = slurm("squeue", "--noheader", "--array", "--states=all", f"--name={wanted}", f"--Format={form}")
    write_bytes(answer, f"{time.time()} {wanted}\n{text}".encode())
    return table(text)


def recent(answer: Path, wanted: str) -> str | None:
    """The scheduler's last answer on these submissions, if it is fresh."""
    try:
        head, _, text = answer.read_text().partition("\n")
    except FileNotFoundError:
        return None
    when, _, names = head.partition(" ")
    return text if names == wanted and abs(time.time() - float(when)) < SPARSE else None


def table(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of squeue's answer."""
    rows = [dict(zip(FIELDS, line.split("|"), strict=False)) for line in text.splitlines() if line.strip()]
    return {(row["Name"], row["ArrayTaskID"]): row for row in rows}


def cancel(found: Iterable[Place]) -> None:
    """Ask jobs to stop; those that run save what they have.

    Raises:
        QueueError: if the scheduler refuses.
    """
    slurm("scancel", *dict.fromkeys(place.id for place in found))
