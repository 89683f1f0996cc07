"""Scores by where their samples come from, and paired differences of two such sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from bench.stats import PairedDifference, paired_difference

__all__ = ["Source", "pair", "records", "source_of"]


class Source(NamedTuple):
    """Where samples or densities come from: a model's base, its latent chain with a target and a length, or real data."""

    label: str
    sampler: str
    beta: float | None
    step_size: float | None
    steps: int

    @property
    def is_chain(self) -> bool:
        """Whether samples come from a latent chain rather than straight from the base."""
        return self.sampler not in ("base", "data")


def records(frame: pd.DataFrame) -> list[Any]:
    """Return the rows as named tuples with None for whatever pandas uses for "missing"."""
    return list(frame.astype(object).where(frame.notna(), None).itertuples(index=False))


def source_of(record: Any) -> Source:
    """Return the source of a record of scores."""
    return Source(record.label, record.sampler, record.beta, record.step_size, record.steps or 0)


def pair(
    first: Mapping[str, Mapping[int, float]], second: Mapping[str, Mapping[int, float]]
) -> tuple[PairedDifference | None, str, str]:
    """Return first − second of values by score key and seed, under the key that most seeds share; why there is none; that key.

    Values of different keys are never compared.
    """
    keys = sorted(first.keys() & second.keys(), key=lambda key: (-len(first[key].keys() & second[key].keys()), key))
    if not keys:
        return None, "scored under different keys" if first and second else "not scored on both sides", ""
    difference = paired_difference(first[keys[0]], second[keys[0]])
    return difference, "" if difference.seeds else "no shared seed", keys[0]
