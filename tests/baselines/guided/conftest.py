"""Targets with known truth for guided samplers: G = N(0, 1) through the identity, energies as functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior, Prior
from gebm.model import LatentPotential


class Energy(nn.Module):
    """A function as an energy network, which counts its rows with and without a way back."""

    def __init__(self, energy: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.energy, self.gradients, self.forwards = energy, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.gradients += len(x)
        else:
            self.forwards += len(x)
        return self.energy(x)


class Targets:
    @staticmethod
    def potential(energy: Callable[[Tensor], Tensor] | nn.Module, prior: Prior, beta: float = 1.0) -> LatentPotential:
        module = energy if isinstance(energy, nn.Module) else Energy(energy)
        return LatentPotential(Base(nn.Identity(), prior), module, beta)

    @classmethod
    def shifted(cls, mean: float) -> LatentPotential:
        """P = N(mean, 1) on G = N(0, 1): E = −log dP/dG = −mean·x + mean²/2 (METHOD: fact 2)."""
        return cls.potential(lambda x: -mean * x[:, 0] + mean**2 / 2, GaussianPrior(1))

    counting = Energy


@pytest.fixture(scope="session")
def targets() -> Targets:
    return Targets()
