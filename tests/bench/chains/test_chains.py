"""Suites of chains: truths in closed form and by quadrature, runs shared with the suite that trains, tiny runs to the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import i0

from bench.chains.cost import gradient_equivalents
from bench.chains.judge import cost_of_a_step, sliced_wasserstein
from bench.chains.truth import closed_form, energies_at, importance_truth, known_model, quadrature, quadrature_truth
from bench.components import registry
from bench.components.settings import make
from bench.core.campaign import Campaign
from bench.core.plan import Planned, Selection, make_plan
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places
from bench.data import load_dataset
from bench.data.toys import TOYS, GaussianPosterior
from bench.report import render, write_report
from bench.results.frame import scan
from gebm.model import LatentPotential

from ..conftest import do

LOG_Z = {"line": 0.0, "two-moons": 0.0, "rings": 0.0, "circle": math.log(i0(2.0)), "sphere": math.log(math.sinh(3) / 3)}

CHAINS = """
name = "tiny-chains"
summary = "chains, too short to mean anything"
kind = "chains"

[profiles.quick]
datasets = ["line", "digits"]
models = ["toy-known", "toy-kale", "gebm"]
seeds = [0]
minutes_per_run = 0.02
trained_as = "TINY"
network = { widths = [8] }
refit = { steps = 30, batch_size = 16 }

[profiles.quick.evaluation]
chains = 4
warmup = 20
budgets = [40, 60]
reference_samples = 2000
law_samples = 100
samplers = [
    { sampler = "mala" },
    { sampler = "tempering", settings = { ladder = [0.0, 1.0] } },
    { sampler = "independent" },
]
"""


@pytest.fixture
def chains_path(tmp_path: Path, tiny_path: Path) -> Path:
    """The tiny suite of chains, whose models of images are those of the tiny suite of images."""
    path = tmp_path / "tiny-chains.toml"
    path.write_text(CHAINS.replace("TINY", str(tiny_path)))
    return path


def plans_of(suite: Suite, root: Path = Path("nowhere"), **chosen: Any) -> list[Planned]:
    """The plan of a suite, or of what is chosen of it."""
    return make_plan(suite, Selection(**chosen), Places(root, device="cpu"))


def potential_of(name: str, beta: float = 1.0) -> LatentPotential:
    """The toy's right model."""
    return LatentPotential(*known_model(TOYS[name]), beta)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 3.0])
def test_quadrature_agrees_with_the_closed_form(beta: float) -> None:
    toy = TOYS["gaussian-posterior"]
    assert isinstance(toy, GaussianPosterior)
    exact, found = closed_form(toy, beta), quadrature_truth(potential_of("gaussian-posterior", beta), quadrature(toy))
    for part in ("latent_mean", "latent_variance", "energy_mean", "energy_variance", "log_partition"):
        torch.testing.assert_close(getattr(found, part), getattr(exact, part), rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("name", LOG_Z)
def test_log_partitions_are_those_of_the_laws(name: str) -> None:
    found = quadrature_truth(potential_of(name), quadrature(TOYS[name]))
    assert found.log_partition == pytest.approx(LOG_Z[name], abs=1e-5)


@pytest.mark.parametrize("name", TOYS)
def test_quadrature_agrees_with_monte_carlo_within_its_stated_error(name: str) -> None:
    """Two numbers a toy at 4.5 standard errors: false alarm rate 1e-4 over all; seeds are fixed."""
    potential = potential_of(name)
    exact = quadrature_truth(potential, quadrature(TOYS[name]))
    sampled = importance_truth(potential, 40000, torch.Generator().manual_seed(1))
    energy_error, latent_error = sampled.standard_error
    assert energy_error > 0
    assert abs(sampled.energy_mean - exact.energy_mean) < 4.5 * energy_error * math.sqrt(exact.energy_variance)
    shift = (sampled.latent_mean - exact.latent_mean) / exact.latent_variance.sqrt()
    assert float(shift.square().mean().sqrt()) < 4.5 * latent_error


@pytest.mark.parametrize("name", TOYS)
def test_the_right_energy_gives_the_law_of_the_data(name: str) -> None:
    """Moments of the base's points under the right model are those of the data carried to the support; 5 standard errors."""
    toy, nodes = TOYS[name], quadrature(TOYS[name])
    potential = potential_of(name)
    weights = torch.softmax(nodes.log_weights - energies_at(potential, nodes.z), 0)
    points = potential.base(nodes.z.float()).double()
    draws = torch.from_numpy(toy.on_support(toy.coordinates(20000, np.random.default_rng(3))))
    for power in (1, 2):
        error = draws.pow(power).std(0) / math.sqrt(len(draws))
        assert ((draws.pow(power).mean(0) - weights @ points.pow(power)).abs() <= 5 * error + 1e-5).all()


def test_toys_are_the_same_every_time() -> None:
    first, again = load_dataset("circle", None), load_dataset("circle", None)
    assert first.digest == again.digest
    assert first.kind == "toy"
    assert len({load_dataset(name, None).digest for name in TOYS}) == len(TOYS)


def test_sliced_wasserstein_sees_a_shift_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((3000, 2))
    assert sliced_wasserstein(points, points) < 1e-3
    assert sliced_wasserstein(points + np.array([1.0, 0.0]), points) == pytest.approx(2 / math.pi, rel=0.15)


@pytest.mark.parametrize("name", sorted(registry.entries("samplers")))
def test_every_sampler_of_the_registry_steps_at_a_cost(name: str) -> None:
    potential = potential_of("rings")
    cost = cost_of_a_step(make("samplers", name, {}), potential, torch.zeros(2, 2))
    assert gradient_equivalents(cost) >= 0.5


def test_identities_of_the_images_suite_have_not_moved() -> None:
    """Whoever changes them makes every store stale, and changes these numbers on purpose."""
    (plan,) = plans_of(load_suite("images"), models=["gebm"], seeds=[0])
    assert plan.task.spec.run_id == "digits/gebm/08a2b3409b1c-s0"
    readouts = [readout.identity("0" * 64) for readout in plan.task.readouts]
    assert readouts == [
        "96865a1195176d6b",
        "f07103b59e9354b0",
        "89fa8869def906a8",
        "b43cec06950cdd5d",
        "74384fd20346798e",
        "e51bb1d34877c945",
        "784a9b1671691e24",
    ]


def test_samplers_reads_out_the_runs_of_images() -> None:
    runs = {}
    for name in ("images", "samplers"):
        plans = plans_of(load_suite(name), datasets=["digits"], models=["gebm"])
        runs[name] = {plan.task.spec.run_id for plan in plans}
    assert runs["samplers"] <= runs["images"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('kind = "chains"', 'kind = "chain"', ["kind: no kind of suite 'chain'", "did you mean 'chains'?"]),
        ("ladder = ", "lader = ", ["samplers.1: sampler 'tempering' has no setting 'lader'", "did you mean 'ladder'?"]),
        ('sampler = "mala"', 'sampler = "malla"', ["evaluation.samplers.0.sampler", "did you mean 'mala'?"]),
        ("budgets = [40, 60]", "budgets = []", ["profiles.quick.evaluation.budgets"]),
        ("warmup = 20", "warm_up = 20", ["evaluation.warm_up", "did you mean 'warmup'?"]),
        ('trained_as = "TINY"', 'trained_as = "imges"', ["quick.trained_as", "did you mean 'images'?"]),
        ("widths = [8]", "widths = [0]", ["quick.network: network 'energy-mlp': widths", "whole number from 1"]),
    ],
)
def test_a_bad_suite_of_chains_names_file_key_and_what_is_allowed(
    tmp_path: Path, tiny_path: Path, before: str, after: str, expected: list[str]
) -> None:
    assert before in CHAINS
    path = tmp_path / "mine.toml"
    path.write_text(CHAINS.replace(before, after, 1).replace("TINY", str(tiny_path)))
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    for part in ["mine.toml", *expected]:
        assert part in str(caught.value)


def test_a_sampler_without_a_step_size_cannot_stand_in_a_suite_of_images(tiny_path: Path) -> None:
    tiny_path.write_text(tiny_path.read_text().replace('sampler = "ula"', 'sampler = "independent"'))
    with pytest.raises(SuiteError, match=r"chains\.0: sampler 'independent' has no setting 'step_size'; it has none"):
        load_suite(str(tiny_path))


def test_a_model_that_fits_no_dataset_is_said(chains_path: Path) -> None:
    with pytest.raises(SuiteError, match="none of gebm can be fitted to line"):
        plans_of(load_suite(str(chains_path)), datasets=["line"], models=["gebm"])


def carry_out(suite: Suite, plans: list[Planned], store: Store) -> None:
    """Do a plan in this process, and remember it."""
    Campaign(suite, "quick", plans, store, 1).remember()
    outcomes = [do(planned) for planned in plans]
    assert {outcome.state for outcome in outcomes} == {"done"}, outcomes


def test_from_suite_to_report_on_shared_runs(tiny: Suite, chains_path: Path, done: Store, tmp_path: Path) -> None:
    store, chains = done, load_suite(str(chains_path))
    only: dict[str, Any] = {"models": ["gebm"], "seeds": [0]}
    images = plans_of(tiny, store.root, **only)
    Campaign(tiny, "quick", images, store, 1).remember()
    before = render(scan(store, "tiny"))

    plans = plans_of(chains, store.root)
    assert [(p.task.spec.dataset, p.task.spec.model, p.found.state) for p in plans] == [
        ("line", "toy-known", "missing"),
        ("line", "toy-kale", "missing"),
        ("digits", "gebm", "partial"),
    ]
    checkpoint = store.folder(images[0].task.spec).read_json("training.json")
    carry_out(chains, plans, store)
    assert store.folder(images[0].task.spec).read_json("training.json") == checkpoint
    assert {p.found.state for p in plans_of(chains, store.root)} == {"hit"}
    assert {p.found.state for p in plans_of(tiny, store.root, **only)} == {"hit"}

    assert render(scan(store, "tiny")) == before
    results = scan(store, "tiny-chains")
    frame = results.scores
    text = write_report(results, tmp_path / "report").read_text()
    for part in (
        "mean-error[E] ↓ at β=1 (model): objective × sampler",
        "The learned density, by quadrature",
        "gebm at β=1",
    ):
        assert part in text
    assert {path.name for path in (tmp_path / "report" / "report-figures").iterdir()} == {
        "tiny-chains-quick-digits-trade-off.png",
        "tiny-chains-quick-digits-training.png",
        "tiny-chains-quick-line-errors.png",
        "tiny-chains-quick-line-training.png",
    }
    known = frame[(frame.model == "toy-known") & (frame.metric == "kl-divergence")]
    assert known.value.tolist() == pytest.approx([0.0], abs=1e-6)


def test_a_chain_that_diverges_is_a_row_beside_the_others(chains_path: Path, store: Store) -> None:
    text = chains_path.read_text().replace('sampler = "mala"', 'sampler = "ula", settings = { step_size = 0.1 }')
    chains_path.write_text(text.replace('"line"', '"gaussian-posterior"').replace("warmup =", "betas = [30]\nwarmup ="))
    suite = load_suite(str(chains_path))
    plans = plans_of(suite, store.root, datasets=["gaussian-posterior"], models=["toy-known"])
    with pytest.warns(RuntimeWarning, match="not a number"):
        carry_out(suite, plans, store)
    results = scan(store)
    frame = results.scores
    assert set(frame[frame.sampler == "ula"].status) == {"collapsed"}
    assert set(frame[frame.sampler == "independent"].status) == {"done"}
    assert "diverged: ula" in render(results)


def test_every_step_counts_as_a_draw(chains_path: Path, store: Store) -> None:
    """At β = 0 independent MH draws anew with every step: one effective sample for one forward evaluation, half a gradient's."""
    text = chains_path.read_text().replace("budgets = [40, 60]", "betas = [0]\nbudgets = [600]")
    chains_path.write_text(text.replace('"line"', '"gaussian-posterior"'))
    suite = load_suite(str(chains_path))
    carry_out(suite, plans_of(suite, store.root, datasets=["gaussian-posterior"], models=["toy-known"]), store)
    frame = scan(store).scores
    (worth,) = frame[(frame.sampler == "independent") & (frame.metric == "ess-per-cost[E]")].value
    assert worth == pytest.approx(2.0, rel=0.15)


def test_a_budget_that_is_too_small_fails_and_names_the_least(chains_path: Path, store: Store) -> None:
    chains_path.write_text(chains_path.read_text().replace("budgets = [40, 60]", "budgets = [7, 60]"))
    (plan,) = plans_of(load_suite(str(chains_path)), store.root, models=["toy-known"])
    outcome = do(plan)
    assert outcome.state == "failed"
    assert "a budget of 7 is too small; the least is 8, 8 steps of mala at 1 each" in outcome.reason
