"""The history: one small JSON a recording, raw samples kept, in a folder a machine. Only ever added to.

    <history>/<machine>/<time of commit>-<commit>.json

A recording of a commit that was recorded before gets a name of its own; nothing is ever replaced. Files are written whole or not at all.
Seconds of different machines, or of different threads, are not comparable and are kept apart by the machine's name. For reading trends;
nothing is gated on it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.files import write_json

__all__ = ["SCHEMA", "HistoryError", "Point", "add", "machine_name", "read", "series"]

SCHEMA = 1


class HistoryError(RuntimeError):
    """The history cannot be written, or there is none."""


@dataclass(frozen=True)
class Point:
    """One recording of one benchmark.

    Attributes:
        commit, time: of the code: full hash, and seconds since 1970.
        dirty: whether the working tree had uncommitted changes.
        seconds: median over processes of the median seconds a step.
        rate: units a second.
        unit: of the rate.
        version: of the benchmark's own code; points of different versions are not comparable.
    """

    commit: str
    time: float
    dirty: bool
    seconds: float
    rate: float
    unit: str
    version: str


def machine_name(environment: Mapping[str, Any], device: str) -> str:
    """A name for machines whose seconds can be compared: processor or GPU, cores, threads; no host name.

    Example:
        >>> machine_name({"cores": 2, "threads": 1, "gpu": "NVIDIA H100"}, "cuda")[:11]
        'nvidia-h100'
    """
    model = str(environment.get("gpu") or processor()) if device == "cuda" else processor()
    parts = [
        model,
        f"{environment.get('cores')}c",
        f"{environment.get('threads')}t",
        str(environment.get("capability", "")),
    ]
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40]
    digest = hashlib.sha256("|".join(parts).encode()).hexdigest()[:6]
    return f"{slug}-{environment.get('cores')}c{environment.get('threads')}t-{digest}"


def processor() -> str:
    """The processor's model as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def add(folder: Path, recording: Mapping[str, Any]) -> Path:
    """Add a recording; where it went.

    Arguments:
        folder: the history; made if need be.
        recording: with `machine`, `commit`, `commit_time` and `benchmarks`.

    Raises:
        HistoryError: if it cannot be written; what was there is untouched.
    """
    place = folder / str(recording["machine"])
    stem = f"{int(recording['commit_time']):010d}-{recording['commit'][:12]}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := place / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")).exists():
            number += 1
        write_json(path, {"schema": SCHEMA, "kind": "recording", **recording})
    except OSError as error:
        raise HistoryError(f"cannot write to the history {folder}: {error.strerror or error}") from error
    return path


def read(folder: Path) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """All recordings by machine in the order of their commits, and a sentence for each file that is not one.

    Raises:
        HistoryError: if there is no history.
    """
    if not folder.is_dir():
        raise HistoryError(f"no history at {folder}; `bench track record --history {folder}` begins one")
    machines: dict[str, list[dict[str, Any]]] = {}
    problems = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            recording = json.loads(path.read_text(encoding="utf-8"))
            if recording["schema"] != SCHEMA:
                problems.append(f"{path} has schema {recording['schema']}, this version reads {SCHEMA}; left out")
                continue
            recording["commit_time"] = float(recording["commit_time"])
            machines.setdefault(recording["machine"], []).append(recording)
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{path} cannot be read ({type(error).__name__}); left out")
    for recordings in machines.values():
        recordings.sort(key=lambda recording: (recording["commit_time"], recording.get("recorded", 0.0)))
    return machines, problems


def series(recordings: Sequence[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """The points of each benchmark along a machine's recordings; failed measurements are no points."""
    points: dict[str, list[Point]] = {}
    for recording in recordings:
        for name, said in recording["benchmarks"].items():
            if not said.get("seconds"):
                continue
            seconds = statistics.median(statistics.median(samples) for samples in said["seconds"])
            points.setdefault(name, []).append(
                Point(
                    recording["commit"],
                    recording["commit_time"],
                    bool(recording.get("dirty")),
                    seconds,
                    said["amount"] / seconds,
                    said["unit"],
                    said["version"],
                )
            )
    return points
