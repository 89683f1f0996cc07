"""The certificate: that models of one comparison have the same networks and, per seed, start from the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report.text import escape, short_count, table
from bench.results.facts import RunFacts

__all__ = ["Match", "Networks", "check", "network_cells", "network_table"]

Networks = Mapping[str, Sequence[RunFacts]]
"""Facts of the runs by the label that their model has in the report."""

_DIGITS = 8


@dataclass(frozen=True)
class Match:
    """The outcome for one question: `differences` names what does not match or was not recorded."""

    question: str
    compared: int
    differences: tuple[str, ...]

    @property
    def matched(self) -> bool:
        """Whether at least two models were compared and nothing differs."""
        return self.compared > 1 and not self.differences

    @property
    def sentence(self) -> str:
        """The outcome as plain text."""
        if self.compared < 2:
            return f"{self.question}: only one model, nothing to match"
        if self.matched:
            return f"{self.question}: matched across {self.compared} models"
        return f"{self.question}: NOT MATCHED — {'; '.join(self.differences)}"

    def __str__(self) -> str:
        """The outcome in Markdown."""
        loud = f"{self.question}: NOT MATCHED"
        return escape(self.sentence).replace(loud, f"**{loud}**", 1)


def check(networks: Networks) -> list[Match]:
    """Architecture over all runs, then initial weights seed by seed."""
    everything = [(label, facts) for label, runs in networks.items() for facts in runs]
    matches = [
        Match(
            "Architecture",
            len({label for label, _ in everything}),
            _differences([(f"{label} seed {facts.seed}", facts.architecture) for label, facts in everything]),
        )
    ]
    for seed in sorted({facts.seed for _, facts in everything}):
        runs = [(label, facts.initial_weights) for label, facts in everything if facts.seed == seed]
        matches.append(Match(f"Initial weights, seed {seed}", len({label for label, _ in runs}), _differences(runs)))
    return matches


def network_table(networks: Networks) -> str:
    """Parameters and FLOPs of every network in Markdown, a row for each model."""
    header, rows = network_cells(networks)
    cells = [[escape(cell) for cell in row] for row in rows]
    return table([escape(name) for name in header], cells, numeric=len(header) - 1)


def network_cells(networks: Networks) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the same, as plain text."""
    names = sorted(
        {name for runs in networks.values() for facts in runs for name in {**facts.parameters, **facts.flops}}
    )
    header = ["model"]
    for name in names:
        header += [f"{name}: parameters", f"{name}: FLOPs per sample"]
    rows = []
    for label, runs in networks.items():
        row = [label]
        for name in names:
            row.append(_distinct([f"{facts.parameters[name]:,}" for facts in runs if name in facts.parameters]))
            row.append(_distinct([short_count(facts.flops[name]) for facts in runs if name in facts.flops]))
        rows.append(row)
    return header, rows


def _distinct(texts: Sequence[str]) -> str:
    return " / ".join(dict.fromkeys(texts)) or "—"


def _differences(runs: Sequence[tuple[str, Mapping[str, str]]]) -> tuple[str, ...]:
    """What differs, network by network; runs that agree are named together."""
    found: list[str] = []
    for network in sorted({name for _, digests in runs for name in digests}):
        holders: dict[str, list[str]] = {}
        for who, digests in runs:
            holders.setdefault(digests.get(network, ""), []).append(who)
        if len(holders) > 1:
            sides = [f"{digest[:_DIGITS] or 'not recorded'} ({', '.join(who)})" for digest, who in holders.items()]
            found.append(f"{network}: {' ≠ '.join(sides)}")
    if not any(digests for _, digests in runs):
        found.append("no digest was recorded")
    return tuple(found)
