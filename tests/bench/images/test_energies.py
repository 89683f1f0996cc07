"""What is read out of an energy: the calibrated temperature, exact samples, whether a chain is at its target, guided samplers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.core.campaign import Campaign
from bench.core.model import Model
from bench.core.plan import Selection, make_plan
from bench.core.readout import Context
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError
from bench.core.task import Places
from bench.data import load_dataset
from bench.images import energies as module
from bench.images.energies import Energies, judge_target
from bench.images.evaluation import read_chain, read_exact, read_temperature
from bench.images.exact import choose, draw
from bench.images.suite import Chain, ChainReadout, ExactReadout, TemperatureReadout
from bench.results.frame import scan
from gebm.temperature import calibrate, gain

from ..conftest import changed, do, plan_one
from ..core.test_runner import built, ignore

FEW = 60
ENERGY: dict[str, Any] = {"partition_samples": 2000, "annealing": 16, "betas": (1.0, 100.0)}
SCORED: dict[str, Any] = {"extractor": "digits-cnn", "samples": FEW, "reference": "train", "metrics": ("fid",)}


@pytest.fixture
def model(tiny: Suite, finished: Store) -> Model:
    """The tiny suite's GEBM."""
    task = plan_one(tiny, finished, "gebm").task
    trained = built(task)
    trained.load(load_file(finished.folder(task.spec) / "checkpoint.safetensors"))
    return trained


def context(model: Model, store: Store) -> Context:
    return Context(model, load_dataset("digits", None), store.cache, None, ignore, lambda: False)


def test_beta_hat_is_chosen_on_validation_and_read_on_test(model: Model, finished: Store) -> None:
    rows = read_temperature(TemperatureReadout(**ENERGY), context(model, finished)).values["rows"]
    known = Energies(context(model, finished), TemperatureReadout(**ENERGY))
    chosen = calibrate(known.of_data("validation"), known.energy, known.judge)
    assert [(row["beta"], row["beta_rule"]) for row in rows[:-1]] == [(1.0, "fixed"), (100.0, "fixed")]
    assert (rows[-1]["beta"], rows[-1]["beta_rule"]) == (chosen.beta, "calibrated")
    read = gain(known.of_data("test"), known.energy, chosen.beta, known.judge)
    assert rows[-1]["scores"]["likelihood-gain"] == read.value
    assert rows[-1]["gain_error"] == read.standard_error
    assert rows[-1]["temperature"]["text"] == str(chosen)
    assert rows[-1]["temperature"]["validation_gain"] == chosen.gain.value != read.value


def test_the_gain_on_own_samples_is_what_exact_samples_gain(model: Model, finished: Store) -> None:
    """KL(model‖base) against 4,000 exact samples, and against the identity L(βE) − KL = β (E_β[E] − E_P[E])."""
    asked = TemperatureReadout(**ENERGY | {"partition_samples": 100_000, "betas": (10.0,)})
    row = next(row for row in read_temperature(asked, context(model, finished)).values["rows"] if row["beta"] == 10.0)
    known = Energies(context(model, finished), asked)
    kl, log_z = row["scores"]["kl-from-base"], known.gain(10.0).log_partition.estimate
    found = draw(known, 10.0, 4000, 400_000, torch.Generator().manual_seed(1))
    assert found.z is not None
    gained = -10.0 * known.gebm.energy(known.gebm.base(found.z)).double() - log_z
    assert abs(float(gained.mean()) - kl) < 6 * float(gained.std()) / math.sqrt(found.distinct)
    mean = known.mean_energy(10.0)
    assert mean is not None
    gap = 10.0 * (mean[0] - float(known.of_data("test").mean()))
    assert row["scores"]["likelihood-gain"] - kl == pytest.approx(gap, rel=1e-9)
    assert kl > 0


@pytest.mark.parametrize(("heaviest", "method"), [(3.0, "accepted"), (1000.0, "resampled")])
def test_draws_are_in_proportion_to_their_weights_and_each_there_once_if_that_gives_enough(
    heaviest: float, method: str
) -> None:
    weights = np.where(np.arange(20_000) % 2, 3.0, 1.0)
    weights[0] = heaviest
    how, rows = choose(weights / weights.sum(), 4000, torch.Generator().manual_seed(0))
    assert (how, len(rows), len(rows.unique()) == 4000) == (method, 4000, method == "accepted")
    share = float((rows % 2).double().mean())
    assert abs(share - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 4000) + 0.03 * (heaviest > 3)


def test_exact_samples_have_the_law_of_the_density(model: Model, finished: Store) -> None:
    """The mean energy of 4,000 of them is that of weighted base draws, within six standard errors: accepted, resampled or annealed."""
    known = Energies(
        context(model, finished), TemperatureReadout(**ENERGY | {"partition_samples": 100_000, "annealing": 128})
    )
    beta = 10.0
    assert known.reliable(beta)
    mean = known.mean_energy(beta)
    assert mean is not None
    for limit, method in ((100_000, "resampled"), (4_000_000, "accepted"), (4, "annealed")):
        if method == "annealed":  # as if the base draws were too few
            known.energy, known.z = known.energy[:100], known.z[:100]
            known.first = 100
        found = draw(known, beta, 4000, limit, torch.Generator().manual_seed(1))
        assert found.method == method, found.why_not
        assert found.z is not None
        energy = known.gebm.energy(known.gebm.base(found.z)).double()
        error = math.hypot(mean[1], float(energy.std()) / math.sqrt(found.distinct))
        assert abs(float(energy.mean()) - mean[0]) < 6 * error
        assert found.distinct > 2000


@pytest.mark.parametrize("spoiled", [0, 10])
def test_draws_that_are_accepted_need_no_further_pool(model: Model, finished: Store, spoiled: int) -> None:
    """At β=0 all base draws are accepted: 1,900 are had of 2,000, which is no ESS of twice as many; none without an energy."""
    known = Energies(context(model, finished), TemperatureReadout(**ENERGY))
    known.energy[:spoiled] = math.nan
    found = draw(known, 0.0, 1900 - 1000 * bool(spoiled), 2000, torch.Generator().manual_seed(1))
    assert (found.method, found.pool) == ("accepted", 2000)
    assert found.z is not None
    assert found.distinct == len(found.z)
    assert not (found.z[:, None] == known.z[:spoiled]).all(2).any()


def test_where_no_exact_samples_can_be_had_the_row_says_why(model: Model, finished: Store) -> None:
    asked = ExactReadout(beta=1e5, pool=2000, **SCORED, **ENERGY | {"annealing": 0})
    (row,) = read_exact(asked, context(model, finished)).values["rows"]
    assert row["scores"] == {}
    assert row["why_not"].startswith("an ESS of ")
    assert row["why_not"].endswith("annealing is off")


# -- targets -----------------------------------------------------------------------------------------------------


def still(mean: float, chains: int = 2000, draws: int = 8, seed: int = 0) -> Tensor:
    """Energies of chains that have mixed, around a mean."""
    return mean + 0.1 * torch.randn(draws, chains, generator=torch.Generator().manual_seed(seed))


BASE = torch.full((1000,), 10.0)


@pytest.mark.parametrize(
    ("mean", "verdict", "covered"),
    [(10.0, "on its way", 0.0), (6.0, "on its way", 0.4), (0.4, "at its target", 0.96), (-3.0, "cannot tell", 1.3)],
)
def test_a_chain_is_judged_by_how_far_its_energy_has_come(mean: float, verdict: str, covered: float) -> None:
    found = judge_target(still(mean), BASE, (0.0, 0.01), 0)
    assert found.verdict == verdict
    assert found.covered == pytest.approx(covered, abs=0.01)


def test_chains_that_agree_on_average_but_have_not_mixed_are_not_at_their_target() -> None:
    apart = torch.where(torch.arange(2000) % 2 == 0, 1.0, -1.0) + still(0.0)
    found = judge_target(apart, BASE, (0.0, 0.01), 0)
    assert found.verdict == "cannot tell"
    assert "have not mixed" in found.facts["why"]


def test_invalid_moves_spoil_the_verdict_and_are_counted() -> None:
    found = judge_target(still(0.0), BASE, (0.0, 0.01), 8000)
    assert (found.verdict, found.facts["invalid"]) == ("cannot tell", 8000)
    assert found.facts["why"] == "8,000 moves were invalid"


def test_without_the_targets_mean_one_cannot_tell() -> None:
    found = judge_target(still(0.0), BASE, None, 0)
    assert (found.verdict, found.covered) == ("cannot tell", None)


def test_a_long_chain_at_a_mild_temperature_arrives_and_a_short_cold_one_does_not(
    model: Model, finished: Store
) -> None:
    verdicts = {}
    for beta, step, length in ((1.0, 0.3, 60), (100.0, 1e-4, 10)):
        chain = Chain(sampler="mala", beta=beta, step_size=step, lengths=(length,))
        asked = ChainReadout(chain=chain, **SCORED | {"samples": 400}, **ENERGY | {"annealing": 64})
        (row,) = read_chain(asked, context(model, finished)).values["rows"]
        verdicts[beta] = row["target"]
        assert row["chain"]["invalid"] == 0
    assert verdicts == {1.0: "at its target", 100.0: "on its way"}


# -- guided samplers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["drs", "mh-gan", "dot", "ddls", "dgflow", "rep-gan"])
def test_guided_samplers_are_read_out(model: Model, finished: Store, sampler: str) -> None:
    settings = {"burn_in": 75} if sampler == "drs" else {}
    beta: Any = 1.0 if sampler == "dot" else "calibrated"
    chain = Chain(sampler=sampler, beta=beta, lengths=(4, 20), settings=settings)
    asked = ChainReadout(chain=chain, **SCORED, **ENERGY)
    rows = read_chain(asked, context(model, finished)).values["rows"]
    assert [row["steps"] for row in rows] == [4, 20]
    assert all(row["target"] is None for row in rows)
    assert math.isfinite(rows[-1]["scores"]["fid"]) if "fid" in rows[-1]["scores"] else rows[-1]["scores"]
    forward = sampler in ("drs", "mh-gan")
    cost = rows[-1]["forward_evaluations" if forward else "gradient_evaluations"]
    assert cost >= 20
    if sampler == "drs":  # per image that was accepted
        assert cost > 20


def test_a_rejection_that_accepts_too_little_is_a_row_with_the_reason(model: Model, finished: Store) -> None:
    asked = ChainReadout(chain=Chain(sampler="drs", beta="calibrated", lengths=(1,)), **SCORED, **ENERGY)
    (row,) = read_chain(asked, context(model, finished)).values["rows"]
    assert row["scores"] == {}
    assert row["why_not"] == "0 of 75 lanes had accepted a draw, 60 wanted"


def test_pictures_stand_with_their_own_length_where_a_shorter_one_has_no_score(model: Model, finished: Store) -> None:
    chain = Chain(sampler="drs", beta="calibrated", lengths=(1, 20), settings={"burn_in": 75})
    found = read_chain(ChainReadout(chain=chain, **SCORED, **ENERGY), context(model, finished))
    assert [bool(row["scores"]) for row in found.values["rows"]] == [False, True]
    assert {name: len(images) for name, images in found.arrays.items()} == {"000001": 0, "000020": FEW + 4}


def test_logits_that_are_not_finite_are_a_row_with_the_reason(
    model: Model, finished: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, asked = (
        context(model, finished),
        ChainReadout(chain=Chain(sampler="ddls", beta="calibrated", lengths=(3,)), **SCORED, **ENERGY),
    )
    known = module.energies_of(here, asked)
    monkeypatch.setitem(known.splits, "validation", known.of_data("validation") * math.nan)
    (row,) = read_chain(asked, here).values["rows"]
    assert row["why_not"] == "not calibrated: calibration needs finite logits, 200 of 400 are not"


def test_a_sampler_with_a_calibration_of_its_own_takes_no_other_temperature(tiny: Suite, store: Store) -> None:
    chain = Chain(sampler="mh-gan", beta=100.0, lengths=(3,))
    with pytest.raises(SuiteError, match="mh-gan calibrates the logit by itself"):
        plan_one(changed(tiny, "evaluation", chains=(chain,)), store)


# -- in the store ------------------------------------------------------------------------------------------------


def test_rows_at_the_calibrated_temperature_are_one_readout_whatever_each_run_used(tiny: Suite, store: Store) -> None:
    chain = Chain(sampler="ula", beta="calibrated", step_size=1e-2, lengths=(2,))
    suite = changed(tiny, "evaluation", chains=(chain,), exact=("calibrated",), annealing=0)
    for seed in (0, 1):
        assert do(plan_one(suite, store, "gebm", seed)).state == "done"
    plan = make_plan(suite, Selection(models=["gebm"]), Places(store.root, device="cpu"))
    Campaign(suite, "quick", plan, store, 1).remember()
    found = scan(store)
    own = found.scores[(found.scores["beta_rule"] == "calibrated") & (found.scores["sampler"] == "ula")]
    assert own["beta"].nunique() == 2  # each run's own value
    (section,) = found.sections()
    rows = section.summary[(section.summary["beta_rule"] == "calibrated") & (section.summary["sampler"] == "ula")]
    assert set(rows["n"]) == {2}
    assert rows["beta_used"].iloc[0] == pytest.approx(own.drop_duplicates("run")["beta"].mean())


@pytest.mark.parametrize("beta", ["hot", -1.0, True, 1e7])
def test_a_temperature_is_a_number_or_calibrated(beta: Any) -> None:
    with pytest.raises(ValueError, match='a temperature is a number from 0 to 1,000,000 or "calibrated"'):
        Chain(sampler="ula", beta=beta, step_size=1e-2, lengths=(1,))
