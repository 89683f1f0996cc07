"""Claims are data: what is wrong with a file is said in a line, and anyone can add their own."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bench.claims.model
from bench.claims import ClaimError, load_claims
from bench.cli import main
from bench.core.store import Store

MINE = """
[[claim]]
id = "mine"
sentence = "hinge beats non-saturating"
source = "me"
suites = ["images"]
metric = "fd"
rule = "difference"
treatment = { model = "gan-hinge", sampler = "base" }
reference = { model = "gan-ns" }
"""
OWN = "my_package:CLAIMS"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


def test_the_papers_claims_are_whole() -> None:
    shipped = load_claims()
    assert len(shipped) >= 8
    betas = {claim.id: claim.treatment.beta for claim in shipped if claim.id.startswith(("better-than", "longer"))}
    assert len(betas) == 8
    assert all(beta == ((100.0,) if name.endswith("-cold") else (1.0,)) for name, beta in betas.items())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"fd"', '"fdd"', "claim.0.metric: no metric 'fdd'; did you mean 'fd'?"),
        ('"difference"', '"better"', 'claim.0.rule: must be one of "difference", "margin", "trend", got "better"'),
        ('source = "me"\n', "", "claim.0.source: required key is missing"),
        ("sentence =", "sentense =", "claim.0.sentense: unknown key; did you mean 'sentence'?"),
        ("id = ", "id ", "not valid TOML: Expected '=' after a key in a key/value pair (at line 3"),
        ('"fd"', '"acceptance"', "no direction of 'acceptance' is better"),
        ('"difference"', '"margin"', "margin belongs to the rule 'margin', which needs it"),
        ('"difference"', '"trend"', "a trend has no reference"),
        ('reference = { model = "gan-ns" }', "", "the rule 'difference' needs a reference"),
        ('{ model = "gan-ns" }', '{ model = "gan-ns", value = 1 }', "not both and not neither"),
        ('{ model = "gan-ns" }', "{ steps = 3 }", "not both and not neither"),
        ('"mine"', '"better-than-own-base"', "the id 'better-than-own-base' is taken by"),
        ("[[claim]]", "[[claims]]", "unknown key; did you mean 'claim'?"),
        ('sampler = "base" }', 'sampler = "base", steps = "all" }', "steps = 'all' belongs to the rule 'trend'"),
        (MINE, MINE + MINE, "the id 'mine' is there twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(mine: Path, old: str, new: str, message: str) -> None:
    mine.write_text(MINE.replace(old, new))
    with pytest.raises(ClaimError) as caught:
        load_claims([mine])
    assert str(caught.value).startswith(str(mine))
    assert message.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_installed_packages_add_claims(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(value: Any) -> None:
        point = EntryPoint("mine", OWN, "gebm_bench.claims")
        monkeypatch.setattr(EntryPoint, "load", lambda _: value)
        monkeypatch.setattr(bench.claims.model, "entry_points", lambda group: [point] if "claims" in group else [])

    installed(str(mine))
    assert load_claims()[-1].id == "mine"
    installed(3)
    with pytest.raises(ClaimError, match=r"entry point 'mine' of gebm_bench\.claims is no path"):
        load_claims()


def test_the_command_on_an_empty_store(tmp_path: Path, mine: Path) -> None:
    store = Store(tmp_path / "store").create()
    runner = CliRunner()
    done = runner.invoke(main, ["claims", "--store", str(store.root), "--claims", str(mine)])
    assert done.exit_code == 0
    assert "mine: hinge beats non-saturating" in done.output
    assert "0 supported, 0 contradicted, 0 inconclusive, 0 not enough seeds" in done.output
    texts = [
        runner.invoke(main, ["claims", "--store", str(store.root), *words]).output
        for words in (["--format", "json"], ["--json"])
    ]
    assert texts[0] == texts[1]
    assert {row["verdict"] for row in json.loads(texts[0])} == {"not run"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--claims", "absent.toml"], 2, "absent.toml: cannot be read"),
        (["--store", "nowhere"], 1, "no store at nowhere"),
        (["--suit", "images"], 2, "--suite"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "runs").create()
    done = CliRunner().invoke(main, ["claims", *arguments])
    assert done.exit_code == code
    assert message in done.output
    assert isinstance(done.exception, SystemExit)
