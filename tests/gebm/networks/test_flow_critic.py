"""The flow critic's GEBM is the critic itself, its log-partition is known, and estimators find it.

Statistical bounds are four standard errors: a false alarm has probability 6e-5 a comparison, and seeds are fixed.
"""

from __future__ import annotations

import copy

import pytest
import torch

from baselines.flows import Flow, FlowSettings, build_flow
from gebm.base import evaluation_mode
from gebm.model import GEBM
from gebm.networks.flow_critic import ContractedCritic, FlowCritic
from gebm.objectives import Kale
from gebm.partition import importance_sampling, likelihood_bracket
from gebm.refit import EnergyRefit
from gebm.settings import RefitSettings
from gebm.stream import DataStream


def flow(seed: int, spread: float = 0.05, **settings: object) -> Flow:
    torch.manual_seed(seed)
    built = build_flow(FlowSettings("realnvp", layers=3, hidden=16, **settings), 4)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += spread * torch.randn_like(parameter)
    return built


@pytest.mark.parametrize("shift", [0.0, 1.7])
def test_the_gebm_is_the_critic_and_importance_sampling_finds_its_log_partition(shift: float) -> None:
    base, critic = flow(0).eval().requires_grad_(False), flow(1).eval()
    energy = FlowCritic(critic, base, shift)
    x = base.sample(64, torch.Generator().manual_seed(2))
    model = GEBM(base, energy)
    torch.testing.assert_close(model.log_prob(x, energy.log_partition), critic.log_prob(x), rtol=1e-4, atol=1e-4)
    estimate = importance_sampling(model.potential(), 5_000, torch.Generator().manual_seed(3))
    assert estimate.effective_fraction > 0.05
    assert estimate.estimate == pytest.approx(-shift, abs=4 * estimate.standard_error)


def test_the_bracket_contains_the_critics_likelihood() -> None:
    base, critic = flow(0).eval().requires_grad_(False), flow(1).eval().requires_grad_(False)
    energy = FlowCritic(critic, base, 0.9)
    x = critic.sample(500, torch.Generator().manual_seed(4))
    estimate = importance_sampling(GEBM(base, energy).potential(), 5_000, torch.Generator().manual_seed(5))
    bracket = likelihood_bracket(base.log_prob(x), energy(x), estimate)
    low, high = bracket.interval(0.9999)
    assert low <= float(critic.log_prob(x).double().mean()) <= high
    assert high - low < 0.3


def test_training_moves_the_critic_only_and_the_log_partition_stays() -> None:
    """On a base with dropout: its mode is not the energy's to change."""
    base = flow(0, dropout=0.5).eval().requires_grad_(False)
    energy = FlowCritic(flow(1), base, 0.4)
    assert {name.partition(".")[0] for name, _ in energy.named_parameters()} == {"critic"}
    before = copy.deepcopy(base.state_dict())
    rows = 0.5 * torch.randn(300, 4, generator=torch.Generator().manual_seed(6))
    settings = RefitSettings(30, batch_size=64, learning_rate=1e-2, penalty=0.0, check_every=10)
    stream = DataStream(rows[:200], 64, torch.Generator().manual_seed(7))
    refit = EnergyRefit(base, energy, Kale(), stream, rows[200:], torch.Generator().manual_seed(8), settings)
    while refit.done < refit.total:
        refit.step()
    assert refit.best_step > 0
    assert not base.training
    assert all(torch.equal(before[key], value) for key, value in base.state_dict().items())
    trained = GEBM(base, refit.finish())
    estimate = importance_sampling(trained.potential(), 5_000, torch.Generator().manual_seed(9))
    assert estimate.estimate == pytest.approx(-0.4, abs=4 * estimate.standard_error)


def test_copies_for_sampling_reweight_the_copied_base() -> None:
    base, critic = flow(0), flow(1)
    model = GEBM(base, FlowCritic(critic, base))
    twin = model.for_sampling()
    assert twin.energy.base is twin.base
    z = base.prior.sample(16, torch.Generator().manual_seed(1))
    with evaluation_mode(model):
        torch.testing.assert_close(twin.potential()(z), model.potential()(z))


def contracted(base: Flow, shift: float = 0.0) -> ContractedCritic:
    return ContractedCritic(base.network.inverse, torch.tensor([1.0, 0.5, 0.0, -0.5]), 0.6, shift)


def test_a_contracted_critics_log_partition_bound_and_mass_are_what_they_say() -> None:
    """Draws of the model are G(μ + σζ): their weights are below the bound, and beyond a weight as often as stated; four standard errors."""
    base, generator = flow(0).eval().requires_grad_(False), torch.Generator().manual_seed(1)
    energy = contracted(base, 0.9)
    estimate = importance_sampling(GEBM(base, energy).potential(), 5_000, generator)
    assert estimate.estimate == pytest.approx(energy.log_partition, abs=4 * estimate.standard_error)
    assert estimate.standard_error < 0.1
    model = base(energy.mean + energy.scale * base.prior.sample(4_000, generator))
    log_weights = -energy(model)
    assert float(log_weights.max()) <= energy.largest_log_weight + 1e-3
    for share in (0.1, 0.5, 0.9):
        level = float(log_weights.quantile(1 - share))
        assert energy.mass_beyond(level) == pytest.approx(share, abs=4 * (share * (1 - share) / 4_000) ** 0.5)
    assert energy.mass_beyond(energy.largest_log_weight) == 0


def test_a_contracted_critic_is_copied_with_its_flow() -> None:
    base = flow(0)
    model = GEBM(base, contracted(base))
    twin = model.for_sampling()
    assert twin.energy.inverse.__self__ is twin.base.network
    z = base.prior.sample(16, torch.Generator().manual_seed(1))
    with evaluation_mode(model):
        torch.testing.assert_close(twin.potential()(z), model.potential()(z))


@pytest.mark.parametrize("scale", [0.0, 1.0, -0.5])
def test_weights_of_a_contraction_only_are_bounded(scale: float) -> None:
    with pytest.raises(ValueError, match=r"scale must be in \(0, 1\)"):
        ContractedCritic(flow(0).network.inverse, torch.zeros(4), scale)
