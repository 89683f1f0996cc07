"""One run's scores in words: a table for every key, since only scores of one key compare."""

from __future__ import annotations

from typing import NamedTuple

from bench.metrics import base_name
from bench.report.text import arrow, metric_order, number, readout_text
from bench.results.one_run import OneRun, Row
from bench.results.sources import CALIBRATED_BETA

__all__ = ["ScoreTable", "readout_words", "score_tables"]


class ScoreTable(NamedTuple):
    """The scores of one key: readouts down, metrics across, and what is to be remarked on some."""

    key: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    remarks: list[str]


def readout_words(row: Row) -> str:
    """Return where the samples of a row come from."""
    return readout_text(row._replace(beta=CALIBRATED_BETA) if row.calibrated else row)


def score_tables(run: OneRun) -> list[ScoreTable]:
    """Return all scores of a run, in the order in which it has them."""
    groups: dict[str, list[Row]] = {}
    for row in run.rows:
        groups.setdefault(row.key, []).append(row)
    tables = []
    for key, rows in groups.items():
        metrics = sorted({name for row in rows for name in row.scores}, key=metric_order)
        header = ("readout", "chain", *(arrow(name).replace(name, base_name(name)) for name in metrics))
        lines = [
            (readout_words(row), row.target or "", *(number(row.scores.get(name)) for name in metrics)) for row in rows
        ]
        remarks = [f"{readout_words(row)}: {row.remark}" for row in rows if row.remark]
        tables.append(ScoreTable(key, header, lines, remarks))
    return tables
