"""Two sides pair where everything but the code and the machine is equal; whatever else differs is said."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.core.manifests import manifests, write_tag
from bench.core.run_folder import StoreError
from bench.core.store import Store
from bench.results.compare import compare_stores
from bench.stats import Estimate


def made(synthetic: ModuleType, root: Path, **options: Any) -> Store:
    store: Store = synthetic.make(root, **({"datasets": 1, "models": 2, "seeds": 3} | options))
    return store


def compared(first: object, second: object) -> dict[str, Any]:
    return compare_stores(str(first), str(second))


def reasons(found: dict[str, Any]) -> set[str]:
    return {each["reason"] for each in found["not_comparable"]}


def paths(changes: list[dict[str, Any]]) -> set[str]:
    return {change["path"] for change in changes}


def test_a_store_differs_from_itself_in_nothing(synthetic: ModuleType, tmp_path: Path) -> None:
    root = made(synthetic, tmp_path / "one").root
    found = compared(root, root)
    assert (found["pairs"], found["equal_scores"]) == (6, 60)
    assert not any(found[name] for name in ("identity", "surroundings", "differences", "not_comparable"))


def test_pairs_have_paired_differences_in_the_better_direction(synthetic: ModuleType, tmp_path: Path) -> None:
    one = made(synthetic, tmp_path / "one").root
    other = made(synthetic, tmp_path / "two", shift=0.5).root
    found = compared(one, other)
    assert (found["pairs"], len(found["differences"])) == (6, 60)
    for each in found["differences"]:
        assert each["estimate"]["mean"] == pytest.approx(-0.5)
        lower = each["metric"].startswith(("fd", "kid"))
        assert each["reading"] == ("first is better" if lower else "second is better")
    there, back = (Estimate(**each["differences"][0]["estimate"]) for each in (found, compared(other, one)))
    assert back == -there


def test_what_does_not_pair_says_why(synthetic: ModuleType, tmp_path: Path) -> None:
    one = made(synthetic, tmp_path / "one", models=3, seeds=2)
    two = made(synthetic, tmp_path / "two", datasets=2)
    found = compared(one.root, two.root)
    assert found["pairs"] == 4
    why = {(each["side"], each["dataset"], each["model"]): each["reason"] for each in found["not_comparable"]}
    assert why[1, "data0", "model02"] == "the other side has no model02 on data0"
    assert why[2, "data0", "model00"] == "the other side has other seeds of it"
    assert why[2, "data1", "model01"] == "the other side has no run on data1"
    assert paths(found["identity"]) == {"dataset", "dataset_digest", "model"}


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"config": {"training": {"learning_rate": 0.5}}}, "training.learning_rate", "differs in "),
        ({"dataset_digest": "f" * 64}, "dataset_digest", "data0 has other content there: dataset_digest differs"),
    ],
)
def test_what_differs_in_identity_is_named_by_path(
    synthetic: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    path: str,
    words: str,
) -> None:
    one = made(synthetic, tmp_path / "one").root
    real = synthetic.run_spec
    monkeypatch.setattr(synthetic, "run_spec", lambda *place: real(*place) | changes)
    found = compared(one, made(synthetic, tmp_path / "two").root)
    assert (found["pairs"], found["differences"]) == (0, [])
    assert path in paths(found["identity"])
    assert all(reason.startswith(words) and path in reason for reason in reasons(found))


def test_two_machines_are_told_apart_and_still_pair(synthetic: ModuleType, tmp_path: Path) -> None:
    store = made(synthetic, tmp_path / "one")
    other = made(synthetic, tmp_path / "two", shift=0.1)
    for path in (other.root / "runs").rglob("status.json"):
        stage = {"roots": [], "code": {"gebm": "1"}, "versions": {}}
        synthetic.change_listed(path.parent, "training.json", stage=stage, device="cuda")
        files = json.loads(path.read_text())["files"]
        synthetic.change(path, files={name: digest for name, digest in files.items() if name != "env.json"})
    found = compared(store.root, other.root)
    assert paths(found["surroundings"]) == {"code", "device"}
    assert (found["pairs"], len(found["differences"]), found["not_comparable"]) == (6, 60, [])
    code = next(change["second"][0] for change in found["surroundings"] if change["path"] == "code")
    assert compared(f"{other.root}@code={code[:6]}", f"{other.root}@device=cuda")["pairs"] == 6
    with pytest.raises(StoreError, match="no runs in"):
        compared(f"{store.root}@code={code[:6]}", other.root)


def test_scores_under_other_keys_are_not_compared(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(synthetic, tmp_path / "one").root
    monkeypatch.setattr(synthetic, "KEY", synthetic.KEY.replace("1,197", "999"))
    found = compared(one, made(synthetic, tmp_path / "two").root)
    assert (found["pairs"], found["equal_scores"], found["differences"]) == (6, 0, [])
    assert "fd[data0-cnn] is scored under different keys" in reasons(found)


def test_one_seed_has_no_interval_and_failures_are_named(synthetic: ModuleType, tmp_path: Path) -> None:
    one = made(synthetic, tmp_path / "one", seeds=1)
    two = made(synthetic, tmp_path / "two", seeds=1, shift=1.0)
    failed, unfinished = sorted((two.root / "runs").rglob("status.json"))
    synthetic.change(failed, state="failed", reason="out of memory", steps_done=0)
    found = compared(one.root, two.root)
    assert {each["reading"] for each in found["differences"]} == {"one seed: no interval"}
    assert [(each["side"], each["reason"]) for each in found["not_comparable"]] == [(2, "failed: out of memory")]
    synthetic.change(unfinished, state="unfinished", reason="3 of 100 steps", steps_done=3)
    found = compared(one.root, two.root)
    assert not found["differences"]
    assert found["not_comparable"][-1]["reason"] == "unfinished: after 3 of 100 steps"


def test_tags_name_runs_and_outlive_their_suite(synthetic: ModuleType, tmp_path: Path) -> None:
    store = made(synthetic, tmp_path / "one")
    (manifest,) = manifests(store)
    for tag, runs in (("before", slice(0, 3)), ("after", slice(3, None)), ("before", slice(2, 3))):
        write_tag(store, tag, manifest | {"runs": manifest["runs"][runs]})
    (store.root / "suites" / "synthetic-quick.json").unlink()
    found = compared(f"{store.root}@before", f"{store.root}@tag=after")
    assert (found["pairs"], len(found["not_comparable"])) == (0, 2)
    with pytest.raises(StoreError, match=r"no runs tagged 'now'.*tags: after, before"):
        compared(f"{store.root}@now", store.root)


def test_the_command(synthetic: ModuleType, tmp_path: Path) -> None:
    one = made(synthetic, tmp_path / "one").root
    other = made(synthetic, tmp_path / "two", shift=0.5, models=3).root
    runner = CliRunner()
    shown = runner.invoke(main, ["compare", str(one), str(other)])
    assert shown.exit_code == 0, shown.output
    for words in ("What differs", "pairs of runs: 6", "Not comparable", "the other side has no model02"):
        assert words in " ".join(shown.output.split())
    listed = json.loads(runner.invoke(main, ["compare", str(one), str(other), "--json"]).output)
    assert listed == json.loads(json.dumps(compared(one, other)))
    for side, message in (
        (f"{one}@suit=x", "write FOLDER, or FOLDER@WHAT=NAME with one of tag, suite, code, device"),
        (f"{one}@code=", "write FOLDER, or FOLDER@WHAT=NAME"),
        (f"{one}@suite=none", "no runs of suite 'none'"),
        (f"{one}@device=none", "no runs in"),
        ("nowhere", "no store at nowhere"),
    ):
        done = runner.invoke(main, ["compare", str(one), side])
        code = 1 if side == "nowhere" else 2
        assert (done.exit_code, message in done.output) == (code, True), done.output
