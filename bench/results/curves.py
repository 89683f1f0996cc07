"""Training curves and scores where people look at them: one tidy table, TensorBoard, Weights & Biases.

They are exported after the fact, from files that a run keeps whole through kills and resumes, so what is exported is complete and the
worker needs no callback; a run that is going on can be exported as far as it is, and again later.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.manifests import manifests
from bench.core.run_folder import RunFolder
from bench.core.store import Store
from bench.results.one_run import OneRun, read_curve
from bench.results.sources import CALIBRATED_BETA, beta_text
from bench.results.tidy import ExportError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "TARGETS", "curve_table", "export_runs", "runs_of"]

COLUMNS = {
    "run": {"type": "text", "meaning": "directory of the run in the store"},
    "dataset": {"type": "text", "meaning": "dataset's name"},
    "model": {"type": "text", "meaning": "model's name"},
    "seed": {"type": "integer", "meaning": "repeat"},
    "phase": {"type": "text", "meaning": "phase of training, such as training or refit"},
    "step": {"type": "integer", "meaning": "steps of that phase done"},
    "quantity": {"type": "text", "meaning": "what `value` is: a loss, or a gain on held-out data"},
    "value": {"type": "number", "meaning": "its value there"},
}


def runs_of(store: Store, suite: str | None, profile: str | None, part: str = "") -> list[OneRun]:
    """Return the runs that suites of a store planned and that were begun; with `part`, those that have it in their id.

    Raises:
        StoreError: if there is no such suite or profile, or a run cannot be read.
        ExportError: if there is no such run.
    """
    planned = (run["run"] for manifest in manifests(store, suite, profile) for run in manifest["runs"])
    folders = [RunFolder(store.root / "runs" / run) for run in dict.fromkeys(planned) if part in run]
    if found := [OneRun.read(folder) for folder in folders if (folder / "spec.json").is_file()]:
        return found
    raise ExportError(f"no run {f'with {part!r} in its id' if part else 'was begun'} in {store.root}")


def curve_table(runs: Sequence[OneRun]) -> pd.DataFrame:
    """Return every point of the runs' training curves, one value per row, with the columns `COLUMNS`."""
    import pandas as pd

    rows = [
        (spec.run_id, spec.dataset, spec.model, spec.seed, phase, step, quantity, value)
        for run in runs
        for spec in [run.spec]
        for phase, step, quantity, value in _points(run)
    ]
    return pd.DataFrame.from_records(rows, columns=list(COLUMNS))


def export_runs(runs: Sequence[OneRun], target: str, out: Path) -> None:
    """Write the runs' curves, settings and scores into a folder, as a tool of `TARGETS` reads them; what it has of them is replaced.

    Raises:
        ExportError: if the tool is not installed.
    """
    if importlib.util.find_spec(target) is None:
        raise ExportError(f"--to {target} needs a package that is not installed: pip install 'gebm-bench[{target}]'")
    out.mkdir(parents=True, exist_ok=True)
    for run in runs:
        TARGETS[target](run, out)


def _points(run: OneRun) -> Iterator[tuple[str, int, str, float]]:
    for point in read_curve(run.folder):
        for name, value in point.items():
            if name not in ("phase", "step"):
                yield point["phase"], point["step"], name, value


def _final_scores(run: OneRun) -> Iterator[tuple[str, int, float]]:
    """Yield (name, chain length, score) of every score of a run."""
    for row in run.rows:
        beta = "" if row.beta is None else f" {beta_text(CALIBRATED_BETA if row.calibrated else row.beta)}"
        for metric, value in row.scores.items():
            yield f"scores/{metric}/{row.sampler}{beta}", row.steps, value


def _flat(settings: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value if isinstance(value, int | float | str | bool) else str(value)


def _to_tensorboard(run: OneRun, out: Path) -> None:
    """A folder of events per run: a scalar per quantity and phase, one per score over the length of its chain, the spec as text."""
    from torch.utils.tensorboard import SummaryWriter

    folder = out / run.spec.run_id
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        for phase, step, name, value in _points(run):
            writer.add_scalar(f"{phase}/{name}", value, step)
        for name, steps, value in _final_scores(run):
            writer.add_scalar(name, value, steps)
        spec = "\n".join(f"    {key} = {value}" for key, value in _flat(run.spec.model_dump(mode="json")))
        writer.add_text("spec", spec)


def _to_wandb(run: OneRun, out: Path) -> None:
    """An offline run, which `wandb sync` sends where its user wants it: phases with steps of their own, scores in its summary."""
    import wandb

    spec = run.spec
    name = f"{spec.dataset}-{spec.model}-{spec.identity[:12]}-s{spec.seed}".replace("+", "-")
    group = f"{spec.dataset}/{spec.model}/{spec.identity[:12]}"
    config = dict(_flat(spec.model_dump(mode="json")))
    for old in out.glob(f"wandb/offline-run-*-{name}"):
        shutil.rmtree(old)
    quiet = wandb.Settings(silent=True, console="off")
    with wandb.init(
        project="gebm-bench",
        id=name,
        name=spec.run_id,
        group=group,
        config=config,
        dir=str(out),
        mode="offline",
        settings=quiet,
    ) as there:
        points = list(read_curve(run.folder))
        for phase in dict.fromkeys(point["phase"] for point in points):
            there.define_metric(f"{phase}/*", step_metric=f"{phase}/step")
        for point in points:
            there.log({f"{point['phase']}/{key}": value for key, value in point.items() if key != "phase"})
        there.summary.update(
            {f"{name}, {steps} steps" if steps else name: value for name, steps, value in _final_scores(run)}
        )
        there.summary["state"] = run.state


TARGETS: dict[str, Callable[[OneRun, Path], None]] = {"tensorboard": _to_tensorboard, "wandb": _to_wandb}
"""Tools by the name of their package and of our extra."""
