"""Two stores, or two parts of one, side by side: what differs in what was run, and what scores differ by where runs pair.

Runs pair that have one identity and one seed: they are the same run by other code, on another machine, or made again. Their scores are
paired by seed, under one key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.store import NotInStoreError, Store
from bench.metrics import metric
from bench.results.frame import Results, one_temperature, scan
from bench.results.sources import CALIBRATED_BETA, Source, reading, records
from bench.stats import PairedDifference, holm, paired_difference, t_tail

__all__ = ["compare_stores"]

WHERE = ("tag", "suite", "code", "device")
_PLACE = ["dataset", "model", "identity", "sampler", "beta", "step_size", "steps", "metric"]
_READINGS = {
    "better": "first is better",
    "worse": "second is better",
    "higher": "first is higher",
    "lower": "first is lower",
    "no verdict": "one seed: no interval",
}


def compare_stores(first: str, second: str) -> dict[str, Any]:
    """Find everything that two stores, or parts of stores, share and do not.

    Arguments:
        first: `FOLDER`, or `FOLDER@tag=NAME`, `@suite=NAME`, `@code=DIGEST`, `@device=WORDS`; a bare `@NAME` is a tag.
        second: likewise.

    Returns:
        Plain values: `first` and `second`, in full; `pairs`, how many runs pair; `equal_scores`, how many scores are equal in every seed;
        `identity` and `surroundings` (code and device), the fields in which runs differ, with their values on each side, most frequent
        first; `differences`, first − second by seed, of scores that differ in some seed; `not_comparable`, runs of one `side` (1 or 2) that
        pair with nothing or lack scores under a key of both sides, and the reason.

    Raises:
        StoreError: if one of them is no store, holds no such run, or is not written as above.
    """
    (name, one), (other_name, other) = read_part(first), read_part(second)
    sides = (one, other)
    pairs = one.runs[["identity", "seed"]].merge(other.runs[["identity", "seed"]])
    scores = [side.scores.merge(pairs) for side in sides]
    scores = [one_temperature(own) for own in scores]
    values = [own[own["value"].notna() & (own["status"] != "unfinished")] for own in scores]
    differences, equal = _differences(*values)
    return {
        "first": name,
        "second": other_name,
        "pairs": len(pairs),
        "equal_scores": equal,
        "identity": _changes(*([_flat_spec(spec) for spec in side.runs["spec"]] for side in sides)),
        "surroundings": _changes(*(side.runs[["code", "device"]].to_dict("records") for side in sides)),
        "differences": differences,
        "not_comparable": [
            *_unpaired(1, one, other),
            *_unpaired(2, other, one),
            *_unscored(scores),
            *_other_keys(1, *values),
            *_other_keys(2, *reversed(values)),
        ],
    }


def read_part(text: str) -> tuple[str, Results]:
    """Return the full name of a part of a store, and what is in it; each run is there once, though several suites may list it.

    Raises:
        StoreError: if there is no store.
        NotInStoreError: for another word before "=", or an empty one after it; if there is no such tag or suite, or no run.
    """
    root, at, rest = text.rpartition("@") if "@" in text else (text, "", "")
    word, equals, value = rest.partition("=")
    what, name = (word, value) if equals else ("tag", word)
    if at and (what not in WHERE or not name):
        raise NotInStoreError(f"'{text}': write FOLDER, or FOLDER@WHAT=NAME with one of {', '.join(WHERE)} for WHAT")
    full = f"{Path(root)}" + (f"@{what}={name}" if at else "")
    found = scan(Store(Path(root)).require(), **({what: name} if at and what in ("tag", "suite") else {}))
    runs = found.runs[found.runs["spec"].map(bool)].drop_duplicates("run")
    if what == "code":
        runs = runs[runs["code"].str.startswith(name)]
    elif what == "device":
        runs = runs[runs["device"].str.contains(name, regex=False)]
    if runs.empty:
        raise NotInStoreError(f"no runs in {full}")
    scores = found.scores[found.scores["run"].isin(runs["run"])].drop_duplicates(["run", *_PLACE, "key"])
    return full, replace(found, runs=runs, scores=scores)


def _differences(first: pd.DataFrame, second: pd.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Return the differences of scores, p-values corrected for being read together, and how many scores are equal in every seed."""
    place = [*_PLACE, "key"]
    both = first.merge(second[[*place, "seed", "value"]], on=[*place, "seed"], how="outer", suffixes=("", "_second"))
    found = []
    for _, group in both.groupby(place, sort=False, dropna=False):
        one, other = (dict(group.set_index("seed")[name].dropna()) for name in ("value", "value_second"))
        if one.keys() & other.keys():
            found.append((records(group[place].head(1))[0], paired_difference(one, other)))
    unequal = [(row, difference) for row, difference in found if any(difference.differences)]
    estimates = {index: difference.estimate for index, (_, difference) in enumerate(unequal)}
    tested = {index: each for index, each in estimates.items() if each and each.standard_error is not None}
    p_values = [min(1.0, 2 * min(t_tail(e, 0.0, "above"), t_tail(e, 0.0, "below"))) for e in tested.values()]
    corrected = dict(zip(tested, holm(p_values), strict=True))
    plain = [_plain(row, difference, corrected.get(index)) for index, (row, difference) in enumerate(unequal)]
    return plain, len(found) - len(unequal)


def _plain(row: Any, difference: PairedDifference, p_holm: float | None) -> dict[str, Any]:
    sense = {"higher": 1, "lower": -1}.get(metric(row.metric).direction, 0)
    words = reading(difference.estimate, sense)
    return {
        **{name: getattr(row, name) for name in ("dataset", "model", "identity", "metric", "key")},
        "reading": _READINGS.get(words, words),
        "p_holm": p_holm,
        "readout": Source(row.model, row.sampler, row.beta, row.step_size, row.steps or 0)._asdict()
        | ({"beta": "calibrated"} if row.beta == CALIBRATED_BETA else {}),
        "estimate": asdict(difference.estimate) if difference.estimate else None,
        "sign_flip_p_value": difference.p_value,
        "seeds": difference.seeds,
        "dropped": difference.dropped,
    }


def _changes(first: Sequence[Mapping[Any, Any]], second: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Return the fields whose values are not the same set on both sides."""
    found = []
    for path in dict.fromkeys(path for spec in (*first, *second) for path in spec):
        values = {}
        for side, specs in (("first", first), ("second", second)):
            given = sorted(str(spec.get(path, "not set")) for spec in specs if spec.get(path) != "")
            values[side] = [value for value, _ in Counter(given).most_common()]
        if set(values["first"]) != set(values["second"]):
            found.append({"path": path, **values})
    return found


def _flat_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's identity is made of, by path, such as training.learning_rate."""
    own = {key: value for key, value in spec.items() if key not in ("seed", "schema_version", "config")}
    return dict(_flat({**own, **spec["config"]}))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _unpaired(side: int, own: Results, other: Results) -> Iterator[dict[str, Any]]:
    """Yield the runs of one side, by identity, that the other does not have."""
    marked = own.runs.merge(other.runs[["identity", "seed"]], how="left", indicator=True)
    for _, runs in marked[marked["_merge"] == "left_only"].groupby("identity", sort=False):
        yield _left_out(side, runs, _why_alone(runs.iloc[0], other.runs))


def _why_alone(run: pd.Series, others: pd.DataFrame) -> str:
    """Return why a run has no partner: what the nearest run of the other side differs in."""
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


def _unscored(scores: Iterable[pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield the runs that pair but have no scores."""
    for side, own in enumerate(scores, start=1):
        lacking = own[own["metric"].isna() | (own["status"] == "unfinished")]
        for _, run in lacking.groupby(["run", "status", "reason"], sort=False, dropna=False):
            status, reason = run[["status", "reason"]].iloc[0]
            yield _left_out(side, run, f"{status}: {reason or ''}".rstrip(": "))


def _other_keys(side: int, own: pd.DataFrame, others: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the scores that both sides have, under keys of their own."""
    keyed = own.merge(others[[*_PLACE, "key"]].drop_duplicates(), how="left", indicator="same_key")
    there = keyed.merge(others[_PLACE].drop_duplicates(), how="inner")
    for (_, name), rows in there[there["same_key"] == "left_only"].groupby(["identity", "metric"], sort=False):
        yield _left_out(side, rows, f"{name} is scored under different keys")


def _left_out(side: int, rows: pd.DataFrame, reason: str) -> dict[str, Any]:
    place = {name: rows[name].iloc[0] for name in ("dataset", "model", "identity")}
    return {"side": side, **place, "seeds": sorted(rows["seed"].unique().tolist()), "reason": reason}
