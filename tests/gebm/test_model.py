"""The model's density and its latent potential, against a case where both are Gaussian (METHOD: fact 5)."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, FlowBase, GaussianPrior, UniformPrior
from gebm.model import GEBM, LatentPotential
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator

SLOPE, OFFSET, CURVATURE, CENTRE = 0.6, 0.4, 1.7, -0.5


class Line(FlowBase):
    """x = az + b."""

    def __init__(self) -> None:
        network = nn.Linear(1, 1, dtype=torch.float64)
        network.weight.data.fill_(SLOPE)
        network.bias.data.fill_(OFFSET)
        super().__init__(network, GaussianPrior(1))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.prior.log_prob((x - OFFSET) / SLOPE) - math.log(SLOPE)


class Parabola(nn.Module):
    """E = ½κ(x − m)²."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * CURVATURE * (x - CENTRE).square().sum(1)


def log_partition() -> float:
    """E[exp(−½κ(az + b − m)²)], z ~ N(0, 1), is the density of N(b, a² + 1/κ) at m times √(2π/κ)."""
    variance = SLOPE**2 + 1 / CURVATURE
    return -0.5 * math.log(CURVATURE * variance) - 0.5 * (CENTRE - OFFSET) ** 2 / variance


def test_density_of_the_model_is_normalised() -> None:
    x = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    density = GEBM(Line(), Parabola()).log_prob(x[:, None], log_partition()).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 100.0])
def test_latent_posterior_of_a_line_and_a_parabola_is_gaussian(beta: float) -> None:
    """U(z) − U(0) and ∇U are those of N(m, 1/p), p = 1 + βκa², m = βκa(centre − b)/p."""
    precision = 1 + beta * CURVATURE * SLOPE**2
    mean = beta * CURVATURE * SLOPE * (CENTRE - OFFSET) / precision
    potential = GEBM(Line(), Parabola()).potential(beta)
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    position = potential.with_gradient(z)
    torch.testing.assert_close(position.gradient, precision * (z - mean))
    truth = 0.5 * precision * ((z - mean).square() - mean**2)[:, 0]
    torch.testing.assert_close(position.potential - potential(torch.zeros(1, 1, dtype=torch.float64)), truth)


@pytest.mark.parametrize("prior", [GaussianPrior(4), UniformPrior(4)])
@pytest.mark.parametrize("beta", [0.0, 1.0, 7.0])
def test_the_parts_of_a_position_belong_together(prior: GaussianPrior | UniformPrior, beta: float) -> None:
    torch.manual_seed(0)
    base = Base(MLPGenerator(4, (3,), [8]), prior).double().eval()
    potential = GEBM(base, MLPDiscriminator((3,), [8]).double().eval()).potential(beta)
    z = 0.9 * prior.sample(6, torch.Generator().manual_seed(1), torch.float64)
    position, plain = potential.with_gradient(z), potential.at(z)
    torch.testing.assert_close(position.potential, beta * position.energy - prior.log_prob(z))
    torch.testing.assert_close((plain.energy, plain.potential), (position.energy, position.potential))
    assert plain.gradient is None
    step = 1e-6 * torch.eye(4, dtype=torch.float64)
    difference = torch.stack([(potential(z + h) - potential(z - h)).detach() / 2e-6 for h in step], 1)
    torch.testing.assert_close(position.gradient, difference, rtol=1e-5, atol=1e-7)


def test_no_gradient_reaches_a_weight() -> None:
    model = GEBM(Base(MLPGenerator(4, (3,), [8]), GaussianPrior(4)), MLPDiscriminator((3,), [8])).eval()
    position = model.potential().with_gradient(torch.zeros(2, 4))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(value.requires_grad for value in position)


def test_no_density_without_a_flow() -> None:
    model = GEBM(Base(nn.Identity(), GaussianPrior(2)), Parabola())
    with pytest.raises(TypeError, match=r"needs a base with a density .* got Base; .*likelihood_gain"):
        model.log_prob(torch.zeros(3, 2), 0.0)


@pytest.mark.parametrize("beta", [-0.1, math.nan])
def test_inverse_temperature_is_not_negative(beta: float) -> None:
    with pytest.raises(ValueError, match="inverse_temperature must be >= 0"):
        LatentPotential(Base(nn.Identity(), GaussianPrior(2)), Parabola(), beta)


def test_an_energy_of_the_wrong_shape_is_named() -> None:
    potential = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), nn.Linear(2, 1))
    with pytest.raises(
        ValueError, match=re.escape("one value per sample, shape (3,), got (3, 1); squeeze its last axis")
    ):
        potential(torch.zeros(3, 2))
