"""From the store to one tidy frame: a row per run, readout, chain length and metric; and the facts of every run.

Only files that a sound status vouches for become numbers. What was planned and is not there, failed, or is damaged becomes a row without
numbers that says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from bench.report.facts import LikelihoodFacts, PartitionFacts, RunFacts, SampleFile
from bench.report.scores import COLUMNS
from bench.spec import Readout
from bench.store import RunFolder, Store, StoreError, fingerprint

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["run_states", "scan"]

READOUT: TypeAdapter[Readout] = TypeAdapter(Readout)


def scan(store: Store, suite: str | None = None, profile: str | None = None) -> tuple[pd.DataFrame, list[RunFacts]]:
    """Every planned run of a store, or of one suite and profile of it.

    Raises:
        StoreError: if a manifest cannot be read, or there is none of that suite and profile.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    facts: list[RunFacts] = []
    for manifest in store.manifests(suite, profile):
        for planned in manifest["runs"]:
            head = {key: manifest[key] for key in ("suite", "profile")}
            head |= {key: planned[key] for key in ("dataset", "model", "seed", "run", "identity")}
            found, fact = read_run(RunFolder(store.root / "runs" / planned["run"]), head, planned["readouts"])
            rows += found
            facts += [fact] if fact else []
    return pd.DataFrame(rows, columns=list(COLUMNS)), facts


def read_run(
    folder: RunFolder, head: dict[str, Any], readouts: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], RunFacts | None]:
    """The rows and facts of one run; one row without numbers where it is not whole.

    Suites may share a run: only what this one asked to have read out of it is its own.
    """
    state, reason, status = examine(folder)
    if state not in ("done", "stale") or status is None:
        return [head | {"status": state, "reason": reason}], None
    try:
        training = folder.read_json("training.json") or {}
        failure = folder.read_json("failure.json") or {"reason": ""}
        results = [folder.read_json(f"evals/{identity_of(readout, training)}.json") for readout in readouts]
    except StoreError as error:
        return [head | {"status": "failed", "reason": str(error)}], None
    rows, samples, partitions, likelihood = [], [], [], None
    seconds = {"training": float(status["seconds"].get("training", 0.0))}
    for result in results:
        if not result or result["fingerprint"] != training["fingerprint"]:
            why = {"status": "failed", "reason": failure["reason"]} if failure["reason"] else {}
            rows.append(head | ({"status": "partial", "reason": "a readout is still to be done"} | why))
            continue
        for part, spent in result["seconds"].items():
            seconds[part] = seconds.get(part, 0.0) + spent
        rows += list(result_rows(result, head | {"status": state, "reason": reason}))
        samples += list(result_samples(result, folder))
        partitions += list(result_partitions(result))
        likelihood = likelihood_facts(result, folder) or likelihood
    return rows, run_facts(folder, head, seconds, training, samples, partitions, likelihood)


def examine(folder: RunFolder) -> tuple[str, str, dict[str, Any] | None]:
    """State, reason and status of a run, its files checked against their hashes (the checkpoint is checked when it is used)."""
    try:
        status = folder.read_json("status.json")
        if status is None:
            unfinished = (folder / "resume.pt").exists() or (folder / "training.json").exists()
            return (
                ("partial", "unfinished; `bench run` continues it", None)
                if unfinished
                else ("missing", "not run yet", None)
            )
        small = {name: digest for name, digest in status["files"].items() if name.endswith((".json", ".jsonl", ".npy"))}
        if status["state"] == "failed":
            return "failed", status["reason"], None
        if damage := folder.damaged(small):
            return "failed", damage, None
    except StoreError as error:
        return "failed", str(error), None
    if status["fingerprint"] != fingerprint():
        return "stale", "made by other code or library versions", status
    return "done", "", status


def identity_of(readout: dict[str, Any], training: dict[str, Any]) -> str:
    """The name of an evaluation's file."""
    return READOUT.validate_python(readout).identity(training["checkpoint"])


def result_rows(result: dict[str, Any], head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a chain length and metric."""
    for row in result["rows"]:
        common = head | {key: result[key] for key in ("sampler", "beta", "step_size")}
        common |= {key: row[key] for key in ("steps", "gradient_evaluations", "forward_evaluations", "key")}
        if row["collapsed"]:
            common |= {"status": "collapsed", "reason": row["collapsed"]}
        for metric, value in row["scores"].items():
            yield common | {"metric": metric, "value": value}


def result_samples(result: dict[str, Any], folder: RunFolder) -> Iterator[SampleFile]:
    """The pictures of a result, a file a chain length; none for a likelihood."""
    for row in result["rows"]:
        name = f"evals/{result['identity']}-{row['steps']:06}.npy"
        if name in result["files"]:
            yield SampleFile(result["sampler"], result["beta"], row["steps"], folder / name)


def likelihood_facts(result: dict[str, Any], folder: RunFolder) -> LikelihoodFacts | None:
    """What the log-likelihood of a result rests on, if it has one."""
    found = result["rows"][0].get("likelihood") if result["rows"] else None
    if found is None:
        return None
    stem = f"evals/{result['identity']}"
    return LikelihoodFacts(
        **found,
        points=folder / f"{stem}-points.npy",
        base_points=folder / f"{stem}-{'points' if found['exact'] else 'base'}.npy",
        samples=folder / f"{stem}-samples.npy",
        data=folder / f"{stem}-data.npy",
    )


def result_partitions(result: dict[str, Any]) -> Iterator[PartitionFacts]:
    """What a result's rows say about log Z, where they do."""
    for row in result["rows"]:
        stated = row.get("log_partition")
        if stated and stated.get("estimate") is not None:
            bracket = stated.get("bracket")
            yield PartitionFacts(
                estimate=stated["estimate"],
                standard_error=stated.get("standard_error"),
                effective_fraction=row["scores"].get("ess-fraction"),
                pareto_k=stated.get("pareto_k"),
                gain=row["scores"].get("likelihood-gain"),
                reportable=bool(stated.get("reportable")),
                bracket=(bracket[0], bracket[1]) if bracket else None,
                warnings=tuple(stated.get("warnings", ())),
                key=row["key"],
                method=stated.get("method", ""),
                draws=stated.get("draws", 0),
                known=stated.get("known"),
            )


def run_facts(
    folder: RunFolder,
    head: dict[str, Any],
    seconds: dict[str, float],
    training: dict[str, Any],
    samples: list[SampleFile],
    partitions: list[PartitionFacts],
    likelihood: LikelihoodFacts | None,
) -> RunFacts:
    """Certificate, costs, pictures and estimates of log Z of a run."""
    environment = folder.read_json("env.json") or {}
    certificate = training.get("facts", {})
    return RunFacts(
        **{key: head[key] for key in ("run", "dataset", "model", "seed", "suite", "profile")},
        **{key: certificate.get(key, {}) for key in ("parameters", "flops", "architecture", "initial_weights")},
        seconds=seconds,
        curve=folder / "curve.jsonl" if certificate.get("parameters") else None,
        samples=tuple(samples),
        log_partitions=tuple(partitions),
        versions=environment.get("versions", {}),
        likelihood=likelihood,
        device=f"{environment.get('device', '?')}, {environment.get('threads', '?')} thread(s) a run",
    )


def run_states(store: Store) -> list[tuple[str, str, str]]:
    """(run, state, reason) of every run directory, planned or not."""
    found = []
    for spec in sorted((store.root / "runs").glob("*/*/*/spec.json")):
        folder = RunFolder(spec.parent)
        state, reason, _ = examine(folder)
        words = f"{reason} {last_words(folder.path, state)}".strip()
        found.append((str(spec.parent.relative_to(store.root / "runs")), state, words))
    return found


def last_words(folder: Path, state: str) -> str:
    """How far an unfinished run is, from its curve."""
    curve = folder / "curve.jsonl"
    if state != "partial" or not curve.exists():
        return ""
    try:
        last = json.loads(curve.read_text().splitlines()[-1])
        return f"from {last['phase']} step {last['step']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
