"""The verdict of a chapter as a block: the same comparisons as the sentences of `verdict`, laid out to be seen at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bench import claims
from bench.chains.blocks import CHAINS_QUESTION, chain_sentences
from bench.densities.blocks import LIKELIHOOD_QUESTION, likelihood_sentences
from bench.report.blocks import READING_TONES, Answer, Effect, Finding, Tone, Verdict
from bench.report.certificate import Match
from bench.report.chapters import Chapter
from bench.report.claims import CLAIMS_QUESTION, comparison, place, summary
from bench.report.claims import footnote as footnote_of
from bench.report.comparisons import Comparison, Readout, compare, headline_metric, likelihood_gains, step_text
from bench.report.text import PAPER_BETA, arrow, beta_name, direction, estimate_text, number
from bench.report.verdict import QUESTION, footnote, gain_reading, rivals_name, verdict
from bench.stats import Estimate

__all__ = ["claims_block", "verdict_block"]

_CLAIM_TONES: dict[claims.Verdict, Tone] = {
    "supported": "good",
    "contradicted": "bad",
    "inconclusive": "open",
    "not run": "plain",
}


def verdict_block(chapter: Chapter) -> Verdict:
    """What the chapter says to its question: the lead, then a finding a temperature, the likelihood, and the cost."""
    section = chapter.section
    if chapter.about_chains:
        return Verdict(section.dataset, CHAINS_QUESTION, points=chain_sentences(chapter.rows))
    if chapter.about_likelihoods:
        return Verdict(section.dataset, LIKELIHOOD_QUESTION, points=likelihood_sentences(chapter))
    metric = headline_metric(section)
    found = compare(section, [metric]) if metric else []
    if metric is None or not found:
        return Verdict(section.dataset, QUESTION, points=verdict(section))
    architecture = next(iter(chapter.matches), None)
    targets = list(dict.fromkeys(each.treatment for each in found))
    findings = [
        _finding(target, step_text(target, targets), [each for each in found if each.treatment == target])
        for target in targets
    ]
    gains = [_gain_answer(label, gain) for label, gain in likelihood_gains(section).items()]
    if gains:
        findings.append(Finding("Likelihood at β=1", "a different question: the energy's gain on held-out data", gains))
    if costs := _costs(chapter, targets):
        findings.append(Finding("Cost", "mean wall clock a run, all readouts included", facts=costs))
    return Verdict(section.dataset, QUESTION, _lead(found, architecture), findings, note=footnote(section))


def claims_block(findings: Sequence[claims.Finding]) -> Verdict | None:
    """What the runs say about the paper's claims, a finding a claim that was judged; None where none was."""
    judged = [finding for finding in findings if finding.verdict != "not run"]
    if not judged:
        return None
    said = []
    for claim in dict.fromkeys(finding.claim for finding in judged):
        own = [finding for finding in judged if finding.claim == claim]
        said.append(Finding(claim.sentence, "", [_claim_answer(finding) for finding in own]))
    missing = dict.fromkeys(finding.claim.id for finding in findings if finding.verdict == "not run")
    points = [f"Not run: {', '.join(missing)}."] if missing else []
    return Verdict(
        "The paper's claims", CLAIMS_QUESTION, [summary(findings) + "."], said, points, footnote_of(findings)
    )


def _claim_answer(finding: claims.Finding) -> Answer:
    counted = f"n = {finding.estimate.n}" if finding.estimate else ""
    if finding.p_holm is not None:
        counted += f", p after Holm {number(finding.p_holm)}"
    sense = direction(finding.metric) or 1
    effect = _effect(finding.estimate, sense, finding.metric) if finding.estimate else None
    text = f"{arrow(finding.metric)} {estimate_text(finding.estimate)}" if finding.estimate else ""
    subject = f"{place(finding)}; {comparison(finding)}"
    return Answer(
        subject,
        finding.verdict,
        _CLAIM_TONES[finding.verdict],
        text,
        "; ".join(filter(None, (counted, finding.reason))),
        effect,
    )


def _lead(found: Sequence[Comparison], architecture: Match | None) -> list[str]:
    """Two sentences: over the own base, and over the models without a chain; names only where there are several."""
    rivals = {each.reference.label for each in found if not each.own_base}
    questions = [("Over its own base", [each for each in found if each.own_base])]
    if rivals:
        questions.append(
            (f"Over {rivals_name(architecture, len(rivals))}", [each for each in found if not each.own_base])
        )
    labels, samplers = ({getattr(each.treatment, name) for each in found} for name in ("label", "sampler"))
    sentences = []
    for question, comparisons in questions:
        said: dict[str, list[str]] = {}
        targets = list(dict.fromkeys(each.treatment for each in comparisons))
        for target in targets:
            readings = dict.fromkeys(each.reading for each in comparisons if each.treatment == target)
            names = [target.label] * (len(labels) > 1) + [target.sampler] * (len(samplers) > 1)
            where = " ".join([*names, "at", _temperature(target)]) + step_text(target, targets)
            said.setdefault(" or ".join(readings), []).append(where)
        sentences.append(
            f"{question}: " + "; ".join(f"{reading} {' and '.join(at)}" for reading, at in said.items()) + "."
        )
    return sentences


def _temperature(target: Readout) -> str:
    if target.beta == 1.0:
        return "the model's own temperature, β=1"
    return target.sampler if target.beta is None else beta_name(target.beta)


def _finding(target: Readout, size: str, comparisons: Sequence[Comparison]) -> Finding:
    named = {1.0: "The model itself, β=1", PAPER_BETA: f"The paper's protocol, β={PAPER_BETA:g}"}
    title = named.get(target.beta or 0.0) or _temperature(target)
    what = f"{target.label}, {target.sampler}{size}, {target.steps} steps"
    if target.beta not in (None, 1.0):
        what += ", not the trained density"
    what += "; difference in " + arrow(comparisons[0].metric).replace(" ", "\N{NO-BREAK SPACE}")
    return Finding(title, what, [_answer(each) for each in comparisons])


def _answer(comparison: Comparison) -> Answer:
    subject = "than its own base" if comparison.own_base else f"than {comparison.reference.label}"
    reading = comparison.reading
    if reading in ("no clear difference", "no verdict", "not comparable"):
        subject = subject.replace("than", {"not comparable": "with", "no verdict": "against"}.get(reading, "from"), 1)
    if comparison.difference is None or comparison.difference.estimate is None:
        return Answer(subject, reading, "plain", detail=comparison.why_not)
    estimate = comparison.difference.estimate
    counted = f"n = {estimate.n}" + (", an interval too wide to lean on" if estimate.wide else "")
    if estimate.ci_low is None:
        counted = "one seed, no interval"
    sense = direction(comparison.metric)
    tone = READING_TONES.get(reading, "plain")
    effect = _effect(estimate, sense, comparison.metric) if sense else None
    return Answer(subject, reading, tone, estimate_text(estimate), counted, effect)


def _effect(estimate: Estimate, sense: int, unit: str) -> Effect:
    ends = [None if end is None else sense * end for end in (estimate.ci_low, estimate.ci_high)]
    low, high = ends if sense > 0 else reversed(ends)
    return Effect(sense * estimate.mean, low, high, unit)


def _gain_answer(label: str, gain: Estimate) -> Answer:
    reading = gain_reading(gain)
    tone = READING_TONES.get(reading, "plain")
    counted = f"n = {gain.n}" if gain.ci_low is not None else "one seed, no interval"
    return Answer(
        f"by {label}'s energy", reading, tone, f"{estimate_text(gain)} nats", counted, _effect(gain, 1, "nats")
    )


def _costs(chapter: Chapter, targets: Sequence[Readout]) -> list[tuple[str, str]]:
    """Gradient evaluations of a sample, then seconds of training and sampling for each model."""
    evaluations = {
        row.gradient_evaluations
        for row in chapter.rows
        for target in targets
        if (row.label, row.sampler, row.beta, row.steps) == (target.label, target.sampler, target.beta, target.steps)
        if row.gradient_evaluations is not None
    }
    costs = []
    if evaluations:
        counts = " to ".join(f"{count:,}" for count in dict.fromkeys((min(evaluations), max(evaluations))))
        costs.append(("gradient evaluations a sample", f"{counts}; a base alone needs none"))
    for label, runs in chapter.networks.items():
        spent = {
            phase: fmean([run.seconds.get(phase, 0.0) for run in runs])
            for phase in ("training", "sampling")
            if any(phase in run.seconds for run in runs)
        }
        if spent:
            costs.append((label, ", ".join(f"{phase} {number(value)} s" for phase, value in spent.items())))
    return costs
