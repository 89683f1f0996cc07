"""What is submitted to Slurm and in which order, what is not submitted twice, and what a node does; Slurm itself is in tests/slurm."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from submitit import AutoExecutor

from bench.executors import queue
from bench.executors.jobs import ExecutorError, Job, JobEvent, QueueError, Terms
from bench.executors.slurm import Slurm, Work, minutes

from .conftest import FakeSlurm

EXTRACTOR = Job("extractor", "made_up:work", (), resources="prepare")
BASES = [Job(f"base {seed}", "made_up:work", ()) for seed in range(3)]
FITTED = [Job(f"fitted {seed}", "made_up:work", (), (f"base {seed}",)) for seed in range(3)]
OTHERS = [Job(f"other {seed}", "made_up:work", ()) for seed in range(6)]
COUNTING = '''
import os
import time
from pathlib import Path
from types import SimpleNamespace


def count(folder, last, _progress, should_stop):
    """Count to the last number, one number and process id a line, from where the file ends."""
    path = Path(folder) / "counted"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    with path.open("a") as file:
        for number in range(done, last):
            if should_stop():
                return SimpleNamespace(state="stopped")
            file.write(f"{number} {os.getpid()}\\n")
            file.flush()
            time.sleep(0.02)
    return SimpleNamespace(state="done")
'''


def run(folder: Path, jobs: Sequence[Job], **terms: Any) -> list[JobEvent]:
    """Submit jobs."""
    return list(Slurm(Terms(folder=folder / "jobs", **terms)).run(jobs, lambda: False))


def arrays(fake: FakeSlurm) -> list[tuple[str, str]]:
    """The array of every submission and what it waits for; empty for a single job, and for one that waits for nothing."""
    return [(each.get("array", ""), each.get("dependency", "")) for each in fake.submitted()]


def test_bases_come_before_those_that_start_from_them_and_extractors_before_all(
    fake: FakeSlurm, tmp_path: Path
) -> None:
    events = run(tmp_path, [*FITTED, *OTHERS[:2], *BASES, EXTRACTOR])
    assert arrays(fake) == [
        ("", ""),  # the extractor
        ("0-2%3", "afterany:1"),  # bases, which nobody else need wait for
        ("0-1%2", "afterany:1"),
        ("0-2%3", "afterany:1:2"),
    ]
    assert [event.value for event in events if event.kind == "note"] == [
        "Slurm job 1: extractor",
        "Slurm job 2: an array of 3 runs, after 1",
        "Slurm job 3: an array of 2 runs, after 1",
        "Slurm job 4: an array of 3 runs, after 1, 2",
    ]
    queued = [event.job.name for event in events if event.kind == "queued"]
    assert sorted(queued) == sorted(job.name for job in (EXTRACTOR, *BASES, *FITTED, *OTHERS[:2]))


def test_arrays_are_no_larger_than_the_cluster_allows(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, OTHERS)
    assert arrays(fake) == [("0-3%4", ""), ("0-1%2", "")]


def test_with_a_limit_arrays_follow_each_other_so_that_it_holds_over_all(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, [*OTHERS, *BASES, *FITTED], workers=2)
    assert arrays(fake) == [("0-2%2", ""), ("0-3%2", "afterany:1"), ("0-1%2", "afterany:2"), ("0-2%2", "afterany:1:3")]


def test_short_jobs_may_share_one_of_slurms(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, [EXTRACTOR, *OTHERS, *BASES[:2]], settings={"tasks_per_job": 4, "prepare": {"tasks_per_job": 1}})
    assert arrays(fake) == [("", ""), ("0-1%2", "afterany:1")]
    fake.shows("RUNNING", 1)
    ids = {name: place.id for name, place in queue.places(tmp_path / "jobs").items()}
    assert ids == {"extractor": "1"} | {job.name: f"2_{at // 4}" for at, job in enumerate([*OTHERS, *BASES[:2]])}
    queue.cancel(queue.places(tmp_path / "jobs").values())


def test_what_is_in_the_queue_is_not_submitted_again(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, BASES)
    fake.shows("RUNNING", 1)
    events = run(tmp_path, [*BASES, *FITTED])
    assert arrays(fake) == [("0-2%3", ""), ("0-2%3", "afterany:1")]
    told = {event.job.name: event.value for event in events if event.kind == "queued"}
    assert told["base 1"] == "running on n7 since 2026-11-26T10:00:00"
    fake.shows("NODE_FAIL", 1)  # bases ended without results, and Slurm no longer knows of the others
    run(tmp_path, [*BASES, *FITTED])
    assert arrays(fake)[2:] == [("0-2%3", ""), ("0-2%3", "afterany:3")]


def test_a_submission_is_found_whose_front_end_did_not_live_to_note_its_number(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, BASES)
    (record,) = queue.submissions(tmp_path / "jobs")
    replace(record, id="").write(tmp_path / "jobs")
    assert queue.places(tmp_path / "jobs") == {}
    fake.shows("PENDING", 1)
    assert [place.id for place in queue.places(tmp_path / "jobs").values()] == ["1_0", "1_1", "1_2"]
    run(tmp_path, BASES)
    assert len(fake.submitted()) == 1


def test_what_the_queue_takes_no_more_is_said_and_left_to_the_next_time(fake: FakeSlurm, tmp_path: Path) -> None:
    events = Slurm(Terms(folder=tmp_path / "jobs")).run(OTHERS, lambda: False)
    assert next(events).kind == "note"
    fake.mark("full")
    with pytest.raises(QueueError, match=r"QOSMaxSubmitJobPerUserLimit; 2 of 6 jobs not submitted"):
        list(events)
    (fake.folder / "full").unlink()
    fake.shows("PENDING", 1)
    run(tmp_path, OTHERS)
    assert arrays(fake) == [("0-3%4", ""), ("0-1%2", "")]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"partition": "gpus"}, "no partition 'gpus'; did you mean 'gpu'?"),
        ({"mem": "900G"}, "Requested node configuration is not available"),
        ({"prepare": {"partition": "none"}}, "no partition 'none'; there are: gpu, main"),
        ({"time": "tomorrow"}, "time 'tomorrow' is no time limit"),
        ({"nodes": 2}, "nodes is not yours to set"),
        ({"tasks_per_job": 0}, "tasks_per_job '0' is no number of tasks"),
    ],
)
def test_what_the_cluster_does_not_have_is_said_before_anything_is_submitted(
    settings: dict[str, Any], words: str, fake: FakeSlurm, tmp_path: Path
) -> None:
    with pytest.raises(ExecutorError, match=r"^slurm: [^\n]*$") as caught:
        run(tmp_path, BASES, settings=settings)
    assert words in str(caught.value)
    assert fake.submitted() == []


@pytest.mark.usefixtures("fake")
def test_without_slurm_or_submitit_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.executors.slurm.find_spec", lambda _: None)
    with pytest.raises(ExecutorError, match=r'pip install "gebm-bench\[slurm\]"'):
        Slurm(Terms(folder=tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match="no sbatch here"):
        Slurm(Terms(folder=tmp_path))


def test_settings_go_to_sbatch_those_of_a_class_to_its_jobs_only(fake: FakeSlurm, tmp_path: Path) -> None:
    settings = {"partition": "gpu", "time": "8:00:00", "reservation": "mine", "mem": "32G", "prepare": {"time": 5}}
    run(tmp_path, [EXTRACTOR, *BASES], settings=settings)
    extractor, bases = fake.submitted()
    for key, value in {"partition": "gpu", "reservation": "mine", "mem": "32G", "requeue": ""}.items():
        assert extractor[key] == bases[key] == value
    assert (extractor["time"], bases["time"]) == ("5", "480")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (90, 90),
        ("90", 90),
        ("1:30", 2),
        ("8:00:00", 480),
        ("0:0:1", 1),
        ("1-12", 2160),
        ("1-0:30", 1470),
        ("2-1:2:0", 2942),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: object, expected: int) -> None:
    assert minutes(text) == expected


def told(store: Path) -> dict[str, str]:
    """What is shown of jobs, where the scheduler is asked at most every ten seconds."""
    return {name: place.words for name, place in queue.places(store / "jobs", newest=False).items()}


def test_what_a_queue_knows_of_runs_is_said_in_words(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, BASES)
    folder = tmp_path / "jobs"
    fake.shows("PENDING", 1)
    assert told(tmp_path)["base 0"] == "queued as Slurm job 1_0 (Resources), begun 1 time before"
    fake.shows("OUT_OF_MEMORY", 1)
    assert told(tmp_path)["base 0"].startswith("queued"), "asked again within seconds"
    (folder / queue.ANSWER).unlink()
    place = queue.places(folder)["base 2"]
    log = f"{folder}/{place.files.name}/1_1_0_log.out"
    assert told(tmp_path)["base 1"] == f"Slurm job 1_1 ended: OUT_OF_MEMORY; its log is {log}"
    assert len((fake.folder / "asked").read_text().splitlines()) == 2
    fake.mark("down")
    (folder / queue.ANSWER).unlink()
    with pytest.raises(QueueError, match="squeue: slurm_load_jobs error: Unable to contact slurm controller"):
        told(tmp_path)


def test_jobs_are_followed_to_their_ends(fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.executors.slurm.SLOWEST_LOOK", 0.0)
    terms = Terms(folder=tmp_path / "jobs", wait=True, glance=lambda _: {"phase": "training", "step": 7})
    told: list[JobEvent] = []
    states = iter(["PENDING", "RUNNING", "down", "RUNNING", "PENDING", "RUNNING", "OUT_OF_MEMORY"])
    for event in Slurm(terms).run(BASES[:1], lambda: False):
        if event.kind == "tick":
            state = next(states, "OUT_OF_MEMORY")
            (fake.folder / "down").unlink(missing_ok=True)
            fake.mark("down") if state == "down" else fake.shows(state, 1)
        else:
            told.append(event)
    kinds = [event.kind for event in told if event.kind != "progress"]
    assert kinds == ["note", "queued", "queued", "started", "queued", "started", "killed"]
    assert "OUT_OF_MEMORY" in told[-1].value
    assert next(event.value for event in told if event.kind == "started") == "n7"
    assert any(event.value == {"phase": "training", "step": 7} for event in told)


def test_when_its_time_is_up_a_job_is_queued_again_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    executor = AutoExecutor(tmp_path / "jobs", cluster="local")
    executor.update_parameters(timeout_min=5)
    job = executor.submit(Work((Job("counting", "counting:count", (str(tmp_path), 100)),)))
    counted = tmp_path / "counted"
    deadline = time.monotonic() + 60
    while not (counted.exists() and counted.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(int(counted.read_text().split()[1]), signal.SIGUSR2)
    assert job.result()["counting"].state == "done"
    lines = [line.split() for line in counted.read_text().splitlines()]
    assert [int(number) for number, _ in lines] == list(range(100))
    assert len({process for _, process in lines}) == 2


def test_a_record_can_be_read_by_people(fake: FakeSlurm, tmp_path: Path) -> None:
    run(tmp_path, BASES)
    (path,) = (tmp_path / "jobs").glob("*.json")
    record = json.loads(path.read_text())
    assert (record["id"], record["jobs"]) == ("1", ["base 0", "base 1", "base 2"])
    assert fake.submitted()[0]["job-name"] == record["name"] == path.stem


def test_a_slurm_that_does_not_answer_is_given_up_soon_and_in_one_line(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.executors.slurm.FIRST_ANSWER", 0.2)
    (tmp_path / "commands" / "sinfo").write_text("#!/bin/sh\nexec sleep 60\n")
    start = time.monotonic()
    with pytest.raises(QueueError, match=r"^sinfo: Slurm has not answered for 0.2 s; is its controller up, .*right\?$"):
        run(tmp_path, BASES)
    assert time.monotonic() - start < 30
    assert not fake.submitted()


def test_of_what_a_command_says_the_line_that_ended_it_counts(fake: FakeSlurm, tmp_path: Path) -> None:
    said = "sinfo: error: resolve_ctls_from_dns_srv\\nsinfo: fatal: Could not establish a configuration source\\n"
    (tmp_path / "commands" / "sinfo").write_text(f"#!/bin/sh\nprintf '{said}' >&2\nexit 1\n")
    with pytest.raises(QueueError, match=r"^sinfo: Could not establish a configuration source$"):
        run(tmp_path, BASES)
    assert not fake.submitted()
