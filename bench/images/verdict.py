"""Does the energy help? The answer in sentences and findings, from paired differences; none is claimed that its interval does not carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.report.blocks import READING_TONES, Answer, Finding, Verdict
from bench.report.certificate import networks, rivals_name
from bench.report.claims import effect_of
from bench.report.comparisons import Comparison, compare, headline_metric, likelihood_gains, step_text
from bench.report.tables import mean_seconds
from bench.report.text import PAPER_BETA, arrow, beta_name, beta_note, direction, estimate_text, number, span
from bench.results.sources import Source
from bench.stats import Estimate

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["energy_verdict"]

_QUESTION = "Does the energy help: over its own base, and over a GAN of the same complexity?"
_OWN = "its own base"


def energy_verdict(section: Section) -> Verdict:
    """Return a finding per temperature, then one about likelihood and one about cost."""
    metric = headline_metric(section)
    if metric is None:
        return Verdict(section.dataset, _QUESTION, points=["No finished run has a score yet, so there is no answer."])
    found = compare(section, [metric])
    sense = {1: " (higher is better)", -1: " (lower is better)", 0: ""}[direction(metric)]
    note = (
        f"Differences in {metric}{sense}, paired by seed, at the longest chain of the suite for each target (never the "
        "best one), with 95 % Student-t intervals, each interval by itself."
    )
    if not found:
        why = "No finished latent chain can be compared with a base yet, so there is no answer."
        return Verdict(section.dataset, _QUESTION, points=[why], note=note)
    known = networks(section)
    targets = list(dict.fromkeys(each.treatment for each in found))
    findings = [
        _finding(target, step_text(target, targets), [each for each in found if each.treatment == target], known)
        for target in targets
    ]
    gains = likelihood_gains(section)
    findings += [
        Finding(
            "Likelihood at β=1",
            "a different question: the energy's gain on held-out data" if label == next(iter(gains)) else "",
            [_gain_answer(label, gain)],
            sentence=_gain_sentence(label, gain),
        )
        for label, gain in gains.items()
    ]
    if costs := _costs(section, targets):
        findings.append(Finding("Cost", "mean wall clock per run, all readouts included", facts=costs))
    return Verdict(section.dataset, _QUESTION, _lead(found, known), findings, note=note)


def _roles(comparisons: Sequence[Comparison], known: Mapping[str, Any]) -> dict[str, list[Comparison]]:
    """Group comparisons by what their reference may be called: the own base, GANs of the same architecture, other models."""
    groups: dict[str, list[Comparison]] = {}
    for each in comparisons:
        role = _OWN if each.own_base else rivals_name(known, each.treatment.label, [each.reference.label])
        groups.setdefault(role, []).append(each)
    named = {}
    for role, members in groups.items():
        rivals = list(dict.fromkeys(each.reference.label for each in members))
        named[role if role == _OWN else rivals_name(known, members[0].treatment.label, rivals)] = members
    return named


def _lead(found: Sequence[Comparison], known: Mapping[str, Any]) -> list[str]:
    """Return a sentence per role of the references; names only where there are several."""
    labels, samplers = ({getattr(each.treatment, name) for each in found} for name in ("label", "sampler"))
    sentences = []
    for role, comparisons in _roles(found, known).items():
        said: dict[str, list[str]] = {}
        targets = list(dict.fromkeys(each.treatment for each in comparisons))
        for target in targets:
            readings = dict.fromkeys(each.reading for each in comparisons if each.treatment == target)
            names = [target.label] * (len(labels) > 1) + [target.sampler] * (len(samplers) > 1)
            where = " ".join([*names, "at", _temperature(target)]) + step_text(target, targets)
            said.setdefault(" or ".join(readings), []).append(where)
        sentences.append(
            f"Over {role}: " + "; ".join(f"{reading} {' and '.join(at)}" for reading, at in said.items()) + "."
        )
    return sentences


def _temperature(target: Source) -> str:
    if target.beta == 1.0:
        return "the model's own temperature, β=1"
    return target.sampler if target.beta is None else beta_name(target.beta)


def _finding(target: Source, size: str, comparisons: Sequence[Comparison], known: Mapping[str, Any]) -> Finding:
    where = f"{target.label}, {target.sampler}{size}, {target.steps} steps"
    said = [
        ("" if role == _OWN else f"against {role}, ") + ", ".join(map(_phrase, members))
        for role, members in _roles(comparisons, known).items()
    ]
    name = beta_note(target.beta) if target.beta is not None else target.sampler
    sentence = f"At {name} ({where}): {'; '.join(said)}."
    titles = {1.0: "The model itself, β=1", PAPER_BETA: f"The paper's protocol, β={PAPER_BETA:g}"}
    if target.beta not in (None, 1.0):
        where += ", not the trained density"
    where += "; difference in " + arrow(comparisons[0].metric).replace(" ", "\N{NO-BREAK SPACE}")
    title = titles.get(target.beta or 0.0, _temperature(target))
    return Finding(title, where, [_answer(each) for each in comparisons], sentence=sentence)


def _phrase(comparison: Comparison) -> str:
    """Return such as "worse than gan-hinge by 26.5 [20.1, 32.9], n = 3"."""
    reference = _OWN if comparison.own_base else comparison.reference.label
    estimate, reading = comparison.estimate, comparison.reading
    if estimate is None:
        return f"not comparable with {reference} ({comparison.why_not})"
    if reading == "no verdict":
        return f"no verdict against {reference} from one seed (difference {number(estimate.mean)}, no interval)"
    if reading == "no clear difference":
        return f"no clear difference from {reference} ({estimate_text(estimate)}, {_counted(estimate)})"
    return f"{reading} than {reference} by {estimate_text(_positive(estimate))}, {_counted(estimate)}"


def _answer(comparison: Comparison) -> Answer:
    estimate, reading = comparison.estimate, comparison.reading
    word = {"no clear difference": "from", "no verdict": "against", "not comparable": "with"}.get(reading, "than")
    subject = f"{word} {_OWN if comparison.own_base else comparison.reference.label}"
    if estimate is None:
        return Answer(subject, reading, "plain", detail=comparison.why_not)
    sense = direction(comparison.metric)
    effect = effect_of(estimate, sense, comparison.metric) if sense else None
    tone = READING_TONES.get(reading, "plain")
    return Answer(subject, reading, tone, estimate_text(estimate), _counted(estimate), effect)


def _counted(estimate: Estimate) -> str:
    if estimate.ci_low is None:
        return "one seed, no interval"
    return f"n = {estimate.n}" + (", an interval too wide to lean on" if estimate.wide else "")


def _positive(estimate: Estimate) -> Estimate:
    return estimate if estimate.mean >= 0 else -estimate


def _gain_reading(gain: Estimate) -> str:
    side = gain.side()
    return {"no interval": "no verdict", "unclear": "no clear gain", "above": "gains", "below": "loses"}[side]


def _gain_answer(label: str, gain: Estimate) -> Answer:
    reading, said = _gain_reading(gain), f"{estimate_text(gain)} nats"
    counted = f"n = {gain.n}" if gain.ci_low is not None else _counted(gain)
    return Answer(
        f"by {label}'s energy", reading, READING_TONES[reading], said, counted, effect_of(gain, 1, "nats")
    )  # fmt: skip


def _gain_sentence(label: str, gain: Estimate) -> str:
    start, said = "Likelihood at β=1, a different question", f"{estimate_text(gain)} nats, n = {gain.n}"
    reading = _gain_reading(gain)
    if reading == "no verdict":
        return f"{start}: {label}'s energy gains {said}, without an interval."
    if reading == "no clear gain":
        return f"{start}: no clear gain of {label}'s energy over its base ({said})."
    said = f"{estimate_text(_positive(gain))} nats, n = {gain.n}"
    return f"{start}: {label}'s energy {reading} {said}, over its base on held-out data."


def _costs(section: Section, targets: Sequence[Source]) -> list[tuple[str, str]]:
    """Return the gradient evaluations per sample, then seconds of training and sampling for each model."""
    summary = section.summary
    places = {(target.label, target.sampler, target.beta, target.steps) for target in targets}
    here = [
        place in places
        for place in zip(*(summary[name] for name in ("label", "sampler", "beta", "steps")), strict=True)
    ]
    evaluations = sorted(summary.loc[here, "gradient_evaluations"].dropna().astype(int).unique())
    costs = (
        [("gradient evaluations per sample", f"{span(evaluations, ' to ')}; a base alone needs none")]
        if evaluations
        else []
    )
    for label, spent in mean_seconds(section).items():
        said = [f"{phase} {number(spent[phase])} s" for phase in ("training", "sampling") if phase in spent]
        costs += [(label, ", ".join(said))] if said else []
    return costs
