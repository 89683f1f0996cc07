"""Bad input and energies that are not numbers: refused, counted, said."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from bench.components import registry
from gebm.base import Base, GaussianPrior, Prior, UniformPrior
from gebm.model import LatentPotential
from gebm.samplers import (
    HMC,
    MALA,
    SIR,
    ULA,
    AdjustedKineticLangevin,
    Ex2MCMC,
    IndependentMH,
    InvalidEnergyWarning,
    IteratedSIR,
    KineticLangevin,
    ParallelTempering,
    PreconditionedCrankNicolson,
    RandomWalk,
    Sampler,
    StepDecay,
    StepSizeAdaptation,
    chain,
)
from gebm.samplers.moves import bounce, reflect
from gebm.samplers.tempering import parallel_tempering


def cliff(x: torch.Tensor) -> torch.Tensor:
    """NaN beyond 0.8 along the first axis."""
    return torch.where(x[:, 0] > 0.8, torch.full_like(x[:, 0], math.nan), 0.5 * x.square().sum(1))


def pit(x: torch.Tensor) -> torch.Tensor:
    """−inf beyond 0.8: an infinite density, which would hold a chain for ever."""
    return torch.where(x[:, 0] > 0.8, torch.full_like(x[:, 0], -math.inf), 0.5 * x.square().sum(1))


@pytest.mark.parametrize("energy", [cliff, pit])
@pytest.mark.parametrize("prior", [GaussianPrior(2), UniformPrior(2)], ids=["gaussian", "uniform"])
def test_energies_that_are_no_numbers_are_refused_and_counted(
    sampler_name: str, sampler: Sampler, prior: Prior, energy, targets
) -> None:
    potential = targets.potential(energy, prior)
    counts: list[torch.Tensor] = []
    run = chain(
        sampler,
        potential,
        torch.zeros(50, 2, dtype=torch.float64),
        range(1, 31),
        torch.Generator().manual_seed(0),
        on_step=lambda _, info: counts.append(info.invalid),
    )
    with pytest.warns(InvalidEnergyWarning) as warned:
        records = [state.position for _, state, _ in run]
    total = int(torch.stack(counts).sum())
    assert total > 0
    assert len(warned) == 1
    assert str(warned[0].message).startswith(f"{total} candidate latents in ")
    for position in records:
        assert position.z.isfinite().all()
        if sampler_name != "KineticLangevin-blind":
            assert position.energy.isfinite().all()
            assert (position.z[:, 0] <= 0.8).all()


def test_refusing_restricts_the_target_to_where_it_is_a_number(targets) -> None:
    """Under the uniform prior with E = 0 left of 0.8: MALA draws the uniform law there. False-alarm rate 1e-4."""
    half = targets.potential(lambda x: torch.where(x[:, 0] > 0.8, math.nan, 0 * x[:, 0]), UniformPrior(2))
    generator = torch.Generator().manual_seed(0)
    with pytest.warns(InvalidEnergyWarning):
        ((_, state, _),) = chain(MALA(0.1), half, torch.zeros(4000, 2, dtype=torch.float64), [200], generator)
    mean, error = -0.1, 1.8 / math.sqrt(12 * 4000)
    assert abs(float(state.position.z[:, 0].mean()) - mean) < 3.9 * error


def test_outside_the_uniform_support_is_zero_density_not_an_error(targets) -> None:
    """U = +inf there, its gradient is a number, and a proposal there is rejected without being counted as invalid."""
    potential = targets.potential(targets.double_well, UniformPrior(2))
    outside = potential.with_gradient(torch.full((3, 2), 1.5, dtype=torch.float64))
    assert (outside.potential == math.inf).all()
    assert outside.gradient is not None
    assert outside.gradient.isfinite().all()
    for sampler in (RandomWalk(5.0), MALA(5.0)):
        start = torch.zeros(100, 2, dtype=torch.float64)
        state, info = sampler.step(potential, sampler.init(potential, start), torch.Generator().manual_seed(0))
        assert (info.acceptance == 0).sum() > 50
        assert not info.invalid.any()
        assert (state.position.z.abs() <= 1).all()


def test_an_infinite_energy_is_zero_density_not_an_error(targets) -> None:
    """Chains walk inside a disc of infinite wall without a word, also those that start outside."""
    disc = targets.potential(lambda x: torch.where(x.square().sum(1) > 1, math.inf, 0 * x[:, 0]), GaussianPrior(2))
    start = torch.tensor([[0.0, 0.0], [1.5, 0.0]], dtype=torch.float64).repeat(50, 1)
    for sampler in (RandomWalk(1.0), PreconditionedCrankNicolson(0.7), IndependentMH(), IteratedSIR(4), MALA(0.3)):
        ((_, state, _),) = chain(sampler, disc, start, [40], torch.Generator().manual_seed(0))
        assert (state.position.energy == 0).all()


def test_a_chain_that_starts_at_nan_leaves_when_a_candidate_is_a_number(targets) -> None:
    potential = targets.potential(cliff, GaussianPrior(2))
    start = torch.full((20, 2), 2.0, dtype=torch.float64)
    for sampler in (IndependentMH(), IteratedSIR(16), SIR(16), RandomWalk(2.0)):
        state = sampler.init(potential, start)
        generator = torch.Generator().manual_seed(0)
        for _ in range(30):
            state, _ = sampler.step(potential, state, generator)
        assert state.position.energy.isfinite().all()


def test_reflection_is_a_billiard() -> None:
    """Backwards from where it ended, with the velocity turned, a flight comes home; walls are never crossed."""
    generator = torch.Generator().manual_seed(0)
    z = UniformPrior(3).sample(500, generator, torch.float64)
    velocity = 5 * torch.randn(500, 3, generator=generator, dtype=torch.float64)
    end, left = bounce(UniformPrior(3), z, 0.7 * velocity, velocity)
    assert (end.abs() <= 1).all()
    home, back = bounce(UniformPrior(3), end, -0.7 * left, -left)
    torch.testing.assert_close(home, z)
    torch.testing.assert_close(back, -velocity)
    assert torch.equal(reflect(UniformPrior(3), z), z)
    assert torch.equal(reflect(GaussianPrior(3), 9 * z), 9 * z)


NAN = math.nan
STEPPING = [ULA, MALA, HMC, KineticLangevin, AdjustedKineticLangevin, RandomWalk, PreconditionedCrankNicolson, Ex2MCMC]


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        *(
            (lambda value=value: ULA(value), "step_size must be a number in (0, 100], got")
            for value in (0.0, -1.0, NAN, 101.0)
        ),
        *((lambda build=build: build(step_size=0.0), "step_size must be") for build in STEPPING),
        (lambda: HMC(0.1, 0), "leapfrog_steps must be a whole number from 1 to 100,000, got 0"),
        (lambda: HMC(0.1, True), "leapfrog_steps must be"),
        (
            lambda: HMC(0.1, 3, -1.0),
            "mass must be a number in (0, 1000000] or a tuple of one or more, each a number in (0, 1000000], got -1.0",
        ),
        (lambda: HMC(0.1, 3, (1.0, 0.0)), "mass must be"),
        (lambda: KineticLangevin(0.1, friction=0.0), "friction must be a number in (0, 1000000], got 0.0"),
        (lambda: PreconditionedCrankNicolson(1.5), "step_size must be a number in (0, 1], got 1.5"),
        (lambda: SIR(0), "candidates must be a whole number from 1 to 1,000,000, got 0"),
        (lambda: IteratedSIR(1), "candidates must be a whole number from 2 to 1,000,000, got 1"),
        (lambda: Ex2MCMC(10**7, 0.1), "candidates must be"),
        (lambda: Ex2MCMC(3, 0.1, moves=0), "moves must be"),
        (lambda: parallel_tempering(step_size=0.0), "step_size must be"),
        (lambda: ParallelTempering(MALA(0.1), (0.0, 0.5)), "ladder must increase"),
        (lambda: ParallelTempering(MALA(0.1), (0.5, 0.2, 1.0)), "ladder must increase"),
        (lambda: ParallelTempering(MALA(0.1), (0.5, NAN, 1.0)), "ladder must be"),
        (lambda: ParallelTempering(KineticLangevin(0.1), (0.0, 1.0)), "KineticLangevin is not; use MALA"),
        (lambda: ParallelTempering(ULA(0.1), (0.0, 1.0)), "ULA is not; use MALA"),
        (lambda: StepSizeAdaptation(ULA(0.1), 10), "sampler must be able to reject, ULA cannot"),
        (lambda: StepSizeAdaptation(IndependentMH(), 10), "sampler must have a step_size"),
        (lambda: StepSizeAdaptation(MALA(0.1), 0), "warmup must be"),
        (lambda: StepSizeAdaptation(MALA(0.1), 5, target=1.5), "target must be"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_settings_name_the_argument_and_its_range(build, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        build()


@pytest.mark.parametrize("name", registry.entries("samplers"))
def test_a_registered_sampler_can_be_made_without_settings(name: str) -> None:
    assert isinstance(registry.get("samplers", name).load()(), Sampler)


def test_bad_starts_name_the_argument(sampler: Sampler, targets) -> None:
    gaussian = targets.potential(targets.double_well, GaussianPrior(2))
    uniform = targets.potential(targets.double_well, UniformPrior(2))
    with pytest.raises(ValueError, match=r"z must have shape \(batch, 2\)"):
        sampler.init(gaussian, torch.zeros(5, 3))
    with pytest.raises(ValueError, match="1 of 2 rows"):
        sampler.init(uniform, torch.tensor([[0.0, 0.0], [0.0, 1.5]]))
    with pytest.raises(ValueError, match="1 of 2 rows"):
        sampler.init(gaussian, torch.tensor([[0.0, 0.0], [0.0, math.nan]]))


def test_an_energy_with_a_spare_axis_is_named(sampler: Sampler) -> None:
    potential = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), nn.Linear(2, 1))
    with pytest.raises(ValueError, match="one value per sample"):
        sampler.init(potential, torch.zeros(5, 2))


def test_mass_must_fit_the_latents(targets) -> None:
    with pytest.raises(ValueError, match="mass must be one number or one per coordinate"):
        HMC(0.1, 3, (1.0, 1.0, 1.0)).init(targets.potential(targets.double_well, GaussianPrior(2)), torch.zeros(5, 2))


def test_chain_names_bad_arguments(targets) -> None:
    potential = targets.potential(targets.double_well, GaussianPrior(2))
    generator, z = torch.Generator(), torch.zeros(5, 2)
    for lengths in ([], [-1]):
        with pytest.raises(ValueError, match="record_at needs"):
            next(chain(MALA(0.1), potential, z, lengths, generator))
    with pytest.raises(ValueError, match="decay needs a sampler with a step_size, IndependentMH has none"):
        next(chain(IndependentMH(), potential, z, [1], generator, decay=StepDecay(0.1)))


def test_pcn_needs_a_prior_it_knows(targets) -> None:
    class Other(Prior):
        def sample(self, count, generator, dtype=torch.float32):
            return torch.zeros(count, 2, dtype=dtype)

        def log_prob(self, z):
            return -z.abs().sum(1)

    potential = targets.potential(targets.double_well, Other(2))
    with pytest.raises(TypeError, match="pCN needs a GaussianPrior or a UniformPrior, got Other"):
        PreconditionedCrankNicolson(0.5).init(potential, torch.zeros(5, 2))
