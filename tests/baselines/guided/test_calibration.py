"""Calibration against logits whose right transformation is known. Fixed seeds; bounds at 4 standard errors or more: false alarms 1e-4."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.guided import CalibratedEnergy, Isotonic, Logistic, calibration_z, isotonic, logistic
from gebm import GEBM
from gebm.base import Base, GaussianPrior
from gebm.samplers import MALA, IndependentMH, chain

MEAN = 1.5


def true_energies(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """−log dP/dG at draws of P = N(1.5, 1) and of G = N(0, 1)."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, count)))
    data, base = x[0] + MEAN, x[1]
    return -MEAN * data + MEAN**2 / 2, -MEAN * base + MEAN**2 / 2


def distorted(energy: Tensor) -> Tensor:
    """A monotone distortion of the logit that no slope and offset undo."""
    return -torch.sinh(-energy) / 3 - 0.7


def test_logistic_undoes_a_slope_and_an_offset() -> None:
    """Logit ½d + 0.3, so d = 2(logit − 0.3). The slope's standard error at 2 × 20,000 rows is below 0.03, the offset's below 0.02."""
    data, base = (0.5 * energy - 0.3 for energy in true_energies(20_000, 0))
    found = logistic(data, base)
    assert found.slope == pytest.approx(2, abs=0.12)
    assert found.offset == pytest.approx(-0.6, abs=0.08)
    grid = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(found(grid), found.slope * grid - found.offset)


def test_logistic_is_the_maximum_of_the_likelihood() -> None:
    """The score equations of logistic regression hold, at any scale of the energies: no regularisation, no early stop."""
    for scale in (1e-3, 1.0, 1e3):
        data, base = (scale * energy + 5 * scale for energy in true_energies(300, 1))
        found = logistic(data, base)
        energies = torch.cat([data, base])
        residual = torch.cat([torch.ones(300), torch.zeros(300)]) - torch.sigmoid(-found(energies))
        assert abs(float(residual.mean())) < 1e-5
        assert abs(float((residual * energies / scale).mean())) < 1e-4


def test_isotonic_undoes_any_monotone_distortion() -> None:
    """Between the 2nd and 98th percentile of the pooled rows D is found within 0.04, where the distorted D is off by 0.2."""
    truth = true_energies(40_000, 2)
    found = isotonic(*(distorted(energy) for energy in truth))
    grid = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64)
    right, wrong = torch.sigmoid(-grid), torch.sigmoid(-distorted(grid))
    assert (torch.sigmoid(-found(distorted(grid))) - right).abs().max() < 0.04
    assert (wrong - right).abs().max() > 0.1


def test_isotonic_is_monotone_finite_and_constant_outside() -> None:
    data, base = true_energies(200, 3)
    found = isotonic(data, base)
    grid = torch.linspace(-50, 50, 2001)
    calibrated = found(grid)
    assert calibrated.dtype == grid.dtype
    assert (calibrated.diff() >= 0).all()
    limit = math.log(2 * 400 - 1)
    assert float(calibrated.abs().max()) <= limit * (1 + 1e-5)
    assert float(found(torch.tensor([math.inf]))) == pytest.approx(float(calibrated[-1]))
    assert found(torch.tensor([math.nan])).isnan().all()


def test_isotonic_interpolates_between_its_knots() -> None:
    knots = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    found = Isotonic(knots, torch.tensor([0.2, 0.6], dtype=torch.float64))
    energy = torch.tensor([1.0, 0.0, -1.0, -9.0], dtype=torch.float64)
    expected = torch.tensor([0.2, 0.4, 0.6, 0.6], dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(-found(energy)), expected)


def test_energies_without_information_calibrate_to_even_odds() -> None:
    same = torch.full((50,), 3.0)
    for found in (logistic(same, same), isotonic(same, same)):
        torch.testing.assert_close(found(same), torch.zeros(50), atol=1e-5, rtol=0)


def test_z_is_standard_normal_where_the_logit_is_right() -> None:
    """Mean of 400 values within 4/√400 and their spread between 0.85 and 1.15. Given the labels, Z is narrower than N(0, 1)
    in a balanced split: Var Z = Var(D | y)-terms / ΣD(1 − D); its size is compared with that.
    """
    values = [calibration_z(*true_energies(500, seed)) for seed in range(400)]
    data, base = (torch.sigmoid(-energy) for energy in true_energies(100_000, 1000))
    truth = math.sqrt(float((data.var() + base.var()) / ((data * (1 - data)).mean() + (base * (1 - base)).mean())))
    assert abs(np.mean(values)) < 4 * truth / math.sqrt(400)
    assert np.std(values) == pytest.approx(truth, rel=0.15)
    assert truth < 1


def test_z_finds_a_miscalibrated_logit_and_calibration_removes_it() -> None:
    fit, held_out = true_energies(2000, 4), true_energies(2000, 5)
    assert abs(calibration_z(*held_out)) < 2
    for wrong in (lambda energy: energy - 1.0, distorted):
        shifted = [wrong(energy) for energy in held_out]
        assert abs(calibration_z(*shifted)) > 10
        for calibrate in (logistic, isotonic):
            found = calibrate(*(wrong(energy) for energy in fit))
            assert abs(calibration_z(*(found(energy) for energy in shifted))) < 2.5


def test_z_of_a_saturated_discriminator_is_a_number() -> None:
    sure = torch.full((10,), -1e4)
    assert calibration_z(sure, -sure) == 0.0
    assert calibration_z(sure, sure) < -1e6


def linear_energy() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))


def test_a_calibrated_energy_is_the_energy_of_a_model_and_keeps_its_gradient() -> None:
    energy, x = linear_energy(), torch.randn(7, 1, generator=torch.Generator().manual_seed(0))
    calibrated = CalibratedEnergy(energy, Logistic(2.0, 0.5))
    torch.testing.assert_close(calibrated(x), 2 * energy(x) - 0.5)
    base = Base(nn.Identity(), GaussianPrior(1))
    plain, model = GEBM(base, energy).potential(2.0), GEBM(base, calibrated).for_sampling().potential()
    torch.testing.assert_close(model.with_gradient(x).gradient, plain.with_gradient(x).gradient)


def test_isotonic_serves_acceptance_rules_and_refuses_gradients() -> None:
    calibrated = CalibratedEnergy(linear_energy(), isotonic(*(energy.float() for energy in true_energies(100, 6))))
    potential = GEBM(Base(nn.Identity(), GaussianPrior(1)), calibrated).for_sampling().potential()
    z, generator = torch.zeros(4, 1), torch.Generator().manual_seed(0)
    ((_, state, _),) = chain(IndependentMH(), potential, z, [3], generator)
    assert state.position.energy.isfinite().all()
    with pytest.raises(RuntimeError, match="isotonic calibration has no gradient; calibrate samplers that follow"):
        MALA(0.1).init(potential, z)


OK = torch.tensor([0.0, 1.0, -1.0])


@pytest.mark.parametrize("function", [logistic, isotonic, calibration_z])
@pytest.mark.parametrize(
    ("data", "base", "complaint"),
    [
        (torch.tensor([0.0, math.nan, math.inf]), OK, "calibration needs finite logits, 2 of 6 are not"),
        (OK, OK[:2], "as many energies of data as of the base, got 3 and 2"),
        (OK[:0], OK[:0], "got 0 and 0"),
    ],
)
def test_bad_splits_are_one_line(function, data: Tensor, base: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        function(data, base)
    assert "\n" not in str(caught.value)


def test_separated_sides_have_no_slope() -> None:
    for data, base in ((OK - 5, OK), (OK, OK - 5)):
        with pytest.raises(ValueError, match="separates data and base: logistic calibration needs overlap"):
            logistic(data, base)
    assert isotonic(OK - 5, OK)(OK).isfinite().all()
