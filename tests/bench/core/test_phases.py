"""Whose steps are recorded on a GPU."""

from __future__ import annotations

import pytest
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from baselines.gan import Hinge
from bench.core.phases import _recordable
from gebm.networks.sngan import SNGANDiscriminator
from gebm.temperature import ScaledEnergy


class Counting(nn.Linear):
    """A plug-in's layer, which keeps a number in Python."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.calls * super().forward(x)


def test_what_is_torchs_or_ours_may_be_recorded() -> None:
    assert _recordable(ScaledEnergy(SNGANDiscriminator((3, 32, 32), 2)), Hinge(), spectral_norm(nn.Linear(2, 2)))


@pytest.mark.parametrize("plugin", [Counting(2, 2), nn.Sequential(Counting(2, 2)), spectral_norm(Counting(2, 2))])
def test_what_a_plug_in_brings_is_not_recorded(plugin: nn.Module) -> None:
    assert not _recordable(SNGANDiscriminator((3, 32, 32), 2), plugin)
