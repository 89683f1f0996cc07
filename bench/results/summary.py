"""Scores over seeds: one row for each model × readout × metric × score key, failed runs included.

Scores of different keys, settings or chains are never averaged together; what is missing is said, not skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.results.facts import DATA
from bench.results.scores import UNFINISHED, Score
from bench.stats import Estimate, mean_interval

__all__ = ["SummaryRow", "summarise", "to_json"]

_Group = tuple[Any, ...]


@dataclass(frozen=True)
class SummaryRow:
    """A mean over seeds with its 95 % interval, or (`metric` None) runs that gave no score.

    `n` counts the seeds behind the mean, `planned` those that were asked for; `reason` says where the difference went.
    """

    suite: str
    profile: str
    dataset: str
    model: str
    label: str
    identity: str
    sampler: str | None
    beta: float | None
    step_size: float | None
    steps: int | None
    gradient_evaluations: int | None
    forward_evaluations: int | None
    metric: str | None
    key: str | None
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    planned: int
    status: str
    reason: str

    @property
    def estimate(self) -> Estimate | None:
        """The mean with its interval, where there is one."""
        return None if self.mean is None else Estimate(self.mean, self.ci_low, self.ci_high, self.n)


def to_json(row: SummaryRow) -> dict[str, Any]:
    """The row as JSON has it: null for what is missing."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(row).items()
    }


def summarise(scores: Sequence[Score]) -> list[SummaryRow]:
    """All rows, in the order in which models and readouts first appear; runs without scores follow their model."""
    models: dict[_Group, list[Score]] = {}
    for score in scores:
        models.setdefault((score.suite, score.profile, score.dataset, score.model, score.identity), []).append(score)
    rows: list[SummaryRow] = []
    for members in models.values():
        rows += _data_rows(members) if members[0].model == DATA else _score_rows(members)
        rows += _unscored_rows(members)
    return rows


def _score_rows(members: list[Score]) -> Iterable[SummaryRow]:
    """Rows of one model with one identity. Values that do not count keep rows of their own."""
    groups: dict[_Group, list[Score]] = {}
    for score in members:
        if score.metric is not None:
            chain = (score.sampler, score.beta, score.step_size, score.steps)
            groups.setdefault((*chain, score.metric, score.key, score.apart), []).append(score)
    planned = {score.seed for score in members}
    for (*_, (apart, _)), group in groups.items():
        if apart == UNFINISHED:
            yield _unfinished_row(group, len(planned))
            continue
        stale = apart == "stale"
        finished = {score.seed: score for score in group if score.value is not None}
        lacking = sorted(planned - finished.keys())
        reasons = [_why_lacking(seed, group, members, stale=stale) for seed in lacking]
        collapsed = [score for score in finished.values() if score.status == "collapsed"]
        reasons += [_sentence(score.seed, "collapsed", score.reason) for score in collapsed]
        if lacking:
            reasons.insert(0, f"{len(finished)} of {len(planned)} seeds")
        yield _row(
            group[0],
            [score.value for score in finished.values() if score.value is not None],
            planned=len(planned),
            status=_group_status(members, lacking, any_finished=bool(finished), collapsed=bool(collapsed), stale=stale),
            reason="; ".join(reasons),
        )


def _unfinished_row(group: list[Score], planned: int) -> SummaryRow:
    """Seeds that had to leave off after equally many steps."""
    seeds = ", ".join(str(score.seed) for score in group)
    values = [score.value for score in group if score.value is not None]
    reason = f"seed{'s' * (len(group) > 1)} {seeds} {group[0].reason}"
    return _row(group[0], values, planned=planned, status=UNFINISHED, reason=reason)


def _group_status(members: list[Score], lacking: list[int], *, any_finished: bool, collapsed: bool, stale: bool) -> str:
    if stale:
        return "stale"
    if collapsed:
        return "collapsed"
    if any_finished:
        return "partial" if lacking else "done"
    statuses = {score.status for score in members if score.seed in lacking}
    return statuses.pop() if len(statuses) == 1 and statuses != {"done"} else "failed"


def _why_lacking(seed: int, group: list[Score], members: list[Score], *, stale: bool) -> str:
    own = [score for score in members if score.seed == seed]
    here = next((score for score in own if score in group), None)
    if here is not None:
        return _sentence(seed, "", here.reason or "gave a value that is not finite")
    unscored = next((score for score in own if score.metric is None), None)
    if unscored is not None:
        return _unscored_sentence(unscored)
    if any(score.status == UNFINISHED for score in own):
        return f"seed {seed} is unfinished (shown apart)"
    if any(score.status == "stale" for score in own) != stale:
        return f"seed {seed} is {'of the present code' if stale else 'stale'} (shown apart)"
    chain = (group[0].sampler, group[0].beta, group[0].step_size, group[0].steps, group[0].metric)
    if any((score.sampler, score.beta, score.step_size, score.steps, score.metric) == chain for score in own):
        return f"seed {seed} was scored under another key (shown apart)"
    return f"seed {seed} has no such score yet"


def _unscored_rows(members: list[Score]) -> Iterable[SummaryRow]:
    """A row for each way in which runs of this model ended without scores."""
    by_status: dict[str, list[Score]] = {}
    for score in members:
        if score.metric is None:
            by_status.setdefault(score.status, []).append(score)
    for status, group in by_status.items():
        unscored = sorted(group, key=lambda score: score.seed)
        reason = "; ".join(_unscored_sentence(score) for score in unscored)
        yield _row(group[0], [], planned=len({s.seed for s in members}), status=status, reason=reason)


def _unscored_sentence(score: Score) -> str:
    return _sentence(score.seed, "", score.reason or {"missing": "not run yet"}.get(score.status, score.status))


def _sentence(seed: int, what: str, reason: str) -> str:
    """Such as "seed 1 diverged at step 812" or "seed 2 collapsed: one class of ten"."""
    if not what or not reason or reason.startswith(what):
        return f"seed {seed} {reason or what}"
    return f"seed {seed} {what}: {reason.removesuffix(f' ({what})')}"


def _data_rows(members: list[Score]) -> Iterable[SummaryRow]:
    """Held-out real data: the same images in every run, so equal values are one measurement, not n."""
    groups: dict[_Group, dict[int, list[Score]]] = {}
    for score in members:
        if score.value is not None:
            groups.setdefault((score.metric, score.key), {}).setdefault(score.seed, []).append(score)
    for seeds in groups.values():
        values = [math.fsum(s.value or 0.0 for s in group) / len(group) for group in seeds.values()]
        if all(math.isclose(value, values[0], rel_tol=1e-9) for value in values):
            values = values[:1]
        first = next(iter(seeds.values()))[0]
        stale = any(score.status == "stale" for group in seeds.values() for score in group)
        yield _row(first, values, planned=len(values), status="stale" if stale else "done", reason="")


def _row(like: Score, values: list[float], *, planned: int, status: str, reason: str) -> SummaryRow:
    estimate = mean_interval(values) if values else Estimate(math.nan, None, None, 0)
    return SummaryRow(
        suite=like.suite,
        profile=like.profile,
        dataset=like.dataset,
        model=like.model,
        label=like.label,
        identity=like.identity,
        sampler=like.sampler,
        beta=like.beta,
        step_size=like.step_size,
        steps=like.steps,
        gradient_evaluations=like.gradient_evaluations,
        forward_evaluations=like.forward_evaluations,
        metric=like.metric,
        key=like.key if like.metric is not None else None,
        mean=estimate.mean if values else None,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n=estimate.n,
        planned=planned,
        status=status,
        reason=reason,
    )
