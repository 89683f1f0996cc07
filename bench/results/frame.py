"""From a store to three tidy pandas frames: its runs, their readouts, and every score.

Everything that reads results, the report, claims, comparisons and exports, starts from here. Missing numbers are NaN or NA, missing texts
are None.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from bench.components.digests import changes
from bench.core.fields import content_hash
from bench.core.manifests import manifests, tagged
from bench.core.store import Store, trained_on
from bench.machine import no_collection
from bench.metrics import METRICS, base_name
from bench.results.losses import Losses, losses_in
from bench.results.one_run import why_refused
from bench.results.reading import RunFiles, cached_reader
from bench.results.sources import CALIBRATED_BETA, Source, SourceValues, by_source
from bench.results.summary import COSTS, DATA, summarise

__all__ = [
    "RUN_COLUMNS",
    "SCHEMA",
    "SCORE_COLUMNS",
    "SOUND",
    "NothingToReportError",
    "Results",
    "Section",
    "build",
    "once",
    "read_runs",
    "scan",
    "stale_words",
]

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA: Mapping[str, Mapping[str, str]] = tomllib.loads(Path(__file__).with_name("schema.toml").read_text("utf-8"))
"""Type, unit and meaning of every column of scores."""
HEAD = ("suite", "profile", "kind", "dataset", "dataset_digest", "model", "label", "seed", "run", "identity")
CHAIN = ("sampler", "beta", "beta_rule", "step_size", "steps", "target")
STATE = ("status", "reason", "stale", "steps_done", "steps_asked")
LOST = ("collapsed", "refused")
FACTS = ("parameters", "flops", "architecture", "initial_weights")
SECONDS = ("seconds_training", "seconds_sampling", "seconds_scoring")
SCORE_COLUMNS = tuple(SCHEMA)
READOUT_COLUMNS = (*HEAD, *CHAIN, *STATE, *LOST, "readout", "row", "arrays")
ANY_BETA = ("likelihood-gain", "kl-from-base", "ess-fraction")
"""Metrics of a density that are read out at any temperature."""
_RECORDED = ("folder", "device", "trained_on", "versions", "code")
ASKED = ("asked", "set", "changes")
RUN_COLUMNS = (*HEAD, *ASKED, *STATE, *_RECORDED, *FACTS, "capabilities", *SECONDS, "peak_memory", "spec")
SOUND = ("done", "collapsed", "refused")
"""Statuses of scores by the present code that are a run's result; `stale`, `unfinished` and all others stand apart."""
TRAINING = "training"
"""Sampler of a base at an earlier step of its training, which `steps` counts."""
NO_FACTS: Mapping[str, Any] = {
    **{name: {} for name in (*FACTS, "versions", "peak_memory", "spec", "set", "changes")},
    **dict.fromkeys(("dataset_digest", "device", "trained_on", "code", "asked"), ""),
    "capabilities": [],
}
_OF_ROW = ("steps", *COSTS, "key", "scores")
_PLACE = ["suite", "profile", "kind", "dataset"]
_DTYPES = {"number or missing": "float64", "integer or missing": "Int64", "integer": "int64", "true or false": "bool"}
_NUMBERS = {name: _DTYPES[about["type"]] for name, about in SCHEMA.items() if about["type"] in _DTYPES}
_NUMBERS |= dict.fromkeys(SECONDS, "float64")


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
        snapshots: as `scores`, of bases at earlier steps of their training, which are in no other frame.
        computed: what `once` has made of it.
    """

    suite: str
    profile: str
    kind: str
    dataset: str
    scores: pd.DataFrame
    runs: pd.DataFrame
    readouts: pd.DataFrame
    snapshots: pd.DataFrame
    computed: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def dataset_name(self) -> str:
        """The dataset's own name, without what tells two contents of one name apart."""
        return str(self.scores["dataset"].iloc[0])

    @functools.cached_property
    def counted(self) -> pd.DataFrame:
        """The scores that may enter a mean: of finished runs by the present code; a collapsed one must (dropping it would flatter)."""
        return self.scores[self.scores["value"].notna() & self.scores["status"].isin(SOUND)]

    @functools.cached_property
    def counted_readouts(self) -> pd.DataFrame:
        """The readouts of finished runs by the present code, those included that could not be had."""
        return self.readouts[(self.readouts["stale"] == "") & (self.readouts["status"] != "unfinished")]

    @functools.cached_property
    def by_source(self) -> dict[tuple[str, Source], SourceValues]:
        """The values that count, by metric and source."""
        return by_source(self.counted)

    @functools.cached_property
    def longest(self) -> dict[tuple[str, float | None], int]:
        """The longest chain that counts by sampler and β, in whatever metric."""
        sources = sorted((source for _, source in self.by_source), key=lambda source: source.steps)
        return {(source.sampler, source.beta): source.steps for source in sources}

    @functools.cached_property
    def losses(self) -> Losses:
        """The seeds that were refused, collapsed or failed."""
        return losses_in(self.scores, self.runs)

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """Means over seeds, see `bench.results.summary.summarise`."""
        return summarise(self.scores)


def once(function: Callable[Concatenate[Section, P], T]) -> Callable[Concatenate[Section, P], T]:
    """Decorate a function of a section that is asked for again and again: it is called once; what it returned must not be changed."""

    @functools.wraps(function)
    def known(section: Section, /, *arguments: P.args, **named: P.kwargs) -> T:
        place = (function, arguments, *named.items())
        if place not in section.computed:
            section.computed[place] = function(section, *arguments, **named)
        found: T = section.computed[place]
        return found

    return known


class ContradictionError(ValueError):
    """Scores that cannot be together, which nothing of ours writes."""


@dataclass(frozen=True)
class Results:
    """The runs of a store, or of a part of it, with the columns `SCORE_COLUMNS`, `RUN_COLUMNS` and `READOUT_COLUMNS`.

    `only` are the names, by column, that the rows were chosen by.
    """

    scores: pd.DataFrame
    runs: pd.DataFrame
    readouts: pd.DataFrame
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def sections(self) -> list[Section]:
        """Split by suite, profile and dataset, in order of first appearance; content of two digests is two datasets.

        Raises:
            NothingToReportError: if there is no run.
            ContradictionError: if a run has one score twice, or a log-likelihood stands beside β ≠ 1.
        """
        if self.scores.empty:
            raise NothingToReportError("nothing to report yet: the store holds no run; `bench run` makes some")
        check(self.scores)
        known = self.runs[self.runs["dataset_digest"] != ""]
        earlier, of_earlier = (frame["sampler"] == TRAINING for frame in (self.scores, self.readouts))
        scores, readouts = one_temperature(self.scores[~earlier]), one_temperature(self.readouts[~of_earlier])
        frames = (scores, self.runs, readouts, self.scores[earlier])
        digests = known.groupby(_PLACE)["dataset_digest"].unique().to_dict()
        parts = [(frame.iloc[:0], _split(frame, digests)) for frame in frames]
        return [Section(*place, *(own.get(place, none) for none, own in parts)) for place in parts[0][1]]

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """The summaries of all sections, one below the other.

        Raises:
            NothingToReportError, ValueError: as `sections`.
        """
        return pd.concat([section.summary for section in self.sections()], ignore_index=True)


def scan(store: Store, suite: str | None = None, profile: str | None = None, tag: str | None = None) -> Results:
    """Read the planned runs of a store, of one suite and profile of it, or of what was made under a tag.

    Raises:
        StoreError: if a manifest cannot be read, or there is none of that suite and profile or of that tag.
    """
    return read_runs(store, manifests(store, suite, profile) if tag is None else tagged(store, tag))[0]


def read_runs(
    store: Store, listed: Iterable[Mapping[str, Any]]
) -> tuple[Results, dict[str, str], Iterable[Mapping[str, Any]]]:
    """Read the runs in these manifests; return also the stamps of their files, and all stages of code behind them."""
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    stamps: dict[str, str] = {}
    stages: dict[int, Mapping[str, Any]] = {}  # by identity: the reader shares what is equal
    with no_collection(), cached_reader(store, stamps) as read:
        for manifest in listed:
            for planned in manifest["runs"]:
                head = {key: manifest[key] for key in ("suite", "profile", "kind")}
                head |= {key: planned[key] for key in ("dataset", "model", "seed", "run", "identity")}
                head["label"] = planned.get("label", planned["model"])
                head |= {name: planned[name] for name in ASKED if name in planned}
                folder = store.root / "runs" / planned["run"]
                found = read(planned["run"])
                stages |= {id(each["stage"]): each["stage"] for each in found.files.values() if "stage" in each}
                run, own = _run_and_rows(head, folder, found, planned["readouts"])
                for row in own:
                    row["at"] = len(runs)
                rows += own
                runs.append(run)
        return build(runs, rows), stamps, stages.values()


def one_temperature(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with one β for all rows at a calibrated temperature, and the β of each run as `beta_used`."""
    own = frame["beta_rule"] == "calibrated"
    return frame.assign(beta_used=frame["beta"], beta=frame["beta"].mask(own, CALIBRATED_BETA))


def check(scores: pd.DataFrame) -> None:
    """Refuse scores that contradict themselves.

    Raises:
        ContradictionError: if a run has one score twice, or a log-likelihood stands beside β ≠ 1.
    """
    scored = scores[scores["metric"].notna() & (scores["sampler"] != DATA)]
    known = {name: METRICS.get(base_name(name)) for name in scored["metric"].unique()}
    densities = [name for name, each in known.items() if each and each.about == "density" and name not in ANY_BETA]
    wrong = scored[scored["metric"].isin(densities) & scored["beta"].notna() & (scored["beta"] != 1)]
    for row in wrong.head(1).itertuples():
        raise ContradictionError(
            f"{row.metric} of {row.model} seed {row.seed} stands beside β={row.beta:g}: a log-likelihood "
            "belongs to the trained density, β=1, and to nothing else"
        )
    place = ["suite", "profile", "run", *CHAIN, "metric", "key", "status"]
    for row in scored[scored.duplicated(place)].head(1).itertuples():
        raise ContradictionError(f"{row.metric} of {row.model} seed {row.seed} ({row.sampler}) is there twice")


def _run_and_rows(
    head: dict[str, Any], folder: Path, found: RunFiles, readouts: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a run's row and the rows of its readouts; one row without numbers where there is nothing to read.

    Suites may share a run: only what this one asked to have read out of it is its own.
    """
    state = {"status": found.state, "reason": found.reason, "stale": ""}
    spec = found.files.get("spec.json", {})
    known = {"folder": folder, "spec": spec, "dataset_digest": spec.get("dataset_digest", "")}
    run = {**NO_FACTS, **head, **state, **known}
    if "training.json" not in found.files:
        return run, [state]
    run |= _facts(found.files)
    checkpoint = {"checkpoint": found.files["training.json"]["checkpoint"]}
    names = [f"evals/{content_hash(checkpoint | readout)[:16]}.json" for readout in readouts]
    results = [found.files.get(name) for name in names]
    for part in ("sampling", "scoring"):
        run[f"seconds_{part}"] = sum(result["seconds"].get(part, 0.0) for result in results if result)
    return run, [row for each in zip(readouts, results, strict=True) for row in _readout_rows(found, run, *each)]


def _facts(files: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what a run's files say of it besides scores."""
    status, training = files["status.json"], files["training.json"]
    environment, facts, stage = files.get("env.json", {}), training["facts"], training["stage"]
    return {
        "stale": stale_words(stage),
        "steps_done": status.get("steps_done"),
        "steps_asked": status.get("steps_asked"),
        "device": environment.get("device") or training["device"],
        "trained_on": trained_on(training, environment),
        "versions": environment.get("versions") or stage["versions"],
        "code": content_hash([stage["code"], stage["versions"]])[:16],
        **{name: facts.get(name, {}) for name in FACTS},
        "capabilities": training.get("capabilities", []),
        "seconds_training": training["seconds"],
        "peak_memory": training.get("peak_memory") or {},
    }


def _readout_rows(
    found: RunFiles, run: Mapping[str, Any], readout: dict[str, Any], result: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """Yield a row per chain length of one readout, with its scores; one without where it is still to be done."""
    state = {name: run.get(name) for name in STATE}
    trained = run["steps_done"] == run["steps_asked"]
    if result is None:
        todo = {"status": "partial", "reason": "a readout is still to be done"}
        yield state | (todo if trained and found.state != "failed" else {})
        return
    if found.state == "failed" or trained:  # another readout failed, or is still to be done
        state |= {"status": "done", "reason": ""}
    state["stale"] = run["stale"] or stale_words(result["stage"])
    stem = f"evals/{result['identity']}-"
    root = str(run["folder"])
    files = {name.removeprefix(stem).removesuffix(".npy"): f"{root}/{name}" for name in result["files"]}
    arrays = {name: path for name, path in files.items() if not name.isdigit()}
    for row in result["rows"]:
        beta, collapsed, refused = row.get("beta", result["beta"]), row["collapsed"], why_refused(row)
        own = {
            **state,
            "collapsed": bool(collapsed),
            "refused": bool(refused),
            "sampler": result["sampler"],
            "step_size": result["step_size"],
            "beta": beta,
            "beta_rule": row.get("beta_rule", None if beta is None else "fixed"),
            "target": row.get("target"),
            **{name: row[name] for name in _OF_ROW},
            "readout": readout,
            "row": row,
            "arrays": arrays,
        }
        if state["status"] == "unfinished":
            own["reason"] = "; ".join(filter(None, (state["reason"], collapsed)))
        elif collapsed or refused:
            own |= {"status": "collapsed" if collapsed else "refused", "reason": collapsed or refused}
        if refused and not own["scores"]:
            own["scores"] = {None: None}
        pictures = f"{row['steps']:06}"  # they are stored by the number of steps
        if pictures in files:
            own["arrays"] = arrays | {"samples": files[pictures]}
        yield own


def build(runs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Results:
    """Make the three frames of records.

    Arguments:
        runs: one per run, with the columns `RUN_COLUMNS`; without `label` it is the model's name.
        rows: one per row of a readout, with `at`, the number of its run, `scores` by metric, and the columns of a readout; one without
            sampler and scores is a run, or a readout, without numbers.
    """
    run_frame = _typed(pd.DataFrame.from_records(list(runs), columns=list(RUN_COLUMNS)))
    run_frame["label"] = run_frame["label"].fillna(run_frame["model"])
    labels = run_frame.groupby(["suite", "profile", "dataset", "label"], sort=False)["identity"]
    several = labels.transform("nunique") > 1 if runs else pd.Series(dtype=bool)
    names = run_frame["label"].where(~several, run_frame["label"] + " (" + run_frame["identity"].str[:8] + ")")
    run_frame["label"] = names.astype(object)
    heads = run_frame[list(HEAD)].take([row["at"] for row in rows]).reset_index(drop=True)
    own = [name for name in dict.fromkeys((*SCORE_COLUMNS, *READOUT_COLUMNS)) if name not in HEAD]
    blank = dict.fromkeys(own)
    values = [*zip(*(itemgetter(*own)({**blank, **row}) for row in rows), strict=True)] or [()] * len(own)
    every = pd.DataFrame({name: pd.Series(each, dtype=object) for name, each in zip(own, values, strict=True)})
    every = _typed(pd.concat([heads, every], axis=1))
    for frame in (run_frame, every):
        frame["status"] = frame["status"].mask((frame["stale"] != "") & frame["status"].isin(SOUND), "stale")
    data = every["sampler"] == DATA  # in a model's place: without temperature or settings
    every.loc[data, ["model", "label"]] = DATA
    every.loc[data, "identity"] = ""
    every.loc[data, ["beta", "step_size"]] = np.nan
    every.loc[data, "steps"] = 0
    scores = [(i, *each) for i, row in enumerate(rows) for each in row.get("scores", {None: None}).items()]
    score_frame = every[list(SCORE_COLUMNS)].take([i for i, _, _ in scores]).reset_index(drop=True)
    score_frame["metric"] = pd.Series([name for _, name, _ in scores], dtype=object)
    score_frame["value"] = pd.Series([value for _, _, value in scores], dtype="float64")
    readouts = every.loc[every["sampler"].notna(), list(READOUT_COLUMNS)].reset_index(drop=True)
    return Results(score_frame, run_frame[list(RUN_COLUMNS)], readouts)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({name: _NUMBERS.get(name, "object") for name in frame.columns})


def _split(frame: pd.DataFrame, digests: Mapping[Any, Sequence[str]]) -> dict[Any, pd.DataFrame]:
    """Return the frame by suite, profile, kind and the name that the dataset's section has."""
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
def _changes(roots: tuple[str, ...], *parts: tuple[tuple[str, str], ...]) -> str:
    code, versions = map(dict, parts)
    return changes({"roots": roots, "code": code, "versions": versions})


def stale_words(stage: Mapping[str, Any]) -> str:
    """Return what has changed in the code and libraries of a stage since it was recorded; '' if nothing."""
    return _changes(tuple(stage["roots"]), *(tuple(stage[part].items()) for part in ("code", "versions")))
