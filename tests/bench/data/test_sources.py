"""What a dataset may be called, and that the name reaches whoever loads it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cli.completion import complete, own_files
from bench.components import registry
from bench.components.registry import UnknownNameError
from bench.core.campaign import Campaign
from bench.core.manifests import read_manifest
from bench.core.plan import Selection, make_plan
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places
from bench.data.sources import parse


@pytest.mark.parametrize(
    ("text", "label", "canonical"),
    [
        ("redwine", "redwine", "redwine"),
        ("redwine@0", "redwine", "redwine"),
        ("redwine@12", "redwine@12", "redwine@12"),
        ("digits", "digits", "digits"),
        ("digits@0", "digits", "digits"),
        ("csv:/data/my wine.csv", "csv-my_wine", "csv:/data/my wine.csv"),
        ("parquet:/data/../a@b.parquet@4", "parquet-a_b@4", "parquet:/a@b.parquet@4"),
        ("folder:/data/birds", "folder-birds", "folder:/data/birds"),
        ("folder:/data/birds#32@2", "folder-birds-32@2", "folder:/data/birds#32@2"),
        ("tar:/data/a#b.tar.xz", "tar-a_b", "tar:/data/a#b.tar.xz"),
        ("csv:/data/x#1", "csv-x_1", "csv:/data/x#1"),
    ],
)
def test_names_are_read_and_written(text: str, label: str, canonical: str) -> None:
    source = parse(text)
    assert (source.label, str(source)) == (label, canonical)
    assert parse(str(source)) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redwin", "did you mean 'redwine'"),
        ("redwine@x", "'redwine@x': a split is a whole number, such as redwine@1"),
        ("redwine@-1", "a split is a whole number"),
        ("digits@3", "'digits' has one fixed split; write digits"),
        ("cvs:x.csv", "no kind of file 'cvs' in 'cvs:x.csv'; did you mean 'csv'"),
        ("csv:", "names no file; write csv:PATH"),
        ("folder:birds#30", "a side is a multiple of 8 between 8 and 256, such as birds#32"),
        ("tar:#32", "names no file; write tar:PATH"),
        ("csv:a\0b", "embedded null "),
        ("csv:\ud800", "names no file: 'utf-8' codec can't encode"),
        ("csv:~no-such-user/x", "names no file: "),
        (f"redwine@{'9' * 5000}", "a split is a whole number"),
    ],
)
def test_wrong_names_are_said_with_the_right_one(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    np.savetxt(path, np.random.default_rng(0).random((200, 2)), delimiter=",", header="a,b", comments="")
    return path


@pytest.fixture
def fits_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the first model could be fitted to tables."""
    get = registry.get

    def changed(kind: str, name: str) -> registry.Entry:
        found = get(kind, name)
        return replace(found, facts=found.facts | {"fits": ("tabular",)}) if kind == "models" else found

    monkeypatch.setattr(registry, "get", changed)


@pytest.mark.usefixtures("fits_tables")
def test_a_file_reaches_the_worker_and_the_next_campaign(
    table: Path, tiny: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(table.parent / "store").create()
    monkeypatch.chdir(table.parent)
    selection = Selection(datasets=["csv:mine.csv", "csv:mine.csv@2"], models=["gan-ns"], seeds=[0])
    plans = make_plan(tiny, selection, Places(store.root, device="cpu"))
    assert [p.task.spec.dataset for p in plans] == ["csv-mine", "csv-mine@2"]
    assert [p.task.source for p in plans] == [f"csv:{table}", f"csv:{table}@2"]
    assert plans[0].task.spec.identity != plans[1].task.spec.identity
    Campaign(tiny, "quick", plans[:1], store, 1).remember()
    monkeypatch.chdir("/")
    Campaign(tiny, "quick", plans[1:], store, 1).remember()
    runs = read_manifest(store, "tiny", "quick")["runs"]
    assert [run["source"] for run in runs] == [f"csv:{table}", f"csv:{table}@2"]


@pytest.mark.usefixtures("fits_tables")
def test_two_files_of_one_name_are_refused_together(table: Path, tiny: Suite) -> None:
    twin = table.parent / "other" / "mine.csv"
    twin.parent.mkdir()
    twin.write_bytes(table.read_bytes())
    selection = Selection(datasets=[f"csv:{table}", f"csv:{twin}"], models=["gan-ns"])
    with pytest.raises(SuiteError, match="both called csv-mine"):
        make_plan(tiny, selection, Places(table.parent / "store"))


def test_suites_may_name_files_and_splits(tiny_path: Path) -> None:
    text = tiny_path.read_text()
    tiny_path.write_text(text.replace('["digits"]', '["redwine@3", "csv:mine.csv"]'))
    assert load_suite(str(tiny_path)).profiles["quick"].datasets == ("redwine@3", "csv:mine.csv")
    tiny_path.write_text(text.replace('["digits"]', '["digits@3"]'))
    with pytest.raises(SuiteError, match=r"profiles\.quick\.datasets: dataset 'digits' has one fixed split"):
        load_suite(str(tiny_path))


def test_completion_knows_files(table: Path) -> None:
    (table.parent / "folder").mkdir()
    assert own_files(f"csv:{table.parent}/") == [f"csv:{table.parent}/folder/", f"csv:{table}"]
    assert own_files(f"csv:{table.parent}/mi") == [f"csv:{table}"]
    assert own_files(f"npy:{table.parent}/mi") == []
    (table.parent / "mine.tar.gz").touch()
    assert own_files(f"tar:{table.parent}/mi") == [f"tar:{table.parent}/mine.tar.gz"]
    names = complete("datasets")(None, None, "")  # type: ignore[arg-type]
    assert "redwine" in names
    assert complete("datasets")(None, None, "pa") == ["parkinsons", "parkinsons-original", "parquet:"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["plan", "--dataset", "csv:nowhere.csv"], 2, "no file"),
        (["plan", "--dataset", "digits@1"], 2, "one fixed split"),
        (["plan", "--dataset", "redwine"], 2, "redwine needs winequality-red.csv: bench data fetch redwine"),
        (["plan", "--dataset", "known-density-8"], 2, "can be fitted to known-density-8"),
        (["data", "fetch", "redwin"], 2, "did you mean 'redwine'?"),
        (["data", "fetch", "redwine", "--accept-unverified"], 2, "--from PATH"),
        (["data", "fetch", "redwine", "--from", "nowhere"], 2, "there is no nowhere"),
        (["data", "fetch", "miniboone-small"], 2, "--from FOLDER"),
        (["data", "fetch", "hepmass-sim"], 0, "nothing to fetch"),
        (["data", "list"], 0, "absent"),
    ],
)
def test_the_command_line_says_it_in_a_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    assert code == 0 or isinstance(result.exception, SystemExit)
    assert message in result.output


def test_files_from_disk_are_taken_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    np.savetxt(tmp_path / "w.csv", np.random.default_rng(0).random((200, 12)), "%.2f", ";", header="names", comments="")
    fetch = ["data", "fetch", "redwine", "--from", str(tmp_path / "w.csv")]
    for arguments, code, message in (
        (fetch, 2, "not the official"),
        ([*fetch, "--accept-unverified"], 0, "redwine: winequality-red.csv"),
        (["data", "list"], 0, "redwine +UNVERIFIED"),
        (["data", "verify", "redwine"], 0, "redwine: no digest on record"),
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        assert re.search(message, result.output), result.output


def test_data_are_in_a_cache_of_the_user_unless_the_environment_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert f"{tmp_path}/cache/gebm-bench" in CliRunner().invoke(main, ["data", "list"]).output


@pytest.mark.parametrize(
    ("made", "kind"), [("pics", "folder"), ("table.csv", "csv"), ("rows.npy", "npy"), ("pics.tar", "tar")]
)
def test_a_file_or_folder_without_its_kind_is_told_how_to_be_written(made, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / made).mkdir() if kind == "folder" else (tmp_path / made).touch()
    with pytest.raises(UnknownNameError, match=f"no dataset '{made}', but there is such a {kind}; write {kind}:{made}"):
        parse(made)


def test_a_file_that_is_no_dataset_is_not_proposed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UnknownNameError, match=r"no dataset 'notes\.txt'; there are"):
        parse("notes.txt")
