"""log Z against cases where it is known, and intervals that cover it as often as they say.

The known case (METHOD: fact 9): G = N(0, I) and E(x) = −log r(x) + log g(x) + s for a normalised r, so A = −s and Q
= r. Coverage tests count repetitions: at a true coverage of 0.95 the bound would be missed in 0.3 % of fresh seeds.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior, UniformPrior
from gebm.diagnostics import Trace, record
from gebm.model import LatentPotential
from gebm.partition import (
    LogPartition,
    Schedule,
    adaptive_schedule,
    annealed_importance_sampling,
    bridge_sampling,
    importance_sampling,
    likelihood_bracket,
    log_partition_from_weights,
    reverse_annealing,
    sequential_monte_carlo,
)
from gebm.samplers import HMC, MALA, ULA, IndependentMH, IteratedSIR, KineticLangevin, RandomWalk

SHIFT = 3.7
REPEATS = {"importance": 100, "AIS": 60, "SMC": 60, "bridge": 30}


class FlowCritic(nn.Module):
    """E = −log r + log g + s with r a mixture of two normals at ±`offset` (first coordinate) of standard deviation
    `width`.
    """

    def __init__(self, offset: float = 1.5, width: float = 0.5, shift: float = SHIFT) -> None:
        super().__init__()
        self.offset, self.width, self.shift = offset, width, shift

    def log_r(self, x: Tensor) -> Tensor:
        centre = torch.zeros_like(x[:1])
        centre[:, 0] = self.offset
        log_norm = -x.shape[1] * (math.log(self.width) + 0.5 * math.log(2 * math.pi))
        sides = [-0.5 * ((x - sign * centre) / self.width).square().sum(1) for sign in (-1, 1)]
        return torch.logaddexp(*sides) - math.log(2) + log_norm

    def draw(self, count: int, dimension: int, generator: torch.Generator) -> Tensor:
        x = self.width * torch.randn(count, dimension, generator=generator)
        x[:, 0] += self.offset * (2 * torch.randint(2, (count,), generator=generator) - 1)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return GaussianPrior(x.shape[1]).log_prob(x) - self.log_r(x) + self.shift


def potential(dimension: int = 3, beta: float = 1.0, **critic: float) -> LatentPotential:
    return LatentPotential(Base(nn.Identity(), GaussianPrior(dimension)), FlowCritic(**critic), beta)


def important(case: LatentPotential, generator: torch.Generator) -> LogPartition:
    return importance_sampling(case, 2000, generator)


@functools.cache
def schedule(ess_fraction: float) -> Schedule:
    """One pilot, frozen for all repetitions."""
    return adaptive_schedule(
        potential(), HMC(0.4, 3), 512, torch.Generator().manual_seed(99), ess_fraction=ess_fraction
    )


def annealed(case: LatentPotential, generator: torch.Generator) -> LogPartition:
    assert len(schedule(0.9).fractions) > 5, "an annealing of one level is importance sampling"
    return annealed_importance_sampling(case, HMC(0.4, 3), schedule(0.9), 300, generator)


def sequential(case: LatentPotential, generator: torch.Generator) -> LogPartition:
    return sequential_monte_carlo(case, HMC(0.4, 3), schedule(0.7), 64, generator)


def bridged(case: LatentPotential, generator: torch.Generator) -> LogPartition:
    start = case.prior.sample(32, generator)
    trace = record(IndependentMH(), case, start, 100, generator, warmup=50)
    return bridge_sampling(case, trace, 500, generator)


ESTIMATORS = {"importance": important, "AIS": annealed, "SMC": sequential, "bridge": bridged}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_intervals_cover_the_truth_and_the_bracket_contains_it(name: str) -> None:
    """The mean error and its spread are what the standard errors say, to 4 of their own; brackets to 3.9."""
    case, repeats = potential(), REPEATS[name]
    least = stats.binom(repeats, 0.95).ppf(0.003)
    critic = case.network
    assert isinstance(critic, FlowCritic)
    estimates = [ESTIMATORS[name](case, torch.Generator().manual_seed(seed)) for seed in range(repeats)]
    assert all(estimate.reportable for estimate in estimates)
    covered = sum(estimate.interval()[0] <= -SHIFT <= estimate.interval()[1] for estimate in estimates)
    assert covered >= least
    scores = torch.tensor([(estimate.estimate + SHIFT) / estimate.standard_error for estimate in estimates])
    assert abs(float(scores.mean())) < 4 / math.sqrt(repeats)
    assert abs(float(scores.std()) - 1) < 4 / math.sqrt(2 * repeats)
    if name == "bridge":
        return
    x = critic.draw(400, 3, torch.Generator().manual_seed(1000))
    truth = float(critic.log_r(x).double().mean())
    base = GaussianPrior(3).log_prob(x)
    brackets = [likelihood_bracket(base, critic(x), estimate) for estimate in estimates]
    assert all(bracket.lower <= bracket.upper for bracket in brackets)
    inside = sum(bracket.interval()[0] <= truth <= bracket.interval()[1] for bracket in brackets)
    assert inside >= least
    lower = torch.tensor([bracket.lower for bracket in brackets], dtype=torch.float64)
    upper = torch.tensor([bracket.upper for bracket in brackets], dtype=torch.float64)
    assert float(lower.mean()) < truth + 3.9 * float(lower.std()) / math.sqrt(repeats)
    assert float(upper.mean()) > truth - 3.9 * float(upper.std()) / math.sqrt(repeats)


def test_jensen_is_reproduced_and_bracketed() -> None:
    """With few draws log Ẑ is low by CV²/(2M) on average, so LL_IS is high; LL_c is low. 1250 repetitions of M = 20
    each.
    """
    case, ends = potential(offset=1.0, width=0.8), []
    for seed in range(1250):
        estimate = importance_sampling(case, 20, torch.Generator().manual_seed(seed))
        bracket = likelihood_bracket(torch.zeros(2), torch.full((2,), SHIFT), estimate)
        ends.append((estimate.estimate + SHIFT, bracket.lower, bracket.upper))
    low, lower, upper = (torch.tensor(column, dtype=torch.float64) for column in zip(*ends, strict=True))
    many = importance_sampling(case, 100_000, torch.Generator().manual_seed(1))
    jensen = (1 / many.effective_fraction - 1) / (2 * 20)
    assert float(low.mean()) == pytest.approx(-jensen, abs=4 * float(low.std()) / math.sqrt(1250) + 0.2 * jensen)
    truth = 0.0  # E = s and A = −s at every point
    assert float(lower.mean()) < truth - 2 * float(lower.std()) / math.sqrt(1250)
    assert float(upper.mean()) > truth + 2 * float(upper.std()) / math.sqrt(1250)


def test_annealing_reaches_where_importance_sampling_cannot() -> None:
    """r far from g (three standard deviations, a quarter of the width, four latents): SMC is within 4 errors of the
    truth.
    """
    case = potential(4, offset=3.0, width=0.25)
    pilot = adaptive_schedule(case, HMC(0.15, 5), 512, torch.Generator().manual_seed(0), ess_fraction=0.7)
    smc = sequential_monte_carlo(case, HMC(0.15, 5), pilot, 128, torch.Generator().manual_seed(1))
    assert smc.reportable
    assert abs(smc.estimate + SHIFT) < 4 * smc.standard_error < 0.8
    plain = importance_sampling(case, 4096, torch.Generator().manual_seed(2))
    assert plain.effective_fraction < 0.02
    assert not plain.reportable


def test_heavy_weights_are_not_reportable() -> None:
    """r wider than g by 3: the weights have no variance (k = 1 − 1/9 a direction), and k̂ says so."""
    estimate = importance_sampling(potential(2, offset=0.0, width=3.0), 20_000, torch.Generator().manual_seed(0))
    assert estimate.pareto_k is not None
    assert estimate.pareto_k >= 0.7
    assert not estimate.reportable
    assert "Pareto k" in estimate.objections[0]


def test_another_inverse_temperature_has_another_partition() -> None:
    """Linear energy a·z: A(β) = β²‖a‖²/2, for all four estimators."""

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.9 * x[:, 0]

    case = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), Linear(), 1.5)
    truth = 0.5 * (1.5 * 0.9) ** 2
    levels = Schedule((0.0, 0.2, 0.5, 1.0))
    generator = torch.Generator().manual_seed(0)
    trace = record(MALA(0.5), case, case.prior.sample(16, generator), 300, generator, warmup=50)
    for estimate in (
        importance_sampling(case, 20_000, generator),
        annealed_importance_sampling(case, MALA(0.5), levels, 2000, generator, moves=3),
        sequential_monte_carlo(case, MALA(0.5), levels, 100, generator, moves=3),
        bridge_sampling(case, trace, 5000, generator),
    ):
        assert abs(estimate.estimate - truth) < 4 * estimate.standard_error < 0.3


def test_uniform_prior() -> None:
    """E = a·z on [−1, 1]²: A = log(sinh(a)/a)."""

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2.0 * x[:, 0]

    case = LatentPotential(Base(nn.Identity(), UniformPrior(2)), Linear())
    truth = math.log(math.sinh(2.0) / 2.0)
    levels, generator = Schedule((0.0, 0.5, 1.0)), torch.Generator().manual_seed(0)
    for estimate in (
        importance_sampling(case, 5000, generator),
        annealed_importance_sampling(case, HMC(0.3, 3), levels, 2000, generator),
        sequential_monte_carlo(case, MALA(0.1), levels, 100, generator),
    ):
        assert abs(estimate.estimate - truth) < 4 * estimate.standard_error < 0.3


def test_without_temperature_nothing_is_estimated() -> None:
    case, generator = potential(beta=0.0), torch.Generator().manual_seed(0)
    levels = Schedule((0.0, 0.5, 1.0))
    for estimate in (
        importance_sampling(case, 100, generator),
        annealed_importance_sampling(case, MALA(0.1), levels, 100, generator),
        sequential_monte_carlo(case, MALA(0.1), levels, 100, generator),
    ):
        assert estimate.estimate == pytest.approx(0.0, abs=1e-12)
        assert estimate.standard_error == pytest.approx(0.0, abs=1e-6)


def test_zero_and_unusable_weights_stay_among_the_draws() -> None:
    """log-mean-exp is over all M, nothing is accumulated from 0, and what was no number is said."""
    weights = torch.full((100,), -700.0, dtype=torch.float64)
    weights[:50] = -math.inf
    estimate = log_partition_from_weights(weights, "test", 0, 0)
    assert estimate.estimate == pytest.approx(-700 + math.log(0.5))
    assert (estimate.draws, estimate.unusable) == (100, 0)
    weights[50], weights[51] = math.nan, math.inf
    estimate = log_partition_from_weights(weights, "test", 0, 0)
    assert estimate.estimate == pytest.approx(-700 + math.log(0.48))
    assert estimate.unusable == 2
    assert not estimate.reportable
    assert any("2 of 100 weights" in objection for objection in estimate.objections)
    nothing = log_partition_from_weights(torch.full((100,), -math.inf), "test", 0, 0)
    assert nothing.estimate == -math.inf
    assert not nothing.reportable


def test_another_run_admits_an_estimate_or_refuses_it() -> None:
    """Its objections and warnings stand, with the larger error, both costs, and what was wrong with the estimate's own weights."""
    even = log_partition_from_weights(torch.zeros(400), "test", 3, 5)
    heavy = log_partition_from_weights(3 * torch.linspace(0, 3, 400).exp(), "test", 30, 50)
    assert even.reportable
    assert not heavy.reportable
    refused, admitted = even.admitted_by(heavy), heavy.admitted_by(even)
    assert (refused.estimate, refused.objections) == (even.estimate, heavy.objections)
    assert admitted.reportable
    assert admitted.standard_error == refused.standard_error == heavy.standard_error
    assert (refused.gradient_evaluations, refused.forward_evaluations) == (33, 55)
    assert refused.judge is heavy
    broken = log_partition_from_weights(torch.tensor([math.nan, *399 * [0.0]]), "test", 0, 0)
    assert not broken.admitted_by(even).reportable


def test_mass_beyond_the_horizon_is_refused() -> None:
    """Draws met energies of −1 at least; of 400 rows 2 may have a lower one, 3 may not. Without a draw that is a number all are beyond."""
    found = log_partition_from_weights(torch.zeros(400), "test", 0, 0, lowest_energy=-1.0)
    for beyond, fine in ((2, True), (3, False)):
        rows = torch.cat([torch.full((beyond,), -1.5), torch.full((400 - beyond,), -1.0)])
        checked = found.held_against(rows)
        assert (checked.horizon, checked.reportable) == (pytest.approx(beyond / 400), fine)
    assert "0.8% of held-out rows have an energy below" in checked.objections[0]
    assert replace(found, lowest_energy=math.inf).held_against(torch.zeros(10)).horizon == 1


def test_one_row_beyond_the_draws_shows_no_share_of_a_small_table() -> None:
    found = log_partition_from_weights(torch.zeros(400), "test", 0, 0, lowest_energy=-1.0)
    for beyond, rows, fine in ((1, 100, True), (2, 100, False), (1, 1000, True)):
        energy = torch.cat([torch.full((beyond,), -1.5), torch.full((rows - beyond,), -0.5)])
        checked = found.held_against(energy)
        assert (checked.reportable, checked.horizon) == (fine, pytest.approx(beyond / rows))
        assert any("one of" in each for each in checked.warnings) == (beyond == 1)


def test_estimators_say_how_low_an_energy_they_met() -> None:
    """Chains of AIS and particles of SMC get lower than the prior's draws."""
    case, generator = potential(), torch.Generator().manual_seed(0)
    plain = importance_sampling(case, 300, torch.Generator().manual_seed(1))
    drawn = case.energy(case.prior.sample(300, torch.Generator().manual_seed(1)))
    assert plain.lowest_energy == pytest.approx(float(drawn.min()))
    assert annealed(case, generator).lowest_energy < plain.lowest_energy
    assert sequential(case, generator).lowest_energy < plain.lowest_energy


def test_opinions_that_differ_by_more_than_their_errors_are_a_warning() -> None:
    found = log_partition_from_weights(torch.zeros(400), "test", 1, 2)
    above = replace(found, estimate=0.4, standard_error=0.1, method="reverse annealing", gradient_evaluations=10)
    assert found.compared_with(replace(above, estimate=0.29)).warnings == ()
    compared = found.compared_with(above)
    assert compared.warnings == (
        "reverse annealing says 0.4 nats above, with a standard error of 0.1 for the difference",
    )
    assert (compared.reportable, compared.opinion, compared.gradient_evaluations) == (True, above, 11)
    assert found.compared_with(replace(above, objections=("an ESS of 2",))).warnings == ()


def test_reverse_annealing_from_the_model_is_high_where_annealing_is_low() -> None:
    """1/Ẑ is unbiased: right within 4 errors with many chains, and log Z is between the means of 200 runs of ten chains from either end, to
    four errors; their distance shows that the test can fail.
    """
    case, levels = potential(2, offset=1.0), Schedule((0.0, 0.3, 1.0))
    critic = case.network
    assert isinstance(critic, FlowCritic)

    def downwards(chains: int, seed: int) -> LogPartition:
        generator = torch.Generator().manual_seed(seed)
        return reverse_annealing(case, MALA(0.2), levels, critic.draw(chains, 2, generator), generator, moves=3)

    def upwards(seed: int) -> LogPartition:
        return annealed_importance_sampling(case, MALA(0.2), levels, 10, torch.Generator().manual_seed(seed), moves=3)

    many = downwards(20_000, 0)
    assert abs(many.estimate + SHIFT) < 4 * many.standard_error < 0.1
    assert many.halves is None
    down = torch.tensor([downwards(10, seed).estimate + SHIFT for seed in range(200)])
    up = torch.tensor([upwards(seed).estimate + SHIFT for seed in range(200)])
    assert float(up.mean()) < 4 * float(up.std()) / math.sqrt(200)
    assert float(down.mean()) > -4 * float(down.std()) / math.sqrt(200)
    assert float(down.mean() - up.mean()) > 0.02


def test_a_warm_up_leads_rows_that_are_not_the_models_to_it() -> None:
    """From prior draws at once 1/Ẑ is too large by far (E is high there); after 200 steps it is that of the model, to 4 errors."""
    case, levels = potential(2, offset=1.0), Schedule((0.0, 0.3, 1.0))
    generator = torch.Generator().manual_seed(0)
    start = case.prior.sample(4000, generator)
    cold = reverse_annealing(case, MALA(0.2), levels, start, generator, moves=3)
    warm = reverse_annealing(case, MALA(0.2), levels, start, generator, moves=3, warmup=200)
    assert cold.estimate < -SHIFT - 1
    assert abs(warm.estimate + SHIFT) < 4 * warm.standard_error < 0.2


def test_standard_error_is_the_delta_method() -> None:
    """std(w)/(mean(w)√M), from the same weights in the plain way."""
    log_weights = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = log_weights.exp()
    estimate = log_partition_from_weights(log_weights - 900, "test", 0, 0)
    assert estimate.standard_error == pytest.approx(float(weights.std() / weights.mean()) / math.sqrt(500))
    assert estimate.estimate == pytest.approx(float(weights.mean().log()) - 900)


def test_bracket_against_its_formula() -> None:
    """LL_c = mean(log g − E) − c − Ẑe^{−c} + 1, both ways round; the gain leaves the base out."""
    estimate = log_partition_from_weights(torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64), "test", 0, 0)
    assert estimate.halves is not None
    one, two = estimate.halves
    base, energy = torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([0.5, 0.0, 1.0])
    bracket = likelihood_bracket(base, energy, estimate)
    mean = float((base - energy).mean())
    ends = [mean - c - math.exp(other - c) + 1 for c, other in ((one, two), (two, one))]
    assert bracket.lower == pytest.approx(sum(ends) / 2)
    assert bracket.upper == pytest.approx(mean - estimate.estimate)
    assert bracket.width == pytest.approx(bracket.upper - bracket.lower)
    assert bracket.gain == pytest.approx((bracket.lower - bracket.base, bracket.upper - bracket.base))
    assert bracket.points_error == pytest.approx(float((base - energy).std()) / math.sqrt(3))
    assert bracket.gain_points_error == pytest.approx(float(energy.std()) / math.sqrt(3))
    hopeless = replace(estimate, halves=(-math.inf, 0.0))
    assert likelihood_bracket(base, energy, hopeless).lower == -math.inf


def test_costs_are_what_was_asked() -> None:
    class Counting(FlowCritic):
        gradients = forwards = 0

        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad:
                Counting.gradients += x.shape[0]
            else:
                Counting.forwards += x.shape[0]
            return super().forward(x)

    case, generator = (
        LatentPotential(Base(nn.Identity(), GaussianPrior(2)), Counting()),
        torch.Generator().manual_seed(0),
    )
    for run in (
        lambda: importance_sampling(case, 9000, generator),
        lambda: adaptive_schedule(case, HMC(0.3, 2), 50, generator, ess_fraction=0.8, moves=2),
        lambda: annealed_importance_sampling(case, RandomWalk(0.3), Schedule((0.0, 0.5, 1.0)), 50, generator),
        lambda: sequential_monte_carlo(case, MALA(0.3), Schedule((0.0, 0.5, 1.0)), 5, generator, moves=2),
        lambda: reverse_annealing(
            case, HMC(0.3, 2), Schedule((0.0, 0.5, 1.0)), torch.zeros(7, 2), generator, moves=2, warmup=3
        ),
    ):
        Counting.gradients = Counting.forwards = 0
        result = run()
        assert (result.gradient_evaluations, result.forward_evaluations) == (Counting.gradients, Counting.forwards)


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (lambda p, g: importance_sampling(p, 3, g), "at least 4 draws"),
        (lambda p, g: Schedule((0.1, 1.0)), "fractions must increase"),
        (lambda p, g: Schedule((0.0, 0.6, 0.5, 1.0)), "fractions must increase"),
        (lambda p, g: adaptive_schedule(p, MALA(0.1), 50, g, ess_fraction=1.0), "ess_fraction must be"),
        (lambda p, g: adaptive_schedule(p, MALA(0.1), 50, g, ess_fraction=0.99, most_levels=2), "most_levels = 2"),
        (
            lambda p, g: annealed_importance_sampling(p, MALA(0.1), Schedule((0.0, 1.0)), 50, g, moves=0),
            "moves must be >= 1",
        ),
        (
            lambda p, g: annealed_importance_sampling(p, KineticLangevin(0.1), Schedule((0.0, 1.0)), 50, g),
            "use MALA or HMC",
        ),
        (lambda p, g: annealed_importance_sampling(p, ULA(0.1), Schedule((0.0, 1.0)), 50, g), "ULA does not; use MALA"),
        (lambda p, g: annealed_importance_sampling(p, IteratedSIR(4), Schedule((0.0, 1.0)), 50, g), "use MALA or HMC"),
        (
            lambda p, g: sequential_monte_carlo(p, MALA(0.1), Schedule((0.0, 1.0)), 50, g, islands=2),
            "islands must be >= 16",
        ),
        (lambda p, g: importance_sampling(p, 50, g).interval(1.0), r"level must be in \(0, 1\)"),
        (lambda p, g: likelihood_bracket(torch.zeros(3), torch.zeros(4), important(p, g)), "must have one shape"),
        (
            lambda p, g: likelihood_bracket(torch.zeros(3), torch.zeros(3), bridged(p, g)),
            "must be unbiased for a bracket",
        ),
        (lambda p, g: bridge_sampling(p, broken_trace(p, g), 100, g), "trace has energies that are not finite"),
    ],
)
def test_bad_arguments_are_named(run, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        run(potential(), torch.Generator().manual_seed(0))


def broken_trace(case: LatentPotential, generator: torch.Generator) -> Trace:
    trace = record(MALA(0.1), case, torch.zeros(4, 3), 10, generator)
    energy = trace.energy.clone()
    energy[0, 0] = math.nan
    return replace(trace, energy=energy)
