"""The tidy frame as typed records, checked once at the border; from here on a missing value is None, never NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.facts import DATA
from bench.report.text import about_density

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "NothingToReportError", "Score", "Section", "read_scores", "split_sections"]

COLUMNS = (
    *("suite", "profile", "dataset", "model", "seed", "run", "identity", "sampler", "beta", "step_size", "steps"),
    *("gradient_evaluations", "forward_evaluations", "metric", "value", "key", "status", "reason"),
)


class NothingToReportError(Exception):
    """There is no run to report on."""


@dataclass(frozen=True)
class Score:
    """One row of the frame: one metric of one readout of one run, or a run without scores (then `metric` is None).

    `label` is the model's name, with a piece of its identity where one report holds several settings of one model.
    """

    suite: str
    profile: str
    dataset: str
    model: str
    label: str
    seed: int
    run: str
    identity: str
    sampler: str | None
    beta: float | None
    step_size: float | None
    steps: int | None
    gradient_evaluations: int | None
    forward_evaluations: int | None
    metric: str | None
    value: float | None
    key: str
    status: str
    reason: str

    @property
    def counts(self) -> bool:
        """Whether the value may enter a mean: a stale one may not, a collapsed one must (dropping it would flatter)."""
        return self.value is not None and self.status != "stale"


@dataclass(frozen=True)
class Section:
    """What stands together in a report: one dataset of one suite and profile."""

    suite: str
    profile: str
    dataset: str
    scores: tuple[Score, ...]


def read_scores(frame: pd.DataFrame) -> list[Score]:
    """Check and convert the tidy frame.

    Raises:
        NothingToReportError: if the frame has no row.
        ValueError: if a column is missing, a run has one score twice, or a log-likelihood stands beside β ≠ 1.
    """
    if frame.empty:
        raise NothingToReportError("nothing to report yet: the store holds no run; `bench run` makes some")
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise ValueError(f"the frame of scores lacks the columns {', '.join(missing)}")
    records = [
        {name: _plain(value) for name, value in zip(COLUMNS, row, strict=True)}
        for row in frame.loc[:, list(COLUMNS)].itertuples(index=False, name=None)
    ]
    identities: dict[tuple[Any, ...], set[str]] = {}
    for record in records:
        identities.setdefault(_model_key(record), set()).add(record["identity"])
    scores = [_score(record, several=len(identities[_model_key(record)]) > 1) for record in records]
    _check(scores)
    return scores


def split_sections(scores: list[Score]) -> list[Section]:
    """The sections in order of first appearance."""
    found: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        found.setdefault((score.suite, score.profile, score.dataset), []).append(score)
    return [Section(*place, scores=tuple(members)) for place, members in found.items()]


def _model_key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("suite", "profile", "dataset", "model"))


def _plain(value: Any) -> Any:
    """None for whatever pandas uses for "missing"; Python numbers for numpy's."""
    if hasattr(value, "item"):
        value = value.item()
    missing = value is None or type(value).__name__ in {"NAType", "NaTType"}
    return None if missing or (isinstance(value, float) and math.isnan(value)) else value


def _score(record: dict[str, Any], *, several: bool) -> Score:
    if record["sampler"] == DATA:
        record = record | {"model": DATA, "identity": "", "beta": None, "step_size": None, "steps": 0}
        several = False
    value = record["value"]
    return Score(
        suite=_text(record["suite"]),
        profile=_text(record["profile"]),
        dataset=_text(record["dataset"]),
        model=_text(record["model"]),
        label=f"{record['model']} ({record['identity'][:8]})" if several else _text(record["model"]),
        seed=int(record["seed"]),
        run=_text(record["run"]),
        identity=_text(record["identity"]),
        sampler=record["sampler"],
        beta=_number(record["beta"]),
        step_size=_number(record["step_size"]),
        steps=_count(record["steps"]),
        gradient_evaluations=_count(record["gradient_evaluations"]),
        forward_evaluations=_count(record["forward_evaluations"]),
        metric=record["metric"],
        value=float(value) if value is not None and math.isfinite(value) else None,
        key=_text(record["key"]),
        status=_text(record["status"]),
        reason=_text(record["reason"]),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _check(scores: list[Score]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for score in scores:
        if score.metric is None or score.sampler == DATA:
            continue
        if about_density(score.metric) and score.beta not in (None, 1.0):
            raise ValueError(
                f"{score.metric} of {score.model} seed {score.seed} stands beside β={score.beta:g}: a log-likelihood "
                "belongs to the trained density, β=1, and to nothing else"
            )
        chain = (score.sampler, score.beta, score.step_size, score.steps)
        place = (
            score.suite,
            score.profile,
            score.dataset,
            score.model,
            score.identity,
            score.seed,
            score.status,
            *chain,
        )
        if (*place, score.metric, score.key) in seen:
            raise ValueError(f"{score.metric} of {score.model} seed {score.seed} ({score.sampler}) is there twice")
        seen.add((*place, score.metric, score.key))
