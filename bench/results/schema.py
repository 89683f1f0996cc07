"""The columns of the tidy table of scores: type, unit and meaning; a test holds them against the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.metrics import METRICS

__all__ = ["COLUMN_MEANINGS", "ColumnMeaning", "schema_page"]


class ColumnMeaning(NamedTuple):
    """A column of the table; the type of one that may be empty ends in "or missing"."""

    name: str
    type: str
    unit: str
    meaning: str


COLUMN_MEANINGS: Sequence[ColumnMeaning] = tuple(
    ColumnMeaning(*each)
    for each in (
        ("suite", "text", "", "suite that asked for the run"),
        ("profile", "text", "", "its size: quick or paper"),
        ("kind", "text", "", "what the suite is about: images, chains or density"),
        ("dataset", "text", "", "dataset's name; `dataset_digest` is what identifies it"),
        ("dataset_digest", "text", "", "sha256 of the dataset's content; empty for a run that was never begun"),
        ("model", "text", "", "model's name; `data` is held-out real data in a model's place"),
        ("label", "text", "", "the same, with a piece of the identity where several settings of it were run"),
        ("seed", "integer", "", "repeat; runs of one seed share initial weights, data order and evaluation latents"),
        ("run", "text", "", "directory of the run in the store"),
        ("identity", "text", "", "sha256 of everything that was run but the seed: repeats share it"),
        (
            *("sampler", "text or missing", ""),
            "latent sampler; `base` is no chain, `likelihood` and `resampled` are of the density; missing for a run without scores",
        ),
        (
            "beta",
            "number or missing",
            "",
            "inverse temperature of the target: 1 is the model, 100 the paper's protocol",
        ),
        ("step_size", "number or missing", "latent units", "sampler's step size, where it is one number"),
        ("steps", "integer or missing", "steps", "length of the chain; 0 where there is none"),
        (
            *("gradient_evaluations", "integer or missing", "evaluations per sample"),
            "gradients of the potential that a sample took",
        ),
        (
            *("forward_evaluations", "integer or missing", "evaluations per sample"),
            "potentials without gradient that a sample took",
        ),
        ("metric", "text or missing", "", "what `value` is, see the metrics below; missing for a run without scores"),
        ("value", "number or missing", "the metric's", "the score"),
        (
            *("key", "text or missing", ""),
            "all that the score depends on besides the samples: only scores of one key compare",
        ),
        (
            *("status", "text", ""),
            "done; collapsed; stale (other code or libraries); unfinished (scores of a run that had to leave off, not its result); "
            "partial, failed or missing (no score)",
        ),
        ("reason", "text", "", "why the status is not done; of an unfinished run how many steps were done of how many"),
        ("stale", "text", "", "what has changed in code and libraries since; empty for the present code"),
        ("steps_done", "integer or missing", "steps", "training steps that were done"),
        ("steps_asked", "integer or missing", "steps", "training steps that were asked for"),
    )
)


def schema_page() -> str:
    """Return the columns and metrics of an export, in Markdown."""
    columns = [(f"`{each.name}`", each.type, each.unit or "—", each.meaning) for each in COLUMN_MEANINGS]
    metrics = [
        (f"`{each.name}`", each.unit or "—", each.direction, each.about, each.summary) for each in METRICS.values()
    ]
    parts = [
        "# Columns of the export",
        "One row per run × readout × chain length × metric; a run without scores is one row with a status and a reason.",
        _table(("column", "type", "unit", "meaning"), columns),
        "## Metrics",
        "A metric in the features of an extractor other than Inception is followed by its name, such as `fd[digits-cnn]`.",
        _table(("metric", "unit", "better", "about", "meaning"), metrics),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines)
