"""The command line as a user meets it: real runs, real kills, and no traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import machine
from bench.cli import main
from bench.components import registry
from bench.core.store import RunFolder, Store
from bench.files import sha256_file

from ..conftest import HOLE, TINY

BENCH = [sys.executable, "-m", "bench"]
SUITE = TINY.replace("[profiles.quick.evaluation]", '[profiles.quick.evaluation]\nmetrics = ["fid"]')
ENDLESS = 10**6  # steps of a training that no test waits for

IMPORTED = """
import sys

before = set(sys.modules)
from bench.cli import main

main(["--help"], standalone_mode=False)
new = sys.modules.keys() - before
others = {name.partition(".")[0] for name in new} - sys.stdlib_module_names
print(sorted(others), "importlib.metadata" in new, file=sys.stderr)
"""
LOOKED_AT = """
import sys
from collections import Counter

from bench.cli import main

parsed, opened = 0, Counter()


def hear(event, arguments):
    global parsed
    if event == "compile" and arguments[1] == "<unknown>":  # what is parsed, and no module that is imported
        parsed += len(arguments[0])
    elif event == "open" and str(arguments[0]).endswith("entry_points.txt"):
        opened[str(arguments[0])] += 1


sys.addaudithook(hear)
main(["list"], standalone_mode=False)
print(parsed, max(opened.values()), file=sys.stderr)
"""

REFUSING = """
import os, sys


def refuse():
    raise BlockingIOError(11, "Resource temporarily unavailable")


if any("forkserver" in each for each in sys.orig_argv):
    os.fork = refuse
"""


def bench(*arguments: object, code: int = 0) -> Result:
    """Run a command in this process; workers are processes of their own all the same."""
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    return result


def scores(store: Path) -> list[dict[str, object]]:
    """Return the report's rows."""
    rows: list[dict[str, object]] = json.loads(bench("report", "--store", store, "--format", "json").stdout)
    return rows


def suite_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the tiny suite with some text replaced."""
    text = SUITE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{'-'.join(map(str, map(len, (new for _, new in changes))))}.toml"
    path.write_text(text)
    return path


def slow(folder: Path, models: str = '["gebm"]', steps: int = 600) -> Path:
    """Write a suite of one seed whose runs take some seconds each, or with more steps as long as a test likes."""
    return suite_file(
        folder,
        ("base_steps = 60", f"base_steps = {steps}"),
        ("seeds = [0, 1]", "seeds = [0]"),
        ('["gebm", "gan-hinge", "gan-ns", "data"]', models),
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, extractor_cache: Path) -> tuple[Path, str]:
    """A store in which the tiny suite has been run by a process of its own, and what that printed."""
    store = Store(tmp_path_factory.mktemp("finished") / "store").create()
    shutil.copytree(extractor_cache, store.cache, dirs_exist_ok=True)
    (store.root.parent / "tiny.toml").write_text(SUITE)
    command = [*BENCH, "run", "--suite", str(store.root.parent / "tiny.toml"), "--store", str(store.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # of the workers and their server too
    return store.root, done.stdout


@pytest.fixture
def own(finished: tuple[Path, str], tmp_path: Path) -> Store:
    """A copy of the finished store to spoil, its suite beside it."""
    (tmp_path / "tiny.toml").write_text(SUITE)
    return Store(Path(shutil.copytree(finished[0], tmp_path / "own")))


def test_cuda_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "device_names", tuple)
    monkeypatch.chdir(tmp_path)
    assert "no CUDA device is available" in bench("run", "--device", "cuda", code=2).output
    for device in ("auto", "cpu"):
        refused = bench("run", "--device", device, "--jobs-per-device", 2, code=2).output
        assert refused == "bench: --jobs-per-device: no CUDA device is used or available here; use --jobs\n"


@pytest.mark.parametrize(
    ("options", "promised"),
    [
        ((), "2 side by side on CUDA devices 0, 1"),
        (("--jobs-per-device", 3), "6 side by side on CUDA devices 0, 1"),
        (("--jobs-per-device", 3, "--jobs", 4), "4 side by side on CUDA devices 0, 1"),
        (("--jobs", 9), "2 side by side on CUDA devices 0, 1"),
        (("--device", "cpu", "--jobs", 9), "9 side by side on the CPU"),
    ],
)
def test_a_plan_says_how_many_runs_share_which_devices(
    options: tuple[object, ...], promised: str, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "DRIVERS", (str(tmp_path),))
    monkeypatch.setattr(machine, "_devices_seen", lambda: ((str(2**33), " ", "GPU"),) * 2)
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    shown = bench("plan", "--suite", tiny_path, "--store", tmp_path / "none", *options)
    decided = "bench: 1 run per CUDA device until the peak memory of one on GPU is known\n"
    assert (decided in shown.stderr) is {"--jobs-per-device", "--device"}.isdisjoint(options)
    assert shown.stdout.endswith(f"{promised}\n")


def test_light_commands_import_nothing_heavy() -> None:
    """What makes them answer at once; the time itself is not tested on shared machines."""
    script = (
        "import sys; from click.testing import CliRunner; from bench.cli import COMMANDS, main\n"
        "lines = [[name, '--help'] for names in COMMANDS.values() for name in names]\n"
        "for line in (['--help'], *lines, ['list'], ['list', 'metrics']):\n"
        "    assert CliRunner().invoke(main, line).exit_code == 0, line\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'matplotlib', 'sklearn', 'numpy', 'pydantic'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_nothing_but_click_and_the_standard_library() -> None:
    """What makes it answer in a tenth of a second; importlib.metadata alone would be a seventh of that."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stderr == "['bench', 'click', 'gebm'] False\n"
    assert "Set up:" in done.stdout


def test_a_list_parses_no_bodies_and_reads_each_packages_entry_points_once() -> None:
    done = subprocess.run([sys.executable, "-c", LOOKED_AT], capture_output=True, text=True, check=True)
    parsed, looks = map(int, done.stderr.split())
    root = Path(registry.__file__).parents[2]
    ours = sum(path.stat().st_size for name in registry.BUILT_IN for path in (root / name).rglob("*.py"))
    assert 0 < parsed < ours / 20
    assert looks == 1


def test_lists_and_help_name_everything() -> None:
    listed = bench("list").output
    for name in ("images", "digits", "gebm", "gan-hinge", "gan-ns", "ula", "mlp"):
        assert f"  {name} " in listed
    help_text = bench("--help").output
    for word in ("Run:", "Read:", "Set up:", "Examples:", "doctor", "completion"):
        assert word in help_text
    assert "_bench_completion" in bench("completion", "bash").output


def test_lists_are_read_whatever_the_locale() -> None:
    asked = os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([*BENCH, "list", "suites"], env=asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_doctor_and_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))  # nothing to hash there
    assert "truth -1.00" in CliRunner().invoke(main, ["doctor"]).output
    assert "as expected" in bench("data", "verify", "digits").output
    assert "embedded" in bench("data", "list").output
    assert "nothing to fetch" in bench("data", "fetch", "digits").output


def test_run_plan_status_report(finished: tuple[Path, str], tmp_path: Path) -> None:
    store, printed = finished
    options = ("--suite", store.parent / "tiny.toml", "--store", store)
    assert "7 of 7 runs to do" in bench("plan", *options[:2], "--store", tmp_path / "none").stdout
    assert "fd[digits-cnn]" in printed
    assert "7 runs: 7 done" in printed
    told = [line for line in printed.splitlines() if line.startswith("[")]
    assert told[-1].endswith("; nothing left")
    assert [line for line in told if HOLE.search(line)] == []
    assert "0 of 7 runs to do" in bench("plan", *options).stdout
    assert "7 runs: 7 hit" in bench("run", *options).stdout
    assert bench("status", "--store", store).stdout.endswith("7 runs: 7 done\n")
    rows = scores(store)
    promised = {"suite", "dataset", "model", "sampler", "beta", "steps", "metric", "key", "mean"}
    promised |= {"ci_low", "ci_high", "n", "status", "reason"}
    assert all(promised <= set(row) for row in rows)
    assert {row["model"] for row in rows} == {"gebm", "gan-hinge", "gan-ns", "data"}
    assert {(row["beta"], row["steps"]) for row in rows if row["sampler"] == "ula"} == {(1.0, 2), (1.0, 4)}
    assert "matched" in bench("report", "--store", store, "--out", tmp_path).stdout
    assert list(tmp_path.rglob("*.png"))
    assert bench("report", "--store", store, "--format", "csv").stdout.startswith("suite,")
    page = bench("report", "--store", store, "--format", "html", "--out", tmp_path / "page.html")
    assert not page.stdout
    assert str(tmp_path / "page.html") in page.stderr
    assert "Calibration of log Z" in (tmp_path / "page.html").read_text()


def test_a_corrupt_file_is_named_and_its_run_done_again(own: Store) -> None:
    options = ("--suite", own.root.parent / "tiny.toml", "--store", own.root, "--model", "gan-ns", "--seeds", "0")
    before = scores(own.root)
    checkpoint = next(own.root.glob("runs/digits/gan-ns/*-s0/checkpoint.safetensors"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    assert "corrupt" in bench("plan", *options).stdout
    again = bench("run", *options)
    assert "checkpoint.safetensors is corrupt" in again.stderr
    assert "set aside and done again" in again.stderr
    assert "1 run: 1 done" in again.stdout
    assert scores(own.root) == before


def test_stale_training_is_kept_and_said_until_retrain(own: Store) -> None:
    folder = RunFolder(next(own.root.glob("runs/digits/gan-ns/*-s0")))
    training, status = (folder.read_json(name) or {} for name in ("training.json", "status.json"))
    module = next(iter(training["stage"]["code"]))
    training["stage"]["code"][module] = "of other code"
    folder.write_json("training.json", training)
    status["files"]["training.json"] = sha256_file(folder / "training.json")
    folder.write_json("status.json", status)
    options = ("--suite", own.root.parent / "tiny.toml", "--store", own.root)
    kept = bench("run", *options)
    assert f"training is stale ({module} changed); kept and marked, --retrain redoes it" in kept.stderr
    assert "7 runs: 7 hit" in kept.stdout
    assert "0 of 7 runs to do" in (planned := bench("plan", *options).stdout)
    assert f"hit              —  training is stale ({module} changed)" in planned
    again = bench("plan", *options, "--retrain").stdout
    assert "1 of 7 runs to do" in again
    assert f"training: {module} changed" in again
    assert {row["model"] for row in scores(own.root) if row["stale"]} == {"gan-ns"}


def test_different_kinds_of_device_are_never_mixed_silently(own: Store) -> None:
    options = ("--suite", own.root.parent / "tiny.toml", "--store", own.root)
    assert "kinds of device" not in bench("plan", *options).stderr
    folder = RunFolder(next(own.root.glob("runs/digits/gan-ns/*-s0")))
    status = folder.read_json("status.json") or {}
    for name, device in (("training.json", "cuda"), ("env.json", "NVIDIA Made-up")):
        folder.write_json(name, (folder.read_json(name) or {}) | {"device": device})
        status["files"][name] = sha256_file(folder / name)
    folder.write_json("status.json", status)
    said = (
        "bench: digits: one comparison of runs trained on different kinds of device (1 on NVIDIA Made-up, 5 on cpu); "
    )
    assert bench("plan", *options).stderr.startswith(said)
    assert bench("run", *options).stderr.startswith(said)
    page = bench("report", "--store", own.root, "--out", own.root.parent).stdout
    assert "gan-ns on NVIDIA Made-up (1 run)" in page


def test_other_selections_and_settings_of_a_suite_live_in_one_store(own: Store) -> None:
    for manifest in own.root.glob("suites/*.json"):
        manifest.unlink()
    options = ("--suite", own.root.parent / "tiny.toml", "--store", own.root)
    bench("run", *options, "--seeds", "0")
    bench("run", *options, "--model", "gan-ns", "--seeds", "1")
    found = {(row["model"], row["n"]) for row in scores(own.root) if row["sampler"] == "base" and row["n"]}
    assert found == {("gebm", 1), ("gan-hinge", 1), ("gan-ns", 2)}
    longer = suite_file(own.root.parent, ("lengths = [2, 4]", "lengths = [2, 4, 8]"))
    bench("run", "--suite", longer, "--store", own.root, "--seeds", "0")
    assert {row["steps"] for row in scores(own.root) if row["sampler"] == "ula"} == {2, 4, 8}
    bench("run", *options, "--seeds", "0")
    assert {row["steps"] for row in scores(own.root) if row["sampler"] == "ula"} == {2, 4}


def test_a_report_of_what_is_not_there_names_what_is(own: Store) -> None:
    assert "there are: tiny (quick)" in bench("report", "--store", own.root, "--suite", "nosuch", code=2).stderr
    manifest = own.root / "suites" / "tiny-quick.json"
    manifest.write_text(manifest.read_text().replace('"data"', '"gebm"'))
    assert "corrupt" in bench("report", "--store", own.root, code=1).stderr


def test_an_empty_store_says_so(store: Store) -> None:
    assert "nothing to report yet" in bench("report", "--store", store.root, code=1).stderr
    assert "no runs yet" in bench("status", "--store", store.root).stdout


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    command = [*BENCH, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def works(store: Store) -> bool:
    """Return whether a process holds a run of the store."""
    return any(store.leases.holder(path.name) for path in (store.root / "locks").glob("digits*"))


def test_interrupted_killed_and_continued_gives_identical_numbers(
    tmp_path: Path, make_store: Callable[[str], Store]
) -> None:
    whole, pieces = make_store("whole"), make_store("pieces")
    suite = ("--suite", slow(tmp_path, steps=3000), "--jobs", 1)
    process = start("run", *suite, "--store", pieces.root)
    wait_for(lambda: any(pieces.root.rglob("spec.json")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing is lost, the same command continues" in errors
    assert any(pieces.root.rglob("resume.pt"))  # so that continuing means continuing
    process = start("run", *suite, "--store", pieces.root)
    wait_for(lambda: works(pieces))
    os.killpg(process.pid, signal.SIGKILL)  # parent, workers and fork server at once
    process.communicate(timeout=60)
    assert not any(pieces.root.rglob("status.json"))
    bench("run", *suite, "--store", pieces.root)
    bench("run", *suite, "--store", whole.root)
    assert scores(pieces.root) == scores(whole.root)


def test_a_second_interrupt_leaves_at_once(tmp_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tmp_path, steps=ENDLESS), "--store", store.root)
    wait_for(lambda: works(store))
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)  # a signal that comes while the first is pending would be one with it
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "once more to leave at once" in errors
    wait_for(lambda: not works(store), 10)


def test_an_interrupt_is_heeded_while_log_z_is_estimated(store: Store) -> None:
    settings = ("likelihood.steps=100", "refit.steps=50", "refit.partition_samples=1000")
    endless = [f"--set={each}" for each in (*settings, "evaluation.partition_samples=1000000000")]
    process = start(
        *("run", "--suite", "density", "--model", "gebm-frozen-kale", "--dataset", "known-density-8"),
        *("--seeds", 0, "--store", store.root, *endless),
    )
    wait_for(lambda: any(store.root.rglob("training.json")))
    time.sleep(2)  # minutes of it are left
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "nothing is lost, the same command continues" in errors
    (status,) = store.root.rglob("gebm-frozen-kale/*/status.json")
    assert json.loads(status.read_text())["state"] == "unfinished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["server starts", "run is at work"])
def test_what_asks_all_processes_at_once_ends_them_as_if_it_asked_the_command(
    tmp_path: Path, store: Store, number: signal.Signals, moment: str
) -> None:
    """As a terminal does on Ctrl-C, and a batch system at the end of a job's time."""
    process = start("run", "--suite", slow(tmp_path, steps=ENDLESS), "--store", store.root)
    wait_for(lambda: works(store) if moment == "run is at work" else servers(process.pid))
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.splitlines()[-1].endswith("interrupted; nothing is lost, the same command continues")
    assert "Traceback" not in errors
    assert "killed" not in errors
    assert not works(store)


def test_output_that_nobody_reads_any_more_ends_the_command_and_its_workers(tmp_path: Path, store: Store) -> None:
    """As `bench run | head` does."""
    suite = slow(tmp_path, '["gan-ns", "gan-hinge", "data"]', 3000)
    with start("run", "--suite", suite, "--store", store.root) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(120) == 1
    wait_for(lambda: not works(store), 30)


def test_a_store_that_is_removed_after_its_first_run_is_said(tmp_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tmp_path, '["data", "gebm"]', ENDLESS), "--store", store.root)
    wait_for(lambda: any(store.root.rglob("status.json")) and works(store))
    store.root.rename(tmp_path / "moved")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "2 runs: 1 done, 1 abort" in output
    assert errors.splitlines()[-1].endswith("is gone: it was moved or removed meanwhile")


@pytest.mark.parametrize("command", [("claims",), ("show", "digits/gebm/*-s0")])
def test_a_terminal_that_lacks_signs_shows_others_for_them(
    command: tuple[str, ...], finished: tuple[Path, str]
) -> None:
    name, *runs = command
    found = [str(each.relative_to(finished[0] / "runs")) for run in runs for each in (finished[0] / "runs").glob(run)]
    asked = [*BENCH, name, *found, "--store", str(finished[0])]
    done = subprocess.run(asked, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0), done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert b"?" in done.stdout


def test_a_terminal_that_does_not_know_its_width_is_shown_everything(finished: tuple[Path, str]) -> None:
    asked = [*BENCH, "claims", "--store", str(finished[0])]
    texts = [
        subprocess.run(asked, env=os.environ | {"COLUMNS": width}, capture_output=True, check=True).stdout
        for width in ("80", "0")
    ]
    assert texts[0] == texts[1] != b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
@pytest.mark.parametrize("command", ["list", "run"])
def test_output_into_a_full_disk_is_one_line(command: str, tmp_path: Path, store: Store) -> None:
    options = ["--suite", str(slow(tmp_path)), "--store", str(store.root)] if command == "run" else []
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*BENCH, command, *options], stdout=full, stderr=subprocess.PIPE, text=True, env=buffered)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    assert done.stderr.splitlines()[-1] == "bench: cannot write: No space left on device"


def test_a_folder_for_temporary_files_that_is_none_for_sockets_is_said(tmp_path: Path, store: Store) -> None:
    (folder := tmp_path / ("long" * 30)).mkdir()
    command = [*BENCH, "run", "--suite", str(slow(tmp_path)), "--store", str(store.root)]
    done = subprocess.run(
        command, env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench: no process can be started")


def test_a_server_that_may_start_no_process_is_one_line(tmp_path: Path, store: Store) -> None:
    (tmp_path / "sitecustomize.py").write_text(REFUSING)
    command = [*BENCH, "run", "--suite", str(slow(tmp_path)), "--store", str(store.root)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0), done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench: no process can be started")


def test_a_command_that_may_start_no_thread_is_one_line(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    output = bench("run", "--suite", slow(tmp_path), "--store", store.root, code=1).output
    assert output.splitlines()[-1].startswith("bench: no thread can be started")


def test_workers_stop_when_their_parent_is_killed(tmp_path: Path, store: Store) -> None:
    process = start("run", "--suite", slow(tmp_path, steps=ENDLESS), "--store", store.root)
    wait_for(lambda: works(store))
    process.kill()
    process.communicate()
    wait_for(lambda: not works(store), 30)
    assert not any(store.root.rglob("status.json"))


def test_two_at_once_do_every_run_once(tmp_path: Path, store: Store) -> None:
    suite = slow(tmp_path, '["gan-ns", "gan-hinge"]')
    processes = [start("run", "--suite", suite, "--store", store.root, "--jobs", 1) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    endings = [output.splitlines()[-1] for output in outputs]
    assert sum(int(ending.split(" done")[0].split()[-1]) for ending in endings if " done" in ending) == 2, outputs
    assert not list((store.root / "aside").iterdir())
    assert {row["status"] for row in scores(store.root)} <= {"done", "collapsed"}


def test_a_killed_worker_is_a_row_and_the_rest_goes_on(tmp_path: Path, store: Store) -> None:
    options = ("--suite", slow(tmp_path, '["gan-ns", "data"]'), "--store", store.root)
    process = start("run", *options, "--jobs", 1)
    wait_for(lambda: works(store))
    for pid in victims(process.pid):
        os.kill(pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "killed by SIGKILL" in errors
    assert "2 runs: 1 done, 1 failed" in output
    assert any("SIGKILL" in str(row["reason"]) for row in scores(store.root))
    assert "2 runs: 1 done, 1 hit" in bench("run", *options).stdout


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


def servers(parent: int) -> list[int]:
    """Return the servers that a command's workers are forked from."""
    return [child for child in children(parent) if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()]


def victims(parent: int) -> list[int]:
    """Return the workers: grandchildren of the command, forked from its fork server."""
    return [grandchild for child in children(parent) for grandchild in children(child)]


def test_max_minutes_stops_cleanly_and_continues(tmp_path: Path, store: Store) -> None:
    endless = suite_file(tmp_path, ("base_steps = 60", "base_steps = 1000000"))
    where = ("--suite", endless, "--store", store.root, "--model", "gan-ns", "--seeds", 0)

    def steps_done(beyond: int, minutes: float = 0.1) -> int:
        """Return the steps done in all; twice the time is given where a busy machine did not get beyond so many."""
        stopped = bench("run", *where, "--max-minutes", minutes, "--jobs", 1, code=1)
        assert "--max-minutes reached; nothing is lost" in stopped.stderr
        found = [json.loads(path.read_text()) for path in store.root.rglob("status.json")]
        assert all(status["state"] == "unfinished" for status in found)  # scored as it stands, and said so
        done = max((int(status["steps_done"]) for status in found), default=0)
        assert minutes < 3, "no step in three minutes"
        return done if done > beyond else steps_done(beyond, 2 * minutes)

    assert steps_done(steps_done(0)) > 0


def test_a_diverging_suite_exits_with_1_and_shows_the_rows(tmp_path: Path, store: Store) -> None:
    hot = suite_file(
        tmp_path, ("base_steps = 60", "base_steps = 60\nlearning_rate = 1000\nenergy_learning_rate = 1000")
    )
    done = bench("run", "--suite", hot, "--store", store.root, "--seeds", "0", code=1)
    assert "diverged: " in done.stderr
    assert "4 runs: 3 done, 1 failed" in done.stdout
    reasons = {row["model"]: row["reason"] for row in scores(store.root)}
    assert "diverged" in str(reasons["gebm"])
