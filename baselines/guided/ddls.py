"""DDLS: Langevin dynamics in latent space, guided by a discriminator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.guided.drift import arrive
from gebm.checks import StepSize, Weight
from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Calibration, Info, Sampler, State, start
from gebm.samplers.moves import gradient_at, reflect, standard_normal

__all__ = ["DDLS"]


@component(
    "samplers", "ddls", "discriminator-driven latent sampling: Langevin with a noise scale of its own, uncorrected"
)
@dataclass(frozen=True)
class DDLS(Sampler):
    """Discriminator-driven latent sampling (Che et al., 2020, arXiv 2003.06060): z′ = z − (ε/2)∇U(z) + s√ε ξ.

    At s = 1 it is ULA with γ = ε/2 and has its bias, of first order in ε. At s ≠ 1 it aims at exp(−U/s²), another law. The paper's schedule
    (ε times 0.1 every 200 of 1,000 steps) is `StepDecay(0.1, 200)`. Under a uniform prior proposals are *reflected* at the walls. One
    gradient evaluation per step. The calibration is logistic, since the rule follows the logit's gradient.

    Arguments:
        step_size: ε > 0, *twice* the γ of ULA.
        noise: s >= 0.

    Example:
        Less noise is a colder law, here half as wide:

        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, DDLS(0.1, noise=0.5), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.3
    """

    step_size: StepSize = 0.01
    noise: Weight = 1.0
    exact: ClassVar[bool] = False
    temperable: ClassVar[bool] = False
    calibration: ClassVar[Calibration] = "logistic"

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        z = state.position.z
        drift = -0.5 * self.step_size * gradient_at(state.position)
        diffusion = self.noise * math.sqrt(self.step_size) * standard_normal(z, generator)
        return arrive(potential, state, reflect(potential.prior, z + drift + diffusion))
