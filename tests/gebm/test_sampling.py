"""`gebm.sample`: its draws have the law of the model in evaluation mode, it counts what it did, and it says in words what it cannot do.

The seed is fixed; bounds are 5 standard errors, by the effective sample sizes that it reports itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gebm
from gebm.base import Base, GaussianPrior
from gebm.diagnostics import mean_ess
from gebm.model import GEBM
from gebm.samplers import HMC, MALA, IndependentMH, KineticLangevin, StepSizeAdaptation

NORMAL = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)


@pytest.mark.parametrize(
    ("sampler", "gradients", "forwards"),
    [(MALA(0.2), 200, 0), (HMC(0.2, 5), 1000, 0), (KineticLangevin(0.01), 200, 200)],
    ids=["MALA", "HMC", "kinetic"],
)
def test_draws_have_the_law_and_the_cost(sampler: gebm.samplers.Sampler, gradients: int, forwards: int) -> None:
    draws = gebm.sample(NORMAL, sampler, n=100, steps=200)
    assert draws.x.shape == (100, 1)
    assert torch.equal(draws.x, draws.z)
    assert draws.trace.z.shape == (100, 100, 1)
    assert draws.cost == (gradients, forwards)
    values = draws.trace.z[:, :, 0]
    assert abs(float(values.mean()) - 1) < 5 * 0.5 / math.sqrt(mean_ess(values))
    assert float(values.std()) == pytest.approx(0.5, abs=0.02)


def test_a_seed_is_a_generator_and_decides_everything() -> None:
    first, again, other = (
        gebm.sample(NORMAL, MALA(0.2), 8, 20, generator) for generator in (3, torch.Generator().manual_seed(3), 4)
    )
    assert torch.equal(first.trace.z, again.trace.z)
    assert not torch.equal(first.x, other.x)


def test_a_model_in_training_mode_is_sampled_in_evaluation_mode_and_left_alone() -> None:
    base = Base(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), GaussianPrior(2))
    model = GEBM(base, nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws = gebm.sample(model, MALA(0.1), 16, 10)
    assert all(part.training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(draws.x, model.eval().base(draws.z), rtol=1e-4, atol=1e-5)


def test_the_lengths_are_those_asked_for() -> None:
    draws = gebm.sample(NORMAL, MALA(0.2), 4, 50, warmup=10, thin=7, start=torch.ones(4, 1))
    assert draws.trace.z.shape == (5, 4, 1)
    assert draws.cost.gradient_evaluations == 50


def test_at_zero_inverse_temperature_it_draws_from_the_base() -> None:
    draws = gebm.sample(NORMAL, MALA(0.5), 200, 100, inverse_temperature=0.0)
    assert float(draws.trace.z.mean()) == pytest.approx(0.0, abs=0.1)
    assert float(draws.trace.z.std()) == pytest.approx(1.0, abs=0.1)


def test_printed_it_says_what_its_draws_are_worth() -> None:
    settled = repr(gebm.sample(NORMAL, IndependentMH(), 16, 800))
    assert "16 samples of shape (1,)" in settled
    assert "0 gradient and 800 forward evaluations per sample" in settled
    assert "every R-hat is below 1.01" in settled.splitlines()[-1]
    stuck = repr(gebm.sample(NORMAL, MALA(1e-4), 16, 20))
    assert "run longer" in stuck.splitlines()[-1]


def test_arviz_gets_chains_before_draws() -> None:
    pytest.importorskip("arviz_base")
    draws = gebm.sample(NORMAL, MALA(0.2), 6, 40)
    tree = draws.to_arviz()
    assert dict(tree["posterior"].sizes) == {"chain": 6, "draw": 20, "latent": 1}
    np.testing.assert_array_equal(tree["posterior"]["z"].values[:, -1], draws.z.numpy())
    assert tree["posterior"].attrs["gradient_evaluations"] == 40


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"n": 8.0}, "n must be a whole number from 1 to 1,000,000,000, got 8.0"),
        ({"steps": 1e3}, "steps must be a whole number from 1 to 1,000,000,000, got 1000.0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"steps": 6}, "leave 3 states to judge"),
        ({"warmup": 300}, "leave 0 states to judge"),
        (
            {"start": torch.zeros(8, 1, dtype=torch.float64)},
            r"in the model's torch\.float32; it has 8 rows of torch\.float64",
        ),
        ({"start": torch.zeros(9, 1)}, "a row for each of 8 chains"),
        ({"sampler": StepSizeAdaptation(MALA(0.1), 100)}, "tuned for 100 steps, but warm-up ends after 50"),
    ],
    ids=["float n", "float steps", "bool", "few", "all warm-up", "dtype", "rows", "adaptation"],
)
def test_what_cannot_be_is_said_in_a_line(asked: dict[str, object], said: str) -> None:
    arguments = {"model": NORMAL, "sampler": MALA(0.1), "n": 8, "steps": 100} | asked
    with pytest.raises(ValueError, match=said):
        gebm.sample(**arguments)  # type: ignore[arg-type]


class Quartic(nn.Module):
    """log p(z) = −a Σ z⁴."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return -self.a * z.pow(4).sum(1)


def test_a_log_density_of_double_precision_is_sampled_in_it() -> None:
    model, start = gebm.from_log_density(Quartic(), 2, torch.float64), torch.zeros(200, 2, dtype=torch.float64)
    draws = gebm.sample(model, MALA(0.1), 200, 200, start=start)
    assert draws.x.dtype == torch.float64
    truth = math.gamma(0.75) / math.gamma(0.25)  # E z² under exp(−z⁴)
    assert float(draws.trace.z.square().mean()) == pytest.approx(truth, rel=0.03)


def test_networks_of_any_shape_make_a_model() -> None:
    generator = nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.ConvTranspose2d(4, 2, 3), nn.BatchNorm2d(2))
    critic = nn.Conv2d(2, 1, 3)
    model = gebm.from_networks(generator, lambda x: -critic(x), 4)
    assert generator.training
    assert model.eval().potential()(torch.zeros(5, 4)).shape == (5,)
    assert isinstance(model.base.prior, GaussianPrior)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: gebm.from_log_density(lambda z: z, 2), r"one value per row; of 2 rows it made shape \(2, 2\)"),
        (
            lambda: gebm.from_log_density(lambda z: z @ torch.ones(2, dtype=torch.float64), 2),
            r"cannot be given torch\.float32 of shape \(2, 2\)",
        ),
        (lambda: gebm.from_networks(nn.Linear(2, 3), nn.Linear(3, 1).double(), 2), r"energy\.to\(torch\.float32\)"),
        (
            lambda: gebm.from_networks(nn.Linear(2, 3), nn.Linear(4, 1), 2),
            r"energy cannot be given .* of shape \(2, 3\)",
        ),
        (lambda: gebm.from_networks(nn.Linear(2, 3), nn.Linear(3, 10), 2), "one value per sample"),
        (lambda: gebm.from_networks(lambda z: z.sum(), nn.Linear(3, 1), 2), "one sample per latent"),
        (lambda: gebm.from_networks(nn.Linear(2, 3), lambda x: x.argmax(1), 2), "floating-point numbers"),
    ],
    ids=["shape", "dtype", "precisions", "inputs", "classes", "scalar", "labels"],
)
def test_what_is_no_model_is_said_in_a_line(make: Callable[[], GEBM], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
