"""What a section of images says on the first screen: its energy over its own base, over GANs, beside energies fitted afterwards; its
likelihood; its chains.

Every reading is that of the sentences and tables below it. Of several readouts one stands for all, by a rule that knows no scores: the
calibrated temperature before β = 1 before others, exact samples before chains; the first of these that has an interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from bench.images.attribution import Contrast, chain_name, post_hoc_contrasts
from bench.images.targets import TARGETS, Reached, reached
from bench.images.temperature import calibrated, gain_at
from bench.images.verdict import (
    GAIN_READINGS,
    LIKELIHOOD,
    differences,
    finding_title,
    post_hoc_title,
    quoted,
    spoken_of,
)
from bench.metrics import base_name
from bench.report.blocks import Reply
from bench.report.certificate import kinship, networks
from bench.report.comparisons import Comparison, headline_metric, likelihood_gains
from bench.report.text import arrow, estimate_text
from bench.results.sources import CALIBRATED_BETA, Source, beta_text
from bench.stats import Estimate

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["replies"]

Difference = TypeVar("Difference", Comparison, Contrast)


def replies(section: Section) -> list[Reply]:
    """Return the answers of a section; none where nothing was scored."""
    metric = headline_metric(section)
    if metric is None:
        return []
    labels = spoken_of(section)
    return [
        *_over_bases(section, metric, labels),
        *_post_hoc(section),
        *(reply for label in labels for reply in _likelihood(section, label)),
        *(reply for label in labels for reply in _chain(section, label)),
    ]


def _over_bases(section: Section, metric: str, labels: Sequence[str]) -> Iterator[Reply]:
    """Yield a reply per model and what it is compared with, its own base first, all at the readout that stands for the model."""
    found, known, made = differences(section, metric), reached(section), networks(section)
    for label in labels:
        own = [each for each in found if each.treatment.label == label]
        if not own:
            continue
        main = _main([each for each in own if each.own_base] or own).treatment
        for reference in dict.fromkeys(each.reference for each in own):
            alike = [each for each in own if each.reference == reference]
            shown = next(each for each in alike if each.treatment == main)
            others = [each.reading for each in alike if each is not shown]
            question = f"Is {label} better than {reference.label} ({kinship(made, label, reference.label)})?"
            if shown.own_base:
                question = f"Does {label}'s energy help, over its own base?"
            where = _name(main, [each.treatment for each in alike], known) + _elsewhere(others)
            yield Reply(question, shown.reading, _text(shown), where, finding_title(main, known), shown.estimate)


def _main(found: Sequence[Difference]) -> Difference:
    """Return the difference that stands for all."""

    def order(each: Difference) -> tuple[bool, int, bool]:
        place = each.treatment if isinstance(each, Comparison) else each.spot
        return (
            each.estimate is None or each.estimate.side() == "no interval",
            _rank(place.beta),
            place.sampler != "exact",
        )

    return min(found, key=order)


def _rank(beta: float | None) -> int:
    return (CALIBRATED_BETA, 1.0, beta).index(beta)


def _text(each: Comparison | Contrast) -> str:
    metric = each.metric if isinstance(each, Comparison) else each.spot.metric
    return f"{estimate_text(each.estimate)} in {arrow(base_name(metric))}" if each.estimate else each.why_not


def _name(target: Source, targets: Iterable[Source], known: Mapping[Source, Reached]) -> str:
    """Return what was read, in a few words."""
    if target.sampler == "exact":
        return f"exact samples at {beta_text(target.beta or 0.0)}"
    return chain_name(target, [known[target]] if target in known else [], targets)


def _elsewhere(readings: Sequence[str]) -> str:
    said = ", ".join(f"{count} {reading}" for reading, count in Counter(readings).items())
    return f"; elsewhere: {said}" if said else ""


def _post_hoc(section: Section) -> Iterator[Reply]:
    """Yield a reply per pair of models: a GAN with an energy fitted afterwards, and the GEBM."""
    found = post_hoc_contrasts(section)
    for name in dict.fromkeys(each.name for each in found):
        own = [each for each in found if each.name == name]
        shown, (rival, _, gebm) = _main(own), name.partition(" − ")
        where = shown.spot.name + _elsewhere([each.reading for each in own if each is not shown])
        question = f"Is {rival}, an energy fitted afterwards, as good as {gebm}?"
        yield Reply(question, shown.reading, _text(shown), where, post_hoc_title(name), shown.estimate)


def _likelihood(section: Section, label: str) -> Iterator[Reply]:
    """Yield what the energy gains over its base, at β̂ where there is one and log Z is known there."""
    places: list[tuple[str, Estimate | None]] = [("at β=1", likelihood_gains(section).get(label))]
    if label in (chosen := calibrated(section)):
        places.insert(0, (f"at β̂ = {chosen[label].text}", gain_at(section, label, CALIBRATED_BETA)))
    known = [(where, gain) for where, gain in places if gain is not None]
    for where, gain in known[:1]:
        beside = "".join(f"; {estimate_text(other)} {there}" for there, other in known[1:])
        reading, text = GAIN_READINGS[gain.side()], f"{estimate_text(gain)} nats"
        yield Reply(f"Does {label}'s energy gain likelihood?", reading, text, where + beside, LIKELIHOOD, gain)


def _chain(section: Section, label: str) -> Iterator[Reply]:
    """Yield whether the chain whose target comes first is there, and how others fare."""
    known = reached(section)
    chains = [target for target in quoted(section) if target.label == label and target.steps and known[target].verdict]
    chains.sort(key=lambda chain: _rank(chain.beta))
    for chain in chains[:1]:
        others = [known[each].verdict or "" for each in chains[1:]]
        where = chain_name(chain, [], chains) + _elsewhere(others)
        text = known[chain].words.partition(", ")[2]
        yield Reply(f"Are {label}'s chains at their target?", known[chain].verdict or "", text, where, TARGETS)
