"""Scores over seeds: one row per model × readout × metric × score key, failed runs included.

Scores of different keys, settings or chains are never averaged together; what is missing is said, not skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.stats import Estimate, mean_interval

__all__ = ["DATA", "SUMMARY_COLUMNS", "estimate_of", "render_csv", "render_json", "summarise"]

DATA = "data"
"""Sampler and model name of held-out real data, the floor of every score."""
_PLACE = ("suite", "profile", "dataset", "model", "label", "identity", "sampler", "beta", "step_size", "steps")
_COSTS = ("gradient_evaluations", "forward_evaluations")
_MEAN = ("mean", "ci_low", "ci_high", "n", "planned", "status", "reason")
SUMMARY_COLUMNS = (*_PLACE, *_COSTS, "metric", "key", *_MEAN, "stale", "steps_done", "steps_asked")
_MODEL = ["suite", "profile", "dataset", "model", "identity"]
_READOUT = [*_MODEL, "sampler", "beta", "step_size", "steps", "metric"]


class _Row(NamedTuple):
    """A score: its place in the frame, the numbers of its group (values to be averaged) and of its readout and metric."""

    at: int
    group: int
    readout: int
    apart: str
    model: str
    seed: int
    metric: str | None
    key: str | None
    value: float
    status: str
    reason: str


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, with 95 % intervals; runs of a model that gave no score are a row whose `metric` is None.

    `n` counts the seeds behind a mean, `planned` those that were asked for; `reason` says where the difference went. Rows of stale and of
    unfinished runs stand apart; `status` says which. Models and readouts are in the order in which they first appear.

    Arguments:
        scores: as `bench.results.frame.Results` has them.
    """
    frame = scores.reset_index(drop=True)
    frame["apart"] = _apart(frame)
    frame["readout"] = frame.groupby(_READOUT, sort=False, dropna=False).ngroup()
    frame["group"] = frame.groupby(["readout", "key", "apart"], sort=False, dropna=False).ngroup()
    columns = [frame[name].tolist() for name in _Row._fields[1:]]
    rows = [_Row(*values) for values in zip(range(len(frame)), *columns, strict=True)]
    found: list[tuple[Any, ...]] = []
    for places in frame.groupby(_MODEL, sort=False, dropna=False).indices.values():
        members = [rows[place] for place in places]
        found += _data_means(members) if members[0].model == DATA else _means(members)
        found += _without_score(members)
    first = [each[0] for each in found]
    like = frame[[name for name in SUMMARY_COLUMNS if name not in _MEAN]].take(np.array(first, dtype=np.intp))
    means = pd.DataFrame([each[1:] for each in found], columns=list(_MEAN), index=like.index)
    means = means.astype(
        dict.fromkeys(("mean", "ci_low", "ci_high"), float) | dict.fromkeys(("status", "reason"), object)
    )
    summary = pd.concat([like, means], axis=1).reset_index(drop=True)[list(SUMMARY_COLUMNS)]
    summary["key"] = summary["key"].where(summary["metric"].notna(), None)
    return summary


def estimate_of(row: Any) -> Estimate | None:
    """The mean of a summary's row with its interval, where there is one."""
    if math.isnan(row.mean):
        return None
    low, high = (None if math.isnan(end) else float(end) for end in (row.ci_low, row.ci_high))
    return Estimate(float(row.mean), low, high, int(row.n))


def render_json(summaries: Iterable[pd.DataFrame]) -> str:
    """A JSON list of rows; what is missing is null, and NaN does not occur."""
    rows = [row for each in summaries for row in _plain(each).to_dict("records")]
    return json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def render_csv(summaries: Sequence[pd.DataFrame]) -> str:
    """The same rows as CSV; what is missing is an empty field, and numbers keep all their digits."""
    return str(pd.concat([_plain(each) for each in summaries]).to_csv(index=False, lineterminator="\n"))


def _plain(summary: pd.DataFrame) -> pd.DataFrame:
    plain = summary.astype(object).replace([math.inf, -math.inf], None)
    return plain.where(plain.notna(), None)


def _apart(scores: pd.DataFrame) -> pd.Series:
    """What keeps a score out of every mean of those that count: stale, or unfinished after how many steps; '' for one that counts."""
    unfinished = ("unfinished: " + scores["reason"].astype(str)).where(scores["status"] == "unfinished", "")
    return unfinished + ("stale: " + scores["stale"].astype(str)).where(scores["stale"] != "", "")


def _means(members: list[_Row]) -> Iterator[tuple[Any, ...]]:
    """A mean per group of one model with one identity."""
    groups: dict[int, list[_Row]] = {}
    own: dict[int, list[_Row]] = {}
    for row in members:
        own.setdefault(row.seed, []).append(row)
        if row.metric is not None:
            groups.setdefault(row.group, []).append(row)
    for group in groups.values():
        first = group[0]
        finished = [row for row in group if math.isfinite(row.value)]
        if first.status == "unfinished":
            named = ", ".join(str(row.seed) for row in group)
            reasons = [f"seed{'s' * (len(group) > 1)} {named} {first.reason}"]
            status = first.status
        else:
            lacking = sorted(own.keys() - {row.seed for row in finished})
            reasons = [f"{len(finished)} of {len(own)} seeds"] if lacking else []
            reasons += [_why_lacking(seed, group, own[seed]) for seed in lacking]
            reasons += [_sentence(row.seed, "collapsed", row.reason) for row in finished if row.status == "collapsed"]
            status = _status(group, finished, [row for seed in lacking for row in own[seed]])
        yield _mean(first, [row.value for row in finished], len(own), status, "; ".join(reasons))


def _status(group: list[_Row], finished: list[_Row], lacking: list[_Row]) -> str:
    if group[0].apart:
        return "stale"
    if any(row.status == "collapsed" for row in finished):
        return "collapsed"
    if finished:
        return "partial" if lacking else "done"
    statuses = {row.status for row in lacking}
    return statuses.pop() if len(statuses) == 1 and statuses != {"done"} else "failed"


def _why_lacking(seed: int, group: list[_Row], own: list[_Row]) -> str:
    """Why a seed has no value in a group, from all of this seed's rows."""
    for row in own:
        if row.group == group[0].group:
            return _sentence(seed, "", row.reason or "gave a value that is not finite")
    apart = {row.apart for row in own if row.metric is not None}
    if apart and group[0].apart not in apart:
        other = min(apart)
        return f"seed {seed} is {other.partition(':')[0] or 'of the present code'} (shown apart)"
    for row in own:
        if row.metric is None:
            return _unscored_sentence(row)
    if any(row.readout == group[0].readout for row in own):
        return f"seed {seed} was scored under another key (shown apart)"
    return f"seed {seed} has no such score yet"


def _without_score(members: list[_Row]) -> Iterator[tuple[Any, ...]]:
    """A row for each way in which runs of this model ended without scores."""
    by_status: dict[str, list[_Row]] = {}
    for row in members:
        if row.metric is None:
            by_status.setdefault(row.status, []).append(row)
    for status, group in by_status.items():
        sentences = [_unscored_sentence(row) for row in sorted(group, key=lambda row: row.seed)]
        reason = "; ".join(dict.fromkeys(sentences))  # several readouts of a run may lack scores for one reason
        yield _mean(group[0], [], len({row.seed for row in members}), status, reason)


def _unscored_sentence(row: _Row) -> str:
    return _sentence(row.seed, "", row.reason or {"missing": "not run yet"}.get(row.status, row.status))


def _sentence(seed: int, what: str, reason: str) -> str:
    """Such as "seed 1 diverged at step 812" or "seed 2 collapsed: one class of ten"."""
    if not what or not reason or reason.startswith(what):
        return f"seed {seed} {reason or what}"
    return f"seed {seed} {what}: {reason.removesuffix(f' ({what})')}"


def _data_means(members: list[_Row]) -> Iterator[tuple[Any, ...]]:
    """Held-out real data: the same images in every run, so equal values are one measurement, not n."""
    groups: dict[tuple[str, str | None], dict[int, list[_Row]]] = {}
    for row in members:
        if row.metric is not None and math.isfinite(row.value):
            groups.setdefault((row.metric, row.key), {}).setdefault(row.seed, []).append(row)
    for seeds in groups.values():
        values = [math.fsum(row.value for row in group) / len(group) for group in seeds.values()]
        if all(math.isclose(value, values[0], rel_tol=1e-9) for value in values):
            values = values[:1]
        stale = next((row for group in seeds.values() for row in group if row.apart.startswith("stale")), None)
        first = stale or next(iter(seeds.values()))[0]
        yield _mean(first, values, len(values), "stale" if stale else "done", "")


def _mean(like: _Row, values: list[float], planned: int, status: str, reason: str) -> tuple[Any, ...]:
    """The place of a row like it in the frame, then `_MEAN`."""
    if not values:
        return like.at, math.nan, math.nan, math.nan, 0, planned, status, reason
    estimate = mean_interval(values)
    ends = (math.nan if end is None else end for end in (estimate.ci_low, estimate.ci_high))
    return like.at, estimate.mean, *ends, estimate.n, planned, status, reason
