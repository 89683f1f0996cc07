"""Joint training on a flow ends at the best state its validation rows have seen, and comes back from a bad one.

Base and data are normal in one dimension, so that every log-likelihood is known.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, FlowBase, GaussianPrior
from gebm.objectives import Kale
from gebm.selection import SelectedTraining
from gebm.settings import SelectionSettings, TrainingSettings
from gebm.stream import DataStream
from gebm.training import AlternatingTraining

ENTROPY = 0.5 * math.log(2 * math.pi * math.e)  # of N(0, 1)


class Shift(FlowBase):
    """x = m + z."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 1), GaussianPrior(1))
        nn.init.ones_(self.network.weight).requires_grad_(False)
        nn.init.zeros_(self.network.bias)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.prior.log_prob(x - self.network.bias)


class Slope(nn.Module):
    """E = bx, which moves the mean of a normal base; 0 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x).sum(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(mean: float, selection: dict[str, Any] | None = None, **training: Any) -> SelectedTraining:
    """Training from N(0, 1) on rows of N(mean, 1) whose mean and variance are exactly those."""
    x = torch.randn(600, 1, generator=seeded(0))
    x = (x - x.mean()) / x.std(correction=0) + mean
    settings = TrainingSettings(
        **{"base_steps": 100, "batch_size": 64, "penalty": 0.0, "learning_rate": 1e-2} | training
    )
    phase = AlternatingTraining(Shift(), Slope(), Kale(), DataStream(x, 64, seeded(1)), seeded(2), settings)
    return SelectedTraining(phase, x, seeded(3), SelectionSettings(**{"check_every": 10} | (selection or {})))


def run(phase: SelectedTraining) -> SelectedTraining:
    while phase.done < phase.total:
        phase.step()
    return phase


def test_a_start_that_is_the_truth_is_kept() -> None:
    """No state is better than the truth; one is preferred if it seems so by more than its error, on 600 rows and 8,192 draws."""
    phase = run(build(0.0))
    assert phase.first_value == pytest.approx(-ENTROPY, abs=1e-6)
    assert (phase.best_step, phase.best_value) == (0, phase.first_value)
    assert phase.finish().network.bias.item() == 0
    assert phase.training.energy.weight.item() == 0
    assert phase.training.base.network.bias.item() != 0


def test_what_joint_training_gains_is_kept() -> None:
    """From N(0, 1) to rows of N(1, 1) there is ½ a nat; 0.02 of it is left to the slope that has not converged and to log Z."""
    phase = run(build(1.0, base_steps=200, energy_learning_rate=0.05))
    assert phase.first_value == pytest.approx(-ENTROPY - 0.5, abs=1e-6)
    assert phase.best_value == pytest.approx(-ENTROPY, abs=0.02)
    base = phase.finish()
    assert not base.training
    assert base.network.bias.item() - phase.training.energy.weight.item() == pytest.approx(1, abs=0.15)


def test_training_that_runs_away_comes_back_with_half_the_rates_three_times_and_ends_at_its_start() -> None:
    phase = run(build(0.0, {"largest_fall": 0.0}, learning_rate=1.0, energy_learning_rate=1.0))
    assert (phase.done, phase.restarts, phase.best_step) == (40, 3, 0)
    for optimizer in (phase.training.base_optimizer, phase.training.energy_optimizer):
        assert optimizer.param_groups[0]["initial_lr"] == 1 / 8
    assert phase.finish().network.bias.item() == 0


def test_a_loss_that_is_not_finite_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = build(1.0)
    for _ in range(13):
        phase.step()
    at_ten, step = phase.good["base"]["network.bias"].clone(), phase.training.step
    assert not torch.equal(at_ten, phase.training.base.network.bias)
    monkeypatch.setattr(phase.training, "step", lambda: step() | {"base_loss": torch.tensor(math.nan)})
    assert phase.step() == {}
    assert torch.equal(at_ten, phase.training.base.network.bias)
    assert (phase.training.done, phase.done, phase.total) == (10, 14, 104)
    assert phase.training.base_optimizer.param_groups[0]["initial_lr"] == 5e-3


def test_patience_ends_it() -> None:
    phase = run(build(0.0, {"patience": 3}, base_steps=1000))
    assert phase.done == phase.best_step + 30


def test_what_can_be_selected() -> None:
    phase = build(0.0)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        SelectedTraining(phase.training, phase.validation[:1], seeded(0), SelectionSettings())
    phase.training.base = Base(nn.Linear(1, 1), GaussianPrior(1))
    with pytest.raises(TypeError, match="which Base lacks; use a FlowBase"):
        SelectedTraining(phase.training, phase.validation, seeded(0), SelectionSettings())
