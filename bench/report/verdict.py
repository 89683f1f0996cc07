"""The answer in sentences, made from paired differences; no difference is claimed that its interval does not carry."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.certificate import Match
from bench.report.comparisons import Comparison, Readout, compare, headline_metric, likelihood_gains, step_text
from bench.report.text import beta_note, direction, estimate_text, number
from bench.results.scores import Section
from bench.stats import Estimate

__all__ = ["QUESTION", "footnote", "gain_reading", "rivals_name", "verdict"]

QUESTION = "Does the energy help: over its own base, and over a GAN of the same complexity?"


def verdict(section: Section, architecture: Match | None = None) -> list[str]:
    """One sentence for every target of every model with a latent chain, then one about likelihood; plain text."""
    metric = headline_metric(section)
    if metric is None:
        return ["No finished run has a score yet, so there is no answer."]
    comparisons = compare(section, [metric])
    treatments = list(dict.fromkeys(each.treatment for each in comparisons))
    sentences = [
        _sentence(
            each, step_text(each, treatments), [one for one in comparisons if one.treatment == each], architecture
        )
        for each in treatments
    ]
    if not sentences:
        return ["No finished latent chain can be compared with a base yet, so there is no answer."]
    return sentences + [_gain_sentence(label, gain) for label, gain in likelihood_gains(section).items()]


def footnote(section: Section) -> str:
    """How the sentences were made."""
    metric = headline_metric(section)
    if metric is None:
        return ""
    sense = {1: " (higher is better)", -1: " (lower is better)", 0: ""}[direction(metric)]
    return (
        f"Differences in {metric}{sense}, paired by seed, at the longest chain of the suite for each target (never the "
        "best one), with 95 % Student-t intervals, each interval for itself."
    )


def _sentence(treatment: Readout, size: str, comparisons: Sequence[Comparison], architecture: Match | None) -> str:
    own = [_phrase(each, "its own base") for each in comparisons if each.own_base]
    rivals = [_phrase(each, each.reference.label) for each in comparisons if not each.own_base]
    target = beta_note(treatment.beta) if treatment.beta is not None else treatment.sampler
    parts = own
    if rivals:
        parts = [*own, f"against {rivals_name(architecture, len(rivals))}, {', '.join(rivals)}"]
    where = f"{treatment.label}, {treatment.sampler}{size}, {treatment.steps} steps"
    return f"At {target} ({where}): {'; '.join(parts)}."


def rivals_name(architecture: Match | None, count: int) -> str:
    """What so many models without a chain may be called."""
    noun = "a model without chain" if count == 1 else "models without chain"
    if architecture is None or architecture.compared < 2:
        return f"{noun} (architectures not recorded)"
    if architecture.matched:
        return "the GAN of the same architecture" if count == 1 else "the GANs of the same architecture"
    return f"{noun} whose architecture does NOT match"


def _phrase(comparison: Comparison, reference: str) -> str:
    """Such as "worse than gan-hinge by 26.5 [20.1, 32.9], n = 3"."""
    if comparison.difference is None or comparison.difference.estimate is None:
        return f"not comparable with {reference} ({comparison.why_not})"
    estimate = comparison.difference.estimate
    reading = comparison.reading
    if reading == "no verdict":
        return f"no verdict against {reference} from one seed (difference {number(estimate.mean)}, no interval)"
    counted = f"n = {estimate.n}" + (", an interval too wide to lean on" if estimate.wide else "")
    if reading == "no clear difference":
        return f"no clear difference from {reference} ({estimate_text(estimate)}, {counted})"
    return f"{reading} than {reference} by {estimate_text(_positive(estimate))}, {counted}"


def _positive(estimate: Estimate) -> Estimate:
    return estimate if estimate.mean >= 0 else -estimate


def gain_reading(gain: Estimate) -> str:
    """A likelihood gain in words: gains, loses, no clear gain, or no verdict."""
    if gain.ci_low is None:
        return "no verdict"
    if not gain.excludes_zero:
        return "no clear gain"
    return "gains" if gain.mean > 0 else "loses"


def _gain_sentence(label: str, gain: Estimate) -> str:
    said = f"{estimate_text(gain)} nats, n = {gain.n}"
    reading = gain_reading(gain)
    if reading == "no verdict":
        return f"Likelihood at β=1, a different question: {label}'s energy gains {said}, without an interval."
    if reading == "no clear gain":
        return f"Likelihood at β=1, a different question: no clear gain of {label}'s energy over its base ({said})."
    said = f"{estimate_text(_positive(gain))} nats, n = {gain.n}"
    return (
        f"Likelihood at β=1, a different question: {label}'s energy {reading} {said}, over its base on held-out data."
    )
