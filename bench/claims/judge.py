"""What runs say about a claim, dataset by dataset: one verdict each, corrected for all that is read together. `Claim` has the rule.

Only values of the present code, under one score key and of shared seeds, are compared; chains at the longest length that the suite has for
their target, never at the best one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.claims.model import Claim, Reference
from bench.claims.select import is_meant, matches, metrics_of, missing, references, treatments
from bench.claims.weigh import Comparison, weigh
from bench.results.frame import Section
from bench.results.likelihoods import likelihood_rows, log_densities, log_partition_error
from bench.results.losses import Lost
from bench.results.sources import CALIBRATED_BETA, Source, SourceValues, beta_text, pair
from bench.stats import holm, sign_flip_p_value

__all__ = ["Judgement", "Outcome", "judge", "to_json"]

Outcome = Literal["supported", "contradicted", "inconclusive", "not enough seeds", "not run"]
LEVEL = 0.05


@dataclass(frozen=True)
class Judgement:
    """What the runs on one dataset say about one claim.

    Attributes:
        suite: where it was judged, like profile and dataset; empty if nowhere.
        verdict: after Holm's correction for all that was judged together.
        comparisons: every readout that the claim is about, against its reference.
        losses: of every model that the claim compares, the seeds that were refused, collapsed or diverged.
        not_run: what the claim is about and could not be judged, and why.
        holds: one-sided p-value of "the claim does not hold for some readout".
        fails: one-sided p-value of "the claim holds for every readout".
        p_holm: the two-sided p-value of both, corrected.
    """

    claim: Claim
    suite: str = ""
    profile: str = ""
    dataset: str = ""
    verdict: Outcome = "not run"
    comparisons: tuple[Comparison, ...] = ()
    losses: tuple[Lost, ...] = ()
    not_run: tuple[str, ...] = ()
    holds: float = 1.0
    fails: float = 1.0
    p_holm: float | None = None

    @property
    def p_value(self) -> float | None:
        """Two-sided, before the correction; None where no comparison has seeds enough."""
        return min(1.0, 2 * min(self.holds, self.fails)) if any(each.enough for each in self.comparisons) else None

    @property
    def decisive(self) -> Comparison | None:
        """The comparison that the verdict rests on: of a contradicted claim the one most against it, else the one least for it."""
        able = [each for each in self.comparisons if each.enough] or [
            each for each in self.comparisons if each.estimate
        ]
        if self.verdict == "contradicted":
            return min(able, key=lambda each: each.fails)
        return max(able, key=lambda each: (each.holds, -each.fails), default=None)

    @property
    def reason(self) -> str:
        """Why there is no verdict, where the numbers do not say so; '' for a verdict."""
        if self.verdict in ("inconclusive", "not enough seeds"):
            return "; ".join(dict.fromkeys(each.reason for each in self.comparisons if each.reason))
        return "; ".join(self.not_run) if self.verdict == "not run" else ""

    def seeds(self, what: Literal["asked", "refused", "collapsed", "diverged"]) -> Set[int]:
        """Return the seeds that were asked of a model that the claim compares, or that one lost."""
        return set().union(*(getattr(each, what) for each in self.losses))


def judge(sections: Sequence[Section], claims: Sequence[Claim]) -> list[Judgement]:
    """Judge every claim on every section that it speaks about, corrected for being read together.

    A claim without any such section gives one judgement that was not run.
    """
    found = [judged for claim in claims for judged in _judge_claim(claim, sections)]
    p_values = {index: each.p_value for index, each in enumerate(found) if each.p_value is not None}
    for index, p_holm in zip(p_values, holm([*p_values.values()]), strict=True):
        each = found[index]
        firm: Outcome = "supported" if each.holds < each.fails else "contradicted"
        found[index] = replace(each, p_holm=p_holm, verdict=firm if p_holm <= LEVEL else "inconclusive")
    return found


def to_json(judged: Judgement) -> dict[str, Any]:
    """Return a judgement as plain values; effect, interval and n are of the comparison that the verdict rests on."""
    claim, decisive = judged.claim, judged.decisive or Comparison()
    counts = {what: len(judged.seeds(what)) for what in ("refused", "collapsed", "diverged")}
    rests_on = _plain(decisive)
    return {
        "claim": claim.id,
        **claim.model_dump(include={"sentence", "source", "rule", "margin", "sides"}),
        **{name: getattr(judged, name) for name in ("suite", "profile", "dataset", "verdict", "reason")},
        **{
            name: rests_on[name]
            for name in ("metric", "treatment", "reference", "effect", "interval", "interval_kind", "n")
        },
        "seeds_asked": len(judged.seeds("asked")),
        **counts,
        "p": judged.p_value,
        "p_holm": judged.p_holm,
        "comparisons": [_plain(each) for each in judged.comparisons],
        "models": [
            {
                "model": each.label,
                **{name: sorted(seeds) for name, seeds in zip(each._fields[1:], each[1:], strict=True)},
            }
            for each in judged.losses
        ],
        "not_run": judged.not_run,
    }


def _plain(compared: Comparison) -> dict[str, Any]:
    estimate = compared.estimate
    ends = None if estimate is None or estimate.ci_low is None else [estimate.ci_low, estimate.ci_high]
    return {
        "metric": compared.metric,
        "treatment": _plain_source(compared.treatment),
        "reference": _plain_source(compared.reference),
        "key": compared.key,
        "effect": estimate.mean if estimate else None,
        "interval": ends,
        "interval_kind": compared.interval_kind,
        "n": estimate.n if estimate else 0,
        "p": compared.p_value,
        "sign_flip_p": compared.sign_flip_p_value,
        "favourable": compared.favourable,
        "lost": compared.lost,
        "dropped": compared.dropped,
        "reason": compared.reason,
        "runs": compared.runs,
    }


def _plain_source(source: Source | None) -> dict[str, Any] | None:
    """Return a source as plain values; JSON has no infinity, so each run's own β is a word."""
    return source and source._asdict() | ({"beta": "calibrated"} if source.beta == CALIBRATED_BETA else {})


def _judge_claim(claim: Claim, sections: Sequence[Section]) -> list[Judgement]:
    suites = [each for each in sections if matches(each.suite, claim.suites)]
    if not suites:
        return [Judgement(claim, not_run=(f"no run of suite {' or '.join(claim.suites)} here",))]
    chosen = [each for each in suites if matches(each.dataset_name, claim.datasets)]
    if not chosen:
        return [Judgement(claim, not_run=(f"no run on {' or '.join(claim.datasets)} here",))]
    return [_judge_section(claim, section) for section in chosen]


def _judge_section(claim: Claim, section: Section) -> Judgement:
    chosen = {name: treatments(claim, section, name) for name in metrics_of(claim, section)}
    compared = [each for name, sources in chosen.items() for each in _compared(claim, section, name, sources)]
    judged = [each for each in compared if each.estimate or each.lost]
    failed = _failed(claim, section)
    enough = [each for each in judged if each.enough]
    not_run = [each.reason for each in compared if each not in judged]
    not_run += missing(claim, section, [each for sources in chosen.values() for each in sources])
    by_label: dict[str, list[Lost]] = {}
    for each in (*failed, *(lost for comparison in judged for lost in comparison.losses)):
        by_label.setdefault(each.label, []).append(each)
    return Judgement(
        claim,
        *(section.suite, section.profile, section.dataset),
        "not enough seeds" if judged or failed else "not run",
        tuple(judged),
        tuple(reduce(or_, own) for own in by_label.values()),
        tuple(dict.fromkeys(not_run)),
        holds=1.0 if failed else max((each.holds for each in judged), default=1.0),
        fails=min(1.0, len(enough) * min((each.fails for each in enough), default=1.0)),
    )


def _failed(claim: Claim, section: Section) -> list[Lost]:
    """Return the models of the claim whose runs all failed, so that they have no readout to compare."""
    runs, scored = section.runs, set(section.scores.loc[section.scores["value"].notna(), "label"])
    labels = {label: model for label, model in zip(runs["label"], runs["model"], strict=True) if label not in scored}
    found = [
        section.losses.of(label, (), set())
        for label, model in labels.items()
        if is_meant(model, label, claim.treatment.model)
    ]
    return [each for each in found if each.diverged]


def _compared(claim: Claim, section: Section, metric: str, chosen: Sequence[SourceValues]) -> Iterator[Comparison]:
    """Yield every comparison in one metric; one without estimate and lost seeds says why it could not be made."""
    if claim.reference is None:
        yield from _trends(claim, section, metric, chosen)
        return
    for treatment in chosen:
        if claim.reference.value is not None:
            yield _against_value(claim, section, metric, treatment, claim.reference.value)
            continue
        others = references(claim.reference, treatment, section, metric)
        if not others:
            yield Comparison(metric, treatment.source, reason=_nothing_to_compare(claim.reference, treatment.source))
        for other in others:
            yield _against(claim, section, metric, treatment, other)


def _nothing_to_compare(wanted: Reference, treatment: Source) -> str:
    model = " or ".join(wanted.model or (treatment.label,))
    where = [*(wanted.sampler or ()), *([beta_text(wanted.beta)] if wanted.beta is not None else [])]
    return f"no score of {' '.join([model, *where])} to compare with"


def _lost(section: Section, source: Source, scored: Set[int]) -> Lost:
    return section.losses.of(source.label, (source,), scored)


def _against_value(claim: Claim, section: Section, metric: str, treatment: SourceValues, value: float) -> Comparison:
    key = treatment.main_key if treatment.values else ""
    values = treatment.values.get(key, {})
    lost = _lost(section, treatment.source, values.keys())
    runs = tuple(treatment.runs[seed] for seed in sorted(values))
    blank = Comparison(metric, treatment.source, key=key, losses=(lost,), runs=runs)
    return weigh(claim, blank, np.array([values[seed] - value for seed in sorted(values)]))


def _against(claim: Claim, section: Section, metric: str, treatment: SourceValues, other: SourceValues) -> Comparison:
    """Compare two sources over shared seeds; log-likelihoods over shared test rows, too."""
    difference, why, key = pair(treatment.values, other.values)
    sides = (treatment, other)
    losses = tuple(_lost(section, side.source, side.values.get(key, {}).keys()) for side in sides)
    blank = Comparison(metric, treatment.source, other.source, key, losses=losses)
    if difference is None or not difference.seeds:
        return replace(blank, reason="no seed has a score on both sides" if blank.lost else f"not comparable: {why}")
    runs = dict.fromkeys(side.runs[seed] for side in sides for seed in difference.seeds)
    p_value = difference.p_value if claim.rule == "difference" else None
    blank = replace(blank, runs=tuple(runs), dropped=difference.dropped, sign_flip_p_value=p_value)
    if metric != "log-likelihood":
        return weigh(claim, blank, np.array(difference.differences))
    rows = likelihood_rows(section)
    own, others = ([row for row in rows.get(side.source.label, ()) if row.seed in difference.seeds] for side in sides)
    effects = _by_row(log_densities(own), log_densities(others), difference.seeds)
    error = float(np.hypot(log_partition_error(own), log_partition_error(others)))
    return weigh(claim, blank, np.array(difference.differences) if effects is None else effects, error)


def _by_row(
    first: dict[int, NDArray[np.float64]], second: dict[int, NDArray[np.float64]], seeds: Sequence[int]
) -> NDArray[np.float64] | None:
    """Return first − second by seed and test row; None where a side lacks the rows of some seed."""
    if not first.keys() & second.keys() >= set(seeds):
        return None
    sizes = {len(side[seed]) for side in (first, second) for seed in seeds}
    return np.stack([first[seed] - second[seed] for seed in seeds]) if len(sizes) == 1 and max(sizes) > 1 else None


def _trends(claim: Claim, section: Section, metric: str, chosen: Sequence[SourceValues]) -> Iterator[Comparison]:
    """Yield a comparison per chain: each seed's least-squares slope against log10 of the length."""
    for target in dict.fromkeys(each.source._replace(steps=0) for each in chosen):
        own = [each for each in chosen if each.source._replace(steps=0) == target]
        lengths = sorted(own, key=lambda each: each.source.steps)
        last = lengths[-1]
        key = last.main_key if last.values else ""
        curves = [each.values.get(key, {}) for each in lengths]
        seeds = sorted(set.intersection(*map(set, curves)))
        lost = section.losses.of(target.label, [each.source for each in lengths], set(seeds))
        dropped = len(set().union(*curves)) - len(seeds)
        blank = Comparison(metric, last.source, key=key, losses=(lost,), dropped=dropped)
        if len(lengths) < 2:
            yield replace(blank, losses=(), reason=f"chains of one length only, {last.source.steps} steps")
            continue
        decades = np.log10([each.source.steps for each in lengths])
        values = np.array([[curve[seed] for curve in curves] for seed in seeds]).reshape(len(seeds), len(lengths))
        slopes = np.polyfit(decades, values.T, 1)[0] if seeds else np.empty(0)
        flips = sign_flip_p_value(slopes) if seeds else None
        runs = tuple(last.runs[seed] for seed in seeds)
        yield weigh(claim, replace(blank, runs=runs, sign_flip_p_value=flips), slopes)
