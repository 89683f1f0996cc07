"""What an estimate of log Z is: one typed value, and how it follows from weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from jaxtyping import Float
from torch import Tensor

from gebm.diagnostics import pareto_k, usable_log_weights, weight_ess

__all__ = ["LogPartition", "at_least", "doubts_about", "log_mean_exp", "log_partition_from_weights", "widen"]

K_LIMIT, K_CARE = 0.7, 0.5


@dataclass(frozen=True)
class LogPartition:
    """An estimate of A = log Z, in nats, and what it is worth.

    Arguments:
        estimate: log Ẑ.
        standard_error: of log Ẑ, by the delta method: that of Ẑ, relative to Ẑ.
        method: how it was obtained.
        draws: M, all of them: a draw whose weight is zero or not a number counts.
        halves: log Ẑ of two independent halves of the draws, for the bracket; None where Ẑ is not unbiased (bridge
            sampling).
        effective_fraction: ESS/M of what was averaged.
        pareto_k: k̂ of the weights; None where nothing heavy-tailed is averaged (bridge sampling).
        unusable: draws whose weight was NaN or infinite; they enter as zero weights.
        gradient_evaluations: spent in total, a pilot run included.
        forward_evaluations: likewise.
        warnings: reasons for care, one sentence each.
    """

    estimate: float
    standard_error: float
    method: str
    draws: int
    halves: tuple[float, float] | None
    effective_fraction: float
    pareto_k: float | None
    unusable: int
    gradient_evaluations: int
    forward_evaluations: int
    warnings: tuple[str, ...] = ()

    @property
    def reportable(self) -> bool:
        """Whether the number may be printed as a result: finite, k̂ < 0.7 and no weight that is not a number."""
        tail_is_fine = self.pareto_k is None or self.pareto_k < K_LIMIT
        return (
            math.isfinite(self.estimate) and math.isfinite(self.standard_error) and tail_is_fine and not self.unusable
        )

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The normal confidence interval of log Z."""
        return widen(self.estimate, self.estimate, self.standard_error, level)


def widen(lower: float, upper: float, standard_error: float, level: float) -> tuple[float, float]:
    """Both ends moved outwards by the normal quantile of `level`."""
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    reach = NormalDist().inv_cdf(0.5 + level / 2) * standard_error
    return lower - reach, upper + reach


def log_partition_from_weights(
    log_weights: Float[Tensor, " draws"], method: str, gradient_evaluations: int, forward_evaluations: int
) -> LogPartition:
    """The estimate from independent log weights whose exponentials have mean Z.

    Arguments:
        log_weights: one per draw, in no order. −inf is a zero weight; NaN and +inf are counted as unusable and enter
            as zero weights.
        method: the name to report.
        gradient_evaluations: spent on all draws together.
        forward_evaluations: likewise.

    Raises:
        ValueError: if there are fewer than 4 draws.
    """
    count = log_weights.shape[0]
    if count < 4:
        raise ValueError(f"log_weights must hold at least 4 draws, got {count}")
    unusable = int((log_weights.isnan() | (log_weights == math.inf)).sum())
    weights = usable_log_weights(log_weights)
    fraction, shape = weight_ess(weights) / count, pareto_k(weights)
    relative_variance = (1 / fraction - 1) * count / (count - 1) if fraction else math.inf
    return LogPartition(
        estimate=log_mean_exp(weights),
        standard_error=math.sqrt(max(relative_variance, 0.0) / count),
        method=method,
        draws=count,
        halves=(log_mean_exp(weights[: count // 2]), log_mean_exp(weights[-(count // 2) :])),
        effective_fraction=fraction,
        pareto_k=shape,
        unusable=unusable,
        gradient_evaluations=gradient_evaluations,
        forward_evaluations=forward_evaluations,
        warnings=doubts_about(shape, fraction * count, unusable, count),
    )


def log_mean_exp(log_values: Float[Tensor, " draws"]) -> float:
    """log((1/M) Σ exp(v_m)); −inf only if every v is."""
    return float(log_values.logsumexp(0)) - math.log(log_values.shape[0])


def doubts_about(shape: float, ess: float, unusable: int, count: int) -> tuple[str, ...]:
    """List reasons for care: k̂, the ESS, and weights that were not numbers."""
    doubts = []
    if shape >= K_LIMIT:
        doubts.append(f"Pareto k = {shape:.2f} is not below {K_LIMIT}: the mean of these weights is not to be reported")
    elif shape >= K_CARE:
        doubts.append(f"Pareto k = {shape:.2f} is not below {K_CARE}: read the standard error with care")
    if ess < 100:
        doubts.append(f"an ESS of {ess:.1f} is too small for a standard error to be trusted; 100 or more are wanted")
    if unusable:
        doubts.append(f"{unusable} of {count} weights were NaN or infinite and entered as zero")
    return tuple(doubts)


def at_least(name: str, value: int, least: int) -> None:
    """Complain about an argument that is too small."""
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
