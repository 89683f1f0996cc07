"""Which rows of a section a claim speaks about, and why it may have nothing to speak about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from bench.claims.model import Claim, Reference
from bench.metrics import base_name
from bench.report.comparisons import Readout, readout_of
from bench.results.scores import UNFINISHED, Score, Section

__all__ = ["Lengths", "Rows", "SectionRows", "matches", "metrics_of", "missing", "references", "treatments"]

NO_CHAIN = frozenset({"base", "data", "likelihood", "resampled", "reference"})
"""Samplers that are no latent chain's: a pattern does not stand for them."""

Lengths = Mapping[tuple[str, float | None], int]


@dataclass(frozen=True)
class Rows:
    """The values of one readout in one metric, by score key and seed, with the runs that they are of."""

    model: str
    readout: Readout
    values: Mapping[str, Mapping[int, float]]
    runs: Mapping[int, str]

    @property
    def main_key(self) -> str:
        """The score key that most seeds have."""
        return max(self.values, key=lambda key: (len(self.values[key]), key))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class SectionRows:
    """A section read once for all claims."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self._rows: dict[str, list[Rows]] = {}

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that have values, by their full names."""
        return list(dict.fromkeys(score.metric for score in self.section.scores if score.metric and score.counts))

    @cached_property
    def longest(self) -> Lengths:
        """The longest chain of the section by sampler and β, whatever it was scored in."""
        found: dict[tuple[str, float | None], int] = {}
        for score in self.section.scores:
            readout = readout_of(score)
            if readout is not None and score.counts:
                target = (readout.sampler, readout.beta)
                found[target] = max(found.get(target, 0), readout.steps)
        return found

    @cached_property
    def by_model(self) -> Mapping[str, Sequence[Score]]:
        """All scores, and runs without any, by model."""
        found: dict[str, list[Score]] = {}
        for score in self.section.scores:
            found.setdefault(score.model, []).append(score)
        return found

    def of(self, metric: str) -> list[Rows]:
        """What counts of one metric, readout by readout."""
        if metric not in self._rows:
            self._rows[metric] = self._read(metric)
        return self._rows[metric]

    def _read(self, metric: str) -> list[Rows]:
        values: dict[Readout, dict[str, dict[int, float]]] = {}
        runs: dict[Readout, dict[int, str]] = {}
        models: dict[Readout, str] = {}
        for score in self.section.scores:
            if score.metric != metric or not score.counts or score.value is None:
                continue
            readout = readout_of(score)
            if readout is None:
                continue
            values.setdefault(readout, {}).setdefault(score.key, {})[score.seed] = score.value
            runs.setdefault(readout, {})[score.seed] = score.run
            models[readout] = score.model
        return [Rows(models[readout], readout, values[readout], runs[readout]) for readout in values]


def metrics_of(claim: Claim, read: SectionRows) -> list[str]:
    """The section's metrics that the claim is about, in full."""
    return [name for name in read.metrics if name in claim.metric or base_name(name) in claim.metric]


def treatments(claim: Claim, rows: Iterable[Rows], longest: Lengths) -> list[Rows]:
    """The rows that the claim is about."""
    wanted = claim.treatment
    return [
        each
        for each in rows
        if matches(each.model, wanted.model)
        and _is_sampler(each.readout.sampler, wanted.sampler)
        and (wanted.beta is None or each.readout.beta in (None, *wanted.beta))
        and _has_length(each.readout, wanted.steps, longest)
    ]


def references(wanted: Reference, treatment: Rows, rows: Iterable[Rows], longest: Lengths) -> list[Rows]:
    """The rows that a treatment is compared with: what the reference leaves out is as in the treatment."""
    like = treatment.readout
    samplers = (like.sampler,) if wanted.sampler is None else wanted.sampler
    beta = like.beta if wanted.beta is None else wanted.beta
    return [
        each
        for each in rows
        if each.readout != like
        and (each.readout.label == like.label if wanted.model is None else matches(each.model, wanted.model))
        and _is_sampler(each.readout.sampler, samplers)
        and each.readout.beta in (None, beta)
        and _has_length(each.readout, wanted.steps, longest)
    ]


def missing(claim: Claim, read: SectionRows, judged: Iterable[Rows]) -> list[str]:
    """Why a model of the claim that is here, or one of its β, has nothing to judge; none of its models being here is a reason too."""
    judged = list(judged)
    found: list[str] = []
    models = [model for model in read.by_model if matches(model, claim.treatment.model)]
    for model in models:
        betas = {rows.readout.beta for rows in judged if rows.model == model}
        wanted = claim.treatment.beta or (None,)
        lacking = [beta for beta in wanted if not betas or not ({beta, None} & betas or beta is None)]
        if lacking:
            found.append(_why_missing(model, read.by_model[model], claim, lacking))
    return found or ([] if models else [f"no run of {' or '.join(claim.treatment.model)}"])


def _why_missing(model: str, scores: Sequence[Score], claim: Claim, betas: Sequence[float | None]) -> str:
    at = " or ".join(f"β={beta:g}" for beta in betas if beta is not None)
    what = f"{model} at {at}" if at else model
    unscored = next((score for score in scores if score.metric is None), None)
    if unscored is not None:
        return f"{what}: seed {unscored.seed} {unscored.status}" + (f": {unscored.reason}" if unscored.reason else "")
    if left_off := next((score for score in scores if score.status == UNFINISHED), None):
        return f"{what}: seed {left_off.seed} is unfinished: {left_off.reason}"
    if any(score.status == "stale" for score in scores):
        return f"{what}: made by other code or library versions; `bench run` makes it anew"
    return f"{what}: no {' or '.join(claim.metric)} here, or not at the length that is judged"


def _has_length(readout: Readout, steps: int | str, longest: Lengths) -> bool:
    if steps == "all":
        return readout.steps > 0
    return readout.steps == (longest.get((readout.sampler, readout.beta)) if steps == "longest" else steps)


def _is_sampler(name: str, patterns: Iterable[str]) -> bool:
    """Whether a sampler is named, or is a chain's and fits a pattern."""
    return any(name == pattern or (name not in NO_CHAIN and fnmatchcase(name, pattern)) for pattern in patterns)
