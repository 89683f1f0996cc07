"""The temperature of an energy: L(βE) against closed forms, its maximiser, what is said without one, and the calibrated refit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.model import energies
from gebm.objectives import Kale
from gebm.refit import EnergyRefit
from gebm.settings import RefitSettings
from gebm.stream import DataStream
from gebm.temperature import ScaledEnergy, calibrate, gain, weighted_moments

SHIFT = 1.0


def normal(count: int, seed: int, mean: float = 0.0) -> Tensor:
    return mean + torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(factor: float, count: int = 40000) -> tuple[Tensor, Tensor]:
    """Energies −factor·x on P = N(1, 1) and on G = N(0, 1): the best β is 1/factor, and L(βE) = βf − (βf)²/2."""
    return -factor * normal(count, 1, SHIFT), -factor * normal(count, 2)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0, 4.0])
def test_the_gain_is_that_of_the_closed_form(beta: float) -> None:
    """Six standard errors: a false alarm in 5e8."""
    found = gain(*flat(0.5), beta)
    assert abs(found.value - (0.5 * beta - 0.125 * beta**2)) <= 6 * found.standard_error + 1e-12


def test_the_gain_is_concave_in_beta() -> None:
    data, base = flat(0.5)
    values = [gain(data, base, beta).value for beta in torch.linspace(0, 5, 21).tolist()]
    bends = torch.tensor(values).diff().diff()
    assert bool((bends < 0).all())


@pytest.mark.parametrize("factor", [0.05, 0.5, 1.0, 2.0])
def test_calibration_undoes_a_scale(factor: float) -> None:
    """β̂·factor = 1 within six of its standard errors, which are not so wide that anything would do."""
    found = calibrate(*flat(factor))
    assert not found.at_edge
    assert abs(found.beta - 1 / factor) < 6 * found.standard_error < 0.2 / factor


def test_the_standard_error_is_the_spread_over_repetitions() -> None:
    """Of 200 repetitions; the spread of a standard deviation is 5 % of it, so 30 % is six of them."""
    found = [calibrate(-normal(500, 2 * i, SHIFT), -normal(500, 2 * i + 1)) for i in range(200)]
    spread = torch.tensor([each.beta for each in found]).std()
    stated = torch.tensor([each.standard_error for each in found]).median()
    assert 0.7 < spread / stated < 1.3


def test_an_energy_that_points_the_wrong_way_has_temperature_zero() -> None:
    data, base = flat(0.5)
    found = calibrate(-data, -base)
    assert (found.beta, found.gain.value, found.at_edge) == (0.0, 0.0, False)


def test_beyond_what_base_samples_can_tell_nothing_is_made_up() -> None:
    """P is six standard deviations away: no base sample is near it, so L still rises where weights are no longer to be trusted."""
    found = calibrate(-normal(2000, 1, 6.0), -normal(2000, 2))
    assert found.at_edge
    assert math.isnan(found.standard_error)
    assert found.gain.reportable
    assert found.beta < 6
    assert str(found) == f"at the edge: {found.beta:.3g} or more"


def test_weighted_moments_are_those_of_the_tilted_law() -> None:
    mean, variance, error = weighted_moments(normal(40000, 3), 1.0)  # E = x, so x ~ N(−1, 1) under exp(−E)G
    assert abs(mean + 1) < 6 * error < 0.2
    assert abs(variance - 1) < 0.1


def test_a_base_energy_that_is_not_a_number_is_a_zero_weight() -> None:
    data, base = flat(0.5)
    with_nan = torch.cat([base, torch.tensor([math.nan, math.inf], dtype=torch.float64)])
    assert weighted_moments(with_nan, 1.0)[0] == pytest.approx(weighted_moments(base, 1.0)[0])
    assert not gain(data, with_nan, 1.0).reportable


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_data_energies_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite, 1 of 3 are not"):
        gain(torch.tensor([0.0, 1.0, bad]), torch.zeros(10), 1.0)


def calibrated_refit(**options: object) -> EnergyRefit:
    """P = N(1, ½²)² and G = N(0, 1)²; a spectral-normalised network is too flat for their log-ratio."""
    torch.manual_seed(0)
    base = Base(nn.Identity(), GaussianPrior(2)).eval()
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0))
    for layer in (network[0], network[2]):
        nn.utils.parametrizations.spectral_norm(layer)
    settings = RefitSettings(
        **{"steps": 600, "batch_size": 64, "learning_rate": 1e-2, "penalty": 0.1, "calibrated": True} | options
    )

    def draw(seed: int) -> Tensor:
        return 1 + 0.5 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(seed))

    stream = DataStream(draw(1), 64, torch.Generator().manual_seed(2))
    return EnergyRefit(base, network, Kale(), stream, draw(3), torch.Generator().manual_seed(4), settings)


def trained(phase: EnergyRefit) -> nn.Module:
    while phase.done < phase.total:
        phase.step()
    return phase.finish()


def test_after_a_calibrated_refit_beta_is_one_on_data_it_has_not_seen() -> None:
    """Within three of the standard errors of both calibrations, on fresh data and base samples; the seed is fixed."""
    phase = calibrated_refit(partition_samples=20000)
    energy = trained(phase)
    assert isinstance(energy, ScaledEnergy)
    fresh = 1 + 0.5 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(8))
    base = torch.randn(20000, 2, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        found = calibrate(energies(energy, fresh), energies(energy, base))
        network = calibrate(energies(energy.network, fresh), energies(energy.network, base))
    assert abs(found.beta - 1) < 3 * math.sqrt(2) * found.standard_error < 0.5
    assert network.beta > 2  # it had something to learn


def test_finishing_twice_scales_once() -> None:
    phase = calibrated_refit(steps=100)
    once = trained(phase).log_scale.item()
    assert phase.finish().log_scale.item() == once


def test_without_calibration_there_is_no_scale() -> None:
    assert not isinstance(calibrated_refit(calibrated=False).energy, ScaledEnergy)


def test_patience_is_the_default_and_ends_a_refit_that_no_longer_gains() -> None:
    assert RefitSettings(10).patience > 0
    phase = calibrated_refit(steps=5000, check_every=5, patience=3, learning_rate=0.3)
    trained(phase)
    assert phase.done < 5000
    assert phase.done - phase.best_step == 15


def test_another_sets_weights_admit_a_gain_that_its_own_would():
    """Draws that missed the tail look fine to themselves; a second set that met it refuses them, and calibration ends before it."""
    generator = torch.Generator().manual_seed(0)
    missed, met = 0.1 * torch.randn(2, 2000, generator=generator)
    met = torch.cat([met[:-20], torch.full((20,), -8.0)])
    data = torch.full((50,), -1.0)
    assert gain(data, missed, 1.0).reportable
    assert not gain(data, missed, 1.0, met).reportable
    assert gain(data, missed, 1.0, met).value == gain(data, missed, 1.0).value
    assert calibrate(data, missed, met).beta < 1 < calibrate(data, missed).beta
