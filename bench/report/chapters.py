"""A dataset's scores, summary and run facts brought together: what every form of the report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core import registry
from bench.core.machine import no_collection
from bench.metrics import METRICS, base_name
from bench.report.certificate import Match, check
from bench.results.facts import DATA, RunFacts
from bench.results.scores import Section, read_scores, split_sections
from bench.results.summary import SummaryRow, summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chapter", "read_chapters"]

LIKELIHOODS = ("log-likelihood", "base-log-likelihood")
"""Metrics that only models with a density have."""


@dataclass(frozen=True)
class Chapter:
    """One dataset of one suite and profile, with all that is known about it."""

    section: Section
    rows: Sequence[SummaryRow]
    facts: Sequence[RunFacts]

    @property
    def about_chains(self) -> bool:
        """Whether chains were judged here rather than images."""
        return any(
            METRICS[name].about == "chains" for row in self.rows if (name := base_name(row.metric or "")) in METRICS
        )

    @property
    def about_likelihoods(self) -> bool:
        """Whether likelihoods were measured here rather than samples."""
        if self.about_chains:
            return False
        models = registry.entries("models")
        tables = all(models[score.model].fits == ("tabular",) for score in self.section.scores if score.model in models)
        return tables or any(row.metric in LIKELIHOODS for row in self.rows)

    @property
    def labels(self) -> Mapping[str, str]:
        """Label by run; real data in a model's place has none."""
        return {score.run: score.label for score in self.section.scores if score.model != DATA}

    @property
    def networks(self) -> Mapping[str, Sequence[RunFacts]]:
        """Facts by the label of their model, in the order in which models appear."""
        labels = self.labels
        found: dict[str, list[RunFacts]] = {label: [] for label in labels.values()}
        for facts in self.facts:
            if facts.run in labels:
                found[labels[facts.run]].append(facts)
        return {label: sorted(runs, key=lambda each: each.seed) for label, runs in found.items() if runs}

    @property
    def matches(self) -> list[Match]:
        """The certificate's outcomes, architecture first; empty where no facts are known."""
        return check(self.networks) if self.networks else []


def read_chapters(frame: pd.DataFrame, facts: Sequence[RunFacts] = ()) -> list[Chapter]:
    """Read the tidy frame; facts are attached by run id, those of runs that the frame does not hold are left out.

    Raises:
        NothingToReportError: if the frame has no row.
        ValueError: if the frame breaks its contract (see `read_scores`).
    """
    with no_collection():
        chapters = []
        for section in split_sections(read_scores(frame)):
            runs = {score.run for score in section.scores}
            place = (section.suite, section.profile)
            own = [each for each in facts if each.run in runs and (each.suite, each.profile) in (place, ("", ""))]
            chapters.append(Chapter(section, summarise(section.scores), own))
        return chapters
