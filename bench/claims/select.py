"""Which scores of a section a claim speaks about, and why it may have nothing to speak about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from bench.claims.model import Claim, Reference, Steps
from bench.metrics import base_name
from bench.results.frame import Section
from bench.results.sources import SourceValues, beta_text, is_variant

__all__ = ["is_meant", "matches", "metrics_of", "missing", "references", "treatments"]

NO_CHAIN = frozenset({"base", "data", "likelihood", "resampled", "exact", "reference"})
"""Samplers that are no latent chain's: a pattern does not stand for them."""


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_meant(model: str, label: str, patterns: Iterable[str]) -> bool:
    """Return whether a claim about models of some names is about this one; a variant's label must be written out."""
    return label.partition(" (")[0] in patterns if is_variant(model, label) else matches(model, patterns)


def metrics_of(claim: Claim, section: Section) -> list[str]:
    """Return the section's metrics that the claim is about, in full; the first that it names where the section has no score in any."""
    names = dict.fromkeys(name for name, _ in section.by_source)
    found = [name for name in names if name in claim.metric or base_name(name) in claim.metric]
    return found or [*claim.metric[:1]]


def treatments(claim: Claim, section: Section, metric: str) -> list[SourceValues]:
    """Return the sources that the claim is about."""
    wanted = claim.treatment
    return _selected(section, metric, wanted.model, wanted.sampler, wanted.beta, wanted.steps)


def references(wanted: Reference, treatment: SourceValues, section: Section, metric: str) -> list[SourceValues]:
    """Return the sources that a treatment is compared with: what the reference leaves out is as in the treatment."""
    like = treatment.source
    beta = like.beta if wanted.beta is None else wanted.beta
    models = wanted.model or (treatment.model, like.label.partition(" (")[0])
    found = _selected(section, metric, models, wanted.sampler or (like.sampler,), (beta,), wanted.steps)
    return [each for each in found if each.source != like and (wanted.model or each.source.label == like.label)]


def _selected(
    section: Section,
    metric: str,
    models: Iterable[str],
    samplers: Sequence[str],
    betas: Sequence[float | None] | None,
    steps: Steps,
) -> list[SourceValues]:
    """Return the sources in a metric by model, sampler, β (none for any; a source without one fits all) and length.

    One whose scores were refused in every seed is there without values.
    """
    found = {source: each for (name, source), each in section.by_source.items() if name == metric}
    model_of = dict(zip(section.runs["label"], section.runs["model"], strict=True))
    refused = [source for source in section.losses.refused if source not in found]
    found |= {source: SourceValues(model_of[source.label], source) for source in refused}
    return [
        each
        for source, each in found.items()
        if is_meant(each.model, source.label, models)
        and (source.sampler in samplers or (source.sampler not in NO_CHAIN and matches(source.sampler, samplers)))
        and (betas is None or source.beta is None or source.beta in betas)
        and (
            source.steps > 0
            if steps == "all"
            else source.steps
            == (section.longest.get((source.sampler, source.beta), source.steps) if steps == "longest" else steps)
        )
    ]


def missing(claim: Claim, section: Section, judged: Sequence[SourceValues]) -> list[str]:
    """Return why a model of the claim that is here, or one of its β, has nothing to judge; that none is here is a reason too."""
    found: list[str] = []
    every = section.scores[["model", "label"]].drop_duplicates().itertuples(index=False)
    models = dict.fromkeys(model for model, label in every if is_meant(model, label, claim.treatment.model))
    for model in models:
        betas = {each.source.beta for each in judged if each.model == model}
        wanted = claim.treatment.beta or (None,)
        lacking = [beta for beta in wanted if not betas or not ({beta, None} & betas or beta is None)]
        if lacking:
            at = " or ".join(beta_text(beta) for beta in lacking if beta is not None)
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
