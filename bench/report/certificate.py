"""The certificate: that the models of one comparison have the same networks and, seed by seed, start from the same weights.

Only models that name the same networks are compared; a model with networks of its own is listed and not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.blocks import Block, Cell, Column, Table, TextBlock
from bench.report.text import listed, short_count
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["Match", "certificate", "check", "mismatches", "networks", "rivals_name"]

_DIGITS = 8


@dataclass(frozen=True)
class Match:
    """The outcome for one question: `models` were compared, `differences` names what does not match or was not recorded."""

    question: str
    models: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def matched(self) -> bool:
        """Whether at least two models were compared and nothing differs."""
        return len(self.models) > 1 and not self.differences

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if len(self.models) < 2:
            return f"{self.question}: only one model, nothing to match"
        if self.matched:
            return f"{self.question}: matched across {len(self.models)} models"
        return f"{self.question}: NOT MATCHED — {'; '.join(self.differences)}"


def networks(section: Section) -> dict[str, list[Any]]:
    """Return the trained runs of every model by label, in the order of the section, seeds ascending."""
    found: dict[str, list[Any]] = {}
    for run in records(section.runs[(section.runs["model"] != "data") & (section.runs["device"] != "")]):
        found.setdefault(run.label, []).append(run)
    return {label: sorted(runs, key=lambda run: run.seed) for label, runs in found.items()}


def check(section: Section) -> list[Match]:
    """Compare architectures over all runs, then initial weights seed by seed; nothing where no run was trained."""
    runs = [(label, run) for label, own in networks(section).items() for run in own]
    named = [frozenset(run.architecture) for _, run in runs]
    usual = max(named, key=lambda names: (named.count(names), len(names)), default=frozenset())
    compared = [run for run, names in zip(runs, named, strict=True) if names == usual]
    if not runs:
        return []
    found = [_match("Architecture", [(label, f"{label} seed {run.seed}", run.architecture) for label, run in compared])]
    for seed in sorted({run.seed for _, run in compared}):
        starts = [(label, label, run.initial_weights) for label, run in compared if run.seed == seed]
        found.append(_match(f"Initial weights, seed {seed}", starts))
    return found


def mismatches(section: Section) -> list[str]:
    """Return what must be said loudly: networks that were to match and do not."""
    return [match.sentence for match in check(section) if len(match.models) > 1 and not match.matched]


def rivals_name(known: Mapping[str, Sequence[Any]], treatment: str, rivals: Sequence[str]) -> str:
    """Return what these models without a chain may be called beside that GEBM.

    GANs of the same architecture are those with the very same networks as the GEBM, whose discriminator they use in training only; `known`
    are the trained runs as `networks` returns them.
    """
    own = _digests(known.get(treatment, ()))
    theirs = [_digests(known.get(rival, ())) for rival in rivals]
    several = len(rivals) > 1
    noun = "models without a chain" if several else "a model without a chain"
    if not own or not all(theirs):
        return f"{noun} (architectures not recorded)"
    if all(len(own) == 1 and digests == own for digests in theirs) and all(len(dict(each)) > 1 for each in own):
        return f"the GAN{'s' * several} of the same architecture"
    return f"{noun} and of {'other architectures' if several else 'another architecture'}"


def certificate(section: Section) -> list[Block]:
    """Return the table of parameters and FLOPs of every network, and the outcomes of the match."""
    found = networks(section)
    counts = {name: None for own in found.values() for run in own for name in {**run.parameters, **run.flops}}
    if not counts:
        return []
    columns = [Column("model")]
    for name in sorted(counts):
        columns += [Column(f"{name}: {what}", numeric=True) for what in ("parameters", "FLOPs per sample")]
    lines = []
    for label, own in found.items():
        cells = [Cell("", code=label)]
        for name in sorted(counts):
            cells.append(_distinct((run.parameters.get(name) for run in own), "{:,}".format))
            cells.append(_distinct((run.flops.get(name) for run in own), short_count))
        lines.append(cells)
    matches = check(section)
    items = [match.sentence for match in matches]
    if own_networks := [label for label in found if matches and label not in matches[0].models]:
        items.append(f"Not part of the match, with networks of their own: {listed(own_networks)}")
    return [Table("Certificate of matching architectures", columns, lines), TextBlock("", items=items)]


def _distinct(values: Iterable[int | None], form: Any) -> Cell:
    known = list(dict.fromkeys(value for value in values if value is not None))
    return Cell(" / ".join(map(form, known)) or "—", known[0] if known else None)


def _digests(runs: Iterable[Any]) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(run.architecture.items())) for run in runs if run.architecture}


def _match(question: str, sides: Sequence[tuple[str, str, Mapping[str, str]]]) -> Match:
    """Compare (model, who it is, digests by network); runs that agree are named together."""
    found: list[str] = []
    for network in sorted({name for *_, digests in sides for name in digests}):
        holders: dict[str, list[str]] = {}
        for _, who, digests in sides:
            holders.setdefault(digests.get(network, ""), []).append(who)
        if len(holders) > 1:
            words = [f"{digest[:_DIGITS] or 'not recorded'} ({', '.join(who)})" for digest, who in holders.items()]
            found.append(f"{network}: {' ≠ '.join(words)}")
    if not any(digests for *_, digests in sides):
        found.append("no digest was recorded")
    return Match(question, tuple(dict.fromkeys(label for label, *_ in sides)), tuple(found))
