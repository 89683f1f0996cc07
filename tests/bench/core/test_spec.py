"""Suites: what is wrong is named with file and key; identities say what was run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core import registry
from bench.core.plan import Selection, make_plan
from bench.core.spec import RunSpec, Suite, SuiteError
from bench.core.store import Store
from bench.core.suite_files import load_suite

from ..conftest import TINY


@pytest.fixture
def spec(tiny: Suite, tmp_path: Path) -> RunSpec:
    """A resolved run."""
    return make_plan(tiny, Selection(models=["gebm"], seeds=[0]), Store(tmp_path / "none"))[0].task.spec


def test_wgan_gp_has_its_own_penalty_and_everybodys_networks(tiny: Suite, tmp_path: Path) -> None:
    plans = make_plan(tiny, Selection(models=["gan-ns", "wgan-gp"], seeds=[0]), Store(tmp_path / "none"))
    other, wgan = (planned.task.spec for planned in plans)
    assert other.training is not None
    assert wgan.training == other.training.model_copy(update={"penalty": 10.0, "penalty_norm": 1.0})
    assert (wgan.network, wgan.refit, wgan.dataset_digest) == (other.network, None, other.dataset_digest)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("base_steps = 120", "base_stepz = 120", ["profiles.quick.training.base_stepz", "did you mean 'base_steps'?"]),
        ("base_steps = 120", "base_steps = -1", ["profiles.quick.training.base_steps", "greater than or equal to 1"]),
        ("base_steps = 120", "base_steps = 'x'", ["profiles.quick.training.base_steps", "integer", "'x'"]),
        ("base_steps = 120", "", ["profiles.quick.training.base_steps", "required key is missing"]),
        ('family = "mlp"', 'family = "cnn"', ["profiles.quick.network.family", "'mlp'", "'cnn'"]),
        ('family = "mlp"', "", ["profiles.quick.network.family", "required key is missing"]),
        (
            'family = "mlp"',
            'family = "sngan"\nwidht = 3',
            ["profiles.quick.network.widht", "did you mean 'width'?", "(and 2 more)"],
        ),
        ('"gan-ns"', '"gan-nss"', ["profiles.quick.models", "no model 'gan-nss'", "did you mean 'gan-ns'?"]),
        ('"digits"', '"digit"', ["profiles.quick.datasets", "did you mean 'digits'?"]),
        ('sampler = "ula"', 'sampler = "ulla"', ["chains.0.sampler", "did you mean 'ula'?"]),
        ('sampler = "ula"', 'sampler = "ula"\nbetta = 1', ["chains.0.betta", "did you mean 'beta'?"]),
        ("[profiles.quick]", "[profiles.quik]", ["profiles.quik", "quick"]),
        ("ema = 0.9", "ema = 1.0", ["training.ema", "less than 1"]),
        ('name = "tiny"', 'name = "tiny', ["not valid TOML"]),
        ("seeds = [0, 1]", "seeds = []", ["profiles.quick.seeds"]),
        ("seeds = [0, 1]", "seeds = [0, 0]", ["profiles.quick.seeds", "listed twice"]),
        (
            'sampler = "ula"',
            'sampler = "kinetic"\nsettings = { frictoin = 100 }',
            ["chains.0: sampler 'kinetic' has no setting 'frictoin'", "did you mean 'friction'?"],
        ),
        (
            'sampler = "ula"',
            'sampler = "ula"\nsettings = { step_size = 1 }',
            ["evaluation", "the step_size of ula stands beside its settings, not among them"],
        ),
        ("lengths = [2, 4]", "lengths = [2, 2]", ["chains.0.lengths", "listed twice"]),
        ("step_size = 1e-2", "step_size = inf", ["chains.0.step_size", "finite"]),
        ("ema = 0.9", "ema = 0.9\nbetas = [2.0, 0.9]", ["training.betas.0", "less than 1"]),
        ("base_steps = 120", "base_steps = true", ["training.base_steps", "integer"]),
        ("samples = 100", "samples = 5", ["evaluation.samples", "10"]),
        ('name = "tiny"', 'name = "../tiny"', ["name", "../tiny"]),
    ],
)
def test_a_bad_suite_names_file_key_and_what_is_allowed(
    tmp_path: Path, before: str, after: str, expected: list[str]
) -> None:
    assert before in TINY
    path = tmp_path / "mine.toml"
    path.write_text(TINY.replace(before, after, 1))
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    message = str(caught.value)
    assert "mine.toml" in message
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_unknown_suite_gets_the_nearest() -> None:
    with pytest.raises(SuiteError, match="did you mean 'images'"):
        load_suite("imges")
    with pytest.raises(SuiteError, match="no suite file"):
        load_suite("./nowhere.toml")


@pytest.mark.parametrize("name", registry.suite_files())
def test_shipped_suites_are_valid(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert "quick" in suite.profiles


def test_identity_leaves_out_the_seed_only(spec: RunSpec) -> None:
    assert spec.model_copy(update={"seed": 7}).identity == spec.identity
    changes = {
        "dataset_digest": "0" * 64,
        "model": "gan-ns",
        "base_seed": 1,
        "network": spec.network.model_copy(update={"latent": 5}),
        "training": spec.training.model_copy(update={"learning_rate": 2e-4}),
        "refit": None,
        "precision": "bf16",
        "threads": 2,
        "schema_version": 2,
    }
    identities = {spec.model_copy(update={key: value}).identity for key, value in changes.items()}
    assert len(identities | {spec.identity}) == len(changes) + 1


def test_identity_survives_a_round_trip_through_json(spec: RunSpec) -> None:
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec
    assert RunSpec.model_validate_json(spec.model_dump_json()).identity == spec.identity


def test_settings_of_a_suite_are_those_of_the_library(spec: RunSpec) -> None:
    """The TOML's keys and the library's settings may not drift apart; the precision is one of a whole run."""
    from gebm.training import RefitSettings, TrainingSettings

    assert spec.refit is not None
    for ours, theirs in ((spec.training, TrainingSettings), (spec.refit, RefitSettings)):
        assert {*type(ours).model_fields, "precision"} == set(theirs.__dataclass_fields__)
        theirs(**ours.model_dump(), precision=spec.precision)
