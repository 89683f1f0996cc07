"""The tidy frame's columns: type, unit and meaning. One place, from which the schema page is made; a test holds it against the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.metrics import METRICS
from bench.report.text import escape, table

__all__ = ["COLUMN_MEANINGS", "ColumnMeaning", "schema_page"]


@dataclass(frozen=True)
class ColumnMeaning:
    """A column of the frame."""

    name: str
    type: str
    unit: str
    meaning: str


COLUMN_MEANINGS: Sequence[ColumnMeaning] = (
    ColumnMeaning("suite", "text", "", "suite that asked for the run"),
    ColumnMeaning("profile", "text", "", "its size: quick or paper"),
    ColumnMeaning("dataset", "text", "", "dataset's name; `dataset_digest` is what identifies it"),
    ColumnMeaning("model", "text", "", "model's name; `data` is held-out real data in a model's place"),
    ColumnMeaning(
        "seed", "integer", "", "repeat; runs of one seed share initial weights, data order and evaluation latents"
    ),
    ColumnMeaning("run", "text", "", "directory of the run in the store"),
    ColumnMeaning("identity", "text", "", "sha256 of everything that was run but the seed: repeats share it"),
    ColumnMeaning(
        "sampler",
        "text or missing",
        "",
        "latent sampler; `base` is no chain, `likelihood` and `resampled` are of the density; missing for a run without scores",
    ),
    ColumnMeaning(
        "beta", "number or missing", "", "inverse temperature of the target: 1 is the model, 100 the paper's protocol"
    ),
    ColumnMeaning("step_size", "number or missing", "latent units", "sampler's step size, where it is one number"),
    ColumnMeaning("steps", "integer or missing", "steps", "length of the chain; 0 where there is none"),
    ColumnMeaning(
        "gradient_evaluations",
        "integer or missing",
        "evaluations per sample",
        "gradients of the potential that a sample took",
    ),
    ColumnMeaning(
        "forward_evaluations",
        "integer or missing",
        "evaluations per sample",
        "potentials without gradient that a sample took",
    ),
    ColumnMeaning(
        "metric", "text or missing", "", "what `value` is, see the metrics below; missing for a run without scores"
    ),
    ColumnMeaning("value", "number or missing", "the metric's", "the score"),
    ColumnMeaning(
        "key",
        "text or missing",
        "",
        "all that the score depends on besides the samples: only scores of one key compare",
    ),
    ColumnMeaning(
        "status",
        "text",
        "",
        "done, stale (other code or libraries), collapsed, unfinished (scores of a run that had to leave off, not its result), partial, "
        "failed, missing, or old (another schema)",
    ),
    ColumnMeaning(
        "reason", "text", "", "why the status is not done; of an unfinished run how many steps were done of how many"
    ),
    ColumnMeaning("dataset_digest", "text", "", "sha256 of the dataset's content; empty for a run that is not whole"),
)


def schema_page() -> str:
    """The columns and metrics of an export, in Markdown."""
    columns = [[f"`{each.name}`", each.type, each.unit or "—", escape(each.meaning)] for each in COLUMN_MEANINGS]
    metrics = [
        [f"`{each.name}`", each.unit or "—", each.direction, each.about, escape(each.summary)]
        for each in METRICS.values()
    ]
    parts = [
        "# Columns of the export",
        "One row for each run × readout × chain length × metric; a run without scores is one row with a status and a reason.",
        table(["column", "type", "unit", "meaning"], columns),
        "## Metrics",
        "A metric in the features of an extractor other than Inception is followed by its name, such as `fd[digits-cnn]`.",
        table(["metric", "unit", "better", "about", "meaning"], metrics),
    ]
    return "\n\n".join(parts) + "\n"
