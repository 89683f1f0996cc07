"""The command line as a user meets it: real processes, real kills, and no traceback for what a user can do wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.core.store import Store

BENCH = [sys.executable, "-m", "bench"]


def bench(*arguments: object, check: int | None = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    done = subprocess.run([*BENCH, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def scores(store: Path) -> list[dict[str, object]]:
    """The report's rows."""
    return json.loads(bench("report", "--store", store, "--format", "json").stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--suite", "imges"], 2, "did you mean 'images'?"),
        (["run", "--dataset", "digts"], 2, "did you mean 'digits'?"),
        (["run", "--model", "gemb"], 2, "did you mean 'gebm'?"),
        (["run", "--seeds", "0,x"], 2, "write whole numbers >= 0 with commas"),
        (["run", "--seeds", "-1"], 2, "whole numbers >= 0"),
        (["run", "--device", "cuda"], 2, "no CUDA device is available"),
        (["run", "--profile", "big"], 2, "'quick', 'paper'"),
        (["run", "--jobs", "0"], 2, "--jobs"),
        (["run", "--max-minutes", "0"], 2, "--max-minutes"),
        (["report", "--store", "nowhere"], 1, "no store at nowhere"),
        (["status", "--store", "nowhere"], 1, "no store at nowhere"),
        (["list", "model"], 2, "'models'"),
        (["data", "verify", "digts"], 2, "did you mean 'digits'?"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arguments[1:] == ["--device", "cuda"]:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device here")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)  # not an error that escaped
    assert message in result.output


def test_light_commands_import_nothing_heavy() -> None:
    """What makes them answer at once; the time itself is not tested on shared machines."""
    script = (
        "import sys; from click.testing import CliRunner; from bench.cli import main\n"
        "lines = [[name, '--help'] for name in ('run', 'claims', 'compare', 'export', 'weights', 'report')]\n"
        "for line in (['--help'], *lines, ['list'], ['list', 'suites'], ['list', 'metrics']):\n"
        "    assert CliRunner().invoke(main, line).exit_code == 0, line\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'matplotlib', 'sklearn', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lists_and_help_name_everything() -> None:
    runner = CliRunner()
    listed = runner.invoke(main, ["list"]).output
    for name in ("images", "digits", "gebm", "gan-hinge", "gan-ns", "ula", "likelihood-gain"):
        assert name in listed
    help_text = runner.invoke(main, ["--help"]).output
    for word in ("Run:", "Read:", "Set up:", "Examples:", "doctor", "completion"):
        assert word in help_text
    assert "_bench_completion" in runner.invoke(main, ["completion", "bash"]).output


def test_doctor_and_data() -> None:
    runner = CliRunner()
    assert (
        "slope -1." in runner.invoke(main, ["doctor"]).output or "slope -0.9" in runner.invoke(main, ["doctor"]).output
    )
    assert "as expected" in runner.invoke(main, ["data", "verify", "digits"]).output
    assert "embedded" in runner.invoke(main, ["data", "list"]).output
    assert "nothing to fetch" in runner.invoke(main, ["data", "fetch", "digits"]).output


def test_run_plan_status_report(tiny_path: Path, store: Store) -> None:
    options = ("--suite", tiny_path, "--store", store.root)
    assert "7 of 7 runs to do" in bench("plan", *options).stdout
    first = bench("run", *options)
    assert "fd[digits-cnn]" in first.stdout
    assert "7 runs: 7 done" in first.stdout
    assert "0 of 7 runs to do" in bench("plan", *options).stdout
    assert "7 runs: 7 hit" in bench("run", *options).stdout
    assert bench("status", "--store", store.root).stdout.count(" done") == 7
    rows = scores(store.root)
    promised = {"suite", "dataset", "model", "sampler", "beta", "steps", "metric", "key", "mean"}
    promised |= {"ci_low", "ci_high", "n", "status", "reason"}
    assert all(promised <= set(row) for row in rows)
    assert {row["model"] for row in rows} == {"gebm", "gan-hinge", "gan-ns", "data"}
    assert {(row["beta"], row["steps"]) for row in rows if row["sampler"] == "ula"} == {(1.0, 2), (1.0, 4)}
    report = bench("report", "--store", store.root, "--out", store.root / "out")
    assert "matched" in report.stdout
    assert list((store.root / "out").rglob("*.png"))
    assert bench("report", "--store", store.root, "--format", "csv").stdout.startswith("suite,")
    page = bench("report", "--store", store.root, "--format", "html")
    assert not page.stdout
    assert str(store.root / "report" / "report.html") in page.stderr
    assert "Calibration of log Z" in (store.root / "report" / "report.html").read_text()


def test_a_corrupt_file_is_named_and_its_run_done_again(tiny_path: Path, store: Store) -> None:
    options = ("--suite", tiny_path, "--store", store.root, "--model", "gan-ns", "--seeds", "0")
    bench("run", *options)
    before = scores(store.root)
    (checkpoint,) = store.root.rglob("checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    assert "corrupt" in bench("plan", *options).stdout
    again = bench("run", *options)
    assert "checkpoint.safetensors is corrupt" in again.stderr
    assert "set aside and done again" in again.stderr
    assert "1 runs: 1 done" in again.stdout
    assert scores(store.root) == before


def test_other_selections_and_settings_of_a_suite_live_in_one_store(tiny_path: Path, store: Store) -> None:
    options = ("--suite", tiny_path, "--store", store.root)
    bench("run", *options, "--seeds", "0")
    bench("run", *options, "--model", "gan-ns", "--seeds", "1")
    found = {(row["model"], row["n"]) for row in scores(store.root) if row["sampler"] == "base" and row["n"]}
    assert found == {("gebm", 1), ("gan-hinge", 1), ("gan-ns", 2)}
    longer = tiny_path.with_name("longer.toml")
    longer.write_text(tiny_path.read_text().replace("lengths = [2, 4]", "lengths = [2, 4, 8]"))
    bench("run", "--suite", longer, "--store", store.root, "--seeds", "0")
    assert {row["steps"] for row in scores(store.root) if row["sampler"] == "ula"} == {2, 4, 8}
    bench("run", *options, "--seeds", "0")
    assert {row["steps"] for row in scores(store.root) if row["sampler"] == "ula"} == {2, 4}


def test_a_report_of_what_is_not_there_names_what_is(tiny_path: Path, store: Store) -> None:
    bench("run", "--suite", tiny_path, "--store", store.root, "--seeds", "0", "--model", "data")
    assert "there are: tiny (quick)" in bench("report", "--store", store.root, "--suite", "nosuch", check=1).stderr
    assert "digits-cnn" in bench("report", "--store", store.root, "--suite", tiny_path, "--format", "json").stdout
    manifest = store.root / "suites" / "tiny-quick.json"
    manifest.write_text(manifest.read_text().replace('"data"', '"gebm"'))
    assert "corrupt" in bench("report", "--store", store.root, check=1).stderr


def test_an_empty_store_says_so(store: Store) -> None:
    assert "nothing to report yet" in bench("report", "--store", store.root, check=1).stderr
    assert "no runs yet" in bench("status", "--store", store.root).stdout


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    return subprocess.Popen(
        [*BENCH, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def slow(path: Path) -> Path:
    """A suite that takes some seconds a run."""
    slower = path.with_name("slow.toml")
    slower.write_text(
        path.read_text().replace("base_steps = 120", "base_steps = 4000").replace("seeds = [0, 1]", "seeds = [0]")
    )
    return slower


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_continued_gives_identical_numbers(
    tiny_path: Path, make_store: Callable[[str], Store], number: signal.Signals
) -> None:
    suite = slow(tiny_path)
    whole, pieces = make_store("whole").root, make_store("pieces").root
    bench("run", "--suite", suite, "--store", whole, "--jobs", 1)
    process = start("run", "--suite", suite, "--store", pieces, "--jobs", 1)
    wait_for(lambda: any(pieces.rglob("spec.json")))
    wait_for(lambda: any(pieces.rglob("resume.pt")))  # so that continuing means continuing
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)  # parent, workers and fork server at once
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 1)
    if number == signal.SIGINT:
        assert "nothing is lost, the same command continues" in errors
    assert len(list(pieces.rglob("status.json"))) < 4
    bench("run", "--suite", suite, "--store", pieces, "--jobs", 1)
    assert scores(pieces) == scores(whole)


def test_workers_stop_when_their_parent_is_killed(tiny_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tiny_path), "--store", store.root, "--jobs", 2)
    wait_for(lambda: any(store.root.rglob("spec.json")))
    process.kill()
    process.communicate()
    done = len(list(store.root.rglob("status.json")))
    wait_for(lambda: bench_runs_free(store), 30)
    time.sleep(0.5)
    assert len(list(store.root.rglob("status.json"))) <= done + 2  # nothing new was begun


def bench_runs_free(store: Store) -> bool:
    """Whether no process holds a run of the store."""
    import fcntl

    for path in (store.root / "locks").glob("*.lock"):
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def test_two_at_once_do_every_run_once(tiny_path: Path, store: Store) -> None:
    suite = slow(tiny_path)
    processes = [start("run", "--suite", suite, "--store", store.root, "--jobs", 2) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    counts = [
        int(line.split(" done")[0].split()[-1]) if " done" in (line := output.splitlines()[-1]) else 0
        for output, _ in outputs
    ]
    assert sum(counts) == 4, outputs
    assert not list((store.root / "attic").iterdir())
    assert {row["status"] for row in scores(store.root)} <= {"done", "collapsed"}


def test_a_killed_worker_is_a_row_and_the_rest_goes_on(tiny_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tiny_path), "--store", store.root, "--jobs", 1)
    wait_for(
        lambda: list(store.root.rglob("resume.pt")) or list(store.root.rglob("status.json")) or victims(process.pid)
    )
    wait_for(lambda: any(store.root.rglob("spec.json")))
    time.sleep(0.5)
    for pid in victims(process.pid):
        os.kill(pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "killed by SIGKILL" in errors
    assert "4 runs: 3 done, 1 failed" in output
    assert any("SIGKILL" in str(row["reason"]) for row in scores(store.root))
    assert "4 runs: 1 done, 3 hit" in bench("run", "--suite", slow(tiny_path), "--store", store.root).stdout


def victims(parent: int) -> list[int]:
    """Workers: grandchildren of the command, forked from its fork server."""

    def children(pid: int) -> list[int]:
        listing = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in listing.read_text().split()] if listing.exists() else []

    return [grandchild for child in children(parent) for grandchild in children(child)]


def test_max_minutes_stops_cleanly_and_continues(tiny_path: Path, store: Store) -> None:
    endless = tiny_path.with_name("endless.toml")
    endless.write_text(tiny_path.read_text().replace("base_steps = 120", "base_steps = 1000000"))
    where = ("--suite", endless, "--store", store.root, "--model", "gan-ns", "--seeds", 0)
    options = (*where, "--max-minutes", 0.2, "--jobs", 1)

    def steps_done() -> int:
        stopped = bench("run", *options, check=1)
        assert "--max-minutes reached; nothing is lost" in stopped.stderr
        assert "of 1,000,000 base steps" in stopped.stdout  # scored as it stands, and said so
        states = bench("status", "--store", store.root).stdout
        return int(states.split("from training step ")[1].split()[0])

    assert 0 < steps_done() < steps_done()


def test_a_diverging_suite_exits_with_1_and_shows_the_rows(tiny_path: Path, store: Store) -> None:
    hot = tiny_path.with_name("hot.toml")
    hot.write_text(
        tiny_path.read_text().replace(
            "base_steps = 120", "base_steps = 120\nlearning_rate = 1e30\nenergy_learning_rate = 1e30"
        )
    )
    done = bench("run", "--suite", hot, "--store", store.root, "--seeds", "0", check=1)
    assert "diverged: " in done.stderr
    assert "4 runs: 1 done, 3 failed" in done.stdout
    reasons = {row["model"]: row["reason"] for row in scores(store.root)}
    assert all("diverged" in str(reasons[model]) for model in ("gebm", "gan-hinge", "gan-ns"))
