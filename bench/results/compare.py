"""Two stores, or two parts of one, side by side: what differs in what was run, and what scores differ by where runs pair.

Runs pair that have one identity and one seed: they are the same run by other code, on another machine, or made again. Their scores are
paired by seed, under one key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.store import Store, StoreError
from bench.metrics import metric
from bench.results.frame import Results, scan
from bench.results.sources import Source, records, source_of
from bench.stats import PairedDifference, holm, paired_difference
from bench.stats.estimates import t_tail

__all__ = ["FieldChange", "ScoreDifference", "StoreComparison", "StorePart", "Unpaired", "compare_stores", "to_json"]

WHERE = ("tag", "suite", "code", "device")
_OWN = frozenset({"seed", "schema_version"})
_PLACE = ["dataset", "model", "identity", "sampler", "beta", "step_size", "steps", "metric"]


@dataclass(frozen=True)
class StorePart:
    """A store, or the part of it that `where` names, such as `("tag", "before")`."""

    root: Path
    where: tuple[str, str] | None = None

    @classmethod
    def parse(cls, text: str) -> StorePart:
        """Read `FOLDER`, or `FOLDER@tag=NAME`, `@suite=NAME`, `@code=DIGEST`, `@device=WORDS`; a bare `@NAME` is a tag.

        Raises:
            StoreError: for another word before "=", or an empty one after it.
        """
        folder, at, rest = text.rpartition("@") if "@" in text else (text, "", "")
        if not at:
            return cls(Path(text))
        word, equals, value = rest.partition("=")
        what, name = (word, value) if equals else ("tag", word)
        if what not in WHERE or not name:
            raise StoreError(f"'{text}': write FOLDER, or FOLDER@WHAT=NAME with one of {', '.join(WHERE)} for WHAT")
        return cls(Path(folder), (what, name))

    def __str__(self) -> str:
        return f"{self.root}" + (f"@{'='.join(self.where)}" if self.where else "")

    def read(self) -> Results:
        """Scan the part; each run is there once, though several suites may list it.

        Raises:
            StoreError: if there is no store, no such tag or suite in it, or no run.
        """
        what, name = self.where or ("", "")
        found = scan(Store(self.root).require(), **({what: name} if what in ("tag", "suite") else {}))
        runs = found.runs[found.runs["spec"].map(bool)].drop_duplicates("run")
        if what == "code":
            runs = runs[runs["code"].str.startswith(name)]
        elif what == "device":
            runs = runs[runs["device"].str.contains(name, regex=False)]
        if runs.empty:
            raise StoreError(f"no runs in {self}")
        scores = found.scores[found.scores["run"].isin(runs["run"])]
        return replace(found, runs=runs, scores=scores.drop_duplicates(["run", *_PLACE, "key"]))


@dataclass(frozen=True)
class FieldChange:
    """A field that runs of the two sides differ in, and its values on each side, most frequent first."""

    path: str
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class ScoreDifference:
    """first − second of one metric of one source, paired by seed."""

    dataset: str
    model: str
    identity: str
    metric: str
    source: Source
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
        better = metric(self.metric).direction
        if better == "neither":
            return "first is higher" if side == "above" else "first is lower"
        return "first is better" if (side == "above") == (better == "higher") else "second is better"


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
class StoreComparison:
    """All that there is to say about two parts of stores.

    Attributes:
        first: one part.
        second: the other.
        changes: fields of the runs' identity that differ.
        surroundings: likewise code and device.
        pairs: how many runs pair.
        differences: of scores that differ in some seed.
        unpaired: what cannot be compared.
        equal: how many scores are equal in every seed.
    """

    first: StorePart
    second: StorePart
    changes: Sequence[FieldChange]
    surroundings: Sequence[FieldChange]
    pairs: int
    differences: Sequence[ScoreDifference]
    unpaired: Sequence[Unpaired]
    equal: int


def compare_stores(first: StorePart, second: StorePart) -> StoreComparison:
    """Find everything that two parts share and do not.

    Raises:
        StoreError: if one of them is no store, or holds no such run.
    """
    sides = [first.read(), second.read()]
    pairs = sides[0].runs[["identity", "seed"]].merge(sides[1].runs[["identity", "seed"]])
    scores = [side.scores.merge(pairs) for side in sides]
    differences = list(_differences(*map(_values, scores)))
    told = [each for each in differences if any(each.difference.differences)]
    specs = [[_flat_spec(spec) for spec in side.runs["spec"]] for side in sides]
    around: list[Any] = [side.runs[["code", "device"]].to_dict("records") for side in sides]
    return StoreComparison(
        first,
        second,
        _changes(*specs),
        _changes(*around),
        len(pairs),
        _corrected(told),
        [*_unpaired(1, *sides), *_unpaired(2, *reversed(sides)), *_unscored(scores), *_other_keys(scores)],
        len(differences) - len(told),
    )


def to_json(comparison: StoreComparison) -> dict[str, Any]:
    """Return the comparison as plain values."""
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


def _difference_json(each: ScoreDifference) -> dict[str, Any]:
    names = ("dataset", "model", "identity", "metric", "key", "reading", "p_holm")
    found = each.difference
    return {name: getattr(each, name) for name in names} | {
        "readout": each.source._asdict(),
        "estimate": asdict(found.estimate) if found.estimate else None,
        "sign_flip_p_value": found.p_value,
        "seeds": found.seeds,
        "dropped": found.dropped,
    }


def _values(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of results; those of unfinished runs are none."""
    return scores[scores["value"].notna() & (scores["status"] != "unfinished")].assign(label=scores["model"])


def _differences(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[ScoreDifference]:
    place = [*_PLACE, "key", "label"]
    both = first.merge(second[[*place, "seed", "value"]], on=[*place, "seed"], how="outer", suffixes=("", "_second"))
    for _, group in both.groupby(place, sort=False, dropna=False):
        one, other = (dict(group.set_index("seed")[name].dropna()) for name in ("value", "value_second"))
        if one.keys() & other.keys():
            (row,) = records(group[place].head(1))
            where = (row.dataset, row.model, row.identity, row.metric, source_of(row), row.key)
            yield ScoreDifference(*where, paired_difference(one, other))


def _corrected(differences: Sequence[ScoreDifference]) -> list[ScoreDifference]:
    """With p-values corrected for being read together."""
    estimates = [(index, each.difference.estimate) for index, each in enumerate(differences)]
    tested = [(index, each) for index, each in estimates if each is not None and each.standard_error is not None]
    p_values = [min(1.0, 2 * min(t_tail(e, 0.0, "above"), t_tail(e, 0.0, "below"))) for _, e in tested]
    corrected = list(differences)
    for (index, _), p_holm in zip(tested, holm(p_values), strict=True):
        corrected[index] = replace(corrected[index], p_holm=p_holm)
    return corrected


def _changes(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> list[FieldChange]:
    """Fields whose values are not the same set on both sides."""
    found = []
    for path in dict.fromkeys(path for spec in (*first, *second) for path in spec):
        sides = [_distinct(specs, path) for specs in (first, second)]
        if set(sides[0]) != set(sides[1]):
            found.append(FieldChange(path, *sides))
    return found


def _distinct(specs: Sequence[Mapping[str, Any]], path: str) -> tuple[str, ...]:
    values = [str(spec.get(path, "not set")) for spec in specs if spec.get(path) != ""]
    return tuple(sorted(set(values), key=lambda value: (-values.count(value), value)))


def _flat_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's identity is made of, by path, such as training.learning_rate."""
    plain = {key: value for key, value in spec.items() if key not in (*_OWN, "config")}
    return dict(_flat({**plain, **spec["config"]}))


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _unpaired(side: int, own: Results, other: Results) -> Iterator[Unpaired]:
    marked = own.runs.merge(other.runs[["identity", "seed"]], how="left", indicator=True)
    for identity, runs in marked[marked["_merge"] == "left_only"].groupby("identity", sort=False):
        run = runs.iloc[0]
        seeds = tuple(sorted(runs["seed"].tolist()))
        yield Unpaired(side, run["dataset"], run["model"], str(identity), seeds, _why_alone(run, other.runs))


def _why_alone(run: pd.Series, others: pd.DataFrame) -> str:
    """Why a run has no partner: what the nearest run of the other side differs in."""
    if (others["identity"] == run["identity"]).any():
        return "the other side has other seeds of it"
    same_data = others[others["dataset"] == run["dataset"]]
    if same_data.empty:
        return f"the other side has no run on {run['dataset']}"
    same_model = same_data[same_data["model"] == run["model"]]
    if same_model.empty:
        return f"the other side has no {run['model']} on {run['dataset']}"
    own, specs = _flat_spec(run["spec"]), map(_flat_spec, same_model["spec"])
    differ = min(([path for path in {**own, **spec} if own.get(path) != spec.get(path)] for spec in specs), key=len)
    if "dataset_digest" in differ:
        return f"{run['dataset']} has other content there: dataset_digest differs"
    return f"differs in {', '.join(differ)}"


def _unscored(scores: Sequence[pd.DataFrame]) -> Iterator[Unpaired]:
    """Runs that pair but have no scores."""
    for side, own in enumerate(scores, start=1):
        lacking = own[own["metric"].isna() | (own["status"] == "unfinished")].drop_duplicates(
            ["run", "status", "reason"]
        )
        for run in records(lacking):
            reason = f"{run.status}: {run.reason or ''}".rstrip(": ")
            yield Unpaired(side, run.dataset, run.model, run.identity, (run.seed,), reason)


def _other_keys(scores: Sequence[pd.DataFrame]) -> Iterator[Unpaired]:
    """Scores that both sides have, under keys of their own."""
    one, other = map(_values, scores)
    for side, own, others in ((1, one, other), (2, other, one)):
        keyed = own.merge(others[[*_PLACE, "key"]].drop_duplicates(), how="left", indicator="same_key")
        there = keyed.merge(others[_PLACE].drop_duplicates(), how="inner")
        apart = there[there["same_key"] == "left_only"]
        for (identity, name), rows in apart.groupby(["identity", "metric"], sort=False):
            row, seeds = rows.iloc[0], tuple(sorted(rows["seed"].unique().tolist()))
            why = f"{name} is scored under different keys"
            yield Unpaired(side, row["dataset"], row["model"], str(identity), seeds, why)
