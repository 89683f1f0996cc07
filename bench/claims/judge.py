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
from bench.claims.select import Rows, SectionRows, matches, metrics_of, missing, references, treatments
from bench.metrics import metric
from bench.results.frame import Section
from bench.results.sources import Source, pair
from bench.stats import Estimate, holm, mean_interval, sign_flip_p_value, simultaneous_confidence
from bench.stats.estimates import t_tail

__all__ = ["Finding", "Verdict", "decide", "judge", "to_json"]

Verdict = Literal["supported", "contradicted", "inconclusive", "not run"]


@dataclass(frozen=True)
class Finding:
    """What one comparison says about one claim.

    Attributes:
        claim: the claim.
        suite: where it was checked, empty if nowhere; likewise `profile`, `dataset` and `metric`.
        treatment: what was judged; None if nothing was.
        reference: what it was compared with, None for a value or a trend.
        key: score key of both sides.
        verdict: the outcome.
        reason: why it is not run, or why it is inconclusive where an interval alone does not say so.
        estimate: the effect in the metric's unit, treatment − reference, or the change with a tenfold longer chain.
        p_value: Student-t, two-sided; at most 0.05 exactly where the interval decides.
        sign_flip_p_value: the same question by random signs, where both sides are rows and no margin is asked for.
        p_holm: `p_value` corrected for all findings that were judged together.
        together: the effect with an interval that holds at once with those of all findings judged together.
        dropped: how many seeds only one side has.
        runs: the runs behind the effect.
    """

    claim: Claim
    suite: str = ""
    profile: str = ""
    dataset: str = ""
    metric: str = ""
    treatment: Source | None = None
    reference: Source | None = None
    key: str = ""
    verdict: Verdict = "not run"
    reason: str = ""
    estimate: Estimate | None = None
    p_value: float | None = None
    sign_flip_p_value: float | None = None
    p_holm: float | None = None
    together: Estimate | None = None
    dropped: int = 0
    runs: tuple[str, ...] = ()

    @property
    def holds_among_all(self) -> bool:
        """Whether the verdict stands after Holm's correction."""
        return self.p_holm is not None and self.p_holm <= 0.05


def judge(sections: Sequence[Section], claims: Sequence[Claim]) -> list[Finding]:
    """Every claim on every section that it speaks about, corrected for being read together.

    A claim without any such section gives one finding that was not run.
    """
    read = [SectionRows(section) for section in sections]
    found = [finding for claim in claims for finding in _judge_one(claim, read)]
    tested = [index for index, finding in enumerate(found) if finding.p_value is not None]
    adjusted = holm([found[index].p_value or 0.0 for index in tested])
    for index, p_holm in zip(tested, adjusted, strict=True):
        estimate = found[index].estimate
        together = estimate.at(simultaneous_confidence(len(tested))) if estimate else None
        found[index] = replace(found[index], p_holm=p_holm, together=together)
    return found


def to_json(finding: Finding) -> dict[str, Any]:
    """A finding as plain values, its claim by id, sentence, source and rule."""
    claim = finding.claim.model_dump(include={"id", "sentence", "source", "rule", "margin", "sides"})
    values = {name: value for name, value in vars(finding).items() if name != "claim"}
    for name in ("treatment", "reference"):
        values[name] = None if values[name] is None else values[name]._asdict()
    for name in ("estimate", "together"):
        values[name] = None if values[name] is None else asdict(values[name])
    return {"claim": claim} | values


def _judge_one(claim: Claim, read: Sequence[SectionRows]) -> list[Finding]:
    suites = [each for each in read if matches(each.section.suite, claim.suites)]
    if not suites:
        return [Finding(claim, reason=f"no run of suite {' or '.join(claim.suites)} here")]
    chosen = [each for each in suites if matches(each.section.dataset_name, claim.datasets)]
    if not chosen:
        return [Finding(claim, reason=f"no run on {' or '.join(claim.datasets)} here")]
    return [finding for each in chosen for finding in _judge_section(claim, each)]


def _judge_section(claim: Claim, read: SectionRows) -> Iterator[Finding]:
    """A finding for each metric and treatment, and one that was not run for each model or β without a treatment."""
    nowhere = Finding(claim, read.section.suite, read.section.profile, read.section.dataset)
    judged: list[Rows] = []
    for name in metrics_of(claim, read):
        rows = list(read.rows[name].values())
        here, chosen = replace(nowhere, metric=name), treatments(claim, rows, read.longest)
        judged += chosen
        if claim.reference is None:
            yield from _trends(here, chosen)
        else:
            for treatment in chosen:
                others = references(claim.reference, treatment, rows, read.longest)
                yield from _comparisons(here, claim.reference, treatment, others)
    yield from (replace(nowhere, reason=reason) for reason in missing(claim, read.section, judged))


def _comparisons(blank: Finding, wanted: Reference, treatment: Rows, others: Sequence[Rows]) -> Iterator[Finding]:
    """A treatment against a value or against each of the rows that the reference names."""
    blank = replace(blank, treatment=treatment.source)
    if wanted.value is not None:
        values = treatment.values[treatment.main_key]
        runs = tuple(treatment.runs[seed] for seed in sorted(values))
        estimate = mean_interval([each - wanted.value for each in values.values()])
        yield _decided(replace(blank, key=treatment.main_key, runs=runs), estimate)
        return
    if not others:
        model = " or ".join(wanted.model or (treatment.source.label,))
        where = [*(wanted.sampler or ()), *([f"β={wanted.beta:g}"] if wanted.beta is not None else [])]
        yield replace(blank, reason=f"no score of {' '.join([model, *where])} to compare with")
    yield from (_against(blank, treatment, other) for other in others)


def _against(blank: Finding, treatment: Rows, other: Rows) -> Finding:
    difference, why, key = pair(treatment.values, other.values)
    finding = replace(blank, reference=other.source, key=key)
    if difference is None or difference.estimate is None:
        return replace(finding, reason=f"not comparable: {why}")
    runs = dict.fromkeys(side.runs[seed] for side in (treatment, other) for seed in difference.seeds)
    p_value = difference.p_value if blank.claim.rule == "difference" else None
    finding = replace(finding, runs=tuple(runs), dropped=difference.dropped, sign_flip_p_value=p_value)
    return _decided(finding, difference.estimate)


def _trends(blank: Finding, chosen: Sequence[Rows]) -> Iterator[Finding]:
    """Chains of one target at all their lengths."""
    targets: dict[tuple[object, ...], list[Rows]] = {}
    for each in chosen:
        source = each.source
        targets.setdefault((source.label, source.sampler, source.beta, source.step_size), []).append(each)
    for lengths in targets.values():
        yield _trend(blank, sorted(lengths, key=lambda each: each.source.steps))


def _trend(blank: Finding, lengths: Sequence[Rows]) -> Finding:
    """The mean over seeds of each seed's least-squares slope against log10 of the length."""
    last = lengths[-1]
    key = last.main_key
    curves = [each.values.get(key, {}) for each in lengths]
    seeds = sorted(set.intersection(*(set(curve) for curve in curves)))
    finding = replace(blank, treatment=last.source, key=key, dropped=len(set().union(*curves)) - len(seeds))
    if len(lengths) < 2:
        return replace(finding, reason=f"chains of one length only, {last.source.steps} steps")
    if not seeds:
        return replace(finding, reason="no seed was scored at all lengths under one key")
    decades = np.log10([each.source.steps for each in lengths])
    values = np.array([[curve[seed] for curve in curves] for seed in seeds])
    slopes = np.polyfit(decades, values.T, 1)[0]
    runs = tuple(last.runs[seed] for seed in seeds)
    return _decided(replace(finding, runs=runs, sign_flip_p_value=sign_flip_p_value(slopes)), mean_interval(slopes))


def _decided(finding: Finding, effect: Estimate) -> Finding:
    verdict, reason, p_value = decide(finding.claim, effect)
    return replace(finding, verdict=verdict, reason=reason, estimate=effect, p_value=p_value)


def decide(claim: Claim, effect: Estimate) -> tuple[Verdict, str, float | None]:
    """Return verdict, a reason where the interval alone is none, and a p-value, at most 0.05 exactly where a 95 % interval decides.

    `Estimate.side` says where an interval lies, here as in the report's sentences.

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
        supported = supported and gain.side(margin) == "below"
        contradicted = contradicted or gain.side(margin) == "above"
        for_it, against_it = max(for_it, t_tail(gain, margin, "below")), min(against_it, t_tail(gain, margin, "above"))
    verdict: Verdict = "supported" if supported else "contradicted" if contradicted else "inconclusive"
    reason = "two seeds: an interval too wide to lean on" if effect.wide else ""
    return verdict, reason, min(1.0, 2 * min(for_it, against_it))
