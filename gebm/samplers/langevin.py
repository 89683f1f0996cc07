"""Overdamped Langevin samplers: ULA, and MALA, which corrects it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.checks import StepSize
from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Info, Sampler, State, start
from gebm.samplers.moves import gradient_at, metropolis, not_a_number, reflect, select, standard_normal

__all__ = ["MALA", "ULA"]


@component("samplers", "ula", "unadjusted Langevin: biased, at first order in its step")
@dataclass(frozen=True)
class ULA(Sampler):
    """Unadjusted Langevin: z′ = z − γ∇U(z) + √(2γ) ξ (Roberts & Tweedie, 1996).

    Biased at first order in γ: on N(0, I) its stationary variance is 1/(1 − γ/2). It has no way to reject; a
    proposal whose energy or gradient is not a number is nevertheless refused (and counted), since the chain could
    not go on from it. Under a uniform prior proposals are *reflected* at the walls: at β = 0 the uniform law is
    then exactly invariant.

    Arguments:
        step_size: γ > 0.

    Example:
        On N(0, 1), whose variance is 1:

        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * z.square().sum(1), 1)
        >>> print(f"{gebm.sample(normal, ULA(0.5), n=2000, steps=100).trace.z.var():.1f}")
        1.3
    """

    step_size: StepSize = 0.01
    exact: ClassVar[bool] = False

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        z = state.position.z
        noise = standard_normal(z, generator)
        proposal = z - self.step_size * gradient_at(state.position) + math.sqrt(2 * self.step_size) * noise
        proposed = potential.with_gradient(reflect(potential.prior, proposal))
        invalid = not_a_number(proposed)
        info = Info((~invalid).to(z.dtype), 1, 0, invalid.long())
        return State(select(~invalid, proposed, state.position)), info


@component("samplers", "mala", "Metropolis-adjusted Langevin")
@dataclass(frozen=True)
class MALA(Sampler):
    """Metropolis-adjusted Langevin (Roberts & Tweedie, 1996): ULA's proposal, accepted with
    log α = U(z) − U(z′) + ½‖ξ‖² − ‖z − z′ + γ∇U(z′)‖²/(4γ).

    Under a uniform prior proposals outside are *rejected*.

    Arguments:
        step_size: γ > 0; tuned to an acceptance of 0.574 (Roberts & Rosenthal, 1998).

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, MALA(0.1), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    step_size: StepSize = 0.01
    target_acceptance: ClassVar[float | None] = 0.574

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current, gamma = state.position, self.step_size
        noise = standard_normal(current.z, generator)
        proposed = potential.with_gradient(current.z - gamma * gradient_at(current) + math.sqrt(2 * gamma) * noise)
        backward = current.z - proposed.z + gamma * gradient_at(proposed)
        log_alpha = (
            current.potential
            - proposed.potential
            + 0.5 * noise.square().sum(1)
            - backward.square().sum(1) / (4 * gamma)
        )
        decision = metropolis(current, proposed, log_alpha, generator)
        return State(select(decision.accept, proposed, current)), Info(decision.acceptance, 1, 0, decision.invalid)
