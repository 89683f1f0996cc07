"""Paired differences that answer the reader's questions: does the energy help, and against which other model?

Always at the longest chain of the suite for its target, never at the best one; always by shared seeds and under one key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.text import about_density, direction, metric_order
from bench.results.frame import once
from bench.results.sources import Source, beta_order, pair, reading, records
from bench.stats import Estimate, PairedDifference, mean_interval

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.frame import Section

__all__ = [
    "Comparison",
    "compare",
    "counted",
    "headline_metric",
    "likelihood_gains",
    "longest_sources",
    "metrics_of",
    "reading_order",
    "step_text",
]


@dataclass(frozen=True)
class Comparison:
    """treatment − reference in one metric.

    `difference` is None where nothing can be paired, and `why_not` says why.
    """

    treatment: Source
    reference: Source
    metric: str
    difference: PairedDifference | None
    why_not: str = ""

    @property
    def own_base(self) -> bool:
        """Whether the reference is the treatment's own base."""
        return self.treatment.label == self.reference.label

    @property
    def estimate(self) -> Estimate | None:
        """The mean difference, where there is one."""
        return self.difference.estimate if self.difference else None

    @property
    def reading(self) -> str:
        """The outcome in words: better, worse, no clear difference, or no verdict."""
        return reading(self.estimate, direction(self.metric))


def counted(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a summary that may enter a comparison or a figure: neither stale nor unfinished nor without a mean."""
    return summary[summary["mean"].notna() & (summary["status"] != "unfinished") & (summary["stale"] == "")]


def step_text(source: Source, among: Iterable[Source]) -> str:
    """Return the step size as an addition to a source's name where another of these differs from it in nothing else."""
    twins = {other.step_size for other in among if other[:3] == source[:3]}
    return f", step {source.step_size:g}" if len(twins) > 1 and source.step_size is not None else ""


def reading_order(
    items: Iterable[Any], row_of: Callable[[Any], Any] = lambda item: item, labels: Iterable[str] = ()
) -> list[Any]:
    """Return items in the order in which their rows are read: of each model its base, then chains by β and length; real data last.

    Models are in the order of `labels`, others behind them as they appear.
    """
    items = list(items)
    models = list(dict.fromkeys((*labels, *(row_of(item).label for item in items))))

    def place(item: Any) -> tuple[Any, ...]:
        row = row_of(item)
        chain = (beta_order(row.beta), row.sampler or "", row.step_size or 0.0, row.steps or 0)
        return row.sampler == "data", models.index(row.label), row.sampler != "base", *chain

    return sorted(items, key=place)


@once
def metrics_of(section: Section, *, real: bool = True) -> list[str]:
    """Return the metrics of samples that have values, in the catalogue's order; with those of real data only, or without."""
    scores = section.scores[section.scores["value"].notna()]
    names = scores.loc[real | (scores["sampler"] != "data"), "metric"].dropna().unique()
    return sorted((name for name in names if not about_density(name)), key=metric_order)


def headline_metric(section: Section) -> str | None:
    """Return the metric of samples that verdicts are made of: the Fréchet distance where there is one."""
    return next(iter(metrics_of(section)), None)


@once
def longest_sources(section: Section) -> list[Source]:
    """Return, of every model, sampler and target, the longest chain that the section holds for this target."""
    scores = section.counted
    samples = (scores["steps"].fillna(0) > 0) | (scores["sampler"] == "exact")
    chains = scores[samples & ~scores["sampler"].isin(["base", "data"])]
    chains = chains[~chains["metric"].map(about_density).astype(bool)]
    longest = chains.groupby(["sampler", "beta"], dropna=False)["steps"].transform("max")
    sources = map(Source._make, records(chains.loc[chains["steps"] == longest, list(Source._fields)].drop_duplicates()))
    return sorted(
        sources, key=lambda chain: (chain.label, beta_order(chain.beta), chain.sampler, chain.step_size or 0.0)
    )


def compare(section: Section, metrics: Sequence[str]) -> list[Comparison]:
    """Compare every longest chain with its own base and with the base of every model without a chain (such as a GAN)."""
    found, read = [], section.by_source
    bases = list(dict.fromkeys(source for metric, source in read if source.sampler == "base" and metric in metrics))
    treatments = longest_sources(section)
    with_chains = {treatment.label for treatment in treatments}
    for treatment in treatments:
        own = [base for base in bases if base.label == treatment.label]
        for reference in [*own, *(base for base in bases if base.label not in with_chains)]:
            for metric in metrics:
                sides = [read[metric, side].values if (metric, side) in read else {} for side in (treatment, reference)]
                difference, why, _ = pair(*sides)
                found.append(Comparison(treatment, reference, metric, difference, why))
    return found


@once
def likelihood_gains(section: Section, beta: float = 1.0) -> dict[str, Estimate]:
    """Return the mean gain of the energy at β over its base on held-out data, by model, where each run states one value."""
    scores = section.counted
    gains: dict[str, Estimate] = {}
    gained = scores[(scores["metric"] == "likelihood-gain") & (scores["beta"] == beta)]
    for label, own in gained.groupby("label", sort=False):
        if own["key"].nunique() == 1 and (own.groupby("seed")["value"].nunique() == 1).all():
            gains[str(label)] = mean_interval(own.drop_duplicates("seed")["value"].tolist())
    return gains
