"""Maximum likelihood: what it reaches where the truth is known, and what it keeps; tests/gebm/test_resume.py has that it resumes."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.flows import FlowSettings, MaximumLikelihood, MaximumLikelihoodSettings, build_flow, mean_log_likelihood
from gebm.stream import DataStream
from gebm.training import DivergedError

STEPS = 12
FLOWS = {
    "plain": FlowSettings("realnvp", layers=2, hidden=8),
    "dropout": FlowSettings("realnvp", layers=2, hidden=8, dropout=0.4, residual=True, linear="lu"),
    "batch": FlowSettings("maf", layers=2, hidden=8, normalisation="batch", linear="permutation"),
    "act": FlowSettings("realnvp", layers=2, hidden=8, normalisation="act"),
    "spline": FlowSettings("nsf-coupling", layers=1, hidden=8, bins=4),
    "gaussian": FlowSettings("gaussian"),
}


def build(flow: str, options: dict[str, Any], seed: int) -> MaximumLikelihood:
    torch.manual_seed(seed)
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(100))
    settings = MaximumLikelihoodSettings(
        **{"steps": STEPS, "batch_size": 16, "check_every": 2, "learning_rate": 0.02} | options
    )
    stream = DataStream(rows[:40], 16, torch.Generator().manual_seed(seed + 1))
    generator = torch.Generator().manual_seed(seed + 2)
    return MaximumLikelihood(build_flow(FLOWS[flow], 3), stream, rows[40:], generator, settings)


def run(training: MaximumLikelihood, until: int = 10**9) -> list[dict[str, Tensor]]:
    losses = []
    while training.done < min(training.total, until):
        losses.append(training.step())
    return losses


@pytest.mark.parametrize("flow", FLOWS)
def test_keeps_the_weights_that_were_best_on_validation(flow: str) -> None:
    training = build(flow, {"steps": 40, "learning_rate": 0.2, "decay": "constant"}, seed=0)
    seen = [float(loss["validation_log_likelihood"]) for loss in run(training) if "validation_log_likelihood" in loss]
    best = training.finish()
    assert not best.training
    assert not any(parameter.requires_grad for parameter in best.parameters())
    value = float(mean_log_likelihood(best, training.validation))
    assert value == pytest.approx(training.best_value, abs=1e-12)
    assert value >= max(seen)


def test_ends_when_patience_is_out() -> None:
    training = build("plain", {"steps": 1000, "learning_rate": 0.3, "decay": "constant", "patience": 3}, seed=0)
    run(training)
    assert training.done == training.best_step + 3 * 2 < 1000


def test_instead_of_ending_it_returns_to_the_best_weights_with_a_third_of_the_rate() -> None:
    options = {"steps": 1000, "learning_rate": 0.3, "decay": "constant", "patience": 3, "reductions": 2}
    training = build("plain", options, seed=0)
    rates, returned = [], 0
    while training.done < training.total:
        reductions = training.reductions
        training.step()
        rates.append(training.optimizer.param_groups[0]["lr"])
        if training.reductions > reductions:
            returned += 1
            torch.testing.assert_close(training.flow.state_dict(), training.best, rtol=0, atol=0)
    assert sorted(set(rates), reverse=True) == pytest.approx([0.3, 0.1, 0.3 / 9])
    assert rates == sorted(rates, reverse=True)
    assert returned == 2
    assert training.done == max(training.best_step, training.reduced_at) + 3 * 2 < 1000


def test_a_gaussian_is_fitted_in_one_step_to_its_closed_form() -> None:
    training = build("gaussian", {}, seed=0)
    run(training)
    rows, flow = training.data.data.double(), training.finish()
    expected = torch.distributions.MultivariateNormal(rows.mean(0), torch.cov(rows.T, correction=0))
    torch.testing.assert_close(flow.log_prob(rows.float()).double(), expected.log_prob(rows), rtol=1e-5, atol=1e-5)
    assert training.done == 1


def test_a_gaussian_refuses_a_singular_covariance() -> None:
    training = build("gaussian", {}, seed=0)
    training.data.data[:, 2] = training.data.data[:, 0]
    with pytest.raises(ValueError, match="covariance of these 40 rows in 3 dimensions is singular"):
        training.step()


def test_realnvp_concentrates_mass() -> None:
    """On N(0, 0.1² I₆), whose entropy gives 5.30 nats, nflows' own coupling stops at −5.53."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    rows = 0.1 * torch.randn(6000, 6, generator=generator)
    settings = MaximumLikelihoodSettings(steps=400, batch_size=256, learning_rate=5e-3, check_every=50)
    stream = DataStream(rows[:4000], 256, generator)
    flow = build_flow(FlowSettings("realnvp", layers=4, hidden=32), 6)
    training = MaximumLikelihood(flow, stream, rows[4000:5000], generator, settings)
    run(training)
    truth = torch.distributions.Normal(0.0, 0.1).log_prob(rows[5000:]).sum(1).mean()
    assert float(mean_log_likelihood(training.finish(), rows[5000:])) == pytest.approx(float(truth), abs=0.05)


def test_a_step_without_finite_loss_changes_nothing_and_is_counted() -> None:
    training = build("plain", {"most_skipped": 2}, seed=0)
    run(training, 3)
    clean, before = training.data.data, copy.deepcopy(training.flow.state_dict())
    training.data.data = torch.full_like(clean, math.nan)
    assert "negative_log_likelihood" not in training.step()
    assert training.skipped == 1
    torch.testing.assert_close(training.flow.state_dict(), before, rtol=0, atol=0)
    training.data.data = clean
    assert "negative_log_likelihood" in training.step()
    training.data.data = torch.full_like(clean, math.nan)
    training.step()
    with pytest.raises(DivergedError, match="loss or gradient not finite in 3 of 7 steps; lower the learning rate"):
        training.step()


def test_validation_never_moves_the_weights() -> None:
    """Other validation rows, same trajectory: they choose among weights and do nothing else."""
    first, second = (build("batch", {"decay": "cosine"}, seed=0) for _ in range(2))
    second.validation = second.validation + 1
    run(first)
    run(second)
    torch.testing.assert_close(first.flow.state_dict(), second.flow.state_dict(), rtol=0, atol=0)


def test_data_and_settings_must_agree() -> None:
    flow, rows = build_flow(FLOWS["plain"], 3), torch.zeros(20, 3)
    stream, settings = DataStream(rows, 8, torch.Generator()), MaximumLikelihoodSettings(1, batch_size=16)
    with pytest.raises(ValueError, match="batch_size must be one number, the data stream has 8, the settings 16"):
        MaximumLikelihood(flow, stream, rows, torch.Generator(), settings)
    prepared = DataStream(rows, 16, torch.Generator(), lambda batch, _: batch + 1)
    with pytest.raises(ValueError, match="data must be rows as the flow sees them, without `prepare`"):
        MaximumLikelihood(flow, prepared, rows, torch.Generator(), settings)
    with pytest.raises(ValueError, match="validation must have at least one row"):
        MaximumLikelihood(flow, stream, rows[:0], torch.Generator(), MaximumLikelihoodSettings(1, batch_size=8))
