"""What every sampler owes its caller, whatever it targets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gebm.base import Base, GaussianPrior, UniformPrior
from gebm.model import LatentPotential
from gebm.samplers import Sampler, State, StepDecay, chain

PRIORS = {"gaussian": GaussianPrior(2), "uniform": UniformPrior(2)}


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).to(dtype)


def tensors(state: State) -> list[torch.Tensor]:
    parts = [*state.position, *(state.replicas or ()), state.velocity]
    return [part for part in parts if part is not None]


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_keeps_shapes_dtype_and_its_input(sampler: Sampler, prior: str, dtype: torch.dtype) -> None:
    potential = LatentPotential(Base(nn.Identity(), PRIORS[prior]), network(dtype))
    generator = torch.Generator().manual_seed(0)
    z = PRIORS[prior].sample(5, generator, dtype)
    untouched = z.clone()
    state = sampler.init(potential, z)
    for _ in range(6):
        before = [part.clone() for part in tensors(state)]
        following, info = sampler.step(potential, state, generator)
        assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(before, tensors(state), strict=True))
        state = following
        assert state.position.z.shape == (5, 2)
        assert state.position.energy.shape == state.position.potential.shape == (5,)
        assert info.acceptance.shape == info.invalid.shape == (5,)
        assert ((info.acceptance >= 0) & (info.acceptance <= 1)).all()
        assert not info.invalid.any()
        assert {part.dtype for part in tensors(state)} == {dtype}
    assert torch.equal(z, untouched)
    assert torch.isfinite(PRIORS[prior].log_prob(state.position.z)).all(), "a chain left the prior's support"


def test_state_is_what_an_evaluation_at_its_latent_says(sampler_name: str, sampler: Sampler, targets) -> None:
    """The cached energy, potential and gradient belong to the current latent, after rejections too."""
    for prior in PRIORS.values():
        potential = targets.potential(targets.double_well, prior, beta=0.7)
        generator = torch.Generator().manual_seed(1)
        state = sampler.init(potential, prior.sample(200, generator, torch.float64))
        for _ in range(5):
            state, _ = sampler.step(potential, state, generator)
        truth = potential.with_gradient(state.position.z)
        if sampler_name != "KineticLangevin-blind":
            torch.testing.assert_close(state.position.energy, truth.energy)
            torch.testing.assert_close(state.position.potential, truth.potential)
        if state.position.gradient is not None:
            torch.testing.assert_close(state.position.gradient, truth.gradient)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_cost_is_what_the_energy_was_asked(sampler: Sampler, beta: float, targets) -> None:
    energy = targets.counting(targets.double_well)
    potential = targets.potential(energy, GaussianPrior(2), beta)
    generator = torch.Generator().manual_seed(0)
    state = sampler.init(potential, torch.zeros(7, 2, dtype=torch.float64))
    assert energy.gradients + energy.forwards == 7, "a start costs one evaluation"
    for _ in range(4):
        gradients, forwards = energy.gradients, energy.forwards
        state, info = sampler.step(potential, state, generator)
        assert energy.gradients - gradients == 7 * info.gradient_evaluations
        assert energy.forwards - forwards == 7 * info.forward_evaluations


def test_the_generator_decides_everything(sampler: Sampler, targets) -> None:
    potential = targets.potential(targets.double_well, GaussianPrior(2))

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 2**31)  # the global source must not matter
        ((_, state, _),) = chain(sampler, potential, torch.zeros(5, 2), [8], torch.Generator().manual_seed(seed))
        return state.position.z

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_no_gradient_reaches_a_weight(sampler: Sampler) -> None:
    generator_network, energy = network(torch.float32)[:1], nn.Sequential(nn.Linear(8, 1), nn.Flatten(0))
    potential = LatentPotential(Base(generator_network, GaussianPrior(2)), energy)
    for _ in chain(sampler, potential, torch.zeros(5, 2), [3], torch.Generator().manual_seed(0)):
        pass
    parameters = [*generator_network.parameters(), *energy.parameters()]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in parameters)


def test_chains_do_not_see_each_other(sampler_name: str, sampler: Sampler, targets) -> None:
    """A NaN in one row leaves the others as finite as before."""
    if sampler_name == "StepSizeAdaptation":
        pytest.skip("all chains share one step size, by design")
    potential = targets.potential(lambda x: targets.double_well(x), GaussianPrior(2))
    state = sampler.init(potential, torch.zeros(4, 2, dtype=torch.float64))
    state.position.z[2] = float("nan")
    state, _ = sampler.step(potential, state, torch.Generator().manual_seed(0))
    assert state.position.z[[0, 1, 3]].isfinite().all()


def test_chain_records_where_it_is_asked(targets) -> None:
    sampler = targets.samplers["MALA"]
    potential = targets.potential(targets.double_well, GaussianPrior(2))
    seen: list[int] = []
    records = list(
        chain(
            sampler,
            potential,
            torch.zeros(3, 2),
            [4, 0, 2, 4],
            torch.Generator().manual_seed(0),
            on_step=lambda step, info: seen.append(step),
        )
    )
    assert [(steps, cost.gradient_evaluations) for steps, _, cost in records] == [(0, 0), (2, 2), (4, 4)]
    assert seen == [1, 2, 3, 4]


def test_decay_shrinks_the_step(targets) -> None:
    """With a factor of 1e-12 the chain stands still from the first decay on."""
    potential = targets.potential(targets.double_well, GaussianPrior(2))
    records = chain(
        targets.samplers["ULA"],
        potential,
        torch.zeros(3, 2, dtype=torch.float64),
        [5, 10, 15],
        torch.Generator().manual_seed(0),
        decay=StepDecay(1e-12, every=10),
    )
    five, ten, fifteen = (state.position.z for _, state, _ in records)
    assert (ten - five).abs().min() > 1e-3
    assert (fifteen - ten).abs().max() < 1e-5
