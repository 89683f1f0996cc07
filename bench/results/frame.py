"""From a store to three tidy pandas frames: its runs, their readouts, and every score.

Everything that reads results, the report, claims, comparisons and exports, starts from here. Missing numbers are NaN or NA, missing texts
are None.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.components.digests import changes
from bench.core.fields import content_hash
from bench.core.manifests import manifests, tagged
from bench.core.store import Store
from bench.machine import no_collection
from bench.metrics import METRICS, base_name
from bench.results.reading import RunFiles, cached_reader
from bench.results.summary import DATA, summarise

__all__ = [
    "CHAIN",
    "DATA",
    "HEAD",
    "RUN_COLUMNS",
    "SCORE_COLUMNS",
    "NothingToReportError",
    "Results",
    "Section",
    "build",
    "scan",
]

HEAD = ("suite", "profile", "kind", "dataset", "dataset_digest", "model", "label", "seed", "run", "identity")
_PLACE = ["suite", "profile", "kind", "dataset"]
CHAIN = ("sampler", "beta", "step_size", "steps")
STATE = ("status", "reason", "stale", "steps_done", "steps_asked")
SCORE_COLUMNS = (*HEAD, *CHAIN, "gradient_evaluations", "forward_evaluations", "metric", "value", "key", *STATE)
READOUT_COLUMNS = (*HEAD, *CHAIN, *STATE, "readout", "row", "arrays")
FACTS = ("parameters", "flops", "architecture", "initial_weights")
SECONDS = ("seconds_training", "seconds_sampling", "seconds_scoring")
RUN_COLUMNS = (
    *HEAD,
    *STATE,
    "folder",
    "device",
    "versions",
    "code",
    *FACTS,
    "capabilities",
    *SECONDS,
    "peak_memory",
    "spec",
)
SOUND = ("done", "collapsed")
"""Statuses of scores by the present code that are a run's result; `stale`, `unfinished` and all others stand apart."""
NO_FACTS: Mapping[str, Any] = {
    **{name: {} for name in (*FACTS, "versions", "peak_memory", "spec")},
    "capabilities": [],
    "dataset_digest": "",
    "device": "",
    "code": "",
}
_NUMBERS = {
    **dict.fromkeys(("beta", "step_size", "value", *SECONDS), "float64"),
    **dict.fromkeys(("steps", "gradient_evaluations", "forward_evaluations", "steps_done", "steps_asked"), "Int64"),
    "seed": "int64",
}


class NothingToReportError(Exception):
    """There is no run to report on."""


@dataclass(frozen=True)
class Section:
    """What stands together in a report: one dataset of one suite and profile.

    Attributes:
        dataset: its name; where one suite holds two contents of one name, followed by a piece of the digest.
        scores: a row per run × readout × chain length × metric, and per run without scores (then `metric` is None).
        runs: a row per run.
        readouts: a row per run × readout × chain length.
    """

    suite: str
    profile: str
    kind: str
    dataset: str
    scores: pd.DataFrame
    runs: pd.DataFrame
    readouts: pd.DataFrame

    @property
    def dataset_name(self) -> str:
        """The dataset's own name, without what tells two contents of one name apart."""
        return str(self.scores["dataset"].iloc[0])

    @functools.cached_property
    def counted(self) -> pd.DataFrame:
        """The scores that may enter a mean: of finished runs by the present code; a collapsed one must (dropping it would flatter)."""
        return counted(self.scores)

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """Means over seeds, see `bench.results.summary.summarise`."""
        return summarise(self.scores)


@dataclass(frozen=True)
class Results:
    """The runs of a store, or of a part of it, see the columns of `RUN_COLUMNS`, `READOUT_COLUMNS` and `SCORE_COLUMNS`."""

    scores: pd.DataFrame
    runs: pd.DataFrame
    readouts: pd.DataFrame

    def sections(self) -> list[Section]:
        """Split by suite, profile and dataset, in order of first appearance; content of two digests is two datasets.

        Raises:
            NothingToReportError: if there is no run.
            ValueError: if a run has one score twice, or a log-likelihood stands beside β ≠ 1.
        """
        if self.scores.empty:
            raise NothingToReportError("nothing to report yet: the store holds no run; `bench run` makes some")
        check(self.scores)
        known = self.scores[self.scores["dataset_digest"] != ""]
        digests = known.groupby(_PLACE)["dataset_digest"].unique().to_dict()
        scores, runs, readouts = (_split(frame, digests) for frame in (self.scores, self.runs, self.readouts))
        nothing = self.readouts.iloc[:0]
        return [
            Section(suite, profile, kind, dataset, own, runs[place], readouts.get(place, nothing))
            for place, own in scores.items()
            for suite, profile, kind, dataset in [place]
        ]


def scan(store: Store, suite: str | None = None, profile: str | None = None, tag: str | None = None) -> Results:
    """Read the planned runs of a store, of one suite and profile of it, or of what was made under a tag.

    Raises:
        StoreError: if a manifest cannot be read, or there is none of that suite and profile or of that tag.
    """
    listed = manifests(store, suite, profile) if tag is None else tagged(store, tag)
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    with no_collection(), cached_reader(store) as read:
        for manifest in listed:
            for planned in manifest["runs"]:
                head = {key: manifest[key] for key in ("suite", "profile", "kind")}
                head |= {key: planned[key] for key in ("dataset", "model", "seed", "run", "identity")}
                folder = store.root / "runs" / planned["run"]
                run, own = _run_and_rows(head, folder, read(planned["run"]), planned["readouts"])
                rows += [row | {"at": len(runs)} for row in own]
                runs.append(run)
        return build(runs, rows)


def counted(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores that may enter a mean."""
    return scores[scores["value"].notna() & scores["status"].isin(SOUND)]


def check(scores: pd.DataFrame) -> None:
    """Refuse scores that contradict themselves.

    Raises:
        ValueError: if a run has one score twice, or a log-likelihood stands beside β ≠ 1.
    """
    scored = scores[scores["metric"].notna() & (scores["sampler"] != DATA)]
    densities = [name for name in scored["metric"].unique() if about_density(name)]
    wrong = scored[scored["metric"].isin(densities) & scored["beta"].notna() & (scored["beta"] != 1)]
    for row in wrong.head(1).itertuples():
        raise ValueError(
            f"{row.metric} of {row.model} seed {row.seed} stands beside β={row.beta:g}: a log-likelihood "
            "belongs to the trained density, β=1, and to nothing else"
        )
    place = ["suite", "profile", "run", *CHAIN, "metric", "key", "status"]
    for row in scored[scored.duplicated(place)].head(1).itertuples():
        raise ValueError(f"{row.metric} of {row.model} seed {row.seed} ({row.sampler}) is there twice")


def about_density(metric: str) -> bool:
    """Whether a metric speaks about the trained density, so that it belongs to β = 1 and to no samples."""
    known = METRICS.get(base_name(metric))
    return known is not None and known.about == "density"


def _run_and_rows(
    head: dict[str, Any], folder: Path, found: RunFiles, readouts: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run's row and the rows of its readouts; one row without numbers where there is nothing to read.

    Suites may share a run: only what this one asked to have read out of it is its own.
    """
    state = {"status": found.state, "reason": found.reason, "stale": ""}
    spec = found.files.get("spec.json", {})
    known = {"folder": folder, "spec": spec, "dataset_digest": spec.get("dataset_digest", "")}
    blank = {**head, **NO_FACTS, **state, **known}
    if "training.json" not in found.files:
        return blank, [state]
    try:
        run = blank | _facts(found.files)
        results = [_evaluation(found.files, readout) for readout in readouts]
        for part in ("sampling", "scoring"):
            run[f"seconds_{part}"] = sum(result["seconds"].get(part, 0.0) for result in results if result)
        rows = zip(readouts, results, strict=True)
        return run, [row for each in rows for row in _readout_rows(folder, found, run, *each)]
    except (KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else "is not laid out as expected"
        why = f"a file of {folder.name} {what}: written by another version"
        return _run_and_rows(head, folder, RunFiles("failed", why, {}), [])


def _facts(files: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What a run's files say of it besides scores."""
    status, training = files["status.json"], files["training.json"]
    environment, facts = files.get("env.json", {}), training["facts"]
    return {
        "stale": stale(training["stage"]),
        "steps_done": status.get("steps_done"),
        "steps_asked": status.get("steps_asked"),
        "device": environment.get("device") or training["device"],
        "versions": environment.get("versions") or training["stage"]["versions"],
        "code": content_hash([training["stage"]["code"], training["stage"]["versions"]])[:16],
        **{name: facts.get(name, {}) for name in FACTS},
        "capabilities": training.get("capabilities", []),
        "seconds_training": training["seconds"],
        "peak_memory": training.get("peak_memory") or {},
    }


def _evaluation(files: Mapping[str, dict[str, Any]], readout: dict[str, Any]) -> dict[str, Any] | None:
    """What was read out of the run's checkpoint; None where that is still to be done."""
    identity = content_hash({"checkpoint": files["training.json"]["checkpoint"]} | readout)[:16]
    return files.get(f"evals/{identity}.json")


def _readout_rows(
    folder: Path, found: RunFiles, run: Mapping[str, Any], readout: dict[str, Any], result: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """A row per chain length of one readout, with its scores; one without where it is still to be done."""
    state = {name: run.get(name) for name in STATE}
    if result is None:
        yield state | (
            {"status": "partial", "reason": "a readout is still to be done"} if found.state == "done" else {}
        )
        return
    if found.state == "failed":  # another readout did
        state |= {"status": "done", "reason": ""}
    state["stale"] = run["stale"] or stale(result["stage"])
    for row in result["rows"]:
        place = {name: result[name] for name in ("sampler", "beta", "step_size")}
        place |= {name: row[name] for name in ("steps", "gradient_evaluations", "forward_evaluations", "key", "scores")}
        arrays = _arrays(folder, result, row["steps"])
        yield {
            **state,
            **_collapsed(state, row["collapsed"]),
            **place,
            "readout": readout,
            "row": row,
            "arrays": arrays,
        }


def _collapsed(state: Mapping[str, Any], why: str) -> dict[str, str]:
    """Status and reason of a collapsed row; one of an unfinished run stays unfinished."""
    if not why:
        return {}
    if state["status"] == "unfinished":
        return {"reason": "; ".join(filter(None, (state["reason"], why)))}
    return {"status": "collapsed", "reason": why}


def _arrays(folder: Path, result: Mapping[str, Any], steps: int) -> dict[str, Path]:
    """The arrays of a row by name; pictures, which are stored by the number of steps, are `samples`."""
    stem = f"evals/{result['identity']}-"
    names = {name.removeprefix(stem).removesuffix(".npy"): folder / name for name in result["files"]}
    own = {name: path for name, path in names.items() if not name.isdigit()}
    return own | ({"samples": names[f"{steps:06}"]} if f"{steps:06}" in names else {})


def build(runs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Results:
    """Make the three frames of records.

    Arguments:
        runs: one per run, with the columns `RUN_COLUMNS` except `label`.
        rows: one per row of a readout, with `at`, the number of its run, `scores` by metric, and the columns of a readout; one without
            sampler and scores is a run, or a readout, without numbers.
    """
    run_frame = _typed(pd.DataFrame.from_records(list(runs), columns=list(RUN_COLUMNS)), RUN_COLUMNS)
    models = run_frame.groupby(["suite", "profile", "dataset", "model"], sort=False)["identity"]
    several = models.transform("nunique") > 1 if runs else pd.Series(dtype=bool)
    names = run_frame["model"].where(~several, run_frame["model"] + " (" + run_frame["identity"].str[:8] + ")")
    run_frame["label"] = names.astype(object)
    at = np.array([row["at"] for row in rows], dtype=np.intp)
    heads = run_frame[list(HEAD)].take(at).reset_index(drop=True)
    own = [name for name in dict.fromkeys((*SCORE_COLUMNS, *READOUT_COLUMNS)) if name not in HEAD]
    every = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in own})
    every = _typed(pd.concat([heads, every], axis=1), every.columns)
    for frame in (run_frame, every):
        frame["status"] = frame["status"].mask((frame["stale"] != "") & frame["status"].isin(SOUND), "stale")
    data = every["sampler"] == DATA  # in a model's place: without temperature or settings
    every.loc[data, ["model", "label"]] = DATA
    every.loc[data, "identity"] = ""
    every.loc[data, ["beta", "step_size"]] = np.nan
    every.loc[data, "steps"] = 0
    scores = [(i, *each) for i, row in enumerate(rows) for each in row.get("scores", {None: None}).items()]
    table = every[[name for name in SCORE_COLUMNS if name not in ("metric", "value")]]
    score_frame = table.take(np.array([i for i, _, _ in scores], dtype=np.intp)).reset_index(drop=True)
    score_frame["metric"] = pd.Series([name for _, name, _ in scores], dtype=object)
    score_frame["value"] = pd.Series([value for _, _, value in scores], dtype="float64")
    readouts = every.loc[every["sampler"].notna(), list(READOUT_COLUMNS)].reset_index(drop=True)
    return Results(score_frame[list(SCORE_COLUMNS)], run_frame[list(RUN_COLUMNS)], readouts)


def _typed(frame: pd.DataFrame, columns: Sequence[str] | pd.Index) -> pd.DataFrame:
    return frame.astype({name: _NUMBERS.get(name, "object") for name in columns})


def _split(frame: pd.DataFrame, digests: Mapping[Any, Sequence[str]]) -> dict[Any, pd.DataFrame]:
    """The frame by suite, profile, kind and the name that the dataset's section has."""
    found: dict[Any, pd.DataFrame] = {}
    for where, part in frame.groupby(_PLACE, sort=False):
        known = digests.get(where, ())
        if len(known) < 2:
            found[where] = part
            continue
        own = part["dataset_digest"].where(part["dataset_digest"] != "", known[0])
        *place, dataset = where
        found |= {(*place, f"{dataset} ({digest[:8]})"): each for digest, each in part.groupby(own, sort=False)}
    return found


@functools.cache
def _changes(stage: str) -> str:
    return changes(json.loads(stage))


def stale(stage: Mapping[str, Any]) -> str:
    """What has changed in the code and libraries of a stage since it was recorded; '' if nothing."""
    return _changes(json.dumps(stage, sort_keys=True))
