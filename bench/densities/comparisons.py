"""Likelihoods compared: a GEBM with its own base and with the maximum-likelihood flow of the same architecture.

Over shared seeds and shared test rows; a difference smaller than the standard error of log Z is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.report.certificate import networks
from bench.report.comparisons import counted
from bench.results.sources import records
from bench.stats import TwoLevelDifference, two_level_difference

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["LikelihoodComparison", "Likelihoods", "root_mean_square"]

OWN_BASE = "its own base"
_Points = dict[int, NDArray[np.float64]]


@dataclass(frozen=True)
class LikelihoodComparison:
    """treatment − reference in mean test log-likelihood, nats.

    Attributes:
        treatment: label of a model.
        reference: label of another, or "its own base".
        difference: over shared seeds and test rows; None where nothing can be paired.
        log_partition_error: root mean square over seeds of the standard errors of log Z that enter it.
    """

    treatment: str
    reference: str
    difference: TwoLevelDifference | None
    log_partition_error: float

    @property
    def drowned(self) -> bool:
        """Whether log Z is more uncertain than the difference is large."""
        return self.difference is not None and self.log_partition_error > abs(self.difference.estimate.mean)

    @property
    def reading(self) -> str:
        """The outcome in words."""
        if self.difference is None:
            return "not comparable"
        side = self.difference.estimate.side()
        if side == "no interval":
            return "no verdict"
        if self.drowned or side == "unclear":
            return "no clear difference"
        return "better" if side == "above" else "worse"


class Likelihoods:
    """The likelihood readouts of a section that count, by model, each with what it rests on.

    Arguments:
        section: the dataset's part of the report.
    """

    def __init__(self, section: Section) -> None:
        self.section = section
        readouts = section.readouts[(section.readouts["status"] != "unfinished") & (section.readouts["stale"] == "")]
        self.by_label: dict[str, list[Any]] = {}
        for row in sorted(records(readouts), key=lambda row: row.seed):
            if row.row.get("likelihood"):
                self.by_label.setdefault(row.label, []).append(row)
        order = [label for label in section.runs["label"].unique() if label in self.by_label]
        self.by_label = {label: self.by_label[label] for label in order}
        self.rows: dict[str, dict[str, Any]] = {}
        for row in records(counted(section.summary)):
            self.rows.setdefault(row.metric, {})[row.label] = row

    def is_exact(self, label: str) -> bool:
        """Return whether a model's likelihoods need no log Z."""
        return all(row.row["likelihood"]["exact"] for row in self.by_label[label])

    def partitions(self, label: str) -> list[dict[str, Any]]:
        """Return a model's estimates of log Z."""
        stated = [_partition(row) for row in self.by_label[label]]
        return [each for each in stated if each]

    def log_partition_error(self, label: str) -> float:
        """Return the root mean square over seeds of the standard errors of a model's log Z."""
        return root_mean_square([each.get("standard_error") or 0.0 for each in self.partitions(label)])

    @cached_property
    def matched_flow(self) -> str | None:
        """The maximum-likelihood flow with the architecture of the GEBMs' bases; None where there is none."""
        architecture = {
            label: [run.architecture.get("flow") for run in runs] for label, runs in networks(self.section).items()
        }
        bases = {
            flow for label in self.by_label if not self.is_exact(label) for flow in architecture.get(label, ())
        } - {None}
        return next(
            (
                label
                for label in self.by_label
                if self.is_exact(label) and bases.intersection(architecture.get(label, ()))
            ),
            None,
        )

    @cached_property
    def comparisons(self) -> list[LikelihoodComparison]:
        """Every GEBM with its own base where that is no model of the section, and every model with the flow that GEBMs stand on."""
        reference, found = self.matched_flow, []
        for label in self.by_label:
            error, points = self.log_partition_error(label), self._points(label, "points")
            if not self.is_exact(label) and (reference is None or not self._stands_on(label, reference)):
                difference = _difference(points, self._points(label, "base"))
                found.append(LikelihoodComparison(label, OWN_BASE, difference, error))
            if reference is not None and label != reference:
                difference = _difference(points, self._points(reference, "points"))
                found.append(LikelihoodComparison(label, reference, difference, error))
        return found

    def _points(self, label: str, name: str) -> _Points:
        """Return the log-densities of the test rows by seed, left out where they are unusable."""
        found = {}
        for row in self.by_label[label]:
            partition = _partition(row)
            path = row.arrays.get("points" if row.row["likelihood"]["exact"] else name)
            if path is None or (partition and not partition.get("reportable")):
                continue
            try:
                points = np.load(path, allow_pickle=False).astype(np.float64)
            except (OSError, ValueError, EOFError):
                continue
            if np.isfinite(points).all():
                found[row.seed] = points
        return found

    def _stands_on(self, label: str, flow: str) -> bool:
        """Return whether the bases of a GEBM are those very flows, so that both comparisons are one."""
        bases, flows = self._points(label, "base"), self._points(flow, "points")
        shared = bases.keys() & flows.keys()
        return bool(shared) and all(np.array_equal(bases[seed], flows[seed]) for seed in shared)


def root_mean_square(values: Sequence[float]) -> float:
    """Return 0 for none."""
    return fmean([value**2 for value in values]) ** 0.5 if values else 0.0


def _partition(row: Any) -> dict[str, Any] | None:
    stated: dict[str, Any] | None = row.row.get("log_partition")
    return stated if stated and stated.get("estimate") is not None else None


def _difference(first: _Points, second: _Points) -> TwoLevelDifference | None:
    if len({len(points) for points in (*first.values(), *second.values())}) > 1:
        return None
    return two_level_difference(first, second)
