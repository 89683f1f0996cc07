"""REP-GAN: Metropolis-corrected Langevin proposals in latent space, guided by a discriminator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.checks import Range, StepSize
from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Calibration, Info, Sampler, State, start
from gebm.samplers.moves import gradient_at, metropolis, select, standard_normal

__all__ = ["REPGAN"]


@component("samplers", "rep-gan", "REP-GAN: Langevin proposals with a noise scale of their own, Metropolis-corrected")
@dataclass(frozen=True)
class REPGAN(Sampler):
    """REP-GAN (Wang et al., 2021, arXiv 2107.00352): z′ = z − (τ/2)∇U(z) + ηξ, accepted with the full Metropolis–Hastings ratio,
    log α = U(z) − U(z′) + ½‖ξ‖² − ‖z − z′ + (τ/2)∇U(z′)‖²/(2η²).

    Exact at any τ and η; at η = √τ it is MALA with γ = τ/2. The public runs take 640 steps of τ = 0.01, η = 0.1. Under a uniform prior
    proposals outside are *rejected*. One gradient evaluation per step. The calibration is logistic, since the rule follows the logit's
    gradient.

    Arguments:
        step_size: τ > 0, *twice* the γ of MALA.
        noise: η > 0; None for √τ, which the public default is and which follows a tuned or decaying τ.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, REPGAN(0.2, noise=0.5), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    step_size: StepSize = 0.01
    noise: Annotated[float, Range(0, 100, "low")] | None = None
    target_acceptance: ClassVar[float | None] = 0.574
    temperable: ClassVar[bool] = False
    calibration: ClassVar[Calibration] = "logistic"

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        return start(potential, z, gradient=True)

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current, half = state.position, 0.5 * self.step_size
        scale = math.sqrt(self.step_size) if self.noise is None else self.noise
        noise = standard_normal(current.z, generator)
        proposed = potential.with_gradient(current.z - half * gradient_at(current) + scale * noise)
        backward = (current.z - proposed.z + half * gradient_at(proposed)) / scale
        kinetic = 0.5 * (noise.square() - backward.square()).sum(1)
        decision = metropolis(current, proposed, current.potential - proposed.potential + kinetic, generator)
        return State(select(decision.accept, proposed, current)), Info(decision.acceptance, 1, 0, decision.invalid)
