"""`bench run` on other executors, and `bench cancel`: what options and files say, and what a user is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cli.executing import parse_settings
from bench.core.run_folder import RunFolder
from bench.core.store import Store

from ..conftest import TINY
from ..executors.conftest import FakeSlurm, fake  # noqa: F401
from .conftest import bench


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own file, which is not there yet."""
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("partition=gpu,gpus_per_node=1",), {"partition": "gpu", "gpus_per_node": 1}),
        (("time=8:00:00", "mem-per-cpu=4G"), {"time": "8:00:00", "mem_per_cpu": "4G"}),
        (("nodelist=n1,n2,exclusive=true",), {"nodelist": "n1,n2", "exclusive": True}),
        (("gres=gpu:a100:1",), {"gres": "gpu:a100:1"}),
        ((), {}),
    ],
)
def test_settings_on_the_command_line(given: tuple[str, ...], expected: dict[str, object]) -> None:
    nothing: object = None
    assert parse_settings(nothing, nothing, given) == expected  # type: ignore[arg-type]


def test_runs_are_submitted_once_and_cancelled(fake: FakeSlurm, tmp_path: Path, config: Path) -> None:  # noqa: F811
    suite, store = tmp_path / "tiny.toml", tmp_path / "store"
    config.write_text('[executor.slurm]\npartition = "gpu"\nmem = "1G"\n[executor.slurm.prepare]\ntime = 7\n')
    table = '[executor.slurm]\nmem = "2G"\nqos = "low"\n[executor.slurm.prepare]\nmem = "3G"\n[profiles.quick]'
    suite.write_text(TINY.replace("[profiles.quick]", table, 1))
    command = ("run", "--suite", suite, "--store", store, "--seeds", 0, "--model", "gan-ns", "--model", "gan-ns+refit")
    said = bench(*command, "--slurm", "qos=high", "--report").stdout
    assert "Slurm job 2: digits/gan-ns/" in said
    assert "2 runs: 2 queued" in said
    assert "`bench cancel` ends them" in said
    extractor, base, refit, report = fake.submitted()
    assert {key: extractor[key] for key in ("partition", "mem", "qos", "time")} == {
        "partition": "gpu",
        "mem": "3G",
        "qos": "high",
        "time": "7",
    }
    assert (base["mem"], base["time"], base["cpus-per-task"]) == ("2G", "60", "1")
    assert (base["dependency"], refit["dependency"], report["dependency"]) == (
        "afterany:1",
        "afterany:1:2",
        "afterany:1:2:3",
    )
    fake.shows("PENDING", 1, 2, 3, 4)
    assert "2 runs: 2 queued" in bench(*command, "--slurm", "qos=high", "--report").stdout
    assert len(fake.submitted()) == 4
    assert "did you mean" in bench("cancel", "--store", store, "digits/gan-nss", code=2).stderr
    ended = bench("cancel", "--store", store, "digits/gan-ns/").stdout
    assert ended.endswith("1 job cancelled\n")
    bench("cancel", "--store", store)
    assert (fake.folder / "cancelled").read_text() == "2\n1 2 3 4\n"
    fake.says()
    assert "nothing of" in bench("cancel", "--store", store, "digits", code=2).stderr
    assert bench("cancel", "--store", store).stdout == "0 jobs cancelled\n"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--executor", "slrm"), "no executor 'slrm'; did you mean 'slurm'?"),
        (("--slurm", "partition"), "--slurm: 'partition' is no setting"),
        (("--slurm", "partition=none"), "slurm: no partition 'none'; there are: gpu, main"),
        (("--executor", "inline", "--slurm", "time=3"), "--slurm is for --executor slurm, not inline"),
        (("--wait",), "--wait is for runs in a queue; processes does so anyway"),
        (("--report",), "--report is for runs in a queue; processes does so anyway"),
        (("--slurm", "time=3", "--max-minutes", "3"), "--max-minutes is about this machine"),
        (("--slurm", "time=3", "--jobs-per-device", "3"), "--jobs-per-device is about this machine"),
    ],
)
def test_what_contradicts_itself_is_said_in_a_line(options: tuple[str, ...], words: str, tiny_path: Path) -> None:
    store = tiny_path.parent / "store"
    refused = bench("run", "--suite", tiny_path, "--store", store, "--model", "data", *options, code=2)
    assert refused.stderr.startswith(f"bench: {words}")
    assert refused.stderr.count("\n") == 1
    assert not store.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("executor = 3", "only tables [executor.NAME] are read"),
        ("[executor]\nslurm = 3", "only tables [executor.NAME] are read"),
        ("[executors.slurm]\ntime = 3", "executors: only tables [executor.NAME] are read"),
        ("[executor.slrum]\ntime = 3", "no executor 'slrum'; did you mean 'slurm'?"),
        ("[executor", "cannot be read: Expected"),
    ],
)
def test_what_is_wrong_in_the_users_file_is_said_in_a_line(
    content: str, words: str, config: Path, tiny_path: Path
) -> None:
    config.write_text(content)
    refused = bench("run", "--suite", tiny_path, "--store", tiny_path.parent / "store", "--model", "data", code=2)
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_in_this_process_the_numbers_are_the_same(
    finished: Store, make_store: Callable[[str], Store], tiny_path: Path
) -> None:
    tiny_path.write_text(TINY.replace("[profiles.quick.evaluation]", '[profiles.quick.evaluation]\nmetrics = ["fid"]'))
    store = make_store("inline")
    options = ("--suite", tiny_path, "--store", store.root, "--seeds", 0, "--model", "gan-ns", "--device", "cpu")
    assert "1 run: 1 done" in bench("run", *options, "--executor", "inline").stdout
    (path,) = (store.root / "runs").rglob("status.json")
    run = path.parent.relative_to(store.root)
    one, other = (RunFolder(each.root / run).read_json("training.json") for each in (store, finished))
    assert one is not None
    assert other is not None
    assert one["checkpoint"] == other["checkpoint"]


def test_in_this_process_an_error_comes_out_after_it_is_recorded(
    store: Store, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("to be debugged")

    monkeypatch.setattr("bench.core.runner.build_model", broken)
    options = ["--suite", tiny_path, "--store", store.root, "--seeds", 0, "--model", "gan-ns", "--executor", "inline"]
    ended = CliRunner().invoke(main, ["run", *map(str, options)])
    assert isinstance(ended.exception, ZeroDivisionError)
    (status,) = (store.root / "runs").rglob("status.json")
    assert "to be debugged" in status.read_text()
