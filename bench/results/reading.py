"""One run's directory read: its state, its scores as rows of the tidy frame, and its facts.

Only files that a sound status vouches for become numbers that count. What is unfinished, failed, damaged or of another schema becomes a
row without numbers that says why; what was scored of a run that had to leave off is there too, marked so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.core.spec import SCHEMA_VERSION, Readout, content_hash
from bench.core.store import RunFolder, StoreError, fingerprint
from bench.metrics import base_name
from bench.results.facts import LikelihoodFacts, PartitionFacts, ReadoutFacts, RunFacts, SampleFile
from bench.results.scores import DIGEST, UNFINISHED

__all__ = ["Examined", "examine", "read_run"]

READOUT: TypeAdapter[Readout] = TypeAdapter(Readout)
_STATUS = frozenset({"state", "reason", "fingerprint", "seconds", "files"})
_CHECKED = (".json", ".jsonl", ".npy")  # the checkpoint is checked when it is used


@dataclass(frozen=True)
class Examined:
    """A run's state with a reason, its status where there is one, and the JSON files that the status vouches for, by name."""

    state: str
    reason: str
    status: Mapping[str, Any] | None = None
    contents: Mapping[str, dict[str, Any]] | None = None


def read_run(
    folder: RunFolder, head: Mapping[str, Any], readouts: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], RunFacts | None]:
    """The rows and facts of one run; one row without numbers where it is not whole.

    Suites may share a run: only what this one asked to have read out of it is its own.

    Arguments:
        folder: the run's directory.
        head: suite, profile, dataset, model, seed, run and identity, as a manifest has them.
        readouts: what the suite wants read out, as the manifest has it.
    """
    examined = examine(folder)
    if examined.contents is None or examined.status is None:
        return _rows_so_far(folder, head, readouts, examined), None
    status, contents = examined.status, examined.contents
    head = {**head, DIGEST: contents.get("spec.json", {}).get(DIGEST, "")}
    try:
        training = contents.get("training.json") or folder.read_json("training.json") or {}
        failure = folder.read_json("failure.json") or {"reason": ""}
        results = [_evaluation(folder, contents, readout, training) for readout in readouts]
        rows, samples, scored, partitions, likelihood = [], [], [], [], None
        seconds = {"training": float(status["seconds"].get("training", 0.0))}
        for result in results:
            if not result or result["fingerprint"] != training["fingerprint"]:
                why = {"status": "failed", "reason": failure["reason"]} if failure["reason"] else {}
                rows.append({**head, "status": "partial", "reason": "a readout is still to be done", **why})
                continue
            for part, spent in result["seconds"].items():
                seconds[part] = seconds.get(part, 0.0) + spent
            rows += list(_result_rows(result, {**head, "status": examined.state, "reason": examined.reason}))
            samples += list(_result_samples(result, folder))
            scored += list(_result_readouts(result))
            partitions += list(_result_partitions(result))
            likelihood = _likelihood(result, folder) or likelihood
        facts = _facts(folder, head, seconds, training, contents.get("env.json", {}), samples)
        facts = replace(facts, **_settings(contents.get("spec.json", {})), readouts=tuple(scored))
        return rows, replace(facts, log_partitions=tuple(partitions), likelihood=likelihood)
    except StoreError as error:
        return [{**head, "status": "failed", "reason": str(error)}], None
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        return [{**head, "status": "old", "reason": _of_another_version(folder, error)}], None


def _rows_so_far(
    folder: RunFolder, head: Mapping[str, Any], readouts: Sequence[dict[str, Any]], examined: Examined
) -> list[dict[str, Any]]:
    """The rows of a run that is not done: what was scored when it had to leave off, else one without numbers."""
    nothing = [{**head, DIGEST: "", "status": examined.state, "reason": examined.reason}]
    scored = folder.scored_so_far() if examined.state == "partial" else None
    if scored is None:
        return nothing
    where, training = scored
    far = f"after {training['progress']}" if "progress" in training else "trained; `bench run` finishes it"
    known = {**head, DIGEST: (folder.read_json("spec.json") or {}).get(DIGEST, ""), "status": "done", "reason": ""}
    found = [where.evaluation(_identity(readout, training)) for readout in readouts]
    rows = [row for result in found if result for row in _result_rows(result, known)]
    return [
        {**row, "status": UNFINISHED, "reason": "; ".join(filter(None, (far, row["reason"])))} for row in rows
    ] or nothing


def _identity(readout: dict[str, Any], training: Mapping[str, Any]) -> str:
    return READOUT.validate_python(readout).identity(training["checkpoint"])


def examine(folder: RunFolder) -> Examined:
    """A run's state; where it is done its files are read and checked against their hashes."""
    try:
        status = folder.read_json("status.json")
        if status is None:
            unfinished = (folder / "resume.pt").exists() or (folder / "training.json").exists()
            if not unfinished:
                return Examined("missing", "not run yet")
            return Examined("partial", f"unfinished{folder.words_so_far()}; `bench run` continues it")
        if lacking := sorted(_STATUS - status.keys()):
            return Examined("old", f"{folder / 'status.json'} lacks {', '.join(lacking)}: written by another version")
        if status["state"] == "failed":
            return Examined("failed", status["reason"], status)
        contents = _checked(folder, status["files"])
    except StoreError as error:
        return Examined("failed", str(error))
    schema = contents.get("spec.json", {}).get("schema_version", SCHEMA_VERSION)
    if schema != SCHEMA_VERSION:
        why = f"schema {schema}, this version reads {SCHEMA_VERSION}; `bench run` makes it anew"
        return Examined("old", why, status)
    if status["fingerprint"] != fingerprint():
        return Examined("stale", "made by other code or library versions", status, contents)
    return Examined("done", "", status, contents)


def _checked(folder: RunFolder, files: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The JSON files among those that a status lists, each read once and held against its hash.

    Raises:
        StoreError: for the first file that is absent or differs.
    """
    contents: dict[str, dict[str, Any]] = {}
    root = str(folder.path)
    for name, digest in files.items():
        if not name.endswith(_CHECKED):
            continue
        try:
            with open(f"{root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
                content = file.read()
        except OSError:
            raise StoreError(f"{folder / name} is missing") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"{folder / name} is corrupt: its content does not match the hash in the status")
        if name.endswith(".json"):
            contents[name] = json.loads(content)
    return contents


def _evaluation(
    folder: RunFolder, contents: Mapping[str, dict[str, Any]], readout: dict[str, Any], training: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The result of a readout; None where there is none yet.

    A manifest lists a readout as its identity has it, unless an older version that knew fewer settings wrote it.
    """
    name = f"evals/{content_hash({'checkpoint': training['checkpoint']} | readout)[:16]}.json"
    if name not in contents:
        name = f"evals/{_identity(readout, training)}.json"
    return contents.get(name) or folder.read_json(name)


def _result_rows(result: Mapping[str, Any], head: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a chain length and metric. What is stale stays so where it also collapsed: it may not pass for a present result."""
    for row in result["rows"]:
        common = {**head, **{key: result[key] for key in ("sampler", "beta", "step_size")}}
        common |= {key: row[key] for key in ("steps", "gradient_evaluations", "forward_evaluations", "key")}
        if row["collapsed"] and head["status"] == "done":
            common |= {"status": "collapsed", "reason": row["collapsed"]}
        for metric, value in row["scores"].items():
            yield common | {"metric": metric, "value": value}


def _result_samples(result: Mapping[str, Any], folder: RunFolder) -> Iterator[SampleFile]:
    """The pictures of a result, a file a chain length; none for a likelihood."""
    for row in result["rows"]:
        name = f"evals/{result['identity']}-{row['steps']:06}.npy"
        if name in result["files"]:
            place = (result["sampler"], result["beta"], row["steps"])
            yield SampleFile(*place, folder / name, step_size=result["step_size"])


def _result_readouts(result: Mapping[str, Any]) -> Iterator[ReadoutFacts]:
    """How the images of a result were scored; nothing for readouts of anything else."""
    readout = result.get("readout", {})
    if readout.get("kind") not in ("base", "chain"):
        return
    chain = readout.get("chain") or {}
    settings = dict(chain.get("settings", {}))
    if chain.get("decay_factor", 1.0) != 1.0:
        settings |= {key: chain[key] for key in ("decay_factor", "decay_every")}
    for row in result["rows"]:
        infinity = (v for name, v in row["scores"].items() if base_name(name) in ("fid-infinity", "fd-infinity"))
        yield ReadoutFacts(
            sampler=result["sampler"],
            beta=result["beta"],
            step_size=result["step_size"],
            steps=row["steps"],
            samples=readout["samples"],
            reference=readout["reference"],
            extractor=readout["extractor"],
            frechet_curve=tuple((int(size), float(distance)) for size, distance in row.get("frechet_curve", ())),
            frechet_infinity=next(infinity, None),
            settings=tuple(settings.items()),
        )


def _result_partitions(result: Mapping[str, Any]) -> Iterator[PartitionFacts]:
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


def _likelihood(result: Mapping[str, Any], folder: RunFolder) -> LikelihoodFacts | None:
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


def _facts(
    folder: RunFolder,
    head: Mapping[str, Any],
    seconds: dict[str, float],
    training: Mapping[str, Any],
    environment: Mapping[str, Any],
    samples: list[SampleFile],
) -> RunFacts:
    """Certificate, costs and pictures of a run."""
    certificate = training.get("facts", {})
    return RunFacts(
        **{key: head[key] for key in ("run", "dataset", "model", "seed", "suite", "profile")},
        **{key: certificate.get(key, {}) for key in ("parameters", "flops", "architecture", "initial_weights")},
        seconds=seconds,
        curve=folder / "curve.jsonl" if certificate.get("parameters") else None,
        samples=tuple(samples),
        versions=environment.get("versions", {}),
        device=f"{environment.get('device', '?')}, {environment.get('threads', '?')} thread(s) a run",
    )


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's specification says about its networks and their training."""
    training = spec.get("training") or {}
    return {
        "network": spec.get("network") or {},
        "base_steps": training.get("base_steps"),
        "batch_size": training.get("batch_size"),
    }


def _of_another_version(folder: RunFolder, error: Exception) -> str:
    what = f"lacks {error}" if isinstance(error, KeyError) else "is not laid out as expected"
    return f"a file of {folder.path.name} {what}: written by another version; `bench run` makes it anew"
