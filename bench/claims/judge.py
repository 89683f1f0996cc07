"""What runs say about a claim, dataset by dataset. An interval decides, and nothing else.

Only values of the present code, under one score key and of shared seeds, are compared; chains at the longest length that the suite has for
their target, never at the best one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from bench.claims.model import Claim, Reference
from bench.claims.select import matches, metrics_of, missing, references, treatments
from bench.metrics import metric
from bench.results.frame import Section
from bench.results.sources import CALIBRATED_BETA, Source, SourceValues, beta_text, pair
from bench.stats import Estimate, holm, mean_interval, sign_flip_p_value, simultaneous_confidence, t_tail

__all__ = ["Judgement", "Outcome", "decide", "judge", "to_json"]

Outcome = Literal["supported", "contradicted", "inconclusive", "not run"]


@dataclass(frozen=True)
class Judgement:
    """What one comparison says about one claim."""

    claim: Claim
    suite: str = ""  # where it was checked; empty if nowhere
    profile: str = ""
    dataset: str = ""
    metric: str = ""
    treatment: Source | None = None  # what was judged; None if nothing was
    reference: Source | None = None  # what it was compared with; None for a value or a trend
    key: str = ""  # score key of both sides
    verdict: Outcome = "not run"
    reason: str = ""  # why it is not run, or why it is inconclusive where an interval alone does not say so
    estimate: Estimate | None = None  # in the metric's unit: treatment − reference, or change per tenfold length
    p_value: float | None = None  # Student-t, two-sided; at most 0.05 exactly where the interval decides
    sign_flip_p_value: float | None = None  # by random signs, where both sides are scores and no margin is asked for
    p_holm: float | None = None  # p_value corrected for all that was judged together
    together: Estimate | None = None  # the estimate with an interval that holds at once with those judged together
    dropped: int = 0  # seeds that only one side has
    runs: tuple[str, ...] = ()  # the runs behind the estimate


def judge(sections: Sequence[Section], claims: Sequence[Claim]) -> list[Judgement]:
    """Judge every claim on every section that it speaks about, corrected for being read together.

    A claim without any such section gives one judgement that was not run.
    """
    found = [judged for claim in claims for judged in _judge_claim(claim, sections)]
    p_values = {index: each.p_value for index, each in enumerate(found) if each.p_value is not None}
    for index, p_holm in zip(p_values, holm([*p_values.values()]), strict=True):
        estimate = found[index].estimate
        together = estimate.at(simultaneous_confidence(len(p_values))) if estimate else None
        found[index] = replace(found[index], p_holm=p_holm, together=together)
    return found


def to_json(judged: Judgement) -> dict[str, Any]:
    """Return a judgement as plain values, its claim by id, sentence, source and rule."""
    claim = judged.claim.model_dump(include={"id", "sentence", "source", "rule", "margin", "sides"})
    values = {name: value for name, value in vars(judged).items() if name != "claim"}
    for name in ("estimate", "together"):
        values[name] = asdict(values[name]) if values[name] else None
    for name in ("treatment", "reference"):
        values[name] = _plain_source(values[name]) if values[name] else None
    return {"claim": claim} | values


def _plain_source(source: Source) -> dict[str, Any]:
    """Return a source as plain values; JSON has no infinity, so each run's own β is a word."""
    return source._asdict() | ({"beta": "calibrated"} if source.beta == CALIBRATED_BETA else {})


def _judge_claim(claim: Claim, sections: Sequence[Section]) -> list[Judgement]:
    suites = [each for each in sections if matches(each.suite, claim.suites)]
    if not suites:
        return [Judgement(claim, reason=f"no run of suite {' or '.join(claim.suites)} here")]
    chosen = [each for each in suites if matches(each.dataset_name, claim.datasets)]
    if not chosen:
        return [Judgement(claim, reason=f"no run on {' or '.join(claim.datasets)} here")]
    return [judged for section in chosen for judged in _judge_section(claim, section)]


def _judge_section(claim: Claim, section: Section) -> Iterator[Judgement]:
    """Yield a judgement per metric and treatment, and one that was not run per model or β without a treatment."""
    nowhere = Judgement(claim, section.suite, section.profile, section.dataset)
    judged: list[SourceValues] = []
    for name in metrics_of(claim, section):
        here, chosen = replace(nowhere, metric=name), treatments(claim, section, name)
        judged += chosen
        if claim.reference is None:
            yield from _trends(here, chosen)
        else:
            for treatment in chosen:
                others = references(claim.reference, treatment, section, name)
                yield from _comparisons(here, claim.reference, treatment, others)
    yield from (replace(nowhere, reason=reason) for reason in missing(claim, section, judged))


def _comparisons(
    blank: Judgement, wanted: Reference, treatment: SourceValues, others: Sequence[SourceValues]
) -> Iterator[Judgement]:
    """Compare a treatment with a value or with each of the sources that the reference names."""
    blank = replace(blank, treatment=treatment.source)
    if wanted.value is not None:
        values = treatment.values[treatment.main_key]
        blank = replace(blank, key=treatment.main_key, runs=tuple(treatment.runs[seed] for seed in sorted(values)))
        yield decide(blank, mean_interval([each - wanted.value for each in values.values()]))
        return
    if not others:
        model = " or ".join(wanted.model or (treatment.source.label,))
        where = [*(wanted.sampler or ()), *([beta_text(wanted.beta)] if wanted.beta is not None else [])]
        yield replace(blank, reason=f"no score of {' '.join([model, *where])} to compare with")
    for other in others:
        difference, why, key = pair(treatment.values, other.values)
        here = replace(blank, reference=other.source, key=key)
        if difference is None or difference.estimate is None:
            yield replace(here, reason=f"not comparable: {why}")
            continue
        runs = dict.fromkeys(side.runs[seed] for side in (treatment, other) for seed in difference.seeds)
        p_value = difference.p_value if blank.claim.rule == "difference" else None
        here = replace(here, runs=tuple(runs), dropped=difference.dropped, sign_flip_p_value=p_value)
        yield decide(here, difference.estimate)


def _trends(blank: Judgement, chosen: Sequence[SourceValues]) -> Iterator[Judgement]:
    """Yield a judgement per chain: the mean over seeds of each seed's least-squares slope against log10 of the length."""
    for target in dict.fromkeys(each.source._replace(steps=0) for each in chosen):
        own = [each for each in chosen if each.source._replace(steps=0) == target]
        lengths = sorted(own, key=lambda each: each.source.steps)
        last, key = lengths[-1], lengths[-1].main_key
        curves = [each.values.get(key, {}) for each in lengths]
        seeds = sorted(set.intersection(*map(set, curves)))
        here = replace(blank, treatment=last.source, key=key, dropped=len(set().union(*curves)) - len(seeds))
        if len(lengths) < 2:
            yield replace(here, reason=f"chains of one length only, {last.source.steps} steps")
            continue
        if not seeds:
            yield replace(here, reason="no seed was scored at all lengths under one key")
            continue
        decades = np.log10([each.source.steps for each in lengths])
        values = np.array([[curve[seed] for curve in curves] for seed in seeds])
        slopes = np.polyfit(decades, values.T, 1)[0]
        here = replace(here, runs=tuple(last.runs[seed] for seed in seeds), sign_flip_p_value=sign_flip_p_value(slopes))
        yield decide(here, mean_interval(slopes))


def decide(judged: Judgement, effect: Estimate) -> Judgement:
    """Return the judgement with its effect, verdict and p-value, at most 0.05 exactly where a 95 % interval decides.

    `Estimate.side` says where an interval lies, here as in the report's sentences.

    Arguments:
        judged: the judgement so far, with its claim.
        effect: treatment − reference in the metric's unit, or the change with a tenfold longer chain; a Student-t estimate.
    """
    claim = judged.claim
    if effect.side() == "no interval":
        reason = "one seed: no interval" if effect.n == 1 else effect.why_not
        return replace(judged, verdict="inconclusive", reason=reason, estimate=effect)
    gain = effect if metric(claim.metric[0]).direction == "higher" else -effect
    margin = claim.margin or 0.0
    supported, contradicted = gain.side(-margin) == "above", gain.side(-margin) == "below"
    for_it, against_it = t_tail(gain, -margin, "above"), t_tail(gain, -margin, "below")
    if claim.rule == "margin" and claim.sides == "both":
        supported = supported and gain.side(margin) == "below"
        contradicted = contradicted or gain.side(margin) == "above"
        for_it, against_it = max(for_it, t_tail(gain, margin, "below")), min(against_it, t_tail(gain, margin, "above"))
    verdict: Outcome = "supported" if supported else "contradicted" if contradicted else "inconclusive"
    reason = "two seeds: an interval too wide to lean on" if effect.wide else ""
    p_value = min(1.0, 2 * min(for_it, against_it))
    return replace(judged, verdict=verdict, reason=reason, estimate=effect, p_value=p_value)
