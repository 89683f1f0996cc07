"""Does the energy help? The answer from paired differences; none is claimed that its interval does not carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.report.blocks import Answer, Finding, Verdict
from bench.report.certificate import kinship, networks
from bench.report.comparisons import Comparison, compare, headline_metric, likelihood_gains, step_text
from bench.report.tables import mean_seconds
from bench.report.text import arrow, beta_name, direction, estimate_text, listed, number, span
from bench.results.sources import CALIBRATED_BETA, Source
from bench.stats import Estimate

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["energy_verdict"]

_QUESTION = "Does the energy help: over its own base, and over a GAN of the same complexity?"
_NO_BREAK = "\N{NO-BREAK SPACE}"
_JOINED = {"no clear difference": "from", "no verdict": "against", "not comparable": "with"}
_GAINS = {"no interval": "no verdict", "unclear": "no clear gain", "above": "gain", "below": "loss"}


def energy_verdict(section: Section) -> Verdict:
    """Return a finding per temperature, then one about likelihood and one about cost."""
    metric = headline_metric(section)
    if metric is None:
        return Verdict(section.dataset, _QUESTION, points=["No finished run has a score yet, so there is no answer."])
    sense = {1: " (higher is better)", -1: " (lower is better)", 0: ""}[direction(metric)]
    note = (
        f"Differences in {metric}{sense}, paired by seed, at the longest chain of the suite for each target (never the "
        "best one), with 95 % Student-t intervals, each interval by itself."
    )
    found = compare(section, [metric])
    if not found:
        why = "No finished latent chain can be compared with a base yet, so there is no answer."
        return Verdict(section.dataset, _QUESTION, points=[why], note=note)
    targets = list(dict.fromkeys(each.treatment for each in found))
    findings = []
    for target in targets:
        colder = "" if target.beta in (None, 1.0, CALIBRATED_BETA) else ", not the trained density"
        where = f"{target.label}, {target.sampler}{step_text(target, targets)}, {target.steps} steps{colder}"
        where += f"; difference in {arrow(metric).replace(' ', _NO_BREAK)}"
        answers = [_answer(each) for each in found if each.treatment == target]
        findings.append(Finding(_target_name(target), where, answers))
    if gains := [_gain(label, gain) for label, gain in likelihood_gains(section).items()]:
        about = "a different question, the energy's gain over its base on held-out data"
        findings.append(Finding("Likelihood at β=1", about, gains))
    if costs := _costs(section, targets):
        findings.append(Finding("Cost", "mean wall clock per run, all readouts included", facts=costs))
    return Verdict(section.dataset, _QUESTION, _lead(found, networks(section)), findings, note=note)


def _lead(found: Sequence[Comparison], known: Mapping[str, Any]) -> list[str]:
    """Return a sentence about own bases, then one per kinship of the models without a chain."""
    roles: dict[str, list[Comparison]] = {}
    for each in found:
        role = "" if each.own_base else kinship(known, each.treatment.label, each.reference.label)
        roles.setdefault(role, []).append(each)
    return [_lead_sentence(role, comparisons, found) for role, comparisons in roles.items()]


def _lead_sentence(role: str, comparisons: Sequence[Comparison], everything: Sequence[Comparison]) -> str:
    """Return what was read where, with the names of models and samplers only where there are several."""
    labels, samplers = ({getattr(each.treatment, name) for each in everything} for name in ("label", "sampler"))
    targets = list(dict.fromkeys(each.treatment for each in comparisons))
    places: dict[str, list[str]] = {}
    for target in targets:
        names = [target.label] * (len(labels) > 1) + [target.sampler] * (len(samplers) > 1)
        chain = f"for {' '.join(names)} " if names else ""
        where = f"{chain}at {_target_name(target)}{step_text(target, targets)}"
        readings = dict.fromkeys(each.reading for each in comparisons if each.treatment == target)
        places.setdefault(" or ".join(readings), []).append(where)
    rivals = listed(list(dict.fromkeys(each.reference.label for each in comparisons)))
    readings_at = "; ".join(f"{reading} {' and '.join(at)}" for reading, at in places.items())
    return f"Over {f'{rivals} ({role})' if role else 'its own base'}: {readings_at}."


def _target_name(target: Source) -> str:
    return target.sampler if target.beta is None else beta_name(target.beta)


def _answer(comparison: Comparison) -> Answer:
    estimate, reading, sense = comparison.estimate, comparison.reading, direction(comparison.metric)
    reference = "its own base" if comparison.own_base else comparison.reference.label
    subject = f"{_JOINED.get(reading, 'than')} {reference}"
    if estimate is None:
        return Answer(reading, subject, detail=comparison.why_not)
    effect = (-estimate if sense < 0 else estimate) if sense else None
    return Answer(reading, subject, estimate_text(estimate), _grounds(estimate), effect, comparison.metric)


def _gain(label: str, gain: Estimate) -> Answer:
    subject = f"from {label}'s energy"
    return Answer(_GAINS[gain.side()], subject, f"{estimate_text(gain)} nats", _grounds(gain), gain, "nats")


def _grounds(estimate: Estimate) -> str:
    if estimate.ci_low is None:
        return "one seed, no interval"
    return f"n = {estimate.n}" + (", an interval too wide to lean on" if estimate.wide else "")


def _costs(section: Section, targets: Sequence[Source]) -> list[tuple[str, str]]:
    """Return the gradient evaluations per sample, then seconds of training and sampling for each model."""
    places = {(target.label, target.sampler, target.beta, target.steps) for target in targets}
    chains = section.summary[["label", "sampler", "beta", "steps", "gradient_evaluations"]].dropna()
    evaluations = sorted({int(cost) for *place, cost in chains.itertuples(index=False) if tuple(place) in places})
    costs = [("gradient evaluations per sample", f"{span(evaluations, ' to ')}; a base alone needs none")]
    for label, spent in mean_seconds(section).items():
        said = [f"{phase} {number(spent[phase])} s" for phase in ("training", "sampling") if phase in spent]
        costs += [(label, ", ".join(said))] if said else []
    return costs if evaluations else costs[1:]
