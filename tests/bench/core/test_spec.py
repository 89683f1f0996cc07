"""Suites: what is wrong is named with file and key; identities say what was run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.components import registry
from bench.core.plan import Selection, make_plan
from bench.core.spec import RunSpec
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places

from ..conftest import TINY, plan_one


@pytest.fixture
def spec(tiny: Suite, tmp_path: Path) -> RunSpec:
    """A resolved run."""
    return plan_one(tiny, Store(tmp_path / "none")).task.spec


def test_wgan_gp_has_its_own_penalty_and_everybodys_networks(tiny: Suite, tmp_path: Path) -> None:
    plans = make_plan(tiny, Selection(models=["gan-ns", "wgan-gp"], seeds=[0]), Places(tmp_path / "none"))
    other, wgan = (planned.task.spec for planned in plans)
    own = {"penalty": 10.0, "penalty_norm": 1.0, "penalty_points": "interpolates"}
    assert wgan.config["training"] == other.config["training"] | own
    assert wgan.config["network"] == other.config["network"]
    assert (wgan.config["refit"], wgan.dataset_digest) == (None, other.dataset_digest)


STEPS, FAMILY, ULA = "base_steps = 60", 'family = "mlp"', 'sampler = "ula"'
TRAINING, NETWORK, CHAIN = "profiles.quick.training", "profiles.quick.network", "profiles.quick.evaluation.chains.0"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (STEPS, "base_stepz = 60", [f"{TRAINING}.base_stepz: unknown key", "did you mean 'base_steps'?"]),
        (STEPS, "base_steps = -1", [f"{TRAINING}", "base_steps must be a whole number from 1 to", "-1"]),
        (STEPS, "base_steps = 1e12", [f"{TRAINING}.base_steps", "must be a whole number from 1 to"]),
        (STEPS, "base_steps = 'x'", [f"{TRAINING}.base_steps", "must be a whole number", '"x"']),
        (STEPS, "base_steps = '60'", [f"{TRAINING}.base_steps", "must be a whole number", '"60"']),
        (STEPS, "base_steps = true", [f"{TRAINING}.base_steps", "must be a whole number", "true"]),
        (STEPS, "", [f"{TRAINING}.base_steps: required key is missing"]),
        (FAMILY, 'family = "cnn"', [f"{NETWORK}.family: no network 'cnn'", "mlp"]),
        (FAMILY, "", [f"{NETWORK}: family: required key is missing"]),
        (FAMILY, 'family = "sngan"\nwidht = 3', [NETWORK, "no setting 'widht'", "did you mean 'width'?"]),
        ("latent = 4", "latent = '4'", [NETWORK, "latent", '"4"']),
        ('"gan-ns"', '"gan-nss"', ["profiles.quick.models: no model 'gan-nss'", "did you mean 'gan-ns'?"]),
        ('"digits"', '"digit"', ["profiles.quick.datasets", "did you mean 'digits'?"]),
        (ULA, 'sampler = "ulla"', [f"{CHAIN}.sampler: no sampler 'ulla'", "did you mean 'ula'?"]),
        (ULA, f"{ULA}\nbetta = 1", [f"{CHAIN}.betta: unknown key", "did you mean 'beta'?"]),
        (ULA, 'sampler = "kinetic"\nsettings = { frictoin = 100 }', [CHAIN, "frictoin", "did you mean 'friction'?"]),
        (ULA, f"{ULA}\nsettings = {{ step_size = 1 }}", [CHAIN, "the step_size of ula stands beside its settings"]),
        ("step_size = 1e-2", "step_size = inf", [f"{CHAIN}.step_size", "must be a number in (0, 1000000], got inf"]),
        ("step_size = 1e-2", "step_size = 1e9", [CHAIN, "step_size", "must be a number in (0, 1000000]", "1000000000"]),
        ("step_size = 1e-2", "step_size = 1e3", [CHAIN, "sampler 'ula'", "step_size", "100"]),
        ("lengths = [2, 4]", "lengths = [2, 2]", [f"{CHAIN}.lengths", "listed twice"]),
        ("[profiles.quick]", "[profiles.quik]", ["profiles.quik"]),
        ("ema = 0.9", "ema = 1.0", [TRAINING, "ema must be", "[0, 1)", "1.0"]),
        ("ema = 0.9", "ema = 0.9\nbetas = [2.0, 0.9]", [TRAINING, "betas", "2.0"]),
        ("samples = 100", "samples = 5", ["evaluation.samples", "10", "5"]),
        ("partition_samples = 200", "partition_samples = 1000000000000", ["partition_samples", "1000000000"]),
        ("seeds = [0, 1]", "seeds = []", ["profiles.quick.seeds"]),
        ("seeds = [0, 1]", "seeds = [0, 0]", ["profiles.quick.seeds", "listed twice"]),
        ("seeds = [0, 1]", "seeds = [0]\nthreads = 1000000", ["profiles.quick.threads", "from 1 to 4,096", "1000000"]),
        ('name = "tiny"', 'name = "tiny', ["not valid TOML"]),
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
    config = spec.config
    changes = [
        {"dataset_digest": "0" * 64},
        {"model": "gan-ns"},
        {"base_seed": 1},
        {"threads": 2},
        {"schema_version": 1},
        {"config": config | {"refit": None}},
        {"config": config | {"network": config["network"] | {"latent": 5}}},
        {"config": config | {"training": config["training"] | {"learning_rate": 2e-4}}},
        {"config": config | {"training": config["training"] | {"precision": "bf16"}}},
    ]
    identities = {spec.model_copy(update=change).identity for change in changes}
    assert len(identities | {spec.identity}) == len(changes) + 1


def test_identity_survives_a_round_trip_through_json(spec: RunSpec) -> None:
    again = RunSpec.model_validate_json(spec.model_dump_json())
    assert (again, again.identity) == (spec, spec.identity)
