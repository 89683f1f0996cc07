"""The first sentences of the verdict on images: likelihood, exact samples, whether chains got to their target, post-hoc energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.images.attribution import Contrast, post_hoc_contrasts, same_seconds
from bench.images.targets import AT_TARGET, Reached, reached, share
from bench.images.temperature import OWN_GAIN, calibrated, gain_at
from bench.report.comparisons import Comparison, compare, headline_metric, likelihood_gains, longest_sources
from bench.report.text import beta_name, estimate_text, listed, number
from bench.results.sources import CALIBRATED_BETA, Source
from bench.stats import Estimate

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = [
    "chain_sentences",
    "exact_sentence",
    "likelihood_sentences",
    "post_hoc_sentences",
    "seconds_sentence",
    "some_of",
]

_SIDES = {"above": "a gain of", "below": "a loss:", "unclear": "no clear gain:", "no interval": "one seed:"}


def likelihood_sentences(section: Section, labels: Sequence[str]) -> list[str]:
    """Return for each of these models what its energy adds in likelihood at β=1 and at β̂, and β̂ itself."""
    at_one, chosen, said = likelihood_gains(section), calibrated(section), []
    for label in labels:
        seeds = len(chosen[label].betas) if label in chosen else 0
        parts = []
        if label in at_one:
            own = gain_at(section, label, 1.0, OWN_GAIN)
            beside = f", {estimate_text(own)} on samples of its own" if own else ""
            parts.append(f"{_gain(at_one[label])} at β=1{some_of(at_one[label], seeds)}{beside}")
        if label in chosen:
            found, gain = chosen[label], gain_at(section, label, CALIBRATED_BETA)
            where = f"at its calibrated β̂ = {' '.join(filter(None, (found.text, found.detail)))}"
            parts.append(f"{_gain(gain)} {where}{some_of(gain, seeds)}" if gain else f"log Z not known {where}")
        if parts:
            said.append(f"Held-out likelihood, {label}'s energy over its base: {'; '.join(parts)}.")
    return said


def _gain(gain: Estimate) -> str:
    return f"{_SIDES[gain.side()]} {estimate_text(gain)} nats"


def some_of(estimate: Estimate | None, seeds: int) -> str:
    """Return that an estimate lacks seeds, which are not missing by chance; empty for all of them."""
    return f" in {estimate.n} of {seeds} seeds" if estimate is not None and estimate.n < seeds else ""


def exact_sentence(section: Section) -> list[str]:
    """Return how exact samples of the calibrated density score against their own base, for all models; nothing without any."""
    metric = headline_metric(section)
    if metric is None:
        return []
    found = [
        each
        for each in compare(section, [metric])
        if each.own_base and (each.treatment.sampler, each.treatment.beta) == ("exact", CALIBRATED_BETA)
    ]
    labels, known, readings = _labels(section), reached(section), dict[str, list[str]]()
    for each in sorted(found, key=lambda each: labels.index(each.treatment.label)):
        readings.setdefault(each.reading, []).append(f"{each.treatment.label} ({_with_seeds(each, known)})")
    had = {each.treatment.label for each in found}
    asked = [source.label for source in known if (source.sampler, source.beta) == ("exact", CALIBRATED_BETA)]
    if without := [label for label in asked if label not in had]:
        readings["not to be had"] = without
    said = "; ".join(f"{reading} for {listed(who)}" for reading, who in readings.items())
    return [f"Exact samples of the calibrated density against their own base, in {metric}: {said}."] if said else []


def _with_seeds(each: Comparison, known: Mapping[Source, Reached]) -> str:
    asked = len(known[each.treatment].rows) if each.treatment in known else 0
    return f"{estimate_text(each.estimate)}{some_of(each.estimate, asked)}"


def _labels(section: Section) -> list[str]:
    """Return the models in the order of the section."""
    return list(dict.fromkeys(section.runs["label"]))


def chain_sentences(section: Section, targets: Sequence[Source]) -> list[str]:
    """Return which of the chains like those that are quoted got to their target, a sentence per sampler and β."""
    labels, known, places = (
        _labels(section),
        reached(section),
        dict.fromkeys(target[1:] for target in targets if target.steps),
    )
    said = []
    for place in places:
        alike = [source for source in longest_sources(section) if source[1:] == place and source in known]
        own = [known[source] for source in sorted(alike, key=lambda source: labels.index(source.label))]
        stated = [each for each in own if each.verdict is not None]
        if stated:
            sampler, beta, _, steps = place
            name = sampler if beta is None else f"{sampler} at {beta_name(beta)}"
            said.append(f"Chains of {name}, {steps} steps: {_got(stated)}.")
    return said


def _got(chains: Sequence[Reached]) -> str:
    there = [each.source.label for each in chains if each.verdict == AT_TARGET]
    short = [each for each in chains if each.verdict != AT_TARGET]
    parts = [f"at the target for {listed(there)}"] if there else []
    if short:
        unknown = [each.source.label for each in short if each.verdict == "cannot tell"]
        who = [f"{each.source.label} ({_how_far(each)})" for each in short if each.verdict != "cannot tell"]
        who += [f"{listed(unknown)} (where one cannot tell)"] if unknown else []
        parts.append(f"short-run refinement, not samples of that density, for {', '.join(who)}")
    return "; ".join(parts)


def _how_far(each: Reached) -> str:
    if each.covered is not None:
        return f"{share(each.covered)} of the way"
    return "on its way"


def post_hoc_sentences(section: Section) -> list[str]:
    """Return whether a KALE energy fitted afterwards on a GAN does as well as the GEBM, a sentence per pair."""
    found = post_hoc_contrasts(section)
    said = []
    for name in dict.fromkeys(each.name for each in found):
        rival, _, gebm = name.partition(" − ")
        readings: dict[str, list[str]] = {}
        for each in (one for one in found if one.name == name):
            readings.setdefault(each.reading, []).append(_place(each))
        words = "; ".join(f"{reading} in {listed(where)}" for reading, where in readings.items())
        if set(readings) == {"not comparable"}:
            words = "not comparable, for one of them has no scores there"
        said.append(f"An energy fitted afterwards on a GAN, {rival} against {gebm}: {words}.")
    return said


def _place(each: Contrast) -> str:
    return f"{each.spot.name} ({estimate_text(each.estimate)})" if each.estimate else each.spot.name


def seconds_sentence(section: Section) -> list[str]:
    """Return what training the GAN longer buys instead of an energy; nothing without such a GAN."""
    said = []
    for each in same_seconds(section):
        if each.difference.spot.sampler == "exact" and each.difference.estimate is not None:
            longer, both = (number(seconds) if seconds is not None else "?" for seconds in each.seconds)
            said.append(
                f"The same seconds on the base instead ({longer} s against {both} s): {each.longer} alone against "
                f"{each.post_hoc}'s {each.difference.spot.name}: {each.difference.reading} "
                f"({estimate_text(each.difference.estimate)})."
            )
    return said
