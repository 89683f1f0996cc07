"""GANs by their published recipes: what differs from the matched arm, and what the certificate says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import bench.report.certificate as certificates
from bench.core.spec import RunSpec
from bench.core.store import Store
from bench.core.suite import Suite
from bench.images.models import PlainCriticModel
from gebm.energy_steps import EnergySteps
from gebm.networks.mlp import MLP
from gebm.networks.plain import remove_spectral_norm

from ..conftest import changed, do, plan_one
from ..core.test_runner import built

PUBLISHED = {
    "sngan": ("gan-hinge", {"penalty": 0.0, "n_critic": 5}),
    "wgan-gp-published": ("wgan-gp", {"penalty_every": 1, "n_critic": 5, "betas": [0.0, 0.9]}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_the_recipe_differs(name: str, tiny: Suite, store: Store) -> None:
    matched, changes = PUBLISHED[name]
    own, other = (plan_one(tiny, store, each).task.spec.config for each in (name, matched))
    assert own["training"] == other["training"] | changes
    assert {key: own[key] for key in ("network", "objective")} == {key: other[key] for key in ("network", "objective")}
    assert (own["arm"], "arm" in other) == ("own", False)
    assert do(plan_one(tiny, store, name)).state == "done"
    refit = plan_one(tiny, store, f"{name}+refit")
    assert do(refit).state == "done"


def test_a_plain_critic_starts_from_the_weights_that_spectral_norm_normalises(tiny: Suite, store: Store) -> None:
    plain, normed = (built(plan_one(tiny, store, name).task) for name in ("wgan-gp-published", "wgan-gp"))
    assert isinstance(plain, PlainCriticModel)
    originals = {
        name.replace("parametrizations.weight.original", "weight"): value
        for name, value in normed.discriminator.named_parameters()
    }
    own = dict(plain.discriminator.named_parameters())
    assert own.keys() == originals.keys()
    assert all(torch.equal(value, originals[name]) for name, value in own.items())


def test_without_spectral_norm_scaling_the_weights_scales_a_linear_network() -> None:
    torch.manual_seed(0)
    x, ratios = torch.randn(8, 3), []
    for plain in (True, False):
        network = MLP(2, (4,), (4,)).discriminator((3,)).eval()
        if plain:
            remove_spectral_norm(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.mul_(0.0 if name.endswith("bias") else 1.0)
            before = network(x)
            for _, parameter in network.named_parameters():
                parameter.mul_(2.0)
            ratios.append(float((network(x) / before).mean()))
    assert ratios == pytest.approx([4.0, 1.0])


def config(**changes: Any) -> dict[str, Any]:
    """Settings of a run of 1,000 base steps."""
    training = {"base_steps": 1000, "n_critic": 2, "burst": 0, "burst_every": 300, "train_base": True}
    return {"training": training | changes, "refit": None}


@pytest.mark.parametrize(
    ("settings", "done", "steps"),
    [
        (config(), 1000, (2000, 1000)),
        (config(), 400, (800, 400)),
        (config(burst=50), 1000, (2 * 996 + 4 * 50, 1000)),  # before base steps 0, 300, 600 and 900
        (config(train_base=False), 1000, (2000, 0)),
        (config() | {"refit": {"steps": 70}}, 1070, (2070, 1000)),
        (config() | {"refit": {"steps": 70}}, 1020, (2020, 1000)),
        ({"base": {"config": config()}, "training": None, "refit": {"steps": 70}}, 70, (2070, 1000)),
        ({"has_energy": False}, 0, (0, 0)),
    ],
)
def test_steps_are_counted_from_settings_and_progress(
    settings: dict[str, Any], done: int, steps: tuple[int, int]
) -> None:
    assert certificates.training_steps(settings, done) == steps


def test_counted_steps_are_those_that_are_taken(tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    step = EnergySteps.step
    monkeypatch.setattr(EnergySteps, "step", lambda self: taken.append(1) or step(self))
    suite = changed(tiny, "training", n_critic=2, burst=7, burst_every=25)
    planned = plan_one(suite, store, "gan-ns")
    assert do(planned).state == "done"
    assert len(taken) == certificates.training_steps(planned.task.spec.config, 60).energy


@pytest.mark.parametrize(
    ("settings", "arm"),
    [
        (config(), "matched"),
        (config() | {"arm": "own"}, "own"),
        ({"base": {"config": config() | {"arm": "own"}}}, "own"),
        ({"base": {"config": {"trained_by": "elsewhere"}}}, "elsewhere"),
        ({}, "—"),
    ],
)
def test_the_arm_is_that_of_the_base(settings: dict[str, Any], arm: str) -> None:
    assert certificates.arm(settings) == arm


def test_the_certificate_says_who_was_trained_how(made: Any) -> None:
    """Critics without spectral norm and generators from elsewhere differ by design, which is no mismatch."""
    other = {"architecture": {"generator": "aaaa1111", "discriminator": "eeee5555"}, "seconds_training": 30.0}
    specs = {
        "gebm": {"spec": {"config": config() | {"refit": {"steps": 100}}}, "steps_done": 1100},
        "gan-ns": {"spec": {"config": config()}, "steps_done": 1000},
        "wgan": other
        | {"spec": {"config": config(n_critic=5) | {"arm": "own", "spectral_norm": False}}, "steps_done": 1000},
    }
    rows = [made.row(name, steps_done=each["steps_done"]) for name, each in specs.items()]
    section = made.section(rows, {f"digits-{name}-0": made.facts(**each) for name, each in specs.items()})
    _, table, outcomes = certificates.certificate(section)
    assert [[cell.code or cell.text for cell in row] for row in table.rows] == [
        ["gebm", "matched", "2,100", "1,000", "3,100", "61.0"],
        ["gan-ns", "matched", "2,000", "1,000", "3,000", "61.0"],
        ["wgan", "own", "5,000", "1,000", "6,000", "30.0"],
    ]
    assert outcomes.items[-1].startswith("wgan is in the own arm: trained by the published recipe, not with the GEBM's")
    assert not certificates.mismatches(section)


def test_seconds_include_those_of_the_run_that_a_model_starts_from(made: Any) -> None:
    spec = {
        "kind": "images",
        "dataset": "digits",
        "dataset_digest": "d",
        "model": "gan-ns+refit",
        "base_seed": 0,
        "threads": 1,
        "seed": 0,
        "config": {"base": {"model": "gan-ns", "config": config()}, "training": None, "refit": {"steps": 70}},
    }
    identity = RunSpec(**spec).base.identity
    rows = [made.row("gan-ns+refit", steps_done=70)]
    facts = {"digits-gan-ns+refit-0": made.facts(spec=spec, seconds_training=9.0)}
    (*_, seconds) = certificates.certificate(made.section(rows, facts))[1].rows[0]
    assert (seconds.text, seconds.detail) == ("9.00", "without its base's")
    rows.append(made.row("gan-ns", identity=identity))
    facts["digits-gan-ns-0"] = made.facts(spec={"config": config()}, seconds_training=31.0)
    seconds = next(row[-1] for row in certificates.certificate(made.section(rows, facts))[1].rows if "+" in row[0].code)
    assert (seconds.text, seconds.detail) == ("40.0", "")
