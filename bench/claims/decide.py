"""From an interval to a verdict, by the claim's rule. `Estimate.side` says where an interval lies, here as in the report's sentences."""

from __future__ import annotations

from typing import Literal

from bench.claims.model import Claim
from bench.metrics import metric
from bench.stats import Estimate
from bench.stats.estimates import t_tail

__all__ = ["Verdict", "decide"]

Verdict = Literal["supported", "contradicted", "inconclusive", "not run"]


def decide(claim: Claim, effect: Estimate) -> tuple[Verdict, str, float | None]:
    """Verdict, a reason where the interval alone is none, and a p-value that is at most 0.05 exactly where a 95 % interval decides.

    Arguments:
        claim: what was claimed.
        effect: treatment − reference in the metric's unit, or the change with a tenfold longer chain; a Student-t estimate.
    """
    if effect.side() == "no interval":
        return "inconclusive", "one seed: no interval" if effect.n == 1 else effect.why_not, None
    gain = effect if metric(claim.metric[0]).direction == "higher" else -effect
    margin = claim.margin or 0.0
    supported, contradicted = gain.side(-margin) == "above", gain.side(-margin) == "below"
    for_it, against_it = t_tail(gain, -margin, "above"), t_tail(gain, -margin, "below")
    if claim.rule == "margin" and claim.sides == "both":
        supported, contradicted = (
            supported and gain.side(margin) == "below",
            contradicted or gain.side(margin) == "above",
        )
        for_it, against_it = max(for_it, t_tail(gain, margin, "below")), min(against_it, t_tail(gain, margin, "above"))
    verdict: Verdict = "supported" if supported else "contradicted" if contradicted else "inconclusive"
    reason = "two seeds: an interval too wide to lean on" if effect.wide else ""
    return verdict, reason, min(1.0, 2 * min(for_it, against_it))
