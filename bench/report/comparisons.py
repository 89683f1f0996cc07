"""Paired differences that answer the reader's questions: does the energy help, and against which GAN?

Always at the longest chain of the suite for its target, never at the best one; always by shared seeds and
under one key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.report.text import about_density, direction, metric_order
from bench.results.facts import DATA
from bench.results.scores import Score, Section
from bench.stats import Estimate, PairedDifference, mean_interval, paired_difference

__all__ = [
    "Comparison",
    "Readout",
    "compare",
    "headline_metric",
    "likelihood_gains",
    "longest_readouts",
    "metrics_of",
    "pair",
    "readout_of",
    "step_text",
]


class Readout(NamedTuple):
    """What was scored: a model's base, its latent chain with a target and a length, or real data."""

    label: str
    sampler: str
    beta: float | None
    step_size: float | None
    steps: int

    @property
    def is_chain(self) -> bool:
        """Whether samples come from a latent chain rather than straight from the base."""
        return self.sampler not in {"base", DATA}


@dataclass(frozen=True)
class Comparison:
    """treatment − reference in one metric.

    `difference` is None where nothing can be paired, and `why_not` says why.
    """

    treatment: Readout
    reference: Readout
    metric: str
    difference: PairedDifference | None
    why_not: str = ""

    @property
    def own_base(self) -> bool:
        """Whether the reference is the treatment's own base."""
        return self.treatment.label == self.reference.label

    @property
    def reading(self) -> str:
        """The outcome in words: better, worse, no clear difference, or no verdict."""
        if self.difference is None or self.difference.estimate is None:
            return "not comparable"
        estimate = self.difference.estimate
        side = estimate.side()
        if side in ("no interval", "unclear"):
            return "no verdict" if side == "no interval" else "no clear difference"
        sense = direction(self.metric)
        if not sense:
            return "higher" if side == "above" else "lower"
        return "better" if (side == "above") == (sense > 0) else "worse"


def readout_of(score: Score) -> Readout | None:
    """The readout that a score belongs to; None for a run without scores."""
    if score.sampler is None or score.metric is None:
        return None
    return Readout(score.label, score.sampler, score.beta, score.step_size, score.steps or 0)


def step_text(readout: Readout, among: Iterable[Readout]) -> str:
    """Its step size as an addition to its name, where another of these differs from it in nothing else; otherwise empty."""
    twins = {
        other.step_size
        for other in among
        if other._replace(step_size=None, steps=0) == readout._replace(step_size=None, steps=0)
    }
    return f", step {readout.step_size:g}" if len(twins) > 1 and readout.step_size is not None else ""


def metrics_of(scores: Iterable[Score], *, density: bool = True) -> list[str]:
    """Names of the metrics that have values, in the catalogue's order."""
    names = {score.metric for score in scores if score.metric is not None and score.value is not None}
    return sorted((name for name in names if density or not about_density(name)), key=metric_order)


def headline_metric(section: Section) -> str | None:
    """The metric of samples that verdicts are made of: the Fréchet distance where there is one."""
    return next(iter(metrics_of(section.scores, density=False)), None)


def longest_readouts(section: Section) -> list[Readout]:
    """Of every model, sampler and target, the longest chain that the section holds for this target."""
    scored = {
        (score.label, score.sampler, score.beta, score.step_size, score.steps)
        for score in section.scores
        if score.steps and score.counts and score.metric is not None and not about_density(score.metric)
    }
    found = (
        Readout(label, sampler, beta, size, steps) for label, sampler, beta, size, steps in scored if sampler and steps
    )
    chains = [readout for readout in found if readout.is_chain]
    longest: dict[tuple[str, float | None], int] = {}
    for chain in chains:
        target = (chain.sampler, chain.beta)
        longest[target] = max(longest.get(target, 0), chain.steps)
    return sorted(
        {chain for chain in chains if chain.steps == longest[chain.sampler, chain.beta]},
        key=lambda chain: (chain.label, chain.beta or 0.0, chain.sampler, chain.step_size or 0.0),
    )


def compare(section: Section, metrics: Sequence[str]) -> list[Comparison]:
    """Every longest chain against its own base and against the base of every model without a chain (a GAN)."""
    values: dict[tuple[Readout, str], dict[str, dict[int, float]]] = {}
    bases: dict[str, Readout] = {}
    wanted = set(metrics)
    for score in section.scores:
        if score.metric not in wanted or not score.counts or score.value is None:
            continue
        readout = readout_of(score)
        if readout is None:
            continue
        values.setdefault((readout, score.metric), {}).setdefault(score.key, {})[score.seed] = score.value
        if readout.sampler == "base":
            bases[readout.label] = readout
    treatments = longest_readouts(section)
    with_chains = {treatment.label for treatment in treatments}
    rivals = [base for label, base in bases.items() if label not in with_chains]
    return [
        _pair(treatment, reference, metric, values.get((treatment, metric), {}), values.get((reference, metric), {}))
        for treatment in treatments
        for reference in [*([bases[treatment.label]] if treatment.label in bases else []), *rivals]
        for metric in metrics
    ]


def _pair(
    treatment: Readout,
    reference: Readout,
    metric: str,
    first: dict[str, dict[int, float]],
    second: dict[str, dict[int, float]],
) -> Comparison:
    difference, why, _ = pair(first, second)
    return Comparison(treatment, reference, metric, difference, why)


def pair(
    first: Mapping[str, Mapping[int, float]], second: Mapping[str, Mapping[int, float]]
) -> tuple[PairedDifference | None, str, str]:
    """first − second of values by score key and seed, under the key that most seeds share: difference, why there is none, key.

    Values of different keys are never compared.
    """
    keys = sorted(first.keys() & second.keys(), key=lambda key: (-len(first[key].keys() & second[key].keys()), key))
    if not keys:
        return None, "scored under different keys" if first and second else "not scored on both sides", ""
    difference = paired_difference(first[keys[0]], second[keys[0]])
    return difference, "" if difference.seeds else "no shared seed", keys[0]


def likelihood_gains(section: Section) -> dict[str, Estimate]:
    """Mean gain of the energy over its base on held-out data, by model, where each run states one value."""
    found: dict[str, dict[str, dict[int, set[float]]]] = {}
    for score in section.scores:
        if score.metric == "likelihood-gain" and score.counts and score.value is not None:
            found.setdefault(score.label, {}).setdefault(score.key, {}).setdefault(score.seed, set()).add(score.value)
    gains: dict[str, Estimate] = {}
    for label, keys in found.items():
        seeds = next(iter(keys.values()))
        if len(keys) == 1 and all(len(values) == 1 for values in seeds.values()):
            gains[label] = mean_interval([next(iter(values)) for values in seeds.values()])
    return gains
