"""What a report says about chains judged against the truth: the answers in sentences, and grids of numbers.

One model: a line per sampler, at the largest budget. Several models (objectives): a line per model, a column per sampler, a grid per
metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.chains.figures import objectives_figure, trade_off_figure
from bench.chains.rows import LAWS, RHAT_LIMIT, betas_of, largest_budget, models_of, samplers_of
from bench.metrics import METRICS, base_name
from bench.report.blocks import Block, Cell, Column, Table, TextBlock, Verdict
from bench.report.figures import training_figure
from bench.report.tables import count_cell, failure_table, number_cell, partition_table, time_table
from bench.report.text import arrow, beta_name, metric_order, number, span

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["blocks", "chain_sentences", "grids"]

_QUESTION = "Which chains can be trusted, and what do they cost?"
_BY_OBJECTIVE = ("sliced-wasserstein", "mean-error[E]", "variance-error[z]", "rhat", "ess-per-cost[z]")
_LEFT_OUT = ("step-size", "ess-fraction", "pareto-k")
_DIVERGED = Cell("diverged", tone="bad")


def blocks(section: Section) -> list[Block]:
    """Return a section's blocks, the verdict first."""
    rows = largest_budget(section.summary)
    found = [
        Verdict(section.dataset, _QUESTION, points=chain_sentences(rows)),
        trade_off_figure(section),
        objectives_figure(section),
        *grids(rows),
        TextBlock("What the numbers are", items=_notes(rows)),
        partition_table(section),
        training_figure(section),
        failure_table(section, apart=True),
        time_table(section),
    ]
    return [block for block in found if block is not None]


def grids(rows: Sequence[Any]) -> list[Table]:
    """Return all grids of the rows of the largest budget, target by target."""
    found = []
    for beta in betas_of(rows):
        here = [row for row in rows if row.beta in (beta, None)]
        found += _by_objective(here, beta) if len(models_of(rows)) > 1 else [_by_sampler(here, beta)]
    return found


def _by_sampler(rows: Sequence[Any], beta: float) -> Table:
    metrics = _metrics(rows, "chains")
    lines = []
    for sampler in samplers_of(rows):
        own = {row.metric: row for row in rows if row.sampler == sampler}
        first = next(iter(own.values()))
        lost = any(row.status == "collapsed" for row in own.values())
        lines.append(
            [
                Cell(LAWS.get(sampler, sampler)),
                *map(count_cell, (first.steps, first.gradient_evaluations, first.forward_evaluations)),
                *(_DIVERGED if lost else _cell(own.get(metric)) for metric in metrics),
            ]
        )
    header = ["sampler", "steps", "gradient evaluations", "forward evaluations", *map(arrow, metrics)]
    return _grid(f"{rows[0].label} at {beta_name(beta)}: every sampler at the largest budget", header, lines)


def _by_objective(rows: Sequence[Any], beta: float) -> list[Table]:
    models, found = models_of(rows), []
    if density := _metrics(rows, "density"):
        values = {(row.label, row.metric): row for row in rows if row.sampler == "resampled"}
        lines = [[Cell(model), *(_cell(values.get((model, metric))) for metric in density)] for model in models]
        found.append(_grid("The learned density, by quadrature", ["objective", *map(arrow, density)], lines))
    for metric in _BY_OBJECTIVE:
        own = {(row.label, row.sampler): row for row in rows if row.metric == metric}
        if own:
            samplers = [name for name in samplers_of(rows) if any(sampler == name for _, sampler in own)]
            lines = [[Cell(model), *(_cell(own.get((model, name))) for name in samplers)] for model in models]
            title = f"{arrow(metric)} at {beta_name(beta)}: objective × sampler"
            found.append(_grid(title, ["objective", *(LAWS.get(name, name) for name in samplers)], lines))
    return found


def _metrics(rows: Iterable[Any], about: str) -> list[str]:
    names = {row.metric for row in rows}
    chosen = (name for name in names if METRICS[base_name(name)].about == about and base_name(name) not in _LEFT_OUT)
    return sorted(chosen, key=metric_order)


def _grid(title: str, header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> Table:
    columns = [Column(name, numeric=index > 0) for index, name in enumerate(header)]
    return Table(title, columns, lines, terminal="titled")


def _cell(row: Any) -> Cell:
    if row is None:
        return Cell("—")
    if row.status == "collapsed":
        return _DIVERGED
    if row.metric == "rhat":
        doubtful = row.mean >= RHAT_LIMIT
        return Cell(f"{row.mean:.3f}" + " !" * doubtful, row.mean, tone="bad" if doubtful else "plain")
    return number_cell(row.mean)


def chain_sentences(rows: Sequence[Any]) -> list[str]:
    """Return what the grids say, for those who read no further."""
    found = []
    for model in models_of(rows):
        for beta in betas_of(rows):
            values: dict[str, dict[str, float]] = {}
            for row in rows:
                if row.label == model and row.beta == beta:
                    values.setdefault(row.sampler, {})[row.metric] = row.mean
            if said := [*_on_chains(values), *_on_truth(values)]:
                found.append(f"{model} at {beta_name(beta)}: {'; '.join(said)}.")
    return found or ["No finished chain has been judged yet."]


def _on_chains(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return which samplers mixed, which are best, which are wrong; nothing without a judged chain."""
    chains = {name: own for name, own in values.items() if name not in LAWS and {"rhat", "mean-error[E]"} <= own.keys()}
    if not chains:
        return []
    mixed = {name: own for name, own in chains.items() if own["rhat"] < RHAT_LIMIT}
    said = [f"R-hat is below {RHAT_LIMIT} for {len(mixed)} of {len(chains)} samplers"]
    if doubtful := sorted(chains.keys() - mixed.keys(), key=lambda name: chains[name]["rhat"]):
        said.append(f"not for {', '.join(doubtful)}")
    if best := sorted(mixed, key=lambda name: -mixed[name].get("ess-per-cost[z]", 0.0))[:3]:
        ranks = ", ".join(f"{name} {number(mixed[name]['ess-per-cost[z]'])}" for name in best)
        said.append(f"most effective samples per gradient evaluation among those (worst latent): {ranks}")
    worst = max(chains, key=lambda name: chains[name]["mean-error[E]"])
    error = number(chains[worst]["mean-error[E]"])
    said.append(f"largest error of the mean of E: {worst}, {error} true standard deviations")
    if lost := sorted(values.keys() - chains.keys() - LAWS.keys()):
        said.append(f"diverged: {', '.join(lost)}")
    return said


def _on_truth(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return how good the reference is, and what the energy itself learned; nothing without a judged chain."""
    if not _on_chains(values):
        return []
    said, reference, law = [], values.get("reference", {}), values.get("resampled", {})
    if "pareto-k" in reference:
        error, shape = number(reference["mean-error[E]"]), number(reference["pareto-k"])
        said.append(f"the reference's own error is {error}, Pareto k {shape}")
    if "ess-fraction" in reference:
        share = f"{reference['ess-fraction']:.1%}"
        said.append(
            f"draws from the prior are worth {share} as many from the model: how far the energy moves the prior"
        )
    if "kl-divergence" in law:
        missed, possible = number(law["kl-divergence"]), number(law["possible-gain"])
        said.append(f"the energy itself misses {missed} of {possible} possible nats")
    return said


def _notes(rows: Sequence[Any]) -> list[str]:
    """Return what the numbers are and what they depend on."""
    notes = (
        [f"Means over {span([row.n for row in rows], ' to ')} seeds; intervals are in the JSON and CSV forms."]
        if rows
        else []
    )
    notes += [
        "An R-hat with ! is not below 1.01: the ESS beside it is not to be trusted. Cost includes the warm-up, ESS does not count it.",
        "Errors of chains that mix are noise of about 1/√ESS: rank samplers by ESS; an error that stops falling with cost is bias.",
    ]
    for name in dict.fromkeys(base_name(each) for each in sorted({row.metric for row in rows}, key=metric_order)):
        unit = f" ({METRICS[name].unit})" if METRICS[name].unit else ""
        notes.append(f"{name}: {METRICS[name].summary}{unit}.")
    keys: dict[str, dict[str, None]] = {}
    for row in rows:
        keys.setdefault(row.key or "not recorded", {})[row.label] = None
    notes += [f"Protocol of {', '.join(labels)}: {key}." for key, labels in keys.items()]
    return notes
