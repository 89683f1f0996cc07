"""What a report says about chains judged against the truth: the answers in sentences, and grids of numbers.

One model: a row per sampler, at the largest budget. Several (objectives): a grid per metric, a row per model, a column per sampler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.chains.figures import objectives_figure, trade_off_figure
from bench.chains.rows import LAWS, RHAT_LIMIT, betas_of, largest_budget, models_of, samplers_of
from bench.metrics import METRICS, base_name
from bench.report.blocks import Block, Cell, Column, Reply, Table, TextBlock, Verdict
from bench.report.figures import training_figure
from bench.report.tables import count_cell, failure_table, number_cell, partition_table, time_table
from bench.report.text import arrow, beta_name, listed, metric_order, number, span

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["blocks", "replies"]

_QUESTION = "Which chains can be trusted, and what do they cost?"
_BY_OBJECTIVE = ("sliced-wasserstein", "mean-error[E]", "variance-error[z]", "rhat", "ess-per-cost[z]")
_LEFT_OUT = ("step-size", "ess-fraction", "pareto-k")
_DIVERGED = Cell("diverged", tone="bad")


def blocks(section: Section) -> list[Block]:
    """Return a section's blocks, the verdict first."""
    rows = largest_budget(section.summary)
    found = [
        Verdict(section.dataset, _QUESTION, points=_sentences(rows)),
        trade_off_figure(section),
        objectives_figure(section),
        *_grids(rows),
        TextBlock("What the numbers are", items=_notes(rows)),
        partition_table(section),
        training_figure(section),
        failure_table(section, apart=True),
        time_table(section),
    ]
    return [block for block in found if block is not None]


def _grids(rows: Sequence[Any]) -> Iterator[Table]:
    """Yield all grids of the rows of the largest budget, target by target."""
    several = len(models_of(rows)) > 1
    for beta in betas_of(rows):
        here = [row for row in rows if row.beta in (beta, None)]
        yield from _by_objective(here, beta) if several else [_by_sampler(here, beta)]


def _by_sampler(rows: Sequence[Any], beta: float) -> Table:
    metrics, lines = _metrics(rows, "chains"), []
    for sampler in samplers_of(rows):
        own = {row.metric: row for row in rows if row.sampler == sampler}
        first = next(iter(own.values()))
        costs = map(count_cell, (first.steps, first.gradient_evaluations, first.forward_evaluations))
        lost = any(row.status == "collapsed" for row in own.values())
        values = (_DIVERGED if lost else _cell(own.get(metric)) for metric in metrics)
        lines.append([Cell(LAWS.get(sampler, sampler)), *costs, *values])
    header = ["sampler", "steps", "gradient evaluations", "forward evaluations", *map(arrow, metrics)]
    return _grid(f"{rows[0].label} at {beta_name(beta)}: every sampler at the largest budget", header, lines)


def _by_objective(rows: Sequence[Any], beta: float) -> Iterator[Table]:
    def grid(title: str, columns: Mapping[str, str], values: Mapping[tuple[str, str], Any]) -> Table:
        lines = [[Cell(model), *(_cell(values.get((model, name))) for name in columns)] for model in models_of(rows)]
        return _grid(title, ["objective", *columns.values()], lines)

    if density := _metrics(rows, "density"):
        values = {(row.label, row.metric): row for row in rows if row.sampler == "resampled"}
        yield grid("The learned density, by quadrature", {name: arrow(name) for name in density}, values)
    for metric in _BY_OBJECTIVE:
        own = [row for row in rows if row.metric == metric]
        if own:
            columns = {name: LAWS.get(name, name) for name in samplers_of(own)}
            title = f"{arrow(metric)} at {beta_name(beta)}: objective × sampler"
            yield grid(title, columns, {(row.label, row.sampler): row for row in own})


def _metrics(rows: Sequence[Any], about: str) -> list[str]:
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


def replies(section: Section) -> list[Reply]:
    """Return how many samplers mixed, by model and β."""
    found = []
    for model, beta, values in _targets(largest_budget(section.summary)):
        if chains := _chains(values):
            mixed, doubtful = _mixed(chains), f"not {listed(sorted(chains.keys() - _mixed(chains).keys()))}"
            reading = f"{len(mixed)} of {len(chains)}"
            question = f"Which samplers mix, of {model} at {beta_name(beta)}?"
            found.append(Reply(question, reading, f"R-hat below {RHAT_LIMIT}", doubtful * (len(mixed) < len(chains))))
    return found


def _targets(rows: Sequence[Any]) -> Iterator[tuple[str, float, dict[str, dict[str, float]]]]:
    """Yield every model and β with the means by sampler and metric."""
    for model in models_of(rows):
        for beta in betas_of(rows):
            values: dict[str, dict[str, float]] = {}
            for row in rows:
                if row.label == model and row.beta == beta:
                    values.setdefault(row.sampler, {})[row.metric] = row.mean
            yield model, beta, values


def _chains(values: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    return {name: own for name, own in values.items() if name not in LAWS and {"rhat", "mean-error[E]"} <= own.keys()}


def _mixed(chains: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    return {name: own for name, own in chains.items() if own["rhat"] < RHAT_LIMIT}


def _sentences(rows: Sequence[Any]) -> list[str]:
    """Return what the grids say, for those who read no further."""
    judged = ((f"{model} at {beta_name(beta)}", _judgement(values)) for model, beta, values in _targets(rows))
    found = [f"{name}: {'; '.join(said)}." for name, said in judged if said]
    return found or ["No finished chain has been judged yet."]


def _judgement(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return which samplers mixed, are best, are wrong; how good the reference is, and what was learned; nothing without a chain."""
    chains = _chains(values)
    if not chains:
        return []
    mixed = _mixed(chains)
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
    reference, law = values.get("reference", {}), values.get("resampled", {})
    if "pareto-k" in reference:
        error, shape = number(reference["mean-error[E]"]), number(reference["pareto-k"])
        said.append(f"the reference's own error is {error}, Pareto k {shape}")
    if "ess-fraction" in reference:
        worth = f"draws from the prior are worth {reference['ess-fraction']:.1%} as many from the model"
        said.append(f"{worth}: how far the energy moves the prior")
    if "kl-divergence" in law:
        missed, possible = number(law["kl-divergence"]), number(law["possible-gain"])
        said.append(f"the energy itself misses {missed} of {possible} possible nats")
    return said


def _notes(rows: Sequence[Any]) -> list[str]:
    """Return what the numbers are and what they depend on."""
    notes = []
    if rows:
        seeds = span([row.n for row in rows], " to ")
        notes.append(f"Means over {seeds} seed{'s' * (seeds != '1')}; intervals are in the JSON and CSV forms.")
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
