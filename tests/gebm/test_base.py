"""Priors, bases, and the two things that decide in which mode a base is sampled."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gebm.base import (
    Base,
    FlowBase,
    GaussianPrior,
    Prior,
    UniformPrior,
    evaluation_mode,
    frozen,
    recompute_normalisation,
)
from gebm.networks.mlp import MLPGenerator


@pytest.mark.parametrize("kind", [GaussianPrior, UniformPrior])
def test_prior_density_integrates_to_one(kind: type[Prior]) -> None:
    """Midpoint rule on [−8, 8]²; the uniform's walls lie between midpoints."""
    edge = (torch.arange(640, dtype=torch.float64) + 0.5) / 40 - 8
    grid = torch.cartesian_prod(edge, edge)
    assert kind(2).log_prob(grid).exp().sum().item() / 1600 == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("kind", "variance"), [(GaussianPrior, 1.0), (UniformPrior, 1 / 3)])
def test_prior_samples_have_its_moments(kind: type[Prior], variance: float) -> None:
    """30,000 independent coordinates, mean and variance within 4.5 standard errors: a false alarm in 70,000 fresh seeds."""
    z = kind(3).sample(10_000, torch.Generator().manual_seed(0), torch.float64)
    assert z.dtype == torch.float64
    assert abs(z.mean().item()) < 4.5 * math.sqrt(variance / z.numel())
    assert abs(z.var().item() - variance) < 4.5 * math.sqrt(2 / z.numel())
    assert kind(3).log_prob(z).isfinite().all()


def test_uniform_prior_ends_at_its_walls() -> None:
    inside = torch.tensor([[0.0, 1.0], [-1.0, 0.3]])
    assert UniformPrior(2).log_prob(inside).tolist() == pytest.approx([-2 * math.log(2)] * 2)
    assert UniformPrior(2).log_prob(inside + 0.8).tolist()[0] == -math.inf


@pytest.mark.parametrize("kind", [GaussianPrior, UniformPrior])
def test_a_prior_needs_a_dimension(kind: type[Prior]) -> None:
    with pytest.raises(ValueError, match="dimension >= 1, got 0"):
        kind(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_have_the_precision_of_the_network_and_repeat(dtype: torch.dtype) -> None:
    base = Base(nn.Linear(2, 3, dtype=dtype), GaussianPrior(2))
    first, second = (base.sample(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.dtype == dtype
    assert first.shape == (5, 3)
    assert torch.equal(first, second)


def test_a_flow_must_say_its_density() -> None:
    with pytest.raises(TypeError, match="log_prob"):
        FlowBase(nn.Identity(), GaussianPrior(1))


def norms() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    )


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=16, max_size=16), st.booleans())
def test_evaluation_mode_restores_every_mode_and_flag(flags: list[bool], fails: bool) -> None:
    modules = [norms(), norms()]
    parts = [part for module in modules for part in module.modules()]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    for i, part in enumerate(parts):
        part.training = flags[i % 16]
    for i, parameter in enumerate(parameters):
        parameter.requires_grad_(flags[-1 - i % 16])
    before = [part.training for part in parts], [parameter.requires_grad for parameter in parameters]
    try:
        with evaluation_mode(*modules):
            assert not any(part.training for part in parts)
            assert not any(parameter.requires_grad for parameter in parameters)
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert before == ([part.training for part in parts], [parameter.requires_grad for parameter in parameters])


def test_frozen_lets_no_gradient_through_and_touches_no_mode() -> None:
    module = norms()
    module[0].weight.requires_grad_(False)
    with frozen(module):
        assert module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
    assert [parameter.requires_grad for parameter in module.parameters()] == [False] + [True] * 7


def test_recomputed_normalisation_is_the_plain_average_over_batches() -> None:
    network = MLPGenerator(3, (2,), [5])
    base = Base(network, GaussianPrior(3))
    recompute_normalisation(base, torch.Generator().manual_seed(7), batches=6, batch_size=11)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        batches = [network.body[0](base.prior.sample(11, generator)) for _ in range(6)]
    norm = network.body[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([batch.mean(0) for batch in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([batch.var(0) for batch in batches]).mean(0))
    assert norm.momentum == 0.1
    assert not any(part.training for part in base.modules())


def test_recomputed_normalisation_forgets_what_was_there() -> None:
    statistics = []
    for history in (0, 5):
        torch.manual_seed(0)
        base = Base(norms(), GaussianPrior(2))
        for _ in range(history):
            base(100 + 50 * torch.randn(9, 2))
        recompute_normalisation(base, torch.Generator().manual_seed(1), batches=4, batch_size=16)
        statistics.append(dict(base.named_buffers()))
    torch.testing.assert_close(*statistics, rtol=0, atol=0)


def test_recomputed_normalisation_sees_the_base_as_it_is_sampled() -> None:
    """Only batch norms are in training mode meanwhile: dropout would feed them what evaluation never does."""
    seen = []

    class Spy(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(self.training)
            return z

    base = Base(nn.Sequential(Spy(), nn.BatchNorm1d(2)), GaussianPrior(2)).train()
    recompute_normalisation(base, torch.Generator(), batches=2)
    assert seen == [False, False]


@pytest.mark.parametrize(("keyword", "value"), [("batches", 0), ("batch_size", 1)])
def test_recompute_needs_batches(keyword: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{keyword} must be >= {value + 1}, got {value}"):
        recompute_normalisation(Base(norms(), GaussianPrior(2)), torch.Generator(), **{keyword: value})
