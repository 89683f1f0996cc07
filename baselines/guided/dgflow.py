"""DGflow: the gradient flow of an f-divergence between base and data, discretised in latent space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.guided.drift import arrive, logit_gradient
from gebm.checks import StepSize, Weight
from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Calibration, Info, Sampler, State, start
from gebm.samplers.moves import reflect, standard_normal

__all__ = ["DGflow"]


@component("samplers", "dgflow", "discriminator gradient flow: noisy ascent of the logit, without the prior")
@dataclass(frozen=True)
class DGflow(Sampler):
    """Discriminator gradient flow (Ansari et al., 2021, arXiv 2012.00780): z′ = z + η s(d)∇d + √(2ηγ) ξ with d = −βE(G(z)).

    s is 1 for the KL divergence, σ(−d) for "log-d", σ(d) for Jensen–Shannon. There is no prior term, so chains leave the prior. Long chains
    tend, up to a bias of first order in η, to the law ∝ exp(d/γ), σ(d)^{1/γ} or (1 + e^d)^{1/γ} where that can be normalised, and
    diffuse without end where it cannot, as at β = 0; the public runs take 25 steps. Under a uniform prior proposals are *reflected*
    at the walls, which the paper does not do. One gradient evaluation per step. The calibration is logistic, since the rule follows
    the logit's gradient.

    Arguments:
        step_size: η > 0.
        diffusion: γ >= 0, the weight of the entropy.
        divergence: "kl", "log-d" or "js".

    Example:
        Without the prior its law is ∝ exp(d), here N(4/3, 1/3), and not the target:

        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, DGflow(0.01, diffusion=1.0), n=1000, steps=300).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.3 ± 0.6
    """

    step_size: StepSize = 0.1
    diffusion: Weight = 0.01
    divergence: Literal["kl", "log-d", "js"] = "kl"
    exact: ClassVar[bool] = False
    temperable: ClassVar[bool] = False
    calibration: ClassVar[Calibration] = "logistic"

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        position, noise = state.position, standard_normal(state.position.z, generator)
        speed = self._speed(-potential.inverse_temperature * position.energy)[:, None]
        drift = self.step_size * speed * logit_gradient(potential, position)
        z = position.z + drift + math.sqrt(2 * self.step_size * self.diffusion) * noise
        return arrive(potential, state, reflect(potential.prior, z))

    def _speed(self, logit: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The factor s(d) of the divergence."""
        if self.divergence == "kl":
            return torch.ones_like(logit)
        return torch.sigmoid(-logit if self.divergence == "log-d" else logit)
