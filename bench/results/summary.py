"""Scores over seeds: one row per model × readout × metric × score key, failed runs included.

Scores of different keys, settings or chains are never averaged together; what is missing is said, not skipped.
"""

from __future__ import annotations

import json
import math
from collections import namedtuple
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.stats import Estimate, mean_interval
from bench.words import plural

__all__ = ["COSTS", "DATA", "SUMMARY_COLUMNS", "render_csv", "render_json", "summarise"]

DATA = "data"
"""Sampler and model name of held-out real data, the floor of every score."""
COSTS = ("gradient_evaluations", "forward_evaluations")
_PLACE = (
    "suite",
    "profile",
    "dataset",
    "model",
    "label",
    "identity",
    "sampler",
    "beta",
    "beta_rule",
    "step_size",
    "steps",
)
_LIKE = (*_PLACE, *COSTS, "metric", "key", "stale", "steps_done", "steps_asked")
_MEAN = ("mean", "ci_low", "ci_high", "n", "planned", "status", "collapsed", "refused", "reason")
SUMMARY_COLUMNS = (*_LIKE[:-3], *_MEAN, *_LIKE[-3:], "beta_used", "target")
_MODEL = ["suite", "profile", "dataset", "model", "identity"]
_CHAIN = [*_MODEL, "sampler", "beta", "step_size", "steps"]
_Row = namedtuple("_Row", "at group readout place apart model seed metric key value status collapsed refused reason")
_Mean = tuple[Any, list[float], int, str, bool, bool, str]
"""The first row of a group, the values to be averaged, how many were planned, status, whether a seed collapsed or was refused, reason."""


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, with 95 % intervals; runs of a model that gave no score are a row whose `metric` is None.

    `n` counts the seeds behind a mean, `planned` those that were asked for; `reason` says where the difference went. Rows of stale and of
    unfinished runs stand apart; `status` says which. Models and readouts are in the order in which they first appear.

    Arguments:
        scores: as `bench.results.frame.Results` has them.
    """
    frame = scores.reset_index(drop=True)
    said = zip(frame["status"], frame["reason"], frame["stale"], strict=True)
    frame["apart"] = [
        f"unfinished: {reason}" * (status == "unfinished") + f"stale: {stale}" * (stale != "")
        if stale or status == "unfinished"
        else ""
        for status, reason, stale in said
    ]
    frame["place"] = frame.groupby(_CHAIN, sort=False, dropna=False).ngroup()
    frame["readout"] = frame.groupby(["place", "metric"], sort=False, dropna=False).ngroup()
    frame["group"] = frame.groupby(["readout", "key", "apart"], sort=False, dropna=False).ngroup()
    columns = [frame[name].tolist() for name in _Row._fields[1:]]
    plain = _is_plain(frame)
    groups, seeds, values = (frame[name].to_numpy() for name in ("group", "seed", "value"))

    def row(at: int) -> Any:
        return _Row(at, *(column[at] for column in columns))

    found: list[_Mean] = []
    for members_at in frame.groupby(_MODEL, sort=False, dropna=False).indices.values():
        places = np.asarray(members_at)
        whole = _whole(groups[places], seeds[places]) if plain[places].all() else None
        if whole is not None:
            own = zip(places[whole[:, 0]].tolist(), values[places[whole]].tolist(), strict=True)
            found += [(row(at), each, len(each), "done", False, False, "") for at, each in own]
            continue
        members = [row(place) for place in places.tolist()]
        found += _data_means(members) if members[0].model == DATA else _means(members)
        found += _without_score(members)
    like = frame.loc[[row.at for row, *_ in found], list(_LIKE)].reset_index(drop=True)
    estimates = [mean_interval(values) if values else Estimate(math.nan, None, None, 0) for _, values, *_ in found]
    used = (
        frame.groupby("readout")["beta_used"].mean()
        if "beta_used" in frame
        else frame.groupby("readout")["beta"].first()
    )
    like["beta_used"] = used.reindex(frame.loc[[row.at for row, *_ in found], "readout"]).to_numpy()
    like["target"] = _targets(frame).reindex(frame.loc[[row.at for row, *_ in found], "group"]).to_numpy()
    numbers = [(each.mean, each.ci_low, each.ci_high, each.n) for each in estimates]
    means = pd.DataFrame([(*each, *row[2:]) for each, row in zip(numbers, found, strict=True)], columns=list(_MEAN))
    dtypes = dict.fromkeys(("mean", "ci_low", "ci_high"), float) | dict.fromkeys(("status", "reason"), object)
    summary = pd.concat([like, means.astype(dtypes)], axis=1)
    summary["key"] = summary["key"].where(summary["metric"].notna(), None)
    return summary[list(SUMMARY_COLUMNS)]


def _is_plain(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows are scores of models, of which there is nothing to say but their values."""
    told = frame["collapsed"].astype(bool) | frame["refused"].astype(bool) | (frame["apart"] != "")
    scored = (frame["status"] == "done") & frame["metric"].notna() & (frame["model"] != DATA)
    return np.asarray(scored & ~told & np.isfinite(frame["value"]), dtype=bool)


def _whole(groups: NDArray[np.intp], seeds: NDArray[Any]) -> NDArray[np.intp] | None:
    """Return the places of each group's rows, a line per group as they appear; None unless every group has every seed, once."""
    order = np.argsort(groups, kind="stable")
    n = len(set(seeds.tolist()))
    lines = order.reshape(-1, n) if len(order) % n == 0 else order[None, :0]
    each = zip(groups[lines].tolist(), seeds[lines].tolist(), strict=True)
    return lines if all(len(set(own)) == 1 and len(set(known)) == n for own, known in each) and lines.size else None


def render_json(summary: pd.DataFrame) -> str:
    """Return a JSON list of rows; what is missing is null, and NaN does not occur."""
    rows = _plain(summary).to_dict("records")
    return json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def render_csv(summary: pd.DataFrame) -> str:
    """Return the same rows as CSV; what is missing is an empty field, and numbers keep all their digits."""
    return str(_plain(summary).to_csv(index=False, lineterminator="\n"))


def _targets(frame: pd.DataFrame) -> pd.Series:
    """Return by group what its rows say of the chain's target, if they all say the same; else that one cannot tell."""
    said = frame.groupby("group")["target"]
    return said.first().where(said.nunique() < 2, "cannot tell")


def _plain(summary: pd.DataFrame) -> pd.DataFrame:
    summary = summary.assign(beta=summary["beta_used"]).drop(columns="beta_used")
    plain = summary.astype(object).replace([math.inf, -math.inf], None)
    return plain.where(plain.notna(), None)


def _means(members: list[Any]) -> Iterator[_Mean]:
    """Yield a mean per group of one model with one identity."""
    own, refusals = _by(members, "seed"), _by((row for row in members if row.refused), "place")
    for group in _by((row for row in members if row.metric is not None), "group").values():
        first, finished = group[0], [row for row in group if math.isfinite(row.value)]
        values = [row.value for row in finished]
        if first.status == "unfinished":
            named = ", ".join(str(row.seed) for row in group)
            why = f"seed{'s' * (len(group) > 1)} {named} {first.reason}"
            yield first, values, len(own), "unfinished", any(row.collapsed for row in group), False, why
            continue
        lacking = sorted(own.keys() - {row.seed for row in finished})
        collapsed = [row for row in finished if row.status == "collapsed"]
        refused = {row.seed: row for row in refusals.get(first.place, ())}
        reasons = [f"{len(finished)} of {plural(len(own), 'seed')}"] if lacking else []
        reasons += [_why_lacking(seed, first, own[seed]) for seed in lacking if seed not in refused]
        reasons += [_why_refused(row) for row in refused.values()]
        reasons += [_why_collapsed(row) for row in collapsed]
        if first.apart or collapsed:
            status = "stale" if first.apart else "collapsed"
        elif finished:
            status = "partial" if lacking else "refused" if refused else "done"
        else:
            statuses = {row.status for seed in lacking for row in own[seed]}
            status = statuses.pop() if len(statuses) == 1 and statuses != {"done"} else "failed"
        yield first, values, len(own), status, any(row.collapsed for row in group), bool(refused), "; ".join(reasons)


def _why_lacking(seed: int, first: Any, own: list[Any]) -> str:
    """Return why a seed has no value in the group of `first`, from all of this seed's rows."""
    for row in own:
        if row.group == first.group:
            return f"seed {seed} {row.reason or 'gave a value that is not finite'}"
    apart = {row.apart for row in own if row.metric is not None}
    if apart and first.apart not in apart:
        return f"seed {seed} is {min(apart).partition(':')[0] or 'of the present code'} (shown apart)"
    for row in own:
        if row.metric is None and not row.refused:  # a refusal is of one readout, what else lacks scores is a run
            return _why_unscored(row)
    if any(row.readout == first.readout for row in own):
        return f"seed {seed} was scored under another key (shown apart)"
    return f"seed {seed} has no such score yet"


def _why_refused(row: Any) -> str:
    return f"seed {row.seed} refused: {row.reason}".removesuffix(": ")


def _why_collapsed(row: Any) -> str:
    if not row.reason or row.reason.startswith("collapsed"):
        return f"seed {row.seed} {row.reason or 'collapsed'}"
    return f"seed {row.seed} collapsed: {row.reason.removesuffix(' (collapsed)')}"


def _why_unscored(row: Any) -> str:
    return f"seed {row.seed} {row.reason or ('not run yet' if row.status == 'missing' else row.status)}"


def _without_score(members: list[Any]) -> Iterator[_Mean]:
    """Yield a row for each way in which runs, or readouts, of this model ended without scores."""
    for (_, status), group in _by((row for row in members if row.metric is None), "place", "status").items():
        sentences = [_why_unscored(row) for row in sorted(group, key=lambda row: row.seed)]
        reason = "; ".join(dict.fromkeys(sentences))  # several readouts of a run may lack scores for one reason
        yield group[0], [], len({row.seed for row in members}), status, False, status == "refused", reason


def _data_means(members: list[Any]) -> Iterator[_Mean]:
    """Yield a mean per metric and key of real data: the same images in every run, so equal values are one measurement, not n."""
    scored = [row for row in members if row.metric is not None and math.isfinite(row.value)]
    for group in _by(scored, "metric", "key").values():
        seeds = _by(group, "seed").values()
        values = [math.fsum(row.value for row in own) / len(own) for own in seeds]
        if all(math.isclose(value, values[0], rel_tol=1e-9) for value in values):
            values = values[:1]
        stale = next((row for own in seeds for row in own if row.apart.startswith("stale")), None)
        yield stale or group[0], values, len(values), "stale" if stale else "done", False, False, ""


def _by(rows: Iterable[Any], *names: str) -> dict[Any, list[Any]]:
    """Return the rows by the value of a column, or values of several, in order of first appearance."""
    found: dict[Any, list[Any]] = {}
    value = attrgetter(*names)
    for row in rows:
        found.setdefault(value(row), []).append(row)
    return found
