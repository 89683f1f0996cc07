"""Chains judged against the truth, laid out for reading: the answers in sentences, and grids of numbers.

One model: a line a sampler, at the largest budget. Several models (objectives): a line a model, a column a sampler, a grid a metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.core import registry
from bench.metrics import METRICS, base_name
from bench.report.blocks import Cell, Column, Table
from bench.report.text import arrow, beta_name, metric_order, number
from bench.results.scores import NOT_COUNTED
from bench.results.summary import SummaryRow

__all__ = [
    "CHAINS_QUESTION",
    "LAWS",
    "betas_of",
    "chain_notes",
    "chain_sentences",
    "grids",
    "largest_budget",
    "models_of",
    "samplers_of",
]

CHAINS_QUESTION = "Which chains can be trusted, and what do they cost?"
LAWS = {"base": "base alone", "resampled": "no chain (resampled)", "reference": "reference's own error"}
"""Rows that are no chain's, as a reader calls them."""

RHAT_LIMIT = 1.01
DIVERGED = "diverged"
_BY_OBJECTIVE = ("sliced-wasserstein", "mean-error[E]", "variance-error[z]", "rhat", "ess-per-cost[z]")
_LEFT_OUT = ("step-size", "ess-fraction", "pareto-k")


def usable(rows: Iterable[SummaryRow]) -> list[SummaryRow]:
    """Rows with a number of the present code."""
    return [row for row in rows if row.mean is not None and row.metric is not None and row.status not in NOT_COUNTED]


def largest_budget(rows: Iterable[SummaryRow]) -> list[SummaryRow]:
    """Of every model, sampler and β the rows of the longest chain, and what is no chain's."""
    found = usable(rows)
    longest: dict[tuple[str, str | None, float | None], int] = {}
    for row in found:
        place = (row.label, row.sampler, row.beta)
        longest[place] = max(longest.get(place, 0), row.steps or 0)
    return [row for row in found if (row.steps or 0) == longest[row.label, row.sampler, row.beta]]


def models_of(rows: Iterable[SummaryRow]) -> list[str]:
    """Labels of the models with chains, in order."""
    return list(dict.fromkeys(row.label for row in rows if row.metric is not None))


def betas_of(rows: Iterable[SummaryRow]) -> list[float]:
    """The targets of chains."""
    return sorted({row.beta for row in rows if row.beta is not None and row.steps})


def grids(rows: Sequence[SummaryRow]) -> list[Table]:
    """All grids of a chapter, target by target."""
    rows = largest_budget(rows)
    several = len(models_of(rows)) > 1
    found = []
    for beta in betas_of(rows):
        here = [row for row in rows if row.beta in (beta, None)]
        found += _by_objective(here, beta) if several else [_by_sampler(here, beta)]
    return found


def _by_sampler(rows: Sequence[SummaryRow], beta: float) -> Table:
    metrics = _metrics(rows, "chains")
    lines = []
    for sampler in samplers_of(rows):
        own = {row.metric: row for row in rows if row.sampler == sampler}
        first = next(iter(own.values()))
        counts = [first.steps, first.gradient_evaluations, first.forward_evaluations]
        cells = [Cell(f"{count:,}", count) if count is not None else Cell("—") for count in counts]
        lost = any(row.status == "collapsed" for row in own.values())
        values = [Cell(DIVERGED, tone="bad") if lost else _cell(own.get(metric)) for metric in metrics]
        lines.append([Cell(LAWS.get(sampler, sampler)), *cells, *values])
    header = ["sampler", "steps", "gradient evaluations", "forward evaluations", *map(arrow, metrics)]
    return _grid(f"{rows[0].label} at {beta_name(beta)}: every sampler at the largest budget", header, lines)


def _by_objective(rows: Sequence[SummaryRow], beta: float) -> list[Table]:
    models, found = models_of(rows), []
    density = _metrics(rows, "density")
    if density:
        values = {(row.label, row.metric): row for row in rows if row.sampler == "resampled"}
        lines = [[Cell(model), *(_cell(values.get((model, metric))) for metric in density)] for model in models]
        found.append(_grid("The learned density, by quadrature", ["objective", *map(arrow, density)], lines))
    for metric in _BY_OBJECTIVE:
        own = {(row.label, row.sampler): row for row in rows if row.metric == metric}
        samplers = [name for name in samplers_of(rows) if any(sampler == name for _, sampler in own)]
        lines = [[Cell(model), *(_cell(own.get((model, name))) for name in samplers)] for model in models]
        if samplers:
            title = f"{arrow(metric)} at {beta_name(beta)}: objective × sampler"
            found.append(_grid(title, ["objective", *(LAWS.get(name, name) for name in samplers)], lines))
    return found


def samplers_of(rows: Iterable[SummaryRow]) -> list[str]:
    """What is no chain's first, then samplers as the registry lists them."""
    order = [*LAWS, *registry.entries("samplers")]
    names = {row.sampler for row in rows if row.sampler is not None}
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _metrics(rows: Iterable[SummaryRow], about: str) -> list[str]:
    names = {row.metric for row in rows if row.metric is not None}
    chosen = (name for name in names if METRICS[base_name(name)].about == about and base_name(name) not in _LEFT_OUT)
    return sorted(chosen, key=metric_order)


def _grid(title: str, header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> Table:
    return Table(title, [Column(name, numeric=index > 0) for index, name in enumerate(header)], lines)


def _cell(row: SummaryRow | None) -> Cell:
    if row is None:
        return Cell("—")
    if row.status == "collapsed":
        return Cell(DIVERGED, tone="bad")
    if row.metric == "rhat" and row.mean is not None:
        doubtful = row.mean >= RHAT_LIMIT
        return Cell(f"{row.mean:.3f}" + (" !" if doubtful else ""), row.mean, tone="bad" if doubtful else "plain")
    return Cell(number(row.mean), row.mean)


def chain_sentences(rows: Sequence[SummaryRow]) -> list[str]:
    """What the grids say, for those who read no further; plain text."""
    rows, found = largest_budget(rows), []
    for model in models_of(rows):
        found += [line for beta in betas_of(rows) for line in _sentences(model, beta, rows)]
    return found or ["No finished chain has been judged yet."]


def _sentences(model: str, beta: float, rows: Sequence[SummaryRow]) -> list[str]:
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.label == model and row.beta == beta and row.sampler and row.metric and row.mean is not None:
            values.setdefault(row.sampler, {})[row.metric] = row.mean
    chains = {name: own for name, own in values.items() if name not in LAWS and {"rhat", "mean-error[E]"} <= own.keys()}
    lost = sorted(values.keys() - chains.keys() - LAWS.keys())
    if not chains:
        return []
    mixed = {name: own for name, own in chains.items() if own["rhat"] < RHAT_LIMIT}
    doubtful = sorted(chains.keys() - mixed.keys(), key=lambda name: chains[name]["rhat"])
    said = [f"R-hat is below {RHAT_LIMIT} for {len(mixed)} of {len(chains)} samplers"]
    if doubtful:
        said.append(f"not for {', '.join(doubtful)}")
    best = sorted(mixed, key=lambda name: -mixed[name].get("ess-per-cost[z]", 0.0))[:3]
    if best:
        ranks = ", ".join(f"{name} {number(mixed[name]['ess-per-cost[z]'])}" for name in best)
        said.append(f"of those below, most effective samples of the worst latent a gradient evaluation: {ranks}")
    worst = max(chains, key=lambda name: chains[name]["mean-error[E]"])
    said.append(
        f"largest error of the mean of E: {worst}, {number(chains[worst]['mean-error[E]'])} true standard deviations"
    )
    if lost:
        said.append(f"diverged: {', '.join(lost)}")
    reference = values.get("reference", {})
    if "pareto-k" in reference:
        said.append(
            f"the reference's own error is {number(reference['mean-error[E]'])}, Pareto k {number(reference['pareto-k'])}"
        )
    if "ess-fraction" in reference:
        said.append(
            f"the prior's draws are worth {reference['ess-fraction']:.1%} as many of the model: how far the energy moves the prior"
        )
    law = values.get("resampled", {})
    if "kl-divergence" in law:
        missed, possible = law["kl-divergence"], law["possible-gain"]
        said.append(f"the energy itself misses {number(missed)} of {number(possible)} possible nats")
    return [f"{model} at {beta_name(beta)}: {'; '.join(said)}."]


def chain_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """What the numbers are and what they depend on; plain text."""
    rows = largest_budget(rows)
    seeds = sorted({row.n for row in rows})
    notes = [
        f"Means over {' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds; intervals are in the JSON and CSV forms."
    ]
    notes.append(
        "An R-hat with ! is not below 1.01: the ESS beside it is not to be trusted. Cost includes the warm-up, ESS does not count it."
    )
    notes.append(
        "Errors of chains that mix are noise of about 1/√ESS: rank samplers by ESS; an error that stops falling with cost is bias."
    )
    for name in dict.fromkeys(
        base_name(row.metric or "") for row in sorted(rows, key=lambda row: metric_order(row.metric or ""))
    ):
        entry = METRICS[name]
        notes.append(f"{name}: {entry.summary}" + (f" ({entry.unit})" if entry.unit else "") + ".")
    keys: dict[str, list[str]] = {}
    for row in rows:
        keys.setdefault(row.key or "not recorded", []).append(row.label)
    return notes + [f"Protocol of {', '.join(dict.fromkeys(labels))}: {key}." for key, labels in keys.items()]
