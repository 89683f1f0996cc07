"""DOT: discriminator optimal transport, gradient descent in latent space from a base sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.guided.drift import arrive, logit_gradient
from gebm.base import GaussianPrior, Prior, UniformPrior
from gebm.checks import Positive, Range, StepSize
from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Calibration, Info, Sampler, State, start

__all__ = ["DOT", "Transport"]


class Transport(NamedTuple):
    """What DOT remembers: z_y, where the chains started, and k, the logit's Lipschitz constant in latent space."""

    anchor: Float[Tensor, "batch latent"]
    lipschitz: Float[Tensor, ""]


@component("samplers", "dot", "discriminator optimal transport: descent from a base sample, without noise")
@dataclass(frozen=True)
class DOT(Sampler):
    """Discriminator optimal transport in latent space (Tanaka, 2019, arXiv 1910.06832): gradient descent on
    ‖z − z_y + δ‖ − d(G(z))/k from z = z_y, with d = −βE.

    A refinement without noise, not a sampler of ν: the generator decides nothing, and many steps end near minima. k is the largest of
    `pairs` ratios |Δd|/‖Δz‖ between prior draws. They are made at init from a seed of their own, so that all batches share k; this costs
    2·`pairs` forward evaluations once, not counted per chain. β cancels, and so does what logistic calibration changes, so none is
    asked for; the paper has none. The authors' erratum: the minimiser need not be the transport map.

    Under a Gaussian prior the gradient g is replaced by g − z(z·g)/√D, as in the authors' code. That is no orthogonal projection: at
    ‖z‖² = D it multiplies the radial part by 1 − √D. Under a uniform prior z is clipped to [−1, 1]. One gradient evaluation per step.

    Arguments:
        step_size: of gradient descent; the public runs take 10 to 100 steps.
        offset: δ > 0, added to every coordinate, which keeps the norm differentiable at z_y.
        pairs: ratios that k is the maximum of.

    Raises:
        TypeError: at init, under a prior that is neither Gaussian nor uniform.
        ValueError: at init, if the energy is constant on all pairs, or k is not finite.
    """

    step_size: StepSize = 0.01
    offset: Annotated[float, Range(0, 1, "low")] = 1e-3
    pairs: Positive = 100
    exact: ClassVar[bool] = False
    temperable: ClassVar[bool] = False
    calibration: ClassVar[Calibration] = "invariant"

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        _confined(potential.prior, z[:0], z[:0])
        state = start(potential, z, gradient=True)
        return state._replace(memory=Transport(state.position.z, self.lipschitz(potential, z)))

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:  # noqa: ARG002
        memory, z = _memory(state), state.position.z
        away = z - memory.anchor + self.offset
        gradient = away / away.norm(dim=1, keepdim=True) - logit_gradient(potential, state.position) / memory.lipschitz
        return arrive(potential, state, _confined(potential.prior, z, self.step_size * gradient))

    def lipschitz(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """Return k, on the device and in the precision of z.

        Raises:
            ValueError: as the class.
        """
        draws = potential.prior.sample(2 * self.pairs, torch.Generator(z.device).manual_seed(0), z.dtype)
        energy = potential.inverse_temperature * potential.at(draws).energy
        rise, distance = (pair[: self.pairs] - pair[self.pairs :] for pair in (energy, draws))
        largest: Tensor = (rise.abs() / distance.norm(dim=1)).max()
        if not 0 < float(largest) < math.inf:
            raise ValueError(
                f"k, the largest |Δd|/‖Δz‖ of {self.pairs} pairs, must be positive and finite, got {float(largest):g}"
            )
        return largest


def _confined(
    prior: Prior, z: Float[Tensor, "batch latent"], descent: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    """Return z − descent, kept where the prior is."""
    if isinstance(prior, UniformPrior):
        return (z - descent).clamp(-1, 1)
    if isinstance(prior, GaussianPrior):
        return z - descent + z * (z * descent).sum(1, keepdim=True) / math.sqrt(z.shape[1])
    raise TypeError(f"DOT needs a GaussianPrior or a UniformPrior, got {type(prior).__name__}; use DDLS")


def _memory(state: State) -> Transport:
    if not isinstance(state.memory, Transport):
        raise ValueError("this state has no anchor; start it with DOT's own init")
    return state.memory
