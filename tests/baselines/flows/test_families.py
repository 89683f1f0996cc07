"""Laws that hold for every family of flows: a bijection whose log-determinant is that of its Jacobian, a density that its samples have."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from baselines.flows import Flow, FlowSettings, build_flow
from gebm.base import FlowBase

DIMENSION = 5
FLOWS: dict[str, FlowSettings] = {
    "gaussian": FlowSettings("gaussian"),
    "realnvp": FlowSettings("realnvp", layers=3, hidden=16),
    "realnvp-residual": FlowSettings("realnvp", layers=3, hidden=16, residual=True, blocks=2, dropout=0.3, linear="lu"),
    "realnvp-batch": FlowSettings("realnvp", layers=3, hidden=16, normalisation="batch", linear="permutation"),
    "realnvp-act": FlowSettings("realnvp", layers=3, hidden=16, normalisation="act", dropout=0.3),
    "maf": FlowSettings("maf", layers=2, hidden=16, blocks=2, linear="reverse", activation="tanh"),
    "maf-residual": FlowSettings("maf", layers=2, hidden=16, residual=True, normalisation="batch", linear="lu"),
    "nsf-coupling": FlowSettings("nsf-coupling", layers=2, hidden=16, residual=True, bins=4, linear="lu"),
    "nsf-coupling-plain": FlowSettings("nsf-coupling", layers=2, hidden=16, bins=4, dropout=0.1, linear="none"),
    "nsf-ar": FlowSettings("nsf-ar", layers=2, hidden=16, residual=True, bins=4, linear="lu"),
    "zuko-realnvp": FlowSettings("realnvp", "zuko", layers=3, hidden=16, blocks=2, linear="permutation"),
    "zuko-maf": FlowSettings("maf", "zuko", layers=2, hidden=16, linear="reverse"),
    "zuko-nsf-coupling": FlowSettings("nsf-coupling", "zuko", layers=2, hidden=16, bins=4),
    "zuko-nsf-ar": FlowSettings("nsf-ar", "zuko", layers=2, hidden=16, bins=4, linear="lu", dropout=0.2),
}


@pytest.fixture(params=FLOWS)
def flow(request: pytest.FixtureRequest) -> Flow:
    """Not at its initial weights, where affine layers are the identity; in evaluation mode, double precision."""
    torch.manual_seed(0)
    built = build_flow(FLOWS[request.param], DIMENSION).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for name, buffer in built.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.3
            if name.endswith("running_var"):
                buffer *= 2.0
    return built.eval()


def latents(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_inverse_undoes_forward_beyond_the_tail_bound_too(flow: Flow) -> None:
    z = 2 * latents(200)
    recovered, _ = flow.network.inverse(flow(z))
    torch.testing.assert_close(recovered, z, rtol=1e-6, atol=1e-6)


def test_density_follows_from_the_jacobian_of_the_map(flow: Flow) -> None:
    """log g(G(z)) = log η(z) − log|det ∂G/∂z|, the Jacobian by automatic differentiation of z → x."""
    flow.requires_grad_(False)
    for z in latents(4):
        jacobian = torch.autograd.functional.jacobian(lambda row: flow(row[None])[0], z)
        expected = flow.prior.log_prob(z[None]) - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(flow.log_prob(flow(z[None])), expected, rtol=1e-7, atol=1e-7)


def test_every_weight_matters_and_gradients_are_finite(flow: Flow) -> None:
    flow.train()
    (-flow.log_prob(latents(64)).mean()).backward()
    masked = ("lower_entries", "upper_entries")
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith(masked), name


def test_is_a_base_for_chains_in_either_mode(flow: Flow) -> None:
    assert isinstance(flow, FlowBase)
    for mode in (True, False):
        flow.train(mode)
        z = latents(8).requires_grad_()
        (gradient,) = torch.autograd.grad(flow(z).square().sum(), z)
        assert gradient.isfinite().all()


def test_survives_copy_and_state_dict(flow: Flow) -> None:
    torch.manual_seed(5)
    x, twin = latents(10), copy.deepcopy(flow)
    assert torch.equal(twin.log_prob(x), flow.log_prob(x))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(flow.state_dict())
    assert torch.equal(twin.log_prob(x), flow.log_prob(x))


def test_the_caller_seeds_weights_and_permutations() -> None:
    settings = FLOWS["realnvp-residual"]
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build_flow(settings, DIMENSION).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "gaussian"])
def test_dropout_drops_in_training_and_nowhere_else(name: str) -> None:
    torch.manual_seed(0)
    flow = build_flow(replace(FLOWS[name], dropout=0.5, normalisation="none"), DIMENSION)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    x = latents(50).float()
    assert not torch.allclose(flow.log_prob(x), flow.log_prob(x))
    flow.eval()
    assert torch.equal(flow.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("family", ["realnvp", "maf"])
def test_affine_flows_start_at_the_prior(family: Any) -> None:
    torch.manual_seed(0)
    flow, x = build_flow(FlowSettings(family, layers=5, hidden=16), DIMENSION), latents(10).float()
    torch.testing.assert_close(flow.log_prob(x), flow.prior.log_prob(x))


def test_flows_need_two_dimensions_a_gaussian_one() -> None:
    assert build_flow(FlowSettings("gaussian"), 1).log_prob(torch.zeros(2, 1)).shape == (2,)
    with pytest.raises(ValueError, match="dimension must be >= 2 for family 'realnvp', got 1"):
        build_flow(FlowSettings("realnvp"), 1)
