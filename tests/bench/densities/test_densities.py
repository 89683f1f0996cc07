"""The density suite: the same flow under every model of a comparison, likelihoods that are what they say, and a report of them."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baselines.densities import gaussian_mixture
from bench.core.campaign import listed
from bench.core.manifests import write_manifest
from bench.core.model import build_model
from bench.core.plan import Planned, Selection, make_plan
from bench.core.readout import Context
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places
from bench.data import load_dataset
from bench.densities.blocks import likelihood_sentences, likelihood_table
from bench.densities.comparisons import Likelihoods
from bench.densities.gains import gain_table
from bench.densities.likelihoods import read_likelihood
from bench.densities.published import published_table
from bench.densities.suite import LikelihoodReadout
from bench.report import write_report
from bench.results.frame import scan
from gebm.partition.estimate import log_partition_from_weights

from ..conftest import do

SUITE = """
name = "tiny-density"
summary = "the density suite, too small to mean anything"
kind = "density"

[profiles.quick]
datasets = ["known-density-8"]
models = [
  "gmm", "kde", "flow-gaussian", "flow-realnvp", "flow-maf",
  "gebm-frozen-kale", "gebm-flow-kale", "gebm-critic", "gebm-critic-bounded",
]
seeds = [0, 1]
minutes_per_run = 0.02
stage_steps = 10
longer_steps = 20

energy = { widths = [16], bound = 10 }
likelihood = { steps = 60, check_every = 20 }
training = { base_steps = 20, batch_size = 32, penalty_every = 4 }
selection = { check_every = 5 }
evaluation = { partition_samples = 4000, shown_samples = 200 }

[profiles.quick.flows]
gaussian = { family = "gaussian" }
realnvp = { family = "realnvp", layers = 2, hidden = 8 }
maf = { family = "maf", layers = 1, hidden = 8 }

[profiles.quick.refit]
steps = 60
batch_size = 64
check_every = 20
learning_rate = 3e-3
partition_samples = 512
"""
FLOWS_TABLE = "[profiles.quick.flows]"
FLOWS = ("flow-gaussian", "flow-realnvp", "flow-maf")
GEBMS = ("gebm-frozen-kale", "gebm-flow-kale", "gebm-critic", "gebm-critic-bounded")
CONTROLS = ("flow-realnvp+time", "flow-realnvp+params")
STAGE = "gebm-frozen-kale+2x"


def suite_of(folder: Path, text: str = SUITE) -> Suite:
    """The suite that a file of this text holds."""
    path = folder / "tiny-density.toml"
    path.write_text(text)
    return load_suite(str(path))


def plans_of(suite: Suite, root: Path, **chosen: Any) -> list[Planned]:
    """The plan of what is chosen of a suite."""
    return make_plan(suite, Selection(**chosen), Places(root, device="cpu"))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return suite_of(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def plan(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> list[Planned]:
    """Every run but the slow kernel density, and the mixture (of three parts only) of the second seed, done."""
    store = Store(tmp_path_factory.mktemp("store")).create()
    planned = plans_of(suite, store.root, models=["gmm"], seeds=[0])
    planned += plans_of(suite, store.root, models=[*FLOWS, *GEBMS, *CONTROLS, STAGE])
    with pytest.MonkeyPatch.context() as patch:
        quick = functools.partial(gaussian_mixture, components=(3,))
        patch.setattr("bench.densities.models.gaussian_mixture", quick)
        for each in planned:
            outcome = do(each)
            assert outcome.state == "done", outcome.reason
    runs = [listed(each) for each in planned]
    write_manifest(store, {"suite": suite.name, "profile": "quick", "kind": "density", "runs": runs})
    return planned


def one(plan: list[Planned], model: str, seed: int = 0) -> Planned:
    return next(each for each in plan if (each.task.spec.model, each.task.spec.seed) == (model, seed))


def file(planned: Planned, pattern: str) -> Path:
    """The only file of a run that matches."""
    (path,) = Store(planned.task.places.store).folder(planned.task.spec).path.glob(pattern)
    return path


def weights(planned: Planned) -> dict[str, torch.Tensor]:
    return load_file(file(planned, "checkpoint.safetensors"))


def row(planned: Planned) -> dict[str, Any]:
    """The only row of its likelihood."""
    (found,) = json.loads(file(planned, "evals/*.json").read_text())["rows"]
    return dict(found)


def array(planned: Planned, name: str) -> np.ndarray:
    return np.load(file(planned, f"evals/*-{name}.npy"))


def scores(planned: Planned) -> dict[str, float]:
    return dict(row(planned)["scores"])


def test_a_gebm_on_the_frozen_flow_stands_on_the_very_flow_it_is_compared_with(plan: list[Planned]) -> None:
    flow = weights(one(plan, "flow-realnvp"))
    for model in ("gebm-frozen-kale", "gebm-critic"):
        base = weights(one(plan, model))
        assert all(torch.equal(value, base[name]) for name, value in flow.items())
        assert np.array_equal(array(one(plan, model), "base"), array(one(plan, "flow-realnvp"), "points"))
    joint = weights(one(plan, "gebm-flow-kale"))
    assert all(torch.equal(value, joint[f"warm_start.{name}"]) for name, value in flow.items())


def test_every_model_on_a_realnvp_starts_from_the_same_initial_flow(plan: list[Planned]) -> None:
    models = ("flow-realnvp", *GEBMS)
    facts = [json.loads(file(one(plan, model), "training.json").read_text())["facts"] for model in models]
    for fact in ("initial_weights", "architecture"):
        assert len({each[fact]["flow"] for each in facts}) == 1


@pytest.mark.parametrize("model", ["gmm", *FLOWS])
def test_an_exact_likelihood_is_the_mean_over_test_rows(plan: list[Planned], model: str) -> None:
    found, points = row(one(plan, model)), array(one(plan, model), "points")
    assert found["log_partition"] is None
    assert found["scores"]["log-likelihood"] == pytest.approx(points.mean(), abs=1e-4)
    error = points.std(ddof=1) / len(points) ** 0.5
    assert found["likelihood"]["points_error"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("model", GEBMS)
def test_an_estimated_likelihood_is_base_plus_gain_within_its_bracket(plan: list[Planned], model: str) -> None:
    found = row(one(plan, model))
    values = found["scores"]
    assert values["log-likelihood"] == pytest.approx(values["base-log-likelihood"] + values["likelihood-gain"])
    assert values["log-likelihood-lower"] <= values["log-likelihood"]
    assert found["log_partition"]["bracket"] == [values["log-likelihood-lower"], values["log-likelihood"]]
    assert found["log_partition"]["draws"] == 4000


def test_the_critic_tells_how_far_log_z_can_be_trusted(plan: list[Planned]) -> None:
    """Its density is flow-maf's, its log Z is 0; six standard errors, so a false alarm is rarer than 1e-8 where the estimate is normal."""
    for seed in (0, 1):
        partition = row(one(plan, "gebm-critic", seed))["log_partition"]
        assert partition["known"] == 0.0
        assert abs(partition["estimate"]) < 6 * partition["standard_error"]
        truth = scores(one(plan, "flow-maf", seed))["log-likelihood"]
        estimated = scores(one(plan, "gebm-critic", seed))["log-likelihood"]
        assert estimated - truth == pytest.approx(-partition["estimate"], abs=1e-3)


def test_a_critic_with_bounded_weights_has_a_known_log_z_too(plan: list[Planned]) -> None:
    """To six standard errors; an independent run admitted it, and rows of the data, nearly the base's, are within the draws' reach."""
    partition = row(one(plan, "gebm-critic-bounded"))["log_partition"]
    assert (partition["known"], partition["reportable"], partition["admission"]) == (0.0, True, "an independent run")
    assert abs(partition["estimate"]) < 6 * partition["standard_error"] < 0.5
    assert partition["horizon"] < 0.005
    assert 0 <= partition["mass_beyond"] < 0.1
    assert partition["upper"]["method"].startswith("reverse annealing")


def test_the_gap_to_a_known_truth_is_measured_on_the_same_rows(plan: list[Planned]) -> None:
    gaps = {model: scores(one(plan, model))["gap-to-truth"] for model in ("flow-gaussian", "gmm", "flow-maf")}
    likelihoods = {model: scores(one(plan, model))["log-likelihood"] for model in gaps}
    assert len({round(gaps[model] + likelihoods[model], 6) for model in gaps}) == 1
    assert 0 < gaps["gmm"] < gaps["flow-gaussian"]


def test_a_run_stopped_anywhere_ends_the_same(suite: Suite, plan: list[Planned], tmp_path: Path) -> None:
    store = Store(tmp_path / "other").create()
    (again,) = plans_of(suite, store.root, models=["gebm-flow-kale"], seeds=[0])
    looks = itertools.count(1)
    outcomes = ["stopped"]
    while outcomes[-1] == "stopped":
        outcomes.append(execute(again.task, lambda _: None, lambda: next(looks) % 29 == 0).state)
    assert outcomes[-1] == "done"
    assert outcomes.count("stopped") > 2
    expected, found = weights(one(plan, "gebm-flow-kale")), weights(again)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert scores(again) == scores(one(plan, "gebm-flow-kale"))


def read(planned: Planned, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The only row of the likelihood of a run's model with other weights."""
    dataset = load_dataset("known-density-8", None)
    model = build_model(planned.task.spec, dataset, torch.device("cpu"))
    model.load(state)
    context = Context(model, dataset, Path("nowhere"), None, lambda _: None, lambda: False)
    (found,) = read_likelihood(LikelihoodReadout(partition_samples=20000, shown_samples=0), context).values["rows"]
    return dict(found)


def test_joint_training_that_would_run_away_ends_where_it_began(plan: list[Planned], tmp_path: Path) -> None:
    rates = "penalty_every = 4, learning_rate = 1.0, energy_learning_rate = 1.0"
    store = Store(tmp_path / "store").create()
    suite = suite_of(tmp_path, SUITE.replace("penalty_every = 4", rates))
    (planned,) = plans_of(suite, store.root, models=["gebm-flow-kale"], seeds=[0])
    assert do(planned).state == "done"
    found, flow = row(planned), scores(one(plan, "flow-realnvp"))
    assert found["likelihood"]["warm_start"]["restarts"] == 3
    assert found["likelihood"]["warm_start"]["step"] == 0
    assert found["likelihood"]["warm_start"]["test"] == pytest.approx(flow["log-likelihood"])
    assert found["scores"]["base-log-likelihood"] == pytest.approx(flow["log-likelihood"])
    assert found["collapsed"] == ""


def test_a_model_that_lost_what_it_started_with_is_called_collapsed(plan: list[Planned], tmp_path: Path) -> None:
    joint = one(plan, "gebm-flow-kale")
    state = weights(joint)
    lost = {name: value + 0.1 * name.startswith("flow.") for name, value in state.items()}
    assert read(joint, state)["collapsed"] == ""
    found = read(joint, lost)
    below = found["likelihood"]["warm_start"]["test"] - found["scores"]["log-likelihood"]
    assert below > 1
    assert found["collapsed"] == f"{below:.1f} nats below its own warm start"


def test_controls_of_an_energy_have_its_parameters_and_its_time(suite: Suite, tmp_path: Path) -> None:
    names = ("flow-realnvp", "flow-realnvp+params", "flow-realnvp+time", "flow-realnvp+2x", "gebm-frozen-kale")
    specs = {each.task.spec.model: each.task.spec for each in plans_of(suite, tmp_path, models=list(names), seeds=[0])}
    sizes = {
        name: sum(
            build_model(spec, load_dataset("known-density-8", None), torch.device("cpu")).facts()["parameters"].values()
        )
        for name, spec in specs.items()
    }
    a_layer = (sizes["flow-realnvp"]) / 2
    assert abs(sizes["flow-realnvp+params"] - sizes["gebm-frozen-kale"]) <= a_layer / 2
    steps = {name: spec.config["likelihood"]["steps"] for name, spec in specs.items() if "likelihood" in spec.config}
    assert steps == {"flow-realnvp": 60, "flow-realnvp+params": 60, "flow-realnvp+time": 20, "flow-realnvp+2x": 20}
    assert specs["flow-realnvp+time"].base == specs["gebm-frozen-kale"].base == specs["flow-realnvp"]


def test_the_paper_s_own_variant_starts_from_scratch_and_is_not_selected(suite: Suite, tmp_path: Path) -> None:
    (planned,) = plans_of(suite, tmp_path, models=["gebm-scratch-kale"], seeds=[0])
    assert planned.task.spec.base is None
    assert not {"likelihood", "selection"} & planned.task.spec.config.keys()


def test_steps_that_a_control_needs_are_asked_for(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, SUITE.replace("longer_steps = 20\n", ""))
    with pytest.raises(SuiteError, match=r"flow-realnvp\+time needs longer_steps in its profile"):
        plans_of(suite, tmp_path, models=["flow-realnvp+time"])


def heavy_tailed(method: str) -> Any:
    """A stand-in for an estimator whose weights are not to be averaged."""
    log_weights = torch.from_numpy(np.random.default_rng(0).standard_cauchy(400)).abs().log() * 3
    return lambda *_, **__: log_partition_from_weights(log_weights, method, 0, 400)


def test_weights_of_too_heavy_a_tail_are_annealed_and_if_that_fails_give_no_likelihood(
    plan: list[Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, dataset = one(plan, "gebm-frozen-kale"), load_dataset("known-density-8", None)
    model = build_model(frozen.task.spec, dataset, torch.device("cpu"))
    model.load(weights(frozen))
    context = Context(model, dataset, Path("nowhere"), None, lambda _: None, lambda: False)
    readout = LikelihoodReadout(partition_samples=400, shown_samples=10)
    monkeypatch.setattr("bench.densities.likelihoods.importance_sampling", heavy_tailed("importance sampling"))
    (annealed,) = read_likelihood(readout, context).values["rows"]
    assert annealed["log_partition"]["method"].startswith("annealed importance sampling")
    error = annealed["log_partition"]["standard_error"]
    assert annealed["scores"]["log-likelihood"] == pytest.approx(scores(frozen)["log-likelihood"], abs=6 * error + 0.02)
    monkeypatch.setattr("bench.densities.likelihoods.annealed_importance_sampling", heavy_tailed("AIS"))
    (neither,) = read_likelihood(readout, context).values["rows"]
    assert not neither["log_partition"]["reportable"]
    assert not {"log-likelihood", "log-likelihood-lower", "likelihood-gain"} & neither["scores"].keys()
    assert "base-log-likelihood" in neither["scores"]


def test_the_report_compares_over_seeds_and_rows(plan: list[Planned], tmp_path: Path) -> None:
    results = scan(Store(plan[0].task.places.store))
    (section,) = results.sections()
    likelihoods = Likelihoods(section)
    found = {(each.treatment, each.reference): each for each in likelihoods.comparisons}
    assert ("gebm-flow-kale", "its own base") in found
    assert ("gebm-frozen-kale", "its own base") not in found  # its base is flow-realnvp
    difference = found["gebm-frozen-kale", "flow-realnvp"].difference
    assert difference is not None
    gains = [scores(one(plan, "gebm-frozen-kale", seed))["likelihood-gain"] for seed in (0, 1)]
    assert difference.estimate.mean == pytest.approx(np.mean(gains), abs=1e-4)
    table = likelihood_table(likelihoods)
    assert table is not None
    assert [row[0].code for row in table.rows] == ["gmm", *FLOWS, *GEBMS, *CONTROLS, STAGE]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert any("log Z is known" in sentence for sentence in likelihood_sentences(likelihoods))
    assert published_table(likelihoods) is None
    for form in ("markdown", "html"):
        text = write_report(results, tmp_path / form, form).read_text()
        assert "Held-out log-likelihood" in text
        assert "beyond reach" in text
        assert "drawn with seed 0" in text
    assert len(list((tmp_path / "markdown" / "report-figures").iterdir())) == 4


def test_an_energy_is_compared_with_what_its_parameters_and_time_are_worth_in_the_flow(plan: list[Planned]) -> None:
    (section,) = scan(Store(plan[0].task.places.store)).sections()
    found = Likelihoods(section)
    assert found.matched_flow == "flow-realnvp"
    pairs = {(each.treatment, each.reference) for each in found.comparisons}
    for control in CONTROLS:
        assert {(label, control) for label in ("gebm-frozen-kale", "gebm-flow-kale")} <= pairs
        assert not {(label, control) for label in ("gebm-critic", STAGE)} & pairs
    assert (STAGE, "its own base") in pairs


def test_a_collapse_is_said_aloud_in_table_and_sentences(
    plan: list[Planned], synthetic: ModuleType, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(plan[0].task.places.store, store)
    folder = Store(store).folder(one(plan, "gebm-flow-kale", 1).task.spec).path
    (evaluation,) = folder.glob("evals/*.json")
    why = "530.0 nats below its own warm start"
    rows = [each | {"collapsed": why} for each in json.loads(evaluation.read_text())["rows"]]
    synthetic.change_listed(folder, f"evals/{evaluation.name}", rows=rows)
    (section,) = scan(Store(store)).sections()
    found = Likelihoods(section)
    assert f"gebm-flow-kale COLLAPSED, seed 1: {why}." in likelihood_sentences(found)
    table = likelihood_table(found)
    assert table is not None
    (status,) = (row[-1] for row in table.rows if row[0].code == "gebm-flow-kale")
    assert (status.text, status.tone) == (f"COLLAPSED: seed 1 collapsed: {why}", "bad")


def test_the_course_of_joint_training_is_told_by_seed(
    plan: list[Planned], synthetic: ModuleType, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(plan[0].task.places.store, store)
    for seed, step in enumerate((40, 0)):
        folder = Store(store).folder(one(plan, "gebm-flow-kale", seed).task.spec).path
        (evaluation,) = folder.glob("evals/*.json")
        (found,) = json.loads(evaluation.read_text())["rows"]
        found["likelihood"]["warm_start"] |= {"step": step, "restarts": seed}
        synthetic.change_listed(folder, f"evals/{evaluation.name}", rows=[found])
    (section,) = scan(Store(store)).sections()
    (said,) = [each for each in likelihood_sentences(Likelihoods(section)) if "state kept" in each]
    assert said.endswith("by seed: 40, 0; restarts: 0, 1.")


def test_the_gain_of_an_energy_is_shown_against_the_quality_of_its_flow(plan: list[Planned]) -> None:
    (section,) = scan(Store(plan[0].task.places.store)).sections()
    table = gain_table(Likelihoods(section))
    assert table is not None
    assert [row[0].code for row in table.rows] == ["flow-realnvp+2x", "flow-realnvp"]
    for (*_, flow, gain, both, _n), model in zip(table.rows, (STAGE, "gebm-frozen-kale"), strict=True):
        own = [scores(one(plan, model, seed)) for seed in (0, 1)]
        for cell, name in ((flow, "base-log-likelihood"), (gain, "likelihood-gain"), (both, "log-likelihood")):
            assert cell.value == pytest.approx(np.mean([each[name] for each in own]))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("maf = {", "mfa = {", "flows.maf must say what the flow of flow-maf is"),
        ('family = "realnvp"', 'family = "realnpv"', "profiles.quick.flows.realnvp.family"),
        (FLOWS_TABLE, f"[profiles.quick.overrides.redwine.refit]\nstepz = 3\n{FLOWS_TABLE}", "stepz"),
    ],
)
def test_what_a_density_suite_must_say(tmp_path: Path, before: str, after: str, expected: str) -> None:
    assert before in SUITE
    with pytest.raises(SuiteError, match=expected):
        plans_of(suite_of(tmp_path, SUITE.replace(before, after, 1)), tmp_path / "none")


def test_a_small_table_of_ones_own_is_one_batch(suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(200, 3)), delimiter=",")
    models = ["flow-realnvp", "gebm-frozen-kale"]
    plans = plans_of(suite, tmp_path / "none", datasets=[f"csv:{path}"], models=models, seeds=[0])
    flow, gebm = (each.task.spec for each in plans)
    assert flow.dataset == "csv-own"
    assert flow.config["likelihood"]["batch_size"] == 160
    assert gebm.base == flow
    assert gebm.config["refit"]["batch_size"] == 64


def test_overrides_change_one_dataset_only(tmp_path: Path) -> None:
    text = SUITE + "\n[profiles.quick.overrides.known-density-8.likelihood]\nnoise = 0.1\n"
    profile = suite_of(tmp_path, text).profiles["quick"]
    assert profile.on("known-density-8@3").likelihood.noise == 0.1
    assert profile.on("known-density-8").likelihood.steps == 60
    assert profile.on("redwine").likelihood.noise == 0.0
