"""Diagnostics agree with closed forms; arviz-stats is called the way it wants to be.

Seeds are fixed; a bound at 4 standard errors would give a false alarm in 6e-5 of fresh seeds.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.diagnostics import (
    bulk_ess,
    mean_ess,
    pareto_k,
    record,
    rhat,
    summarise,
    tail_ess,
    usable_log_weights,
    weight_ess,
)
from gebm.model import LatentPotential
from gebm.samplers import HMC, MALA, Cost, IndependentMH


class Quadratic(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.square().sum(1)


POTENTIAL = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), Quadratic())


def autoregression(draws: int, chains: int, correlation: float) -> Tensor:
    """Stationary AR(1) chains of unit variance, (draws, chains): the ESS of the mean is N(1 − ρ)/(1 + ρ)."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(chains, generator=generator, dtype=torch.float64)]
    for _ in range(draws - 1):
        noise = torch.randn(chains, generator=generator, dtype=torch.float64)
        values.append(correlation * values[-1] + math.sqrt(1 - correlation**2) * noise)
    return torch.stack(values)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_ess_of_an_autoregression(correlation: float) -> None:
    values = autoregression(2000, 16, correlation)
    truth = values.numel() * (1 - correlation) / (1 + correlation)
    assert mean_ess(values) == pytest.approx(truth, rel=0.2)
    assert bulk_ess(values) == pytest.approx(truth, rel=0.2)
    assert 0.5 * truth < tail_ess(values) < 3 * truth + 1000


def test_axes_are_draws_then_chains() -> None:
    """One chain stuck elsewhere: R-hat sees it only if the axes are the right way round."""
    values = autoregression(400, 4, 0.0)
    assert rhat(values) < 1.01
    values[:, 0] += 3
    assert rhat(values) > 1.2


def test_folded_rhat_sees_a_difference_in_scale() -> None:
    values = autoregression(400, 4, 0.0)
    values[:, 0] *= 5
    assert rhat(values) > 1.1


def test_what_cannot_be_judged_is_not_judged() -> None:
    values = autoregression(50, 4, 0.0)
    assert math.isnan(rhat(values[:, :1]))
    assert math.isnan(rhat(torch.zeros(50, 4)))
    values[3, 2] = math.nan
    assert math.isnan(rhat(values))
    assert math.isnan(bulk_ess(values))
    with pytest.raises(ValueError, match="values must have at least 4 draws"):
        rhat(values[:3])


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_pareto_k_is_that_of_the_large_weights(shape: float) -> None:
    """Weights exp(shape · Exp(1)) are Pareto with k = shape. The sign handed to arviz-stats decides: reversed,
    their bounded side would be fitted and k̂ would come out negative.
    """
    generator = torch.Generator().manual_seed(0)
    log_weights = shape * torch.empty(20_000, dtype=torch.float64).exponential_(generator=generator)
    assert pareto_k(log_weights) == pytest.approx(shape, abs=0.12)
    assert pareto_k(-log_weights) < 0
    assert pareto_k(log_weights + 1234.5) == pytest.approx(pareto_k(log_weights), abs=1e-6)


def test_pareto_k_of_extreme_cases() -> None:
    assert pareto_k(torch.zeros(1000)) == -math.inf
    assert pareto_k(torch.zeros(10)) == math.inf
    assert pareto_k(torch.full((1000,), -math.inf)) == math.inf
    generator = torch.Generator().manual_seed(0)
    log_weights = torch.randn(2000, generator=generator, dtype=torch.float64)
    log_weights[::3] = -math.inf
    assert 0 < pareto_k(log_weights) < 0.5


def test_weight_ess() -> None:
    assert weight_ess(torch.zeros(7)) == pytest.approx(7)
    assert weight_ess(torch.tensor([0.0, -math.inf, math.nan, math.inf])) == pytest.approx(1)
    assert weight_ess(torch.full((4,), -math.inf)) == 0
    assert weight_ess(torch.log(torch.tensor([3.0, 1.0], dtype=torch.float64)) - 2000) == pytest.approx(16 / 10)
    assert usable_log_weights(torch.tensor([math.nan, math.inf, 1.0])).tolist() == [-math.inf, -math.inf, 1.0]


def test_record_and_summary_of_a_known_posterior() -> None:
    """E = ‖z‖²/2 makes the posterior N(0, I/2): E[E] = d/4, E‖z‖² = d/2, each within 4 standard errors of the
    reported ESS.
    """
    generator = torch.Generator().manual_seed(0)
    start = GaussianPrior(2).sample(8, generator, torch.float64)
    trace = record(HMC(0.6, 3), POTENTIAL, start, 500, generator, warmup=50, thin=2)
    assert trace.z.shape == (500, 8, 2)
    assert trace.cost == Cost(1000 * 3, 0)
    assert trace.warmup_cost == Cost(50 * 3, 0)
    summary = summarise(trace, coordinates=(0, 1, 7))
    assert [quantity.name for quantity in summary.quantities] == ["energy", "squared_norm", "z[0]", "z[1]"]
    assert summary.mixed
    for quantity, truth in zip(summary.quantities, (0.5, 1.0, 0.0, 0.0), strict=True):
        assert abs(quantity.mean - truth) < 4 * quantity.standard_deviation / math.sqrt(quantity.bulk_ess)
    assert 0.6 < summary.acceptance < 1
    assert summary.energy_error is not None
    assert 0 < summary.energy_error < 0.5
    assert summary.smallest_ess > 500
    assert (summary.draws, summary.chains, summary.invalid) == (500, 8, 0)


@pytest.mark.parametrize("mass", [1.0, (0.5, 2.0)])
def test_energy_error_of_hmc_is_of_second_order(mass: float | tuple[float, ...]) -> None:
    """Leapfrog: halving the step at fixed length divides |ΔH| by 4; a drift that forgot the mass would not conserve
    H at all.
    """
    start = GaussianPrior(2).sample(500, torch.Generator().manual_seed(0), torch.float64)
    errors = []
    for step_size, steps in ((0.2, 4), (0.1, 8)):
        trace = record(HMC(step_size, steps, mass), POTENTIAL, start, 20, torch.Generator().manual_seed(1))
        assert trace.energy_error is not None
        errors.append(float(trace.energy_error.mean()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_a_short_chain_far_from_home_is_not_called_mixed() -> None:
    start = torch.linspace(-10, 10, 8, dtype=torch.float64)[:, None].expand(8, 2).contiguous()
    trace = record(MALA(1e-3), POTENTIAL, start, 50, torch.Generator().manual_seed(0))
    assert not summarise(trace).mixed


def test_record_names_bad_arguments() -> None:
    with pytest.raises(ValueError, match="draws and thin must be >= 1"):
        record(IndependentMH(), POTENTIAL, torch.zeros(3, 2), 0, torch.Generator())
