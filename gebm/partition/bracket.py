"""The test log-likelihood of a GEBM on a flow, between two ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gebm.partition.estimate import LogPartition, widen

__all__ = ["LikelihoodBracket", "likelihood_bracket"]


@dataclass(frozen=True)
class LikelihoodBracket:
    """A mean test log-likelihood between two ends, in nats per point, with its standard errors kept apart.

    E[lower] <= truth <= E[upper] over the draws of log Z. Both ends carry the same two standard errors, of log Z
    and of the test points; that of seeds is for whoever has several.

    Arguments:
        lower: LL_c, with c and Ẑ from different halves of the draws.
        upper: LL_IS.
        base: the base's own mean log g.
        log_partition_error: standard error of log Ẑ.
        points_error: standard error of mean(log g − E) over test points.
        gain_points_error: the same for the gain, mean(−E), in which the base cancels.
        log_partition: what it was computed with.
    """

    lower: float
    upper: float
    base: float
    log_partition_error: float
    points_error: float
    gain_points_error: float
    log_partition: LogPartition

    @property
    def width(self) -> float:
        return self.upper - self.lower

    @property
    def gain(self) -> tuple[float, float]:
        """The ends of the gain over the base, L(E)."""
        return self.lower - self.base, self.upper - self.base

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The bracket widened by the error of log Z at `level`: for these test points, whatever others would give."""
        return widen(self.lower, self.upper, self.log_partition_error, level)


def likelihood_bracket(
    base_log_prob: Float[Tensor, " points"], energy: Float[Tensor, " energies"], log_partition: LogPartition
) -> LikelihoodBracket:
    """Return [LL_c, LL_IS] for log q(x) = log g(x) − E(x) − A on test points.

    With halves c₁ = log Ẑ₁ and c₂ = log Ẑ₂, LL_c = mean(log g − E) − c − Ẑe^{−c} + 1 is averaged over c from one
    half and Ẑ from the other, both ways round. The two ends are then ordered, whatever the draws.

    Arguments:
        base_log_prob: log g at the test points; zeros for an implicit base, which makes this the bracket of L(E).
        energy: E at the test points.
        log_partition: at β = 1, unbiased: from importance sampling, AIS or SMC.

    Raises:
        ValueError: if the shapes differ, there are fewer than 2 points, or `log_partition` has no halves.
    """
    if base_log_prob.shape != energy.shape or energy.shape[0] < 2:
        raise ValueError(
            f"base_log_prob and energy must have one shape, at least 2 points, got {tuple(base_log_prob.shape)} and "
            f"{tuple(energy.shape)}"
        )
    if log_partition.halves is None:
        raise ValueError(f"log_partition must be unbiased for a bracket, {log_partition.method} is not; use AIS or SMC")
    base_log_prob, energy = base_log_prob.detach().double(), energy.detach().double()
    unnormalised, root = base_log_prob - energy, math.sqrt(energy.shape[0])
    below, above = _bracket_of_log_z(*log_partition.halves)
    mean = float(unnormalised.mean())
    return LikelihoodBracket(
        lower=mean - above,
        upper=mean - below,
        base=float(base_log_prob.mean()),
        log_partition_error=log_partition.standard_error,
        points_error=float(unnormalised.std()) / root,
        gain_points_error=float(energy.std()) / root,
        log_partition=log_partition,
    )


def _bracket_of_log_z(first: float, second: float) -> tuple[float, float]:
    """log((Z₁ + Z₂)/2), and the mean of c₁ + Z₂e^{−c₁} − 1 and c₂ + Z₁e^{−c₂} − 1: the first is never the larger."""
    if not (math.isfinite(first) and math.isfinite(second)) or abs(first - second) > 700:
        return max(first, second) - math.log(2), math.inf
    middle, distance = 0.5 * (first + second), second - first
    return middle + math.log(math.cosh(0.5 * distance)), middle + math.cosh(distance) - 1
