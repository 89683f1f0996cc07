"""The energy's refit on the frozen base: what it keeps, what it looks at, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import Tensor, nn

from gebm.base import Base, FlowBase, GaussianPrior
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.objectives import ContrastiveDivergence, Kale, Objective, likelihood_gain, log_mean_exp
from gebm.refit import EnergyRefit
from gebm.samplers import ULA
from gebm.settings import RefitSettings
from gebm.stream import DataStream


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def refit_parts(objective: Objective | None = None, held_out: Tensor | None = None, **options: object) -> EnergyRefit:
    torch.manual_seed(0)
    base = Base(MLPGenerator(3, (2,), [8]), GaussianPrior(3)).eval()
    settings = RefitSettings(**{"steps": 40, "batch_size": 8, "check_every": 4, "learning_rate": 1e-2} | options)
    data = torch.randn(50, 2, generator=seeded(1))
    if held_out is None:
        held_out = torch.randn(30, 2, generator=seeded(5))
    stream = DataStream(data, 8, seeded(2))
    return EnergyRefit(base, MLPDiscriminator((2,), [8]), objective or Kale(), stream, held_out, seeded(3), settings)


def test_refit_keeps_the_best_held_out_energy() -> None:
    phase, gains, energies = refit_parts(learning_rate=5e-2), [], []
    gains.append(phase.best_gain)
    energies.append(copy.deepcopy(phase.energy.state_dict()))
    while phase.done < phase.total:
        losses = phase.step()
        if "held_out_gain" in losses:
            gains.append(losses["held_out_gain"].item())
            energies.append(copy.deepcopy(phase.energy.state_dict()))
    assert len(gains) == 11
    best = max(range(11), key=gains.__getitem__)
    assert 0 < best < 10  # else keeping the last would do
    assert (phase.best_gain, phase.best_step) == (gains[best], 4 * best)
    kept = phase.finish()
    torch.testing.assert_close(kept.state_dict(), energies[best], rtol=0, atol=0)
    assert not any(module.training for module in kept.modules())
    with torch.no_grad():
        gain = likelihood_gain(kept(phase.held_out), log_mean_exp(-kept(phase.pool)))
    assert gain.item() == phase.best_gain


def test_early_stopping_looks_at_held_out_data_only() -> None:
    """Other held-out data change what is kept but nothing of the training; other training data leave the first look as it is."""
    far = refit_parts(held_out=torch.full((30, 2), 9.0))
    near = refit_parts()
    first = near.best_gain
    for phase in (far, near):
        while phase.done < phase.total:
            phase.step()
    torch.testing.assert_close(far.energy.state_dict(), near.energy.state_dict(), rtol=0, atol=0)
    assert torch.equal(far.data.order, near.data.order)
    assert near.done * 8 % 50 == (-len(near.data.order)) % 50  # looks took no row of the stream
    other = refit_parts()
    other.data.data.fill_(7.0)
    other.look()
    assert other.best_gain == first


def test_patience() -> None:
    """Held-out data where the energy rises: no look is better than the first, so the refit ends after `patience` of them."""
    phase = refit_parts(held_out=torch.full((30, 2), 9.0), patience=3)
    assert phase.total == 40
    while phase.done < phase.total:
        phase.step()
    assert (phase.done, phase.total, phase.best_step) == (12, 12, 0)
    patient = refit_parts(held_out=torch.full((30, 2), 9.0))
    while patient.done < patient.total:
        patient.step()
    assert patient.done == 40


def test_refit_leaves_the_base_alone() -> None:
    phase = refit_parts(ContrastiveDivergence(ULA(0.1), 2))
    before = copy.deepcopy(phase.base.state_dict())
    for _ in range(3):
        phase.step()
    torch.testing.assert_close(phase.base.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in phase.base.parameters())


def test_no_refit_at_all() -> None:
    phase = refit_parts(steps=0)
    assert phase.done == phase.total
    assert not phase.finish().training


def test_refit_refuses_a_training_mode_base() -> None:
    phase = refit_parts()
    phase.base.network.body[1].train()  # one batch norm is enough
    with pytest.raises(ValueError, match=re.escape("base in evaluation mode; call base.eval() first")):
        EnergyRefit(
            phase.base, phase.energy, phase.objective, phase.data, phase.held_out, phase.generator, phase.settings
        )


def test_refit_needs_held_out_data() -> None:
    with pytest.raises(ValueError, match="held_out must have at least one row"):
        refit_parts(held_out=torch.zeros(0, 2))


class Normal(FlowBase):
    def log_prob(self, x: Tensor) -> Tensor:
        return self.prior.log_prob(x)


class Wide(nn.Module):
    """E = −ax², which makes weights of tail shape k = 2a of normal draws."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return -self.a * x.square().sum(1)


@pytest.mark.parametrize(("kind", "kept"), [(Normal, 0.2), (Base, 0.45)])
def test_on_a_flow_an_energy_counts_only_where_log_z_can_be_told(kind: type[Base], kept: float) -> None:
    """Held-out rows three times as wide as the base: 0.45 gains more than 0.2, by weights whose mean says nothing (k = 0.9)."""
    x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    base, data = kind(nn.Identity(), GaussianPrior(1)).eval(), DataStream(x, 8, torch.Generator())
    settings = RefitSettings(steps=1, batch_size=8, partition_samples=4000)
    phase = EnergyRefit(base, Wide(), Kale(), data, 3 * x, torch.Generator().manual_seed(1), settings)
    assert phase.best_gain == 0
    for a in (0.2, 0.45):
        phase.energy.a.data.fill_(a)
        phase.look()
    assert phase.finish().a.item() == pytest.approx(kept)
