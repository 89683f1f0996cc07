"""Runs on a real Slurm: in arrays, interrupted, cancelled, on nodes that die and under front ends that die, with the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.core.run_folder import RunFolder
from bench.core.store import Store
from bench.executors import queue
from bench.executors.jobs import ExecutorError, Job, JobEvent, Terms
from bench.executors.slurm import Slurm

from ..bench.conftest import TINY
from .cluster import Cluster, wait_until

BENCH = [sys.executable, "-m", "bench"]
JOBS = '''
import os
import time
from pathlib import Path
from types import SimpleNamespace


def note(folder, name, until, _progress, should_stop):
    """Note the name and the node, and stay until there is a file, or until asked to stop."""
    path = Path(folder)
    with (path / name).open("a") as file:
        file.write(os.environ["SLURMD_NODENAME"] + "\\n")
    while until and not (path / until).exists():
        if should_stop():
            (path / f"{name} stopped").touch()
            return SimpleNamespace(state="stopped")
        time.sleep(0.05)
    return SimpleNamespace(state="done")
'''


@pytest.fixture
def folder(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for made-up jobs, whose module is found here and on nodes."""
    (tmp_path / "made_up_notes.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("bench.executors.slurm.SLOWEST_LOOK", 1.0)
    return tmp_path


def noting(folder: Path, name: str, until: str = "") -> Job:
    """A job that notes its name."""
    return Job(name, "made_up_notes:note", (str(folder), name, until))


def on_slurm(folder: Path, jobs: list[Job], **settings: object) -> Iterator[JobEvent]:
    """Submit jobs and follow them."""
    return Slurm(Terms(folder=folder / "jobs", wait=True, settings=settings)).run(jobs, lambda: False)


def outcomes(events: Iterator[JobEvent], meanwhile: Callable[[JobEvent], object]) -> dict[str, str]:
    """How jobs ended, by name: the state of their outcomes or how they were killed."""
    found = {}
    for event in events:
        meanwhile(event)
        if event.kind in ("done", "killed"):
            found[event.job.name] = event.value.state if event.kind == "done" else event.value
    return found


def test_of_thirty_jobs_in_an_array_one_is_cancelled_and_one_is_queued_again(cluster: Cluster, folder: Path) -> None:
    names = [f"job {number}" for number in range(30)]
    jobs = [noting(folder, name, "never" if name == "job 3" else "go" if name == "job 7" else "") for name in names]

    def meddle(event: JobEvent) -> None:
        if event.kind == "started" and event.job.name in ("job 3", "job 7"):
            wait_until((folder / event.job.name).exists, event.job.name)
            place = queue.places(folder / "jobs")[event.job.name]
            if event.job.name == "job 3":
                queue.cancel([place])
            elif not (folder / "go").exists():
                cluster.command("scontrol", "requeue", place.id)
                (folder / "go").touch()
        cluster.hurry()

    ends = outcomes(on_slurm(folder, jobs), meddle)
    assert ends == dict.fromkeys(names, "done") | {"job 3": "stopped"}
    noted = {name: len((folder / name).read_text().splitlines()) for name in names}
    assert noted == dict.fromkeys(names, 1) | {"job 7": 2}


def test_a_controller_that_starts_again_and_a_node_that_dies_lose_nothing(cluster: Cluster, folder: Path) -> None:
    steps = iter(["controller", "node", "go"])

    def meddle(event: JobEvent) -> None:
        if event.kind != "started":
            cluster.hurry()
            return
        wait_until((folder / "job").exists, "the job")
        if next(steps) == "controller":
            cluster.end("slurmctld")
            cluster.start_controller()
            wait_until(cluster.states, "the controller")
            assert next(steps) == "node"
            cluster.lose(event.value)
        else:
            (folder / "go").touch()

    assert outcomes(on_slurm(folder, [noting(folder, "job", "go")]), meddle) == {"job": "done"}
    first, second = (folder / "job").read_text().split()
    assert {first, second} == {"n1", "n2"}
    cluster.start_node(first)
    wait_until(lambda: cluster.states().get(first) == "idle", first)


def test_a_job_whose_time_is_up_is_queued_again(cluster: Cluster, folder: Path) -> None:
    def meddle(event: JobEvent) -> None:
        if (folder / "job stopped").exists():
            (folder / "go").touch()
            cluster.hurry()

    settings = {"time": 1, "signal_delay_s": 5}
    assert outcomes(on_slurm(folder, [noting(folder, "job", "go")], **settings), meddle) == {"job": "done"}
    assert len((folder / "job").read_text().split()) == 2


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"partition": "mian"}, "no partition 'mian'; did you mean 'main'?"),
        ({"mem": "900G"}, "Requested node configuration is not available"),
        ({"gpus_per_node": 1}, "Invalid generic resource"),
        ({"tyme": 3}, "unrecognized option '--tyme=3'"),
    ],
)
def test_what_the_cluster_does_not_have_is_said_in_a_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ExecutorError, match=r"^slurm: [^\n]*$") as caught:
        Slurm(Terms(settings=settings))
    assert words in str(caught.value)


def measured(store: Store) -> dict[str, object]:
    """The hash of every checkpoint and all scores of a store, by their files."""
    found: dict[str, object] = {}
    for path in sorted((store.root / "runs").rglob("*.json")):
        content = json.loads(path.read_text())
        if path.name == "training.json" or path.parent.name == "evals":
            found[str(path.relative_to(store.root))] = content.get("checkpoint") or content["rows"]
    assert found
    return found


@pytest.mark.skipif("SLURM" not in os.environ, reason="minutes of real runs: SLURM=all")
def test_runs_through_slurm_end_with_the_same_bits_whatever_happens_to_them(
    cluster: Cluster, make_store: Callable[[str], Store], tmp_path: Path
) -> None:
    """Front ends die and compete, a run's time is up in the middle of its training; compared with processes."""
    suite = tmp_path / "tiny.toml"
    text = TINY.replace("[profiles.quick.evaluation]", '[profiles.quick.evaluation]\nmetrics = ["fid"]')
    suite.write_text(text.replace("base_steps = 60", "base_steps = 3000"))
    models = ["gan-ns", "gan-ns+refit"]
    here, there = make_store("here"), make_store("there")

    def command(store: Store, *options: str) -> list[str]:
        chosen = [word for model in models for word in ("--model", model)]
        return [*BENCH, "run", "--suite", str(suite), "--store", str(store.root), "--seeds", "0", *chosen, *options]

    slurm = ("--slurm", "time=30,signal_delay_s=20")
    killed = subprocess.Popen(command(there, *slurm), stdout=subprocess.DEVNULL)
    wait_until(lambda: any(each.id for each in queue.submissions(there.root / "jobs")), "a submission", seconds=200)
    killed.kill()
    killed.wait()

    def training() -> bool:
        place = queue.places(there.root / "jobs")[base]
        return place.log.exists() and "training" in place.log.read_text()

    (base,) = (run for run in queue.places(there.root / "jobs") if "gan-ns/" in run)
    wait_until(training, "training", seconds=200)
    cluster.command("scancel", "--signal=USR2", queue.places(there.root / "jobs")[base].id)
    wait_until(lambda: queue.places(there.root / "jobs")[base].restarts == 1, "the requeue", seconds=60)
    assert not (there.root / "runs" / base / "training.json").exists()
    rivals = [subprocess.Popen(command(there, *slurm, "--report"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    done = subprocess.run(command(here), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for rival in rivals:
        told, _ = rival.communicate(timeout=300)
        assert rival.returncode == 0
        assert "2 runs: 2 queued" in told or "hit" in told
    alive = [job for each in queue.submissions(there.root / "jobs") if each.id for job in each.jobs]
    assert len(alive) == len(set(alive))

    followed = subprocess.Popen(command(there, *slurm, "--wait"), stdout=subprocess.PIPE, text=True)
    while followed.poll() is None:
        cluster.hurry()
        time.sleep(0.5)
    told, _ = followed.communicate()
    assert followed.returncode == 0, told
    assert measured(there) == measured(here)
    job = RunFolder(there.root / "runs" / base).read_json("env.json")
    assert job is not None
    assert job["job"]["node"] in ("n1", "n2")
    wait_until((there.root / "report" / "report.md").exists, "the report's job", seconds=120)
