"""Files of suites: everything that is wrong with one is found, on its line and in plain words; what is written about them is true."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.components import registry
from bench.core.lines import line_of
from bench.core.plan import Selection, make_plan
from bench.core.suite import KINDS, SuiteError, check_suite, load_suite
from bench.core.suite_docs import commented_suite, json_schema, reference
from bench.core.task import Places

from ..conftest import TINY

WRONG = {
    'name = "tiny"': ('name = "so tiny"', "name: must be a name of letters, digits, dots, dashes and underscores"),
    'models = ["gebm",': ('models = ["gemb",', "no model 'gemb'; did you mean 'gebm'?"),
    "seeds = [0, 1]": ('seeds = [0, "1"]', 'seeds.1: must be a whole number from 0 to 1,000,000,000, got "1"'),
    "minutes_per_run = 0.02": ("learning_rate = 1e-3", "unknown key; did you mean 'training.learning_rate'?"),
    "latent = 4": ("latnt = 4", "network 'mlp' has no setting 'latnt'; did you mean 'latent'?"),
    "base_steps = 60": ("base_steps = -3", "base_steps must be a whole number from 1 to 1,000,000,000, got -3"),
    "ema = 0.9": ("ema = 1.0", "ema must be a number in [0, 1), got 1.0"),
    "penalty_every = 4": ('penalty = "1e-3"', 'training.penalty: must be a number from 0 to 1,000,000, got "1e-3"'),
    "steps = 20": (
        'decay = "linaer"\nsteps = 20',
        'decay: must be one of "constant", "linear", "cosine", got "linaer"',
    ),
    "check_every = 10": ("betas = [0.5]", "betas: must be a list of 2, each a number in [0, 1), got [0.5]"),
    "samples = 100\n": ("sampels = 100\n", "unknown key; did you mean 'samples'?"),
    "beta = 1": ("beta = -1", 'a temperature is a number from 0 to 1,000,000 or "calibrated", got -1'),
    "lengths = [2, 4]": ("lengths = [2, 2]", "lengths: nothing may be listed twice"),
}
"""What stands in the tiny suite, what is put in its place, and what is said of that."""


def test_all_problems_of_a_file_are_found_at_once_each_on_its_line(tmp_path: Path) -> None:
    text = TINY
    for old, (new, _) in WRONG.items():
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    found = {line: str(problem) for line, problem in check_suite(str(path))}
    lines = text.splitlines()
    for new, message in WRONG.values():
        line = 1 + next(number for number, each in enumerate(lines) if each.startswith(new.splitlines()[0]))
        assert message in found.pop(line), line
    assert found == {}  # not that samples is missing, which is misspelt


@pytest.mark.parametrize(("old", "new", "message"), [(old, *change) for old, change in WRONG.items()], ids=list(WRONG))
def test_a_suite_with_one_problem_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(TINY.replace(old, new, 1))
    with pytest.raises(SuiteError) as refused:
        load_suite(str(path))
    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert message in said
    assert " (line " in said
    assert not any(phrase in said.lower() for phrase in ("input should", "valid integer", "pydantic", "validation"))


CHAIN = TINY[TINY.index("[[profiles.quick.evaluation.chains]]") :]
HEADER = "[profiles.quick.evaluation.chains]"
MISTAKES = {
    "a second chain": (
        CHAIN,
        CHAIN + CHAIN.replace("beta = 1", 'beta = "optimal"'),
        "number from 0 to 1,000,000 or \"calibrated\", got 'optimal'",
    ),
    "one bracket": (f"[{HEADER}]", HEADER, f"must be a list of tables, each under a line [{HEADER}] of its own"),
    "one bracket twice": (f"[{HEADER}]", f"{HEADER}\n{HEADER}", "a list, each under [[...]] with two brackets"),
    "no value": ("seeds = [0, 1]", "seeds = zero", "not valid TOML: Invalid value"),
    "no end": ("lengths = [2, 4]", "lengths = [2, 4", "not valid TOML: Unclosed array"),
    "no kind": ("base_seed", 'kind = "image"\nbase_seed', "kind: no kind of suite 'image'; did you mean 'images'?"),
    "capitals": ("base_steps = 60", "Base_Steps = 60", "Base_Steps: unknown key; did you mean 'base_steps'?"),
    "a capital below": ("ema = 0.9", "Samples = 9", "Samples: unknown key"),
    "a table misspelt": ("quick.training]", "quick.trainning]", "trainning: unknown key; did you mean 'training'?"),
    "no range": ("seeds = [0, 1]", 'seeds = "0:4"', "seeds: '0:4' is not a list of seeds; write whole numbers from 0"),
}
"""What is replaced in the tiny suite, by what, and what is said of it."""


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES.values(), ids=[*MISTAKES])
def test_one_mistake_is_one_problem_on_a_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path, text = tmp_path / "wrong.toml", TINY.replace("\nsummary", "\nbase_seed = 0\nsummary")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    checked = CliRunner().invoke(main, ["suite", "check", str(path)])
    assert checked.exit_code == 1
    (line,) = checked.stdout.splitlines()
    assert re.match(rf"{path}:\d+: ", line)
    assert said in line
    assert checked.stderr == f"bench: {path}: 1 problem\n"


def test_seeds_are_written_as_the_command_line_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "range.toml"
    path.write_text(TINY.replace("seeds = [0, 1]", 'seeds = "0-4,7"'))
    assert check_suite(str(path)) == []
    assert load_suite(str(path)).profile("quick").seeds == (0, 1, 2, 3, 4, 7)
    seeds = json_schema()["$defs"]["ImagesProfile"]["properties"]["seeds"]
    assert {each["type"] for each in seeds["anyOf"]} == {"array", "string"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_suite_shows_what_a_variant_looks_like(tmp_path: Path, kind: str) -> None:
    """With the comment signs taken away it is one."""
    text, path = commented_suite("mine", kind), tmp_path / "mine.toml"
    start = text.index("#[[profiles.quick.variants]]")
    table = [line for line in text[start:].split("\n\n")[0].splitlines() if not line.startswith("# ")]
    assert table[-1] == "#set = { refit.steps = 2000 }"
    path.write_text(text + "\n" + "\n".join(line.lstrip("#") for line in table) + "\n")
    assert check_suite(str(path)) == []
    (variant,) = load_suite(str(path)).profile("quick").variants
    planned = make_plan(load_suite(str(path)), Selection(seeds=[0]), Places(tmp_path / "store", tmp_path))
    assert variant.label in {p.label for p in planned}


@pytest.mark.parametrize("name", registry.suite_files())
def test_nothing_is_wrong_with_shipped_suites(name: str) -> None:
    assert check_suite(name) == []


def test_overrides_of_a_dataset_are_as_strict_as_what_they_override(tmp_path: Path) -> None:
    path = tmp_path / "density.toml"
    shipped = registry.suite_files()["density"].read_text()
    wrong = '[profiles.quick.overrides.redwine.evaluation]\npartition_samples = "1000"\n'
    path.write_text(f"{shipped}\n{wrong}[profiles.quick.overrides.power.refit]\nstep = 3\n")
    ((_, problem),) = check_suite(str(path))
    assert "overrides of redwine: cannot set evaluation.partition_samples: must be a whole number" in problem.message
    assert "overrides of power: cannot set refit.step: unknown key; did you mean 'steps'?" in problem.message


LAID_OUT = """\
# a comment
name = "x"

[profiles.quick]
datasets = [
    "one", # the first

    "two",
    ["three",
     "four"],
]
flows.realnvp = { family = "realnvp" }
text = '''
[not.a.table]
'''
[[profiles.quick.chains]]
beta = 1
[[profiles.quick.chains]]
beta = 2
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("name", 2),
        ("profiles.quick", 4),
        ("profiles.quick.datasets", 5),
        ("profiles.quick.datasets.0", 6),
        ("profiles.quick.datasets.1", 8),
        ("profiles.quick.datasets.2.1", 10),
        ("profiles.quick.flows.realnvp.family", 12),
        ("profiles.quick.text", 13),
        ("profiles.quick.chains.0", 16),
        ("profiles.quick.chains.1.beta", 19),
        ("profiles.quick.chains.1.sampler", 18),
        ("profiles.none", 4),
        ("nothing", 1),
    ],
)
def test_a_key_is_found_on_its_line(keys: str, line: int) -> None:
    assert line_of(LAID_OUT, keys.split(".")) == line


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_suite_is_right_and_has_every_key(tmp_path: Path, kind: str) -> None:
    text = commented_suite("mine", kind)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert check_suite(str(path)) == []
    suite = load_suite(str(path))
    assert (suite.name, suite.kind) == ("mine", kind)
    planned = make_plan(suite, Selection(seeds=[0]), Places(tmp_path / "store", tmp_path))
    assert planned
    shipped = load_suite({"images": "images", "chains": "toy", "density": "density"}[kind])
    same = make_plan(shipped, Selection(seeds=[0]), Places(tmp_path / "store", tmp_path))
    assert [p.task.spec for p in planned] == [p.task.spec for p in same]
    keys = {line.lstrip("#").partition(" = ")[0] for line in text.splitlines()}
    assert {"datasets", "threads", "lengths", "decay_factor"} - keys == ({"lengths", "decay_factor"} - keys)
    assert set(type(suite.profiles["quick"]).model_fields) - keys <= {"minutes_per_run", *all_tables(text)}


def all_tables(text: str) -> set[str]:
    """The last names of all tables of a file, those that are comments too."""
    headers = (line.strip("#[]") for line in text.splitlines() if line.lstrip("#").startswith("["))
    return {part for header in headers for part in header.split(".")} | {
        "trained_as",
        "stage_steps",
        "longer_base_steps",
    }


def test_defaults_in_a_new_suite_are_the_defaults(tmp_path: Path) -> None:
    """What is commented out may be put in force without any effect."""
    text = commented_suite("mine", "images")
    optional = [line for line in text.splitlines() if line.startswith("#") and not line.startswith("# ")]
    assert len(optional) > 40
    kept, commented = [], False
    for line in text.splitlines():
        if line.lstrip("#").startswith("["):
            commented = line.startswith("#")
        kept.append(line[1:] if line in optional and not commented and not line.startswith("#variants") else line)
    (tmp_path / "mine.toml").write_text("\n".join(kept))
    assert load_suite(str(tmp_path / "mine.toml")).profiles == load_suite_of(tmp_path, text).profiles


def load_suite_of(folder: Path, text: str) -> Any:
    (folder / "other.toml").write_text(text)
    return load_suite(str(folder / "other.toml"))


def test_the_page_of_reference_is_current_and_complete() -> None:
    page = reference()
    assert page == (Path(__file__).parents[3] / "docs" / "suite-reference.md").read_text(encoding="utf-8"), (
        "run: bench suite reference > docs/suite-reference.md"
    )
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    without = [row.split("`")[1] for row in rows if row.split(" | ")[-1].strip(" |") == ""]
    assert without == []


def test_the_schema_allows_shipped_suites_and_says_what_keys_mean() -> None:
    schema = json_schema()
    training = schema["$defs"]["TrainingSettings"]
    assert training["required"] == ["base_steps"]
    assert training["additionalProperties"] is False
    assert training["properties"]["ema"]["minimum"] == 0
    assert training["properties"]["ema"]["exclusiveMaximum"] == 1
    assert "moving average" in training["properties"]["ema"]["description"]
    for path in registry.suite_files().values():
        content = tomllib.loads(path.read_text())
        (profile,) = (
            each["then"]
            for each in schema["allOf"]
            if each["if"]["properties"]["kind"]["const"] == content.get("kind", "images")
        )
        allowed = schema["$defs"][profile["$ref"].rpartition("/")[2]]["properties"]
        assert content.keys() <= allowed.keys()
    json.dumps(schema)
