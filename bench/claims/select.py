"""Which rows of a section a claim speaks about, and why it may have nothing to speak about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from bench.claims.model import Claim, Reference
from bench.metrics import base_name
from bench.results.frame import Section
from bench.results.sources import Source, records, source_of

__all__ = ["Lengths", "Rows", "SectionRows", "matches", "metrics_of", "missing", "references", "treatments"]

NO_CHAIN = frozenset({"base", "data", "likelihood", "resampled", "reference"})
"""Samplers that are no latent chain's: a pattern does not stand for them."""

Lengths = Mapping[tuple[str, float | None], int]
_COLUMNS = ["model", "label", "sampler", "beta", "step_size", "steps", "metric", "key", "seed", "run", "value"]


@dataclass(frozen=True)
class Rows:
    """The values of one source in one metric, by score key and seed, with the runs that they are of."""

    model: str
    source: Source
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)

    @property
    def main_key(self) -> str:
        """The score key that most seeds have."""
        return max(self.values, key=lambda key: (len(self.values[key]), key))


class SectionRows:
    """What counts of a section, read once for all claims.

    Attributes:
        section: the section.
        rows: by metric and source.
        longest: the longest chain by sampler and β, whatever it was scored in.
    """

    def __init__(self, section: Section) -> None:
        self.section = section
        self.rows: dict[str, dict[Source, Rows]] = {}
        self.longest: dict[tuple[str, float | None], int] = {}
        for score in records(section.counted[_COLUMNS]):
            source = source_of(score)
            target = (source.sampler, source.beta)
            self.longest[target] = max(self.longest.get(target, 0), source.steps)
            rows = self.rows.setdefault(score.metric, {}).setdefault(source, Rows(score.model, source))
            rows.values.setdefault(score.key, {})[score.seed] = score.value
            rows.runs[score.seed] = score.run


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def metrics_of(claim: Claim, read: SectionRows) -> list[str]:
    """Return the section's metrics that the claim is about, in full."""
    return [name for name in read.rows if name in claim.metric or base_name(name) in claim.metric]


def treatments(claim: Claim, rows: Iterable[Rows], longest: Lengths) -> list[Rows]:
    """Return the rows that the claim is about."""
    wanted = claim.treatment
    return [
        each
        for each in rows
        if matches(each.model, wanted.model)
        and _is_sampler(each.source.sampler, wanted.sampler)
        and (wanted.beta is None or each.source.beta in (None, *wanted.beta))
        and _has_length(each.source, wanted.steps, longest)
    ]


def references(wanted: Reference, treatment: Rows, rows: Iterable[Rows], longest: Lengths) -> list[Rows]:
    """Return the rows that a treatment is compared with: what the reference leaves out is as in the treatment."""
    like = treatment.source
    samplers = (like.sampler,) if wanted.sampler is None else wanted.sampler
    beta = like.beta if wanted.beta is None else wanted.beta
    return [
        each
        for each in rows
        if each.source != like
        and (each.source.label == like.label if wanted.model is None else matches(each.model, wanted.model))
        and _is_sampler(each.source.sampler, samplers)
        and each.source.beta in (None, beta)
        and _has_length(each.source, wanted.steps, longest)
    ]


def missing(claim: Claim, section: Section, judged: Sequence[Rows]) -> list[str]:
    """Return why a model of the claim that is here, or one of its β, has nothing to judge; that none is here is a reason too."""
    found: list[str] = []
    models = [model for model in section.scores["model"].unique() if matches(model, claim.treatment.model)]
    for model in models:
        betas = {rows.source.beta for rows in judged if rows.model == model}
        wanted = claim.treatment.beta or (None,)
        lacking = [beta for beta in wanted if not betas or not ({beta, None} & betas or beta is None)]
        if lacking:
            at = " or ".join(f"β={beta:g}" for beta in lacking if beta is not None)
            found.append(f"{model}{' at ' * bool(at)}{at}: {_why_missing(model, claim, section)}")
    return found or ([] if models else [f"no run of {' or '.join(claim.treatment.model)}"])


def _why_missing(model: str, claim: Claim, section: Section) -> str:
    scores = section.scores[section.scores["model"] == model]
    if (unscored := scores[scores["metric"].isna()]).size:
        seed, status, reason = unscored.iloc[0][["seed", "status", "reason"]]
        return f"seed {seed} {status}" + (f": {reason}" if reason else "")
    if (unfinished := scores[scores["status"] == "unfinished"]).size:
        return f"seed {unfinished['seed'].iloc[0]} is unfinished: {unfinished['reason'].iloc[0]}"
    if (stale := scores[scores["status"] == "stale"]).size:
        return f"made by other code or library versions: {stale['stale'].iloc[0]}"
    return f"no {' or '.join(claim.metric)} here, or not at the length that is judged"


def _has_length(source: Source, steps: int | str, longest: Lengths) -> bool:
    if steps == "all":
        return source.steps > 0
    return source.steps == (longest.get((source.sampler, source.beta)) if steps == "longest" else steps)


def _is_sampler(name: str, patterns: Iterable[str]) -> bool:
    """Whether a sampler is named, or is a chain's and fits a pattern."""
    return any(name == pattern or (name not in NO_CHAIN and fnmatchcase(name, pattern)) for pattern in patterns)
