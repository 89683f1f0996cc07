"""One run with all that is known of it, for whoever looks at it, takes it elsewhere or builds its model again; torch is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bench.components.digests import changes
from bench.core.fields import content_hash
from bench.core.run_folder import LOG, RunFolder, progress_words, unfinished
from bench.core.spec import RunSpec
from bench.core.store import NotInStoreError, Store
from bench.results.reading import read_run

__all__ = ["OneRun", "Row", "StageState", "find_run", "read_curve", "why_refused"]

ORDER = ("base", "data", "likelihood", "exact", "training")
"""Samplers that come before chains, in this order; `training`, the base at earlier steps, comes last."""


class Row(NamedTuple):
    """Scores of one readout at one length, with what vouches for them.

    Arguments:
        sampler, beta, step_size, steps: where the samples come from.
        calibrated: whether `beta` is the run's own β̂.
        target: of a chain, whether it has reached its target.
        scores: by metric; `key` is all that they depend on besides the samples.
        remark: why a score is missing, or what is wrong with the samples; '' if nothing.
        pictures: a file of images kept for the eye, or None.
    """

    sampler: str
    beta: float | None
    calibrated: bool
    step_size: float | None
    steps: int
    target: str | None
    scores: Mapping[str, float]
    key: str
    remark: str
    pictures: Path | None


class StageState(NamedTuple):
    """The code behind training or a readout: a digest of it, and what has changed since in words, '' if nothing has."""

    name: str
    digest: str
    changed: str


@dataclass(frozen=True)
class OneRun:
    """A run as the store has it.

    Arguments:
        folder: where it is.
        spec: what was asked for.
        state: done, failed, unfinished, partial or missing; `reason` says why it is not done.
        training: what `training.json` says of a sound training, None where there is none.
        evaluations: the sound readouts of that training's checkpoint.
    """

    folder: RunFolder
    spec: RunSpec
    state: str
    reason: str
    training: Mapping[str, Any] | None
    evaluations: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, folder: RunFolder) -> OneRun:
        """Read a run; every file is held against its hash, and a damaged one is said in `reason`.

        Raises:
            StoreError: if its spec is damaged, or of another version.
        """
        found, training = read_run(folder), folder.training()
        paths = sorted((folder / "evals").glob("*.json")) if training else []
        evaluations = [each for path in paths if (each := folder.evaluation(path.stem))]
        spec = RunSpec.model_validate(folder.read_json("spec.json"))
        return cls(folder, spec, found.state, found.reason, training, tuple(sorted(evaluations, key=_place)))

    @property
    def unfinished(self) -> str:
        """How far an unfinished training is, in words; '' for one that is done."""
        return progress_words(self.training) if self.training and unfinished(self.training) else ""

    @cached_property
    def stages(self) -> list[StageState]:
        """The code of the training, then that of each readout."""
        named = [] if self.training is None else [("training", self.training["stage"])]
        named += [(_name(each), each["stage"]) for each in self.evaluations]
        digests = ((name, content_hash([stage["code"], stage["versions"]])[:16], stage) for name, stage in named)
        return [StageState(name, digest, changes(stage)) for name, digest, stage in digests]

    @cached_property
    def rows(self) -> list[Row]:
        """What was read out, in the order of `ORDER`, chains by their length."""
        rows = []
        for found in self.evaluations:
            for row in found["rows"]:
                beta, file = row.get("beta", found["beta"]), f"evals/{found['identity']}-{row['steps']:06}.npy"
                rows.append(
                    Row(
                        found["sampler"],
                        beta,
                        row.get("beta_rule") == "calibrated",
                        found["step_size"],
                        row["steps"],
                        row.get("target"),
                        row["scores"],
                        row["key"],
                        row["collapsed"] or why_refused(row),
                        self.folder / file if file in found["files"] else None,
                    )
                )
        return rows

    @property
    def temperature(self) -> float | None:
        """β̂, at which the energy gains most likelihood on the validation split; None where it was not read out."""
        own = (
            row for row in self.rows if row.sampler in ("likelihood", "exact")
        )  # not a guided sampler's own calibration
        return next((row.beta for row in own if row.calibrated), None)

    @property
    def chains(self) -> list[dict[str, Any]]:
        """The settings of the latent chains that were read out."""
        asked = (each["readout"].get("chain") for each in self.evaluations)
        return [chain for chain in asked if chain]

    @property
    def log(self) -> str:
        """The run's log; '' for one of a version that kept none."""
        with suppress(OSError):
            return (self.folder / LOG).read_text(encoding="utf-8", errors="replace")
        return ""


def find_run(run: str | Path, store: Path) -> RunFolder:
    """Return the folder of a run: a path of it, or any part of its id that no other run of the store has.

    Raises:
        StoreError: if there is no store.
        NotInStoreError: if there is no such run, or more than one.
    """
    if (Path(run) / "spec.json").is_file():
        return RunFolder(Path(run))
    if not str(run):
        raise NotInStoreError("name a run by its id or a part of it; `bench status` lists the runs")
    return Store(store).require().find(str(run))


def read_curve(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield the points of a training curve, `phase`, `step` and the losses there; as far as it can be read."""
    with suppress(OSError, ValueError):
        for line in (folder / "curve.jsonl").read_text().splitlines():
            yield json.loads(line)


def why_refused(row: Mapping[str, Any]) -> str:
    """Return why a row, and no more of its run, lacks what was asked for; '' where it does not."""
    partition = row.get("log_partition") or {}
    if row.get("why_not") or partition.get("reportable", True):
        return str(row.get("why_not") or "")
    return "; ".join(["log Z is not reportable", *(partition.get("warnings") or ())[:1]])


def _place(evaluation: Mapping[str, Any]) -> tuple[float, str, float, float]:
    sampler = evaluation["sampler"]
    place = ORDER.index(sampler) if sampler in ORDER else len(ORDER) - 1.5
    return place, sampler, evaluation["beta"] or 0.0, evaluation["step_size"] or 0.0


def _name(evaluation: Mapping[str, Any]) -> str:
    beta = "" if evaluation["beta"] is None else f" β={evaluation['beta']:.4g}"
    return f"{evaluation['sampler']}{beta}"
