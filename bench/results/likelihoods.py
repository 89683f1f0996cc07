"""Likelihood readouts as comparisons need them: the log-density of every test row, and how uncertain log Z is."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.files import CorruptFileError, read_array
from bench.results.frame import once
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["likelihood_rows", "log_densities", "log_partition", "log_partition_error"]


@once
def likelihood_rows(section: Section) -> dict[str, list[Any]]:
    """Return the likelihood readouts of a section that count, by label in the order of its runs, each label's by seed."""
    rows = [row for row in records(section.counted_readouts) if row.row.get("likelihood")]
    rows.sort(key=lambda row: row.seed)
    by_label = {label: [row for row in rows if row.label == label] for label in section.runs["label"].unique()}
    return {label: own for label, own in by_label.items() if own}


def log_densities(rows: Iterable[Any], name: str = "points") -> dict[int, NDArray[np.float64]]:
    """Return the log-densities of the test rows by seed, left out where they are unusable.

    Arguments:
        rows: readouts of one model.
        name: `points` for the model's own, `base` for its base's; an exact likelihood has the former only.
    """
    found = {}
    for row in rows:
        partition = log_partition(row)
        path = row.arrays.get("points" if row.row["likelihood"]["exact"] else name)
        if path is None or (partition and not partition.get("reportable")):
            continue
        try:
            points = read_array(path).astype(np.float64)
        except (OSError, CorruptFileError, ValueError):
            continue
        if np.isfinite(points).all():
            found[row.seed] = points
    return found


def log_partition(row: Any) -> dict[str, Any] | None:
    """Return what a readout says of its estimate of log Z; None where there is none."""
    stated: dict[str, Any] | None = row.row.get("log_partition")
    return stated if stated and stated.get("estimate") is not None else None


def log_partition_error(rows: Iterable[Any]) -> float:
    """Return the root mean square over readouts of the standard errors of log Z; 0 where there is no log Z."""
    stated = filter(None, map(log_partition, rows))
    errors = [(each.get("standard_error") or 0.0) ** 2 for each in stated]
    return fmean(errors) ** 0.5 if errors else 0.0
