"""What an estimate of log Z is: one typed value, and how it follows from weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from jaxtyping import Float
from torch import Tensor

from gebm.diagnostics import pareto_k, usable_log_weights, weight_ess

__all__ = [
    "LogPartition",
    "at_least",
    "judgement",
    "log_mean_exp",
    "log_partition_from_weights",
    "unusable_weights",
    "widen",
]

K_LIMIT, K_CARE = 0.7, 0.5
ESS_LIMIT = 100
"""Effective draws below which the standard error of a mean of weights is not to be trusted."""
HORIZON_LIMIT = 0.005
"""Share of held-out rows that may lie beyond what the draws have met."""
DISAGREEMENT = 3
"""Standard errors of the difference from which on two opinions are said to disagree."""


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
        objections: reasons not to report it, one sentence each.
        warnings: reasons for care, likewise.
        lowest_energy: the smallest E(G(z)) among the draws, or the particles on their way; NaN where it was not kept.
        admission: the independent run whose k̂ and ESS admit or refuse it (`admitted_by`); None where its own do.
        horizon: share of held-out rows with an energy below the lowest (`held_against`); NaN where none were at hand.
        opinion: another estimate, from the other side (`compared_with`).
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
    objections: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    lowest_energy: float = math.nan
    admission: LogPartition | None = None
    horizon: float = math.nan
    opinion: LogPartition | None = None

    @property
    def reportable(self) -> bool:
        """Whether the number may be printed as a result: finite and without objections."""
        return math.isfinite(self.estimate) and math.isfinite(self.standard_error) and not self.objections

    def admitted_by(self, other: LogPartition) -> LogPartition:
        """Return this estimate, judged by an independent run of the same kind.

        Judged by its own weights an estimate is admitted above all when it missed the tail: then k̂ and the standard error are low together
        with the estimate. Another run's do not know what this one missed, so that intervals cover among those admitted as often as
        among all. The standard error is the larger of the two; the cost is that of both.
        """
        return replace(
            self,
            standard_error=max(self.standard_error, other.standard_error),
            gradient_evaluations=self.gradient_evaluations + other.gradient_evaluations,
            forward_evaluations=self.forward_evaluations + other.forward_evaluations,
            objections=tuple(dict.fromkeys((*unusable_weights(self.unusable, self.draws), *other.objections))),
            warnings=other.warnings,
            admission=other,
        )

    @property
    def judge(self) -> LogPartition:
        """The run whose k̂ and ESS decide: an independent one where there is one."""
        return self.admission or self

    def held_against(self, energy: Float[Tensor, " rows"]) -> LogPartition:
        """Return this estimate with its horizon: the share of held-out rows whose E is lower than any that its draws have met.

        Where data lie the model may have mass; mass beyond the horizon is in no weight and in no standard error. More than 0.5 % is an
        objection: if the rows are the model's own, log Ẑ is low by −log(1 − share). A single row, whatever share of a small table that is,
        is a warning.

        Arguments:
            energy: E on data that the energy was not trained on, without β.
        """
        rows, count = int((energy < self.lowest_energy).sum()), len(energy)
        checked = replace(self, horizon=rows / count)
        if rows == 1:
            said = f"one of {count:,} held-out rows has an energy below that of any draw"
            return replace(checked, warnings=(*self.warnings, said))
        if checked.horizon <= HORIZON_LIMIT:
            return checked
        said = f"{checked.horizon:.1%} of held-out rows have an energy below that of any draw; {HORIZON_LIMIT:.1%} are allowed"
        return replace(checked, objections=(*self.objections, said))

    def compared_with(self, opinion: LogPartition) -> LogPartition:
        """Return this estimate beside a second one, its cost included; with a warning where both are reportable and differ by more than
        three standard errors.
        """
        difference = opinion.estimate - self.estimate
        error = math.hypot(self.standard_error, opinion.standard_error)
        heard = self.reportable and opinion.reportable
        side = "above" if difference > 0 else "below"
        said = f"{opinion.method} says {abs(difference):.2g} nats {side}, with a standard error of {error:.2g} for the difference"
        return replace(
            self,
            opinion=opinion,
            gradient_evaluations=self.gradient_evaluations + opinion.gradient_evaluations,
            forward_evaluations=self.forward_evaluations + opinion.forward_evaluations,
            warnings=(*self.warnings, said) if heard and abs(difference) > DISAGREEMENT * error else self.warnings,
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
    log_weights: Float[Tensor, " draws"],
    method: str,
    gradient_evaluations: int,
    forward_evaluations: int,
    lowest_energy: float = math.nan,
) -> LogPartition:
    """The estimate from independent log weights whose exponentials have mean Z.

    Arguments:
        log_weights: one per draw, in no order. −inf is a zero weight; NaN and +inf are counted as unusable and enter
            as zero weights.
        method: the name to report.
        gradient_evaluations: spent on all draws together.
        forward_evaluations: likewise.
        lowest_energy: the smallest E(G(z)) met.

    Raises:
        ValueError: if there are fewer than 4 draws.
    """
    count = log_weights.shape[0]
    if count < 4:
        raise ValueError(f"log_weights must hold at least 4 draws, got {count}")
    unusable = int((log_weights.isnan() | (log_weights == math.inf)).sum())
    weights = usable_log_weights(log_weights)
    fraction, shape = weight_ess(weights) / count, pareto_k(weights)
    objections, warnings = judgement(shape, fraction * count, unusable, count)
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
        objections=objections,
        warnings=warnings,
        lowest_energy=lowest_energy,
    )


def log_mean_exp(log_values: Float[Tensor, " draws"]) -> float:
    """log((1/M) Σ exp(v_m)); −inf only if every v is."""
    return float(log_values.logsumexp(0)) - math.log(log_values.shape[0])


def judgement(shape: float, ess: float, unusable: int, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return objections and warnings: what k̂, the ESS and weights that were not numbers say of a mean of weights."""
    objections, warnings = list(unusable_weights(unusable, count)), []
    if shape >= K_LIMIT:
        objections.append(
            f"Pareto k = {shape:.2f} is not below {K_LIMIT}: the mean of these weights is not to be reported"
        )
    elif shape >= K_CARE:
        warnings.append(f"Pareto k = {shape:.2f} is not below {K_CARE}: read the standard error with care")
    if ess < ESS_LIMIT:
        objections.append(
            f"an ESS of {ess:.1f} is too small for a standard error to be trusted; {ESS_LIMIT} are needed"
        )
    return tuple(objections), tuple(warnings)


def unusable_weights(unusable: int, count: int) -> tuple[str, ...]:
    """Return the objection to weights that were not numbers; nothing without any."""
    return (f"{unusable} of {count} weights were NaN or infinite and entered as zero",) if unusable else ()


def at_least(name: str, value: int, least: int) -> None:
    """Complain about an argument that is too small."""
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
