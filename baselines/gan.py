"""Adversarial objectives, on the same networks and in the same loop as a GEBM's.

The discriminator's logit is minus the energy, d = −E, so that one network class serves both and "low energy on data" is the same
statement as "high logit on data".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from gebm.components import component
from gebm.objectives import BaseEnergies, DataEnergies, Objective, Scalar

__all__ = ["Hinge", "NonSaturating", "Wasserstein"]


@component("objectives", "hinge", "hinge loss of a GAN")
class Hinge(Objective):
    """Hinge loss (Lim & Ye, 2017; SNGAN, Miyato et al., 2018)."""

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        return torch.relu(1 + energy_data).mean() + torch.relu(1 - energy_base).mean()

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return energy_base.mean()


@component("objectives", "non-saturating", "logistic loss of a GAN, non-saturating for its generator")
class NonSaturating(Objective):
    """Logistic discriminator with the non-saturating generator loss (Goodfellow et al., 2014)."""

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        return F.softplus(energy_data).mean() + F.softplus(-energy_base).mean()

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return F.softplus(energy_base).mean()


@component("objectives", "wasserstein", "difference of the critic's means; WGAN-GP with a penalty around norm 1")
class Wasserstein(Objective):
    """The critic's difference of means (Arjovsky et al., 2017), an estimate of −W₁ where the critic is 1-Lipschitz.

    It is WGAN-GP with a gradient penalty of norm 1 (`penalty_norm`) and weight 10 on interpolates (Gulrajani et al., 2017).
    """

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        return energy_data.mean() - energy_base.mean()

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return energy_base.mean()
