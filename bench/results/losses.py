"""Seeds that were asked for and gave no score, or a collapsed one: what a mean over the seeds that are left does not show."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from bench.results.sources import Source, records, source_of

__all__ = ["Losses", "Lost", "losses_in"]

_NONE: frozenset[int] = frozenset()


class Lost(NamedTuple):
    """The seeds asked of a model, and those of them that a readout of it lost.

    Attributes:
        label: the model's.
        asked: all seeds.
        refused: scores left out because they cannot be vouched for.
        collapsed: scores of collapsed samples; they are there, and count.
        diverged: no score because the run failed: it diverged, or ended by an error.
    """

    label: str
    asked: Set[int]
    refused: Set[int]
    collapsed: Set[int]
    diverged: Set[int]

    @property
    def without_score(self) -> Set[int]:
        """The seeds that have nothing to average."""
        return self.refused | self.diverged

    def __or__(self, other: Lost) -> Lost:
        """Return what two readouts of one model lost."""
        return Lost(self.label, *(one | two for one, two in zip(self[1:], other[1:], strict=True)))


@dataclass(frozen=True)
class Losses:
    """What the readouts of a section lost: seeds asked for and failed by label, refused and collapsed by source."""

    asked: Mapping[str, Set[int]]
    failed: Mapping[str, Set[int]]
    refused: Mapping[Source, Set[int]]
    collapsed: Mapping[Source, Set[int]]

    def of(self, label: str, sources: Collection[Source], scored: Set[int]) -> Lost:
        """Return what some readouts of a model lost.

        Arguments:
            label: the model's.
            sources: the readouts.
            scored: seeds that have a score all the same.
        """
        refused, collapsed = (
            _NONE.union(*(found.get(source, _NONE) for source in sources)) for found in (self.refused, self.collapsed)
        )
        refused -= scored
        diverged = self.failed.get(label, _NONE) - scored - refused
        return Lost(label, self.asked.get(label, _NONE), refused, collapsed, diverged)


def losses_in(scores: pd.DataFrame, runs: pd.DataFrame) -> Losses:
    """Return what the readouts of these scores lost; what other code or an unfinished run made is not lost but to be made again."""
    present = scores[(scores["stale"] == "") & (scores["status"] != "unfinished")]
    by_source: dict[str, dict[Source, set[int]]] = {"refused": {}, "collapsed": {}}
    for name, found in by_source.items():
        for row in records(present[present[name]]):
            found.setdefault(source_of(row), set()).add(row.seed)
    failed = runs[runs["status"] == "failed"]
    asked, gone = ({str(label): set(own) for label, own in each.groupby("label")["seed"]} for each in (runs, failed))
    return Losses(asked, gone, **by_source)
