"""What is the second network worth? The answer from paired differences; none is claimed that its interval does not carry.

A chain that is not at its target is called short-run refinement, in every sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.images.attribution import makings, post_hoc_contrasts, same_seconds
from bench.images.convergence import training_sentences
from bench.images.lead import (
    chain_sentences,
    exact_sentence,
    likelihood_sentences,
    post_hoc_sentences,
    seconds_sentence,
    some_of,
)
from bench.images.targets import AT_TARGET, Reached, reached
from bench.images.temperature import calibrated, gain_at
from bench.report.blocks import Answer, Finding, Verdict
from bench.report.certificate import kinship, networks
from bench.report.comparisons import Comparison, compare, headline_metric, likelihood_gains, longest_sources, step_text
from bench.report.tables import mean_seconds
from bench.report.text import arrow, beta_name, direction, estimate_text, listed, number, span
from bench.results.sources import CALIBRATED_BETA, Source
from bench.stats import Estimate

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = [
    "GAIN_READINGS",
    "LIKELIHOOD",
    "differences",
    "energy_verdict",
    "finding_title",
    "main_sampler",
    "post_hoc_title",
    "quoted",
    "refinement",
    "spoken_of",
]

LIKELIHOOD = "Likelihood"
"""Title of the finding about likelihood gains."""

MOST_QUOTED = 6
WIDE = "* An interval of two seeds, too wide to lean on."
MOST_GAINS = 4  # that a terminal shows beside those of the first sentences
_QUESTION = "What is the second network worth: in likelihood, over its own base, and over a GAN of the same complexity?"
_NO_BREAK = "\N{NO-BREAK SPACE}"
_JOINED = {"no clear difference": "from", "no verdict": "against", "not comparable": "with"}
GAIN_READINGS = {"no interval": "no verdict", "unclear": "no clear gain", "above": "gain", "below": "loss"}


def energy_verdict(section: Section) -> Verdict:
    """Return the answer in a few sentences, then findings: likelihood, each target that is quoted, post-hoc energies, cost."""
    metric = headline_metric(section)
    if metric is None:
        return Verdict(section.dataset, _QUESTION, points=["No finished run has a score yet, so there is no answer."])
    sense = {1: " (higher is better)", -1: " (lower is better)", 0: ""}[direction(metric)]
    note = (
        f"Differences in {metric}{sense}, paired by seed, at the longest chain of the suite for each target (never the "
        "best one), with 95 % Student-t intervals, each interval by itself."
    )
    targets, found = quoted(section), differences(section, metric)
    likelihood = likelihood_sentences(section, spoken_of(section))
    training, gains = training_sentences(section), _gains(section)
    about = "a different question, the gain over the own base on held-out data"
    gained = [Finding(LIKELIHOOD, about, gains, brief=len(gains) <= MOST_GAINS)] if gains else []
    if any(each and each.wide for each in (*(each.estimate for each in found), *(each.effect for each in gains))):
        note += f" {WIDE}"
    if not found:
        why = "No finished latent chain can be compared with a base yet, so there is no answer."
        return Verdict(section.dataset, _QUESTION, [*likelihood, *training], gained, points=[why], note=note)
    known = reached(section)
    chains = [each for each in found if each.treatment.steps]
    lead = [
        *likelihood,
        *exact_sentence(section),
        *chain_sentences(section, targets),
        *post_hoc_sentences(section),
        *seconds_sentence(section),
        *_lead(chains, networks(section), known),
        *training,
    ]
    findings = [_finding(section, target, targets, found, known) for target in targets]
    findings += [*gained, *_post_hoc(section)]
    if costs := _costs(section, targets):
        findings.append(Finding("Cost", "mean wall clock per run, all readouts included", facts=costs))
    return Verdict(section.dataset, _QUESTION, lead, findings, note=note)


def differences(section: Section, metric: str) -> list[Comparison]:
    """Return what is quoted against its own base and every model without a chain, but those that have a sentence of their own."""
    targets, longer = quoted(section), {each.longer for each in same_seconds(section)}
    return [
        each
        for each in compare(section, [metric])
        if each.treatment in targets and (each.own_base or each.reference.label not in longer)
    ]


def quoted(section: Section) -> list[Source]:
    """Return the exact samples and longest chains that sentences are about.

    These are the models whose energy was trained with their base, if any, and where that leaves many chains those of the sampler
    that has the most targets.
    """
    own, longest = _own_energies(section), longest_sources(section)
    found = [source for source in longest if source.label in own] or longest
    if len(found) <= MOST_QUOTED:
        return found
    main = main_sampler(found)
    return [source for source in found if source.sampler in ("exact", main)]


def spoken_of(section: Section) -> list[str]:
    """Return the models that sentences are about: those that are quoted, and before their chains are done those with a likelihood."""
    quoted_labels = dict.fromkeys(target.label for target in quoted(section))
    known = dict.fromkeys((*quoted_labels, *likelihood_gains(section), *calibrated(section)))
    own = _own_energies(section)
    return [label for label in known if label in own] or list(quoted_labels or known)


def _own_energies(section: Section) -> set[str]:
    """Return the models whose energy was trained with their base."""
    return {each.label for each in makings(section).values() if each.joint and each.energy == "own"}


def main_sampler(sources: Sequence[Source]) -> str | None:
    """Return the sampler with the most targets, of several the first; None without a chain."""
    chains = [source for source in sources if source.steps]
    names = list(dict.fromkeys(source.sampler for source in chains))
    return max(names, key=lambda name: len({(s.beta, s.step_size) for s in chains if s.sampler == name}), default=None)


def refinement(target: Source, known: Mapping[Source, Reached]) -> str:
    """Return what a chain that is not at its target is called; empty for one that is, or whose target is not stated."""
    found = known.get(target)
    if not target.steps or found is None or found.verdict in (None, AT_TARGET):
        return ""
    words = "the calibrated energy" if target.beta == CALIBRATED_BETA else f"the energy times {target.beta or 0:g}"
    return f"short-run refinement with {'the energy as trained' if target.beta == 1 else words}"


def _finding(
    section: Section,
    target: Source,
    targets: Sequence[Source],
    found: Sequence[Comparison],
    known: Mapping[Source, Reached],
) -> Finding:
    """Return a target's differences from its own base and from every model without a chain."""
    metric, short, title = headline_metric(section) or "", refinement(target, known), finding_title(target, known)
    about = [target.label, f"{target.sampler}{step_text(target, targets)}", f"{target.steps} steps"]
    colder = "" if target.beta in (None, 1.0, CALIBRATED_BETA) else ", not the trained density"
    if target.sampler == "exact":
        about = about[:1]
    where = ", ".join(about) + colder + (f"; {known[target].words}" if short else "")
    where += f"; difference in {arrow(metric).replace(' ', _NO_BREAK)}"
    answers = [_answer(each) for each in found if each.treatment == target]
    return Finding(title, where, answers, brief=target.sampler != "exact" or target.beta == CALIBRATED_BETA)


def finding_title(target: Source, known: Mapping[Source, Reached]) -> str:
    """Return what the finding about a target is called."""
    if target.sampler == "exact":
        return f"Exact samples at {_target_name(target)}"
    short = refinement(target, known)
    return short[:1].upper() + short[1:] if short else _target_name(target)


def post_hoc_title(name: str) -> str:
    """Return what the finding about a pair of models, GAN with a post-hoc energy − GEBM, is called."""
    return f"Energy fitted afterwards on a GAN: {name}"


def _lead(found: Sequence[Comparison], known: Mapping[str, Any], ways: Mapping[Source, Reached]) -> list[str]:
    """Return a sentence about own bases, then one per kinship of the models without a chain."""
    roles: dict[str, list[Comparison]] = {}
    for each in found:
        role = "" if each.own_base else kinship(known, each.treatment.label, each.reference.label)
        roles.setdefault(role, []).append(each)
    return [_lead_sentence(role, comparisons, found, ways) for role, comparisons in roles.items()]


def _lead_sentence(
    role: str, comparisons: Sequence[Comparison], everything: Sequence[Comparison], ways: Mapping[Source, Reached]
) -> str:
    """Return what was read where, with the names of models and samplers only where there are several."""
    samplers = {each.treatment.sampler for each in everything}
    labels = {each.treatment.label for each in everything}
    others = {source.label for source in ways if source.steps} - labels
    targets = list(dict.fromkeys(each.treatment for each in comparisons))
    places: dict[str, list[str]] = {}
    for target in targets:
        names = [target.label] * (len(labels) > 1) + [target.sampler] * (len(samplers) > 1)
        chain = f"for {' '.join(names)} " if names else ""
        short = refinement(target, ways)
        where = f"{chain}{f'by {short}' if short else f'at {_target_name(target)}'}{step_text(target, targets)}"
        readings = dict.fromkeys(each.reading for each in comparisons if each.treatment == target)
        places.setdefault(" or ".join(readings), []).append(where)
    rivals = listed(list(dict.fromkeys(each.reference.label for each in comparisons)))
    readings_at = "; ".join(f"{reading} {' and '.join(at)}" for reading, at in places.items())
    whose = f", {listed(sorted(labels))}" if others else ""
    return f"Over {f'{rivals} ({role})' if role else 'its own base'}{whose}: {readings_at}."


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


def _gains(section: Section) -> list[Answer]:
    """Return the gain of every energy, at β̂ where there is one, with that at β=1 beside it."""
    at_one, chosen = likelihood_gains(section), calibrated(section)
    answers = []
    for label in dict.fromkeys((*at_one, *chosen)):
        gain, subject = gain_at(section, label, CALIBRATED_BETA), f"from {label}'s energy"
        one = at_one.get(label)
        if label not in chosen or gain is None:
            answers += [] if one is None else [_gain(f"{subject} at β=1" if chosen else subject, one)]
            continue
        seeds = len(chosen[label].betas)
        beside = f"{estimate_text(one)} at β=1{some_of(one, seeds)}" if one else "log Z not known at β=1"
        answers.append(_gain(f"{subject} at β̂ = {chosen[label].text}", gain, beside))
    return answers


def _gain(subject: str, gain: Estimate, beside: str = "") -> Answer:
    grounds = ", ".join(filter(None, (_grounds(gain), beside)))
    return Answer(GAIN_READINGS[gain.side()], subject, f"{estimate_text(gain)} nats", grounds, gain, "nats")


def _post_hoc(section: Section) -> list[Finding]:
    """Return, by pair of models, GAN with a post-hoc energy minus GEBM; bold where it stands among all."""
    found = post_hoc_contrasts(section)
    findings = []
    for name in dict.fromkeys(each.name for each in found):
        answers = []
        for each in (one for one in found if one.name == name and one.estimate is not None):
            p_value = f"p after Holm {number(each.p_holm)}" if each.p_holm is not None else "one seed, no interval"
            effect = -each.estimate if each.sense < 0 and each.estimate else each.estimate
            sure = each.p_holm is not None and each.p_holm <= 0.05
            answers.append(
                Answer(
                    each.reading,
                    f"at {each.spot.name}",
                    estimate_text(each.estimate),
                    p_value,
                    effect,
                    each.spot.metric,
                    sure,
                )
            )
        if answers:
            findings.append(Finding(post_hoc_title(name), "", answers, brief=False))
    return findings


def _grounds(estimate: Estimate) -> str:
    if estimate.ci_low is None:
        return "one seed, no interval"
    return f"n = {estimate.n}" + "*" * estimate.wide


def _costs(section: Section, targets: Sequence[Source]) -> list[tuple[str, str]]:
    """Return the gradient evaluations per sample, then seconds of training and sampling for each model."""
    places = {(target.label, target.sampler, target.beta, target.steps) for target in targets if target.steps}
    chains = section.summary[["label", "sampler", "beta", "steps", "gradient_evaluations"]].dropna()
    evaluations = sorted({int(cost) for *place, cost in chains.itertuples(index=False) if tuple(place) in places})
    costs = [("gradient evaluations per sample", f"{span(evaluations, ' to ')}; a base alone needs none")]
    for label, spent in mean_seconds(section).items():
        said = [f"{phase} {number(spent[phase])} s" for phase in ("training", "sampling") if phase in spent]
        costs += [(label, ", ".join(said))] if said else []
    return costs if evaluations else costs[1:]
