"""The tidy frame as typed records, checked once at the border; from here on a missing value is None, never NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report.text import about_density
from bench.results.facts import DATA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "NothingToReportError", "Score", "Section", "read_scores", "split_sections"]

COLUMNS = (
    *("suite", "profile", "dataset", "model", "seed", "run", "identity", "sampler", "beta", "step_size", "steps"),
    *("gradient_evaluations", "forward_evaluations", "metric", "value", "key", "status", "reason"),
)
UNFINISHED = "unfinished"
"""Status of scores of a run that had to leave off: not the run's result; the reason says how far it was."""
NOT_COUNTED = frozenset({"stale", UNFINISHED})
"""Statuses of rows that have values but stand apart: they enter no mean, no comparison and no figure."""
DIGEST = "dataset_digest"
"""A column that may be left out: sha256 of the dataset's content."""
_TEXTS = frozenset({"suite", "profile", "dataset", "model", "run", "identity", "key", "status", "reason", DIGEST})
_COUNTS = frozenset({"seed", "steps", "gradient_evaluations", "forward_evaluations"})


class NothingToReportError(Exception):
    """There is no run to report on."""


class Score(NamedTuple):
    """One row of the frame: one metric of one readout of one run, or a run without scores (then `metric` is None).

    `label` is the model's name, with a piece of its identity where one report holds several settings of one model. `digest` is of the
    dataset's content, where it was recorded.
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
    digest: str = ""

    @property
    def counts(self) -> bool:
        """Whether the value may enter a mean: a stale or unfinished one may not, a collapsed one must (dropping it would flatter)."""
        return self.value is not None and self.status not in NOT_COUNTED

    @property
    def apart(self) -> tuple[str, str]:
        """What keeps the row apart from others: its status, and of an unfinished run how far it was; empty for one that counts."""
        if self.status not in NOT_COUNTED:
            return "", ""
        return self.status, self.reason if self.status == UNFINISHED else ""


@dataclass(frozen=True)
class Section:
    """What stands together in a report: one dataset of one suite and profile."""

    suite: str
    profile: str
    dataset: str
    scores: tuple[Score, ...]

    @property
    def dataset_name(self) -> str:
        """The dataset's own name, without what tells two contents of one name apart."""
        return self.scores[0].dataset


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
    columns = {name: _column(frame, name) for name in (*COLUMNS, DIGEST) if name in frame.columns}
    columns.setdefault(DIGEST, [""] * len(frame))
    identities: dict[tuple[Any, ...], set[str]] = {}
    models = list(zip(*(columns[name] for name in ("suite", "profile", "dataset", "model")), strict=True))
    for model, identity in zip(models, columns["identity"], strict=True):
        identities.setdefault(model, set()).add(identity)
    columns["label"] = [
        f"{model[-1]} ({identity[:8]})" if len(identities[model]) > 1 else model[-1]
        for model, identity in zip(models, columns["identity"], strict=True)
    ]
    fields = (DIGEST if name == "digest" else name for name in Score._fields)
    scores = [
        _real_data(score) if score.sampler == DATA else score
        for score in map(Score._make, zip(*(columns[name] for name in fields), strict=True))
    ]
    _check(scores)
    return scores


def split_sections(scores: list[Score]) -> list[Section]:
    """The sections in order of first appearance; content of two digests is two datasets, whatever the name."""
    digests: dict[tuple[str, str, str], dict[str, None]] = {}
    for score in scores:
        known = digests.setdefault((score.suite, score.profile, score.dataset), {})
        if score.digest:
            known[score.digest] = None
    found: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        known = digests[score.suite, score.profile, score.dataset]
        name = score.dataset
        if len(known) > 1:
            name = f"{name} ({(score.digest or next(iter(known)))[:8]})"
        found.setdefault((score.suite, score.profile, name), []).append(score)
    return [Section(*place, scores=tuple(members)) for place, members in found.items()]


def _column(frame: pd.DataFrame, name: str) -> list[Any]:
    """A column as Python values: None for whatever pandas uses for "missing", and for a value that is not finite."""
    column = frame[name]
    if name in _TEXTS:
        return ["" if lost else str(value) for value, lost in zip(column.tolist(), column.isna().tolist(), strict=True)]
    if name in ("sampler", "metric"):
        return [None if lost else value for value, lost in zip(column.tolist(), column.isna().tolist(), strict=True)]
    numbers = column.to_numpy(dtype=float, na_value=math.nan).tolist()
    if name in _COUNTS:
        return [int(number) if math.isfinite(number) else None for number in numbers]
    return [number if math.isfinite(number) else None for number in numbers]


def _real_data(score: Score) -> Score:
    """Real data in a model's place: a row without temperature or settings."""
    return score._replace(model=DATA, label=DATA, identity="", beta=None, step_size=None, steps=0)


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
