"""Which rows of a summary a report about chains shows, and in what order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.components import registry
from bench.report.comparisons import counted
from bench.results.sources import records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LAWS", "RHAT_LIMIT", "betas_of", "largest_budget", "models_of", "samplers_of"]

LAWS = {"base": "base alone", "resampled": "no chain (resampled)", "reference": "reference's own error"}
"""Rows that are no chain's, as a reader calls them."""

RHAT_LIMIT = 1.01


def largest_budget(summary: pd.DataFrame) -> list[Any]:
    """Return, of every model, sampler and β, the rows of the longest chain, and what is no chain's."""
    found = counted(summary)
    steps = found["steps"].fillna(0)
    longest = steps.groupby([found["label"], found["sampler"], found["beta"]], dropna=False).transform("max")
    return records(found[steps == longest])


def models_of(rows: Iterable[Any]) -> list[str]:
    """Return the labels of the models in order."""
    return list(dict.fromkeys(row.label for row in rows))


def betas_of(rows: Iterable[Any]) -> list[float]:
    """Return the targets of chains."""
    return sorted({row.beta for row in rows if row.beta is not None and row.steps})


def samplers_of(rows: Iterable[Any]) -> list[str]:
    """Return what is no chain's first, then samplers as the registry lists them."""
    order = [*LAWS, *registry.entries("samplers")]
    names = {row.sampler for row in rows if row.sampler is not None}
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))
