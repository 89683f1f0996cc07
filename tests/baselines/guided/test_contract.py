"""What every guided sampler owes its caller, found through the registry: by class properties, never by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch

from baselines.guided import DOT, DRS, MHGAN
from bench.components import registry
from bench.components.settings import make
from gebm.base import GaussianPrior, UniformPrior
from gebm.model import LatentPotential
from gebm.negatives import LatentChains, Negatives
from gebm.samplers import MALA, InvalidEnergyWarning, ParallelTempering, Sampler, State, chain

GUIDED = [name for name, entry in registry.entries("samplers").items() if entry.target.startswith("baselines.guided")]
PRIORS = [GaussianPrior(2), UniformPrior(2)]


def waves(x: torch.Tensor) -> torch.Tensor:
    """Bounded with its gradient: an Euler step of public size does not blow up on it, as it does on a quartic."""
    return torch.cos(3 * x[:, 0]) + torch.sin(2 * x[:, 1] + x[:, 0])


@pytest.fixture
def potential_of(targets) -> Callable[..., LatentPotential]:
    """The potential of an energy under a prior, at a β that is not 1."""
    return lambda prior, energy=waves: targets.potential(energy, prior, 0.7)


def made(name: str) -> Sampler:
    """As a suite gets it, but for a burn-in that ends within a test."""
    return make("samplers", name, {"burn_in": 10} if name == "drs" else {})


def test_the_six_are_registered() -> None:
    assert sorted(GUIDED) == ["ddls", "dgflow", "dot", "drs", "mh-gan", "rep-gan"]


@pytest.mark.parametrize("name", GUIDED)
def test_each_says_what_it_is(name: str, potential_of) -> None:
    sampler = made(name)
    assert sampler.exact == (name in ("mh-gan", "rep-gan"))
    follows_gradient = sampler.init(potential_of(PRIORS[0]), torch.zeros(2, 2)).position.gradient is not None
    assert sampler.calibration in (("logistic", "invariant") if follows_gradient else ("isotonic",))
    assert "arXiv" in str(inspect.getdoc(type(sampler)))
    with pytest.raises(ValueError, match="must be exact and without memory"):
        ParallelTempering(sampler, (0.0, 1.0))
    assert MALA.calibration == "none"


def tensors(state: State) -> list[torch.Tensor]:
    return [part for part in (*state.position, *(state.memory or ())) if isinstance(part, torch.Tensor)]


@pytest.mark.parametrize("prior", PRIORS, ids=["gaussian", "uniform"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GUIDED)
def test_step_keeps_shapes_dtype_its_input_and_the_support(name: str, prior, dtype: torch.dtype, potential_of) -> None:
    sampler, potential, generator = made(name), potential_of(prior), torch.Generator().manual_seed(0)
    z = prior.sample(5, generator, dtype)
    untouched, state = z.clone(), sampler.init(potential, z)
    for _ in range(20):
        before = [part.clone() for part in tensors(state)]
        following, info = sampler.step(potential, state, generator)
        assert all(torch.equal(a, b) for a, b in zip(before, tensors(state), strict=True))
        state = following
        assert state.position.z.shape == (5, 2)
        assert info.acceptance.shape == info.invalid.shape == (5,)
        assert ((info.acceptance >= 0) & (info.acceptance <= 1)).all()
        assert not info.invalid.any()
        assert {part.dtype for part in tensors(state)} == {dtype}
    assert torch.equal(z, untouched)
    assert torch.isfinite(prior.log_prob(state.position.z)).all()


@pytest.mark.parametrize("name", GUIDED)
def test_state_is_what_an_evaluation_at_its_latent_says(name: str, potential_of) -> None:
    for prior in PRIORS:
        sampler, potential, generator = made(name), potential_of(prior), torch.Generator().manual_seed(1)
        ((_, state, _),) = chain(sampler, potential, prior.sample(50, generator, torch.float64), [30], generator)
        truth = potential.with_gradient(state.position.z)
        torch.testing.assert_close(state.position.energy, truth.energy)
        known = state.position.potential.isfinite()
        torch.testing.assert_close(state.position.potential[known], truth.potential[known])
        if state.position.gradient is not None:
            torch.testing.assert_close(state.position.gradient, truth.gradient)


@pytest.mark.parametrize("name", GUIDED)
def test_cost_is_what_the_energy_was_asked(name: str, targets, potential_of) -> None:
    energy = targets.counting(waves)
    sampler, potential, generator = made(name), potential_of(GaussianPrior(2), energy), torch.Generator().manual_seed(0)
    state = sampler.init(potential, torch.zeros(7, 2, dtype=torch.float64))
    shared = 2 * sampler.pairs if isinstance(sampler, DOT) else 0
    assert energy.gradients + energy.forwards == 7 + shared, "a start costs one evaluation, and DOT's k"
    for _ in range(4):
        gradients, forwards = energy.gradients, energy.forwards
        state, info = sampler.step(potential, state, generator)
        assert energy.gradients - gradients == 7 * info.gradient_evaluations
        assert energy.forwards - forwards == 7 * info.forward_evaluations


@pytest.mark.parametrize("name", GUIDED)
def test_the_generator_decides_everything(name: str, potential_of) -> None:
    def run(seed: int) -> torch.Tensor:
        ((_, state, _),) = chain(
            made(name), potential_of(PRIORS[0]), torch.ones(50, 2), [8], torch.Generator().manual_seed(seed)
        )
        return state.position.z

    assert torch.equal(run(0), run(0))
    assert torch.equal(run(0), run(1)) == (name == "dot"), "only DOT is deterministic"


@pytest.mark.parametrize("cliff", [math.nan, -math.inf])
@pytest.mark.parametrize("name", [name for name in GUIDED if name != "dot"])
def test_energies_that_are_no_numbers_are_refused_and_counted(name: str, cliff: float, potential_of) -> None:
    """DOT refuses such an energy at init: it has no finite k."""

    def energy(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, 0] > 0.8, torch.full_like(x[:, 0], cliff), -x[:, 0])

    potential = potential_of(GaussianPrior(2), energy)
    z = torch.full((40, 2), 0.5, dtype=torch.float64)
    counts: list[int] = []
    steps = 400 if made(name).exact else 60
    run = chain(
        made(name),
        potential,
        z,
        [steps],
        torch.Generator().manual_seed(0),
        on_step=lambda _, info: counts.append(int(info.invalid.sum())),
    )
    with pytest.warns(InvalidEnergyWarning, match="candidate latents in"):
        ((_, state, _),) = run
    assert sum(counts) > 0
    assert state.position.energy.isfinite().all()
    assert (state.position.z[:, 0] <= 0.8).all()


@pytest.mark.parametrize("name", GUIDED)
def test_bad_starts_name_the_argument(name: str, potential_of) -> None:
    for prior, z in ((PRIORS[0], torch.zeros(5, 3)), (PRIORS[1], torch.full((5, 2), 1.5))):
        with pytest.raises(ValueError, match="z must"):
            made(name).init(potential_of(prior), z)


@pytest.mark.parametrize("sampler", [DRS(), DOT()])
def test_a_memory_is_not_lost_in_silence(sampler: Sampler, potential_of) -> None:
    potential = potential_of(PRIORS[0])
    foreign = MHGAN().init(potential, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=f"start it with {type(sampler).__name__}'s own init"):
        sampler.step(potential, foreign, torch.Generator())
    negatives = Negatives(potential.base, potential.network, LatentChains(sampler, 1, True), torch.Generator())
    with pytest.raises(ValueError, match="must keep no more than latents and velocities"):
        negatives.draw(3)
