"""The adversarial objectives against their formulas in the logit d = −E. Nothing is random but fixed inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from baselines.gan import Hinge, NonSaturating, Wasserstein
from gebm.base import Base, GaussianPrior
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.objectives import DonskerVaradhan, Kale, Objective
from gebm.training import AlternatingTraining, DataStream, TrainingSettings

LOGITS = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.4, 1.0, 2.5], dtype=torch.float64)


def hinge(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Lim & Ye (2017): E[max(0, 1 − d(x))] + E[max(0, 1 + d(G(z)))], and −E[d(G(z))]."""
    return torch.clamp(1 - real, min=0).mean() + torch.clamp(1 + fake, min=0).mean(), -fake.mean()


def non_saturating(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Goodfellow et al. (2014): −E[log D(x)] − E[log(1 − D(G(z)))], and −E[log D(G(z))], D = σ(d)."""
    return (
        -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean(),
        -torch.sigmoid(fake).log().mean(),
    )


def wasserstein(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Arjovsky et al. (2017): E[d(G(z))] − E[d(x)], and −E[d(G(z))]."""
    return fake.mean() - real.mean(), -fake.mean()


PAIRS = [(Hinge(), hinge), (NonSaturating(), non_saturating), (Wasserstein(), wasserstein)]


@pytest.mark.parametrize(("objective", "formula"), PAIRS)
def test_losses_are_the_written_formulas(objective: Objective, formula: object) -> None:
    real, fake = LOGITS, LOGITS.flip(0) * 0.7
    torch.testing.assert_close((objective.energy_loss(-real, -fake), objective.base_loss(-fake)), formula(real, fake))


@pytest.mark.parametrize("objective", [Hinge(), NonSaturating(), Wasserstein(), Kale(), DonskerVaradhan()])
def test_every_objective_lowers_energy_on_data_and_raises_it_on_the_base(objective: Objective) -> None:
    """One sign convention, d = −E: the discriminator pushes data down and base samples up, the base pushes its samples down."""
    data, base = torch.linspace(-0.5, 0.5, 5).requires_grad_(True), torch.linspace(-0.4, 0.6, 5).requires_grad_(True)
    on_data, on_base = torch.autograd.grad(objective.energy_loss(data, base), (data, base))
    assert (on_data > 0).all()
    assert (on_base < 0).all()
    (on_base,) = torch.autograd.grad(objective.base_loss(base), base)
    assert (on_base > 0).all()


@pytest.mark.parametrize("objective", [Hinge(), NonSaturating(), Wasserstein()])
def test_huge_logits_stay_finite(objective: Objective) -> None:
    energy = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = objective.energy_loss(energy, energy.flip(0)) + objective.base_loss(energy)
    loss.backward()
    assert loss.isfinite()
    assert energy.grad.isfinite().all()


def test_objectives_share_networks_data_order_and_latents() -> None:
    """After a round, every objective has drawn the same random numbers and, from the same weights, met the same samples."""
    ends = []
    for objective in (Hinge(), NonSaturating(), Wasserstein(), Kale(), Kale("log-partition"), DonskerVaradhan()):
        torch.manual_seed(0)
        base = Base(MLPGenerator(3, (1, 2, 2), [8]), GaussianPrior(3))
        energy = MLPDiscriminator((1, 2, 2), [8])
        data = DataStream(torch.randn(20, 1, 2, 2), 8, torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(2)
        settings = TrainingSettings(base_steps=1, batch_size=8, n_critic=1)
        training = AlternatingTraining(base, energy, objective, data, generator, settings)
        losses = training.step()
        ends.append((losses["energy_data"], losses["energy_base"], generator.get_state(), data.generator.get_state()))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=0, atol=0)
