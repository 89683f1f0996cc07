"""DRS: discriminator rejection sampling from the base."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gebm.checks import Count, Range
from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Calibration, Info, Sampler, State, start
from gebm.samplers.moves import not_a_number, select

__all__ = ["DRS", "Rejection", "accepted"]


class Rejection(NamedTuple):
    """What DRS remembers: how many prior draws all lanes have made, and M, the largest logit among them."""

    draws: int
    maximum: Float[Tensor, ""]


@component(
    "samplers", "drs", "discriminator rejection sampling of prior draws: an approximate constant, γ from each batch"
)
@dataclass(frozen=True)
class DRS(Sampler):
    """Discriminator rejection sampling (Azadi et al., 2019, arXiv 1810.06758): each step every lane draws z ~ η and accepts it with
    σ(F − γ), F = Δ − log(1 − e^{Δ−ε}), Δ = d − M, d = −βE(G(z)); an accepted draw replaces the lane's state.

    Lanes are no chains: an accepted draw is independent of what it replaces. Until a lane has accepted, it keeps its starting z, and its
    `position.potential` is +inf (`accepted` says which lanes have). M is the largest logit that any lane has drawn so far, the present step
    included; the first `burn_in` draws only raise it. The percentile is taken over the lanes of the present step, as in the paper, so γ
    depends on how many there are. With γ = 0 and M = sup d the accepted law is exact; M from draws is too small, and γ > 0 accepts more
    than the exact rule on purpose. The calibration is isotonic, with which Turner et al. (2019) run it; the paper itself has
    none. One forward evaluation per step; no step waits for the device.

    Arguments:
        percentile: of F in the batch of lanes, subtracted from F as γ; None for γ = 0. The paper has 95 on images, public code 60 to 95.
        epsilon: ε > 0, which keeps F finite at d = M.
        burn_in: prior draws, by all lanes together, before any is accepted; the public code makes 50 batches of 256.

    Example:
        Without the percentile it accepts by the exact rule:

        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, DRS(percentile=None), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    percentile: Annotated[float, Range(0, 100)] | None = 80.0
    epsilon: Annotated[float, Range(0, 1, "low")] = 1e-8
    burn_in: Count = 12_800
    exact: ClassVar[bool] = False
    temperable: ClassVar[bool] = False
    calibration: ClassVar[Calibration] = "isotonic"

    def init(self, potential: LatentPotential, z: Float[Tensor, "batch latent"]) -> State:
        position = start(potential, z, gradient=False).position
        nowhere = torch.full_like(position.potential, math.inf)
        return State(position._replace(potential=nowhere), memory=Rejection(0, nowhere.new_full((), -math.inf)))

    def step(self, potential: LatentPotential, state: State, generator: torch.Generator) -> tuple[State, Info]:
        current, memory = state.position, _memory(state)
        proposed = potential.at(potential.prior.sample(current.z.shape[0], generator, current.z.dtype))
        invalid, logit = not_a_number(proposed), -potential.inverse_temperature * proposed.energy
        logit = torch.where(invalid, torch.full_like(logit, -math.inf), logit)
        maximum = torch.maximum(memory.maximum, logit.max())
        uniform = torch.rand(logit.shape, generator=generator, device=logit.device, dtype=logit.dtype)
        learning = memory.draws < self.burn_in
        acceptance = torch.zeros_like(logit) if learning else self.acceptance(logit, maximum)
        position = select(uniform < acceptance, proposed, current)
        after = State(position, memory=Rejection(memory.draws + logit.numel(), maximum))
        return after, Info(acceptance, 0, 1, invalid.long())

    def acceptance(self, logit: Float[Tensor, " batch"], maximum: Float[Tensor, ""]) -> Float[Tensor, " batch"]:
        """Return σ(F − γ) of a batch of logits, none above `maximum`; 0 where the logit is −inf.

        Example:
            >>> logit = torch.tensor([0.0, 0.25, 0.5]).log()
            >>> DRS(percentile=None).acceptance(logit, torch.tensor(0.5).log())
            tensor([0.0000, 0.5000, 1.0000])
        """
        gap = logit - maximum
        score = gap - torch.log(-torch.expm1(gap - self.epsilon))
        if self.percentile is not None:
            score = score - torch.quantile(score, self.percentile / 100, interpolation="higher")
        return torch.where(logit == -math.inf, torch.zeros_like(score), torch.sigmoid(score))


def accepted(state: State) -> Bool[Tensor, " batch"]:
    """Return which lanes of DRS hold an accepted draw; the others still hold what they started from."""
    return state.position.potential != math.inf


def _memory(state: State) -> Rejection:
    if not isinstance(state.memory, Rejection):
        raise ValueError("this state has no M; start it with DRS's own init")
    return state.memory
