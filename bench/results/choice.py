"""Results of some models, datasets, metrics or samplers only; what is left out is said wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from bench.components.registry import UnknownNameError, closest
from bench.metrics import base_name
from bench.results.frame import TRAINING, NothingToReportError, Results
from bench.results.summary import DATA

__all__ = ["choose", "in_words"]

_BESIDE = ("base", DATA, TRAINING)
"""What stands beside the chains of any sampler: their starting point, and the floor."""


def choose(results: Results, wanted: Mapping[str, Sequence[str]]) -> Results:
    """Return the rows of these names; of an empty list all.

    Arguments:
        results: of a store.
        wanted: names by column, of `model`, `dataset`, `metric` and `sampler`. A model is named with or without what tells its settings
            apart, a metric with or without its extractor. Real data stay with every model, bases and real data with every sampler.

    Raises:
        UnknownNameError: for a name that no row has, with the nearest one.
        NothingToReportError: if no run has all of these names.
    """
    wanted = {column: list(dict.fromkeys(names)) for column, names in wanted.items() if names}
    for column, names in wanted.items():
        known = _names(results.scores, column)
        for name in names:
            if name not in known:
                raise UnknownNameError(f"no {column} '{name}' in these runs; {closest(name, known)}")
    scores, runs, readouts = (_rows(frame, wanted) for frame in (results.scores, results.runs, results.readouts))
    if scores.empty and len(results.scores):
        raise NothingToReportError(f"nothing to report: no run is of {in_words(wanted)}")
    return replace(results, scores=scores, runs=runs, readouts=readouts, only=wanted)


def in_words(only: Mapping[str, Sequence[str]]) -> str:
    """Return what rows were chosen by: "model gebm or gan-ns, metric fd"."""
    return ", ".join(f"{column} {' or '.join(names)}" for column, names in only.items())


def _names(scores: pd.DataFrame, column: str) -> set[str]:
    """Return the names by which the rows of a column can be asked for."""
    own = {str(name) for name in scores[column].dropna()}
    also = map(base_name, own) if column == "metric" else scores["label"] if column == "model" else ()
    return own | set(also)


def _rows(frame: pd.DataFrame, wanted: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the rows that are wanted; a run without scores has no metric and no sampler, and stays."""
    for column, names in wanted.items():
        if column not in frame:
            continue
        values = frame[column]
        kept = values.isin(names)
        if column == "model":
            kept |= frame["label"].isin(names) | (values == DATA)
        elif column == "metric":
            kept |= values.isna() | values.map(base_name, na_action="ignore").isin(names)
        elif column == "sampler":
            kept |= values.isna() | values.isin(_BESIDE)
        frame = frame[kept]
    return frame
