"""Two sides run by run: what differs in what was run, which runs pair, the paired differences, and why the rest has no partner.

Runs pair where dataset content, model, everything else in their identity, and seed are equal; scores pair where readout, metric and key are
too. Numbers of other code or libraries than the present are compared like any others: that is what a comparison is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.report.comparisons import Readout, readout_of
from bench.report.text import direction
from bench.results.compare.sides import Run, Side, runs_of, scores_of
from bench.results.scores import UNFINISHED, Score
from bench.stats import PairedDifference, holm, paired_difference
from bench.stats.estimates import t_tail

__all__ = ["Change", "Comparison", "Difference", "Unpaired", "compare", "to_json"]

_Pairs = Iterable[tuple[str, int]]
_Index = Mapping[tuple[str, int], Run]
_Place = tuple[str, str, str, Readout, str, str]  # dataset, model, identity, readout, metric, key


@dataclass(frozen=True)
class Change:
    """A field that runs of the two sides differ in, and its values on each side, most frequent first."""

    path: str
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """first − second of one metric of one readout, paired by seed."""

    dataset: str
    model: str
    identity: str
    metric: str
    readout: Readout
    key: str
    difference: PairedDifference
    p_holm: float | None = None

    @property
    def reading(self) -> str:
        """Which side is better, where an interval says so."""
        estimate = self.difference.estimate
        side = estimate.side() if estimate else "no interval"
        if side in ("no interval", "unclear"):
            return "one seed: no interval" if side == "no interval" else "no clear difference"
        sense = direction(self.metric)
        if not sense:
            return "first is higher" if side == "above" else "first is lower"
        return "first is better" if (side == "above") == (sense > 0) else "second is better"


@dataclass(frozen=True)
class Unpaired:
    """Runs of one side, with one identity, that pair with nothing, and why."""

    side: int
    dataset: str
    model: str
    identity: str
    seeds: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Comparison:
    """All that there is to say about two sides."""

    first: Side
    second: Side
    changes: Sequence[Change]
    surroundings: Sequence[Change]
    pairs: int
    differences: Sequence[Difference]
    unpaired: Sequence[Unpaired]
    equal: int


def compare(first: Side, second: Side) -> Comparison:
    """Everything that two sides share and do not.

    Raises:
        StoreError: if one of them is no store, or holds no such run.
    """
    sides = [runs_of(side) for side in (first, second)]
    scores = [scores_of(side, runs) for side, runs in zip((first, second), sides, strict=True)]
    index = [{(run.identity, run.seed): run for run in runs.values()} for runs in sides]
    shared = index[0].keys() & index[1].keys()
    differences = _differences(scores[0], scores[1], shared)
    told = [each for each in differences if any(each.difference.differences)]
    return Comparison(
        first,
        second,
        _changes([run.spec for run in sides[0].values()], [run.spec for run in sides[1].values()]),
        _changes(*([{"code": run.code, "device": run.device} for run in runs.values()] for runs in sides)),
        len(shared),
        _corrected(told),
        [*_unpaired(1, index[0], index[1]), *_unpaired(2, index[1], index[0]), *_unscored(scores, shared)],
        len(differences) - len(told),
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "first": str(comparison.first),
        "second": str(comparison.second),
        "pairs": comparison.pairs,
        "equal_scores": comparison.equal,
        "identity": [asdict(change) for change in comparison.changes],
        "surroundings": [asdict(change) for change in comparison.surroundings],
        "differences": [_difference_json(each) for each in comparison.differences],
        "not_comparable": [asdict(each) for each in comparison.unpaired],
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    found = each.difference
    return {
        **{
            name: getattr(each, name) for name in ("dataset", "model", "identity", "metric", "key", "reading", "p_holm")
        },
        "readout": each.readout._asdict(),
        "estimate": asdict(found.estimate) if found.estimate else None,
        "sign_flip_p_value": found.p_value,
        "seeds": found.seeds,
        "dropped": found.dropped,
    }


def _differences(
    first: Sequence[Score], second: Sequence[Score], shared: Iterable[tuple[str, int]]
) -> list[Difference]:
    pairs = set(shared)
    one, other = _values(first, pairs), _values(second, pairs)
    return [
        Difference(dataset, model, identity, metric, readout, key, paired_difference(one[place], other[place]))
        for place in one
        if place in other and one[place].keys() & other[place].keys()
        for dataset, model, identity, readout, metric, key in [place]
    ]


def _values(scores: Iterable[Score], pairs: set[tuple[str, int]]) -> dict[_Place, dict[int, float]]:
    found: dict[_Place, dict[int, float]] = {}
    for score in scores:
        readout = readout_of(score)
        if readout is None or score.value is None or score.metric is None or (score.identity, score.seed) not in pairs:
            continue
        if score.status == UNFINISHED:
            continue
        place = (
            score.dataset,
            score.model,
            score.identity,
            readout._replace(label=score.model),
            score.metric,
            score.key,
        )
        found.setdefault(place, {})[score.seed] = score.value
    return found


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """With p-values corrected for being read together."""
    tested = [
        (index, estimate)
        for index, each in enumerate(differences)
        if (estimate := each.difference.estimate) is not None and estimate.standard_error is not None
    ]
    p_values = [min(1.0, 2 * min(t_tail(e, 0.0, "above"), t_tail(e, 0.0, "below"))) for _, e in tested]
    corrected = list(differences)
    for (index, _), p_holm in zip(tested, holm(p_values), strict=True):
        corrected[index] = replace(corrected[index], p_holm=p_holm)
    return corrected


def _changes(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Fields whose values are not the same set on both sides."""
    found = []
    for path in dict.fromkeys(path for spec in (*first, *second) for path in spec):
        sides = [_distinct(specs, path) for specs in (first, second)]
        if set(sides[0]) != set(sides[1]):
            found.append(Change(path, *sides))
    return found


def _distinct(specs: Sequence[Mapping[str, Any]], path: str) -> tuple[str, ...]:
    values = [str(spec.get(path, "not set")) for spec in specs]
    return tuple(sorted(set(values), key=lambda value: (-values.count(value), value)))


def _unpaired(side: int, own: _Index, other: _Index) -> list[Unpaired]:
    groups: dict[str, list[Run]] = {}
    for place, run in own.items():
        if place not in other:
            groups.setdefault(run.identity, []).append(run)
    return [
        Unpaired(
            side,
            runs[0].dataset,
            runs[0].model,
            identity,
            tuple(sorted(run.seed for run in runs)),
            _why_alone(runs[0], list(other.values())),
        )
        for identity, runs in groups.items()
    ]


def _why_alone(run: Run, others: Sequence[Run]) -> str:
    """Why a run has no partner: what the nearest run of the other side differs in."""
    if any(other.identity == run.identity for other in others):
        return "the other side has other seeds of it"
    same_data = [other for other in others if other.dataset == run.dataset]
    if not same_data:
        return f"the other side has no run on {run.dataset}"
    same_model = [other for other in same_data if other.model == run.model]
    if not same_model:
        return f"the other side has no {run.model} on {run.dataset}"
    differ = min((_differing(run, other) for other in same_model), key=len)
    if "dataset_digest" in differ:
        return f"{run.dataset} has other content there: dataset_digest differs"
    return f"differs in {', '.join(differ)}"


def _differing(run: Run, other: Run) -> list[str]:
    paths = dict.fromkeys([*run.spec, *other.spec])
    return [path for path in paths if run.spec.get(path) != other.spec.get(path)]


def _unscored(scores: Sequence[Sequence[Score]], shared: _Pairs) -> Iterable[Unpaired]:
    """Runs on both sides whose scores are not: a run without scores, or scores under other keys."""
    pairs = set(shared)
    for number, side in enumerate(scores, start=1):
        lacking = [score for score in side if score.metric is None or score.status == UNFINISHED]
        runs = dict.fromkeys((s.dataset, s.model, s.identity, s.seed, s.status, s.reason) for s in lacking)
        for dataset, model, identity, seed, status, reason in runs:
            if (identity, seed) in pairs:
                yield Unpaired(number, dataset, model, identity, (seed,), f"{status}: {reason}".rstrip(": "))
    one, other = (_values(side, pairs) for side in scores)
    keys = {place[:-1] for place in one} & {place[:-1] for place in other}
    said = set()
    for number, own, others in ((1, one, other), (2, other, one)):
        for place, seeds in own.items():
            dataset, model, identity, _, metric, _ = place
            if place not in others and place[:-1] in keys and (number, identity, metric) not in said:
                said.add((number, identity, metric))
                why = f"{metric} is scored under different keys"
                yield Unpaired(number, dataset, model, identity, tuple(sorted(seeds)), why)
