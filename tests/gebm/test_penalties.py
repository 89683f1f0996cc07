"""Penalties against closed forms. Random points enter, but no law depends on which."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.energy_steps import EnergySteps
from gebm.objectives import Kale
from gebm.penalties import gradient_penalty, interpolate, penalty_points
from gebm.recorded import StepRecorder
from gebm.settings import TrainingSettings
from gebm.stream import DataStream


class Quadratic(nn.Module):
    """E = ½ xᵀHx + b·x with symmetric H: ∇E = Hx + b."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        root = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.hessian = nn.Parameter(root + root.T)
        self.slope = nn.Parameter(torch.arange(dimension, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((x @ self.hessian) * x).sum(1) + x @ self.slope


def test_linear_energy_has_the_square_of_its_slope() -> None:
    energy = nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Flatten(0))
    penalty = gradient_penalty(energy, torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(penalty, energy[1].weight.square().sum())


def test_quadratic_energy_and_the_gradient_to_its_weights() -> None:
    energy, points = Quadratic(3), torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    penalty = gradient_penalty(energy, points)
    field = points @ energy.hessian.detach() + energy.slope.detach()
    torch.testing.assert_close(penalty.detach(), field.square().sum(1).mean())
    penalty.backward()
    torch.testing.assert_close(energy.slope.grad, 2 * field.mean(0))


@pytest.mark.parametrize("norm", [1.0, 2.5])
def test_a_penalty_around_a_norm_is_written_out(norm: float) -> None:
    energy, points = Quadratic(3), torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = points @ energy.hessian.detach() + energy.slope.detach()
    expected = (field.square().sum(1).sqrt() - norm).square().mean()
    torch.testing.assert_close(gradient_penalty(energy, points, norm).detach(), expected)


def test_a_penalty_around_one_pulls_slopes_to_one_and_is_finite_at_zero() -> None:
    for scale, sign in ((0.5, -1), (2.0, 1), (0.0, 0)):
        energy = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0)).double()
        energy[0].weight.data = scale * torch.tensor([[0.6, 0.8]], dtype=torch.float64)
        gradient_penalty(energy, torch.zeros(3, 2, dtype=torch.float64), 1.0).backward()
        assert torch.equal(energy[0].weight.grad.sign(), torch.full((1, 2), float(sign), dtype=torch.float64))


def test_penalty_does_not_depend_on_the_batch_size() -> None:
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        gradient_penalty(Quadratic(3), points), gradient_penalty(Quadratic(3), points.repeat(4, 1))
    )


def test_interpolates_lie_on_their_segments_and_fill_them() -> None:
    generator = torch.Generator().manual_seed(0)
    data, base = torch.randn(2000, 2, 3, generator=generator), torch.randn(2000, 2, 3, generator=generator)
    fraction = (interpolate(data, base, generator) - base) / (data - base)
    torch.testing.assert_close(fraction, fraction[:, :1, :1].expand_as(fraction), atol=2e-2, rtol=2e-2)
    along = fraction.flatten(1).median(1).values
    assert along.min() > -1e-3
    assert along.max() < 1 + 1e-3
    assert abs(along.mean() - 0.5) < 0.026  # 4 standard errors of a uniform's mean: a false alarm in 16,000 fresh seeds
    assert abs(along.var() - 1 / 12) < 0.0067  # 4 standard errors of its variance


def test_penalty_points() -> None:
    data, base = torch.zeros(4, 2), torch.ones(4, 2)
    draw = torch.Generator().manual_seed
    between = interpolate(data, base, draw(0))
    torch.testing.assert_close(penalty_points("interpolates", data, base, draw(0)), between)
    torch.testing.assert_close(penalty_points("data", data, base, draw(0)), data)
    torch.testing.assert_close(penalty_points("both", data, base, draw(0)), torch.cat([between, data]))


def test_an_unknown_place_is_named() -> None:
    with pytest.raises((ValueError, TypeError), match="'base'"):
        penalty_points("base", torch.zeros(4, 2), torch.ones(4, 2), torch.Generator())


@pytest.mark.parametrize("every", [1, 3, 4])
def test_lazy_penalty_is_the_same_on_average(every: int) -> None:
    """Over a whole number of rounds, penalties applied every k-th step with k times their weight add up to the weight times the steps."""
    base = Base(nn.Identity(), GaussianPrior(2))
    energy = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    settings = TrainingSettings(base_steps=1, batch_size=8, penalty=0.7, penalty_every=every)
    data = DataStream(torch.zeros(8, 2), 8, torch.Generator())
    noise, optimizer = torch.Generator(), torch.optim.SGD(energy.parameters(), lr=0.0)
    steps = EnergySteps(base, energy, Kale(), data, noise, optimizer, settings, recorder=StepRecorder(noise, False))
    x = torch.zeros(8, 2)
    total = torch.zeros(())
    for steps.count in range(12):
        if steps.penalised:
            total = total + steps.penalty(x, x)
    torch.testing.assert_close(total.detach(), 12 * 0.7 * energy[0].weight.detach().square().sum())
