"""The command line as a user meets it: real runs, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import machine
from bench.cli import main
from bench.components import registry
from bench.core.run_folder import RunFolder
from bench.core.store import Store
from bench.files import sha256_file

from ..conftest import HOLE
from .conftest import BENCH, bench, scores, suite_file

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


def test_run_plan_status_report(ran: tuple[Path, str], tmp_path: Path) -> None:
    store, printed = ran
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
