"""Short-run chains have the law of their recursion, training moves them to the data, and one that runs away stops with a reason.

That training resumes bit for bit is tested with the other phases, in tests/gebm/test_resume.py.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from baselines.short_run import LARGEST_LOSS, ShortRunSettings, ShortRunTraining, short_run, uniform_noise
from gebm.networks.mlp import MLPDiscriminator
from gebm.stream import DataStream
from gebm.training import DivergedError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class HalfSquare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.square().sum(1)


@pytest.mark.parametrize(("scale", "noise", "steps"), [(0.1, 0.05, 20), (0.5, 0.2, 3), (1.0, 0.01, 1)])
def test_chains_on_a_quadratic_energy_have_the_law_of_their_recursion(scale: float, noise: float, steps: int) -> None:
    """E = ½x²: x_K ~ N(aᴷ x₀, σ²(1 − a²ᴷ)/(1 − a²)) with a = 1 − s. Mean and variance of 40,000 chains within 5 standard errors.

    A false alarm in 10⁶ fresh seeds.
    """
    count, start = 40_000, 0.7
    settings = ShortRunSettings(1, langevin_steps=steps, scale=scale, noise=noise)
    x = short_run(HalfSquare(), torch.full((count, 1), start), settings, seeded(0))
    a = 1 - scale
    mean = a**steps * start
    variance = noise**2 * sum(a ** (2 * k) for k in range(steps))
    assert x.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / count))
    assert x.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / count))


def test_chains_touch_nothing_but_x() -> None:
    """Without gradients around them, in evaluation mode (no power iteration), weights and modes as they were."""
    energy = MLPDiscriminator((3,), [8]).train()
    before, start = copy.deepcopy(energy.state_dict()), uniform_noise(5, (3,), seeded(0))
    kept = start.clone()
    with torch.no_grad():
        x = short_run(energy, start, ShortRunSettings(1, langevin_steps=3), seeded(1))
    assert not torch.equal(x, start)
    assert torch.equal(start, kept)
    assert not x.requires_grad
    torch.testing.assert_close(energy.state_dict(), before, rtol=0, atol=0)
    assert all(part.training for part in energy.modules())
    assert all(p.requires_grad and p.grad is None for p in energy.parameters())


def test_a_lipschitz_energy_moves_a_chain_by_no_more_than_its_scale() -> None:
    energy = spectral_norm(nn.Linear(4, 1), n_power_iterations=50)
    network = nn.Sequential(energy, nn.Flatten(0))
    start = uniform_noise(6, (4,), seeded(0))
    for scale in (0.1, 2.0):
        settings = ShortRunSettings(1, langevin_steps=5, scale=scale, noise=0.0)
        moved = (short_run(network, start, settings, seeded(1)) - start).norm(dim=1)
        torch.testing.assert_close(moved, torch.full((6,), 5 * scale), rtol=1e-3, atol=0)


def train(data: Tensor, energy: nn.Module, **options: Any) -> ShortRunTraining:
    settings = ShortRunSettings(
        **{"steps": 300, "batch_size": 64, "langevin_steps": 20, "learning_rate": 3e-3} | options
    )
    training = ShortRunTraining(energy, DataStream(data, 64, seeded(1)), seeded(2), settings)
    while training.done < training.total:
        training.step()
    return training


@pytest.mark.parametrize("mean", [-0.6, 0.4])
def test_training_moves_samples_to_the_data(mean: float) -> None:
    """Data N(m, 0.1²), from a start of mean 0 and standard deviation 0.58; over nine fresh seeds the largest error of the mean
    was 0.057 and the largest standard deviation 0.29: three times the first and half as much again are given."""
    torch.manual_seed(0)
    data = mean + 0.1 * torch.randn(2000, 1, generator=seeded(0))
    training = train(data, MLPDiscriminator((1,), [32, 32]), scale=0.3)
    energy, start = training.finish(), uniform_noise(4000, (1,), seeded(3))
    x = short_run(energy, start, training.settings, seeded(4))
    assert x.mean().item() == pytest.approx(mean, abs=0.17)
    assert x.std().item() < 0.43


def test_training_that_runs_away_stops_with_a_reason_and_keeps_its_weights() -> None:
    energy = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    settings = ShortRunSettings(50, batch_size=8, langevin_steps=10, scale=100.0, learning_rate=100.0)
    training = ShortRunTraining(energy, DataStream(torch.zeros(16, 1), 8, seeded(0)), seeded(1), settings)

    def drive() -> None:
        nonlocal before
        while training.done < training.total:
            before = copy.deepcopy(energy.state_dict())
            training.step()

    before: dict[str, Tensor] = {}
    with pytest.raises(
        DivergedError, match=r"^energy gap \S+ is beyond 1e\+08 at step \d+; lower the learning rate \(100"
    ):
        drive()
    assert training.done < 50
    torch.testing.assert_close(energy.state_dict(), before, rtol=0, atol=0)
    assert LARGEST_LOSS == 1e8


def test_a_loss_that_is_no_number_is_a_divergence() -> None:
    energy = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    data = DataStream(torch.full((8, 1), math.nan), 8, seeded(0))
    with pytest.raises(DivergedError, match="energy gap nan"):
        ShortRunTraining(energy, data, seeded(1), ShortRunSettings(1, batch_size=8)).step()


def test_the_gap_is_that_of_the_scaled_energies() -> None:
    training = ShortRunTraining(
        HalfSquareWithWeight(),
        DataStream(torch.zeros(8, 1), 8, seeded(0)),
        seeded(1),
        ShortRunSettings(1, batch_size=8, langevin_steps=1, scale=0.5, noise=0.0, data_noise=0.0),
    )
    state = training.generator.get_state()
    losses = training.step()
    generator = seeded(1)
    generator.set_state(state)
    torch.randn(8, 1, generator=generator)
    start = uniform_noise(8, (1,), generator)
    assert losses["energy_data"].item() == 0
    assert losses["energy_samples"].item() == pytest.approx(0.5 * 0.5 * (0.5 * start).square().mean().item())
    assert losses["energy_gap"].item() == pytest.approx(-losses["energy_samples"].item())


class HalfSquareWithWeight(HalfSquare):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * super().forward(x)


def test_stream_and_settings_agree_about_the_batch_size() -> None:
    with pytest.raises(ValueError, match="batch_size must be one number, the data stream has 8, the settings 64"):
        ShortRunTraining(
            HalfSquareWithWeight(), DataStream(torch.zeros(8, 1), 8, seeded(0)), seeded(1), ShortRunSettings(1)
        )
