"""Scores by where their samples come from, and paired differences of two such sources."""

from __future__ import annotations

import functools
import math
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.stats import Estimate, PairedDifference, paired_difference

__all__ = [
    "CALIBRATED_BETA",
    "Source",
    "SourceValues",
    "beta_text",
    "by_source",
    "is_variant",
    "pair",
    "reading",
    "records",
    "source_of",
]

CALIBRATED_BETA = math.inf
"""In a section's frames, the β of rows at each run's own calibrated temperature: one readout, though its value differs from run to run."""
_LIKE = ["model", "label", "sampler", "beta", "step_size", "steps", "metric", "key"]


class Source(NamedTuple):
    """Where samples or densities come from: a model's base, its latent chain with a target and a length, or real data.

    `beta` is `CALIBRATED_BETA` where every run has its own.
    """

    label: str
    sampler: str
    beta: float | None
    step_size: float | None
    steps: int

    @property
    def is_chain(self) -> bool:
        """Whether samples come from a latent chain rather than straight from the base."""
        return self.sampler not in ("base", "data")


def is_variant(model: str, label: str) -> bool:
    """Whether a label is that of a model with settings of its own, rather than the model's name, maybe with a piece of the identity."""
    return label.partition(" (")[0] != model


@dataclass(frozen=True)
class SourceValues:
    """The values of one source in one metric, by score key and seed, with the runs that they are of."""

    model: str
    source: Source
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)

    @property
    def main_key(self) -> str:
        """The score key that most seeds have."""
        return max(self.values, key=lambda key: (len(self.values[key]), key))


def beta_text(beta: float) -> str:
    """Return an inverse temperature in a few characters: "β=100", or "β̂" for each run's calibrated one."""
    return "β̂" if beta == CALIBRATED_BETA else f"β={beta:g}"


def beta_order(beta: float | None) -> float:
    """Return what sorts temperatures: rising, with the calibrated one right after the model's own."""
    return math.nextafter(1.0, 2.0) if beta == CALIBRATED_BETA else beta or 0.0


def records(frame: pd.DataFrame) -> list[Any]:
    """Return the rows as named tuples with None for whatever pandas uses for "missing"."""
    columns = (_plain(frame[name]) for name in frame.columns)
    return list(map(_row_type(tuple(frame.columns))._make, zip(*columns, strict=True)))


def _plain(column: pd.Series) -> list[Any]:
    """Return the values as plain Python has them."""
    missing = column.isna().to_numpy(dtype=bool)
    values: list[Any] = column.astype(object).tolist()
    return [None if gone else value for gone, value in zip(missing, values, strict=True)] if missing.any() else values


@functools.cache
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names)


def source_of(record: Any) -> Source:
    """Return the source of a record of scores."""
    return Source(record.label, record.sampler, record.beta, record.step_size, record.steps or 0)


def by_source(scores: pd.DataFrame) -> dict[tuple[str, Source], SourceValues]:
    """Return the values of scores by metric and source, in order of first appearance."""
    found: dict[tuple[str, Source], SourceValues] = {}
    if scores.empty:
        return found
    groups = scores.groupby(_LIKE, sort=False, dropna=False).ngroup().to_numpy()
    order, starts = np.argsort(groups, kind="stable"), np.unique(groups, return_index=True)[1]
    members = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    seeds, values, runs = (_plain(scores[name]) for name in ("seed", "value", "run"))
    for score, rows in zip(records(scores[_LIKE].iloc[starts]), map(np.ndarray.tolist, members), strict=True):
        source = source_of(score)
        own = found.setdefault((score.metric, source), SourceValues(score.model, source))
        own.values.setdefault(score.key, {}).update((seeds[row], values[row]) for row in rows)
        own.runs.update((seeds[row], runs[row]) for row in rows)
    return found


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


def reading(difference: Estimate | None, sense: int) -> str:
    """Return a paired difference in words: better, worse, higher, lower, no clear difference, no verdict or not comparable.

    Arguments:
        difference: first − second, None where nothing can be paired.
        sense: +1 where higher is better, −1 where lower is, 0 where neither is.
    """
    if difference is None:
        return "not comparable"
    side = difference.side()
    if side in ("no interval", "unclear"):
        return "no verdict" if side == "no interval" else "no clear difference"
    if not sense:
        return "higher" if side == "above" else "lower"
    return "better" if (side == "above") == (sense > 0) else "worse"
