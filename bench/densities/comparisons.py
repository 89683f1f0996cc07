"""Likelihoods compared: a GEBM with its own base, with the maximum-likelihood flow of the same architecture, and with the same flow that
got the parameters or the time of an energy instead.

Over shared seeds and shared test rows; a difference smaller than the standard error of log Z is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.report.certificate import networks
from bench.report.comparisons import counted
from bench.results.likelihoods import likelihood_rows, log_densities, log_partition, log_partition_error
from bench.results.sources import records
from bench.stats import TwoLevelDifference, holm_of, two_level_difference

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["OWN_BASE", "LikelihoodComparison", "Likelihoods"]

OWN_BASE = "its own base"
LEVEL = 0.05


@dataclass(frozen=True)
class LikelihoodComparison:
    """treatment − reference in mean test log-likelihood, nats.

    Attributes:
        treatment: label of a model.
        reference: label of another, or "its own base".
        difference: over shared seeds and test rows; None where nothing can be paired.
        log_partition_error: root mean square over seeds of the standard errors of log Z that enter it.
        p_holm: two-sided p-value of "no difference", corrected for all comparisons of the section; None without an interval.
    """

    treatment: str
    reference: str
    difference: TwoLevelDifference | None
    log_partition_error: float
    p_holm: float | None = None

    @property
    def drowned(self) -> bool:
        """Whether log Z is more uncertain than the difference is large."""
        return self.difference is not None and self.log_partition_error > abs(self.difference.estimate.mean)

    @property
    def reading(self) -> str:
        """The outcome in words, after Holm's correction."""
        if self.difference is None:
            return "not comparable"
        if self.p_holm is None:
            return "no verdict"
        if self.drowned or self.p_holm > LEVEL:
            return "no clear difference"
        return "better" if self.difference.estimate.mean > 0 else "worse"


class Likelihoods:
    """The likelihood readouts of a section that count, by model, each with what it rests on.

    Arguments:
        section: the dataset's part of the report.
    """

    def __init__(self, section: Section) -> None:
        self.section = section
        self.by_label = likelihood_rows(section)
        self.rows: dict[str, dict[str, Any]] = {}
        for row in records(counted(section.summary)):
            self.rows.setdefault(row.metric, {})[row.label] = row

    def is_exact(self, label: str) -> bool:
        """Return whether a model's likelihoods need no log Z."""
        return all(row.row["likelihood"]["exact"] for row in self.by_label[label])

    def partitions(self, label: str) -> list[dict[str, Any]]:
        """Return a model's estimates of log Z."""
        return [each for each in map(log_partition, self.by_label[label]) if each]

    def log_partition_error(self, label: str) -> float:
        """Return the root mean square over seeds of the standard errors of a model's log Z; 0 for none."""
        return log_partition_error(self.by_label[label])

    @cached_property
    def configs(self) -> dict[str, dict[str, Any]]:
        """What every model is built and trained by."""
        return {label: runs[0].spec.get("config", {}) for label, runs in networks(self.section).items()}

    def is_learned(self, label: str) -> bool:
        """Return whether a model has an energy that was learned: others are exact, or there to calibrate log Z."""
        return any(part.get("known") is None for part in self.partitions(label))

    @cached_property
    def matched_flow(self) -> str | None:
        """The maximum-likelihood flow with the architecture of the GEBMs' bases, a trained one if there is; None where there is none."""
        every = networks(self.section).items()
        flows = {label: {run.architecture.get("flow") for run in runs} - {None} for label, runs in every}
        exact = {label: self.is_exact(label) for label in self.by_label}
        bases = {flow for label in exact if not exact[label] for flow in flows.get(label, ())}
        matched = [label for label in exact if exact[label] and bases & flows.get(label, set())]
        return min(matched, key=lambda label: bool({"control", "times"} & self.configs[label].keys()), default=None)

    def stands_elsewhere(self, label: str) -> bool:
        """Return whether a GEBM starts from another flow than the matched one: of other quality, size or family."""
        base, flow = self.configs[label].get("base"), self.matched_flow
        return base is not None and flow is not None and base["model"] != self.by_label[flow][0].model

    @cached_property
    def comparisons(self) -> list[LikelihoodComparison]:
        """Every GEBM with its own base where that is no model of the section, every model with the flow that GEBMs stand on, and an energy
        learned on that flow with its controls; none of critics, whose energies were not learned.
        """
        flow, found = self.matched_flow, []
        controls = [label for label in self.by_label if "control" in self.configs[label]]
        for label in self.by_label:
            if not self.is_exact(label) and not self.is_learned(label):
                continue
            references = []
            if not self.is_exact(label) and (flow is None or not self._stands_on(label, flow)):
                references.append((OWN_BASE, self._points(label, "base")))
            if flow is not None and label != flow:
                references.append((flow, self._points(flow, "points")))
            if self.is_learned(label) and not self.stands_elsewhere(label):
                references += [(control, self._points(control, "points")) for control in controls]
            error, points = self.log_partition_error(label), self._points(label, "points")
            for reference, others in references:
                lengths = {len(values) for values in (*points.values(), *others.values())}
                difference = two_level_difference(points, others) if len(lengths) < 2 else None
                found.append(LikelihoodComparison(label, reference, difference, error))
        adjusted = holm_of(each.difference.estimate if each.difference else None for each in found)
        return [replace(each, p_holm=p_holm) for each, p_holm in zip(found, adjusted, strict=True)]

    def _points(self, label: str, name: str) -> dict[int, NDArray[np.float64]]:
        """Return the log-densities of the test rows by seed, left out where they are unusable."""
        return log_densities(self.by_label[label], name)

    def _stands_on(self, label: str, flow: str) -> bool:
        """Return whether the bases of a GEBM are those very flows, so that both comparisons are one."""
        bases, flows = self._points(label, "base"), self._points(flow, "points")
        shared = bases.keys() & flows.keys()
        return bool(shared) and all(np.array_equal(bases[seed], flows[seed]) for seed in shared)
