"""One comparison of a claim, seed by seed, and how strongly it speaks for the claim and against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.claims.model import Claim
from bench.metrics import metric as metric_of
from bench.results.losses import Lost
from bench.results.sources import Source
from bench.stats import Estimate, mean_interval, t_tail, two_level_interval
from bench.words import plural

__all__ = ["FEWEST_SEEDS", "Comparison", "weigh"]

FEWEST_SEEDS = 3
"""Fewer paired seeds decide nothing: the interval of two reaches 12.7 standard errors on each side."""


@dataclass(frozen=True)
class Comparison:
    """What one readout says about a claim, against one reference.

    Attributes:
        metric: in full.
        treatment: the readout.
        reference: what it was compared with; None for a value or a trend.
        key: score key of both sides.
        estimate: treatment − reference in the metric's unit, or the change per tenfold length; its 95 % interval is taken by itself.
        interval_kind: whether the interval is about new seeds, or about new seeds and new test rows.
        holds: one-sided p-value of "the claim does not hold here", lost seeds at their worst; 1 where nothing may be concluded.
        fails: one-sided p-value of "the claim holds here", from the seeds there are; likewise.
        favourable: whether the mean is on the claimed side.
        sign_flip_p_value: of "no difference", by random signs, where no margin is asked for.
        losses: seeds that each side lost.
        dropped: seeds that only one side has.
        runs: the runs behind the estimate.
        reason: why nothing may be concluded, or what lost seeds change.
    """

    metric: str = ""
    treatment: Source | None = None
    reference: Source | None = None
    key: str = ""
    estimate: Estimate | None = None
    interval_kind: Literal["seeds", "seeds and rows"] = "seeds"
    holds: float = 1.0
    fails: float = 1.0
    favourable: bool = False
    sign_flip_p_value: float | None = None
    losses: tuple[Lost, ...] = ()
    dropped: int = 0
    runs: tuple[str, ...] = ()
    reason: str = ""

    @property
    def enough(self) -> bool:
        """Whether there are seeds enough for a verdict."""
        return self.estimate is not None and self.estimate.n >= FEWEST_SEEDS

    @property
    def lost(self) -> int:
        """How many seeds that were asked of all sides have no score on some side because it was refused or its run failed, or collapsed in
        the treatment.
        """
        if not self.losses:
            return 0
        asked = set.intersection(*(set(each.asked) for each in self.losses))
        gone = set().union(*(each.without_score for each in self.losses), self.losses[0].collapsed)
        return len(asked & gone)

    @property
    def p_value(self) -> float | None:
        """Two-sided, for this comparison alone; None where there are too few seeds."""
        return min(1.0, 2 * min(self.holds, self.fails)) if self.enough else None


def weigh(
    claim: Claim, blank: Comparison, effects: NDArray[np.float64], log_partition_error: float = 0.0
) -> Comparison:
    """Return the comparison with its estimate and p-values.

    A lost seed speaks against the claim, never for it: the claim must also hold with every lost seed at its worst, which is as far on the
    wrong side of the border of what is claimed as any seed is from that border. So does one that collapsed in the treatment, whatever it
    scored. What contradicts a claim are the seeds there are.
    Of five seeds four cannot make up for one; of ten, nine that agree can.

    Arguments:
        claim: gives the metric's direction, the rule and the margin.
        blank: the comparison without numbers, with its losses.
        effects: treatment − reference, or the change per tenfold length: (seeds,), or (seeds, rows) of shared test rows.
        log_partition_error: a mean effect that is nearer to the border than this decides nothing.
    """
    n, margin = len(effects), claim.margin or 0.0
    too_few = f"{plural(n, 'paired seed')}, fewer than {FEWEST_SEEDS}"
    if not n:
        return replace(blank, reason=too_few)
    estimate = _interval(effects)
    gains = effects if metric_of(claim.metric[0]).direction == "higher" else -effects
    ways = (gains, -gains) if claim.rule == "margin" and claim.sides == "both" else (gains,)
    blank = replace(
        blank,
        estimate=estimate,
        interval_kind="seeds" if effects.ndim == 1 else "seeds and rows",
        favourable=all(way.mean() > -margin for way in ways),
    )
    if n < FEWEST_SEEDS:
        return replace(blank, reason=too_few)
    if log_partition_error > min(abs(float(way.mean()) + margin) for way in ways):
        return replace(blank, reason=f"log Z is uncertain by {log_partition_error:.2g} nats, more than would decide")
    there = max(t_tail(_interval(way), -margin, "above") for way in ways)
    fails = min(t_tail(_interval(way), -margin, "below") for way in ways)
    worst = max(t_tail(_interval(_with_lost(way, blank.lost, -margin)), -margin, "above") for way in ways)
    reason = (
        f"would hold without the {blank.lost} lost, not with them at their worst"
        if 2 * there <= 0.05 < 2 * worst
        else ""
    )
    return replace(blank, holds=max(there, worst), fails=fails, reason=reason)


def _interval(effects: NDArray[np.float64]) -> Estimate:
    return mean_interval(effects) if effects.ndim == 1 else two_level_interval(effects)[0]


def _with_lost(gains: NDArray[np.float64], lost: int, border: float) -> NDArray[np.float64]:
    """Return the gains with those of lost seeds, as far below the border as any seed is from it; their rows differ as on average."""
    means = gains.reshape(len(gains), -1).mean(1)
    worst = gains.mean(0) - means.mean() + border - np.abs(means - border).max()
    return np.concatenate([gains, np.stack([worst] * lost)]) if lost else gains
