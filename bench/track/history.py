"""The history: one small JSON per recording, raw samples kept, in one folder per machine. Only ever added to.

    <history>/<machine>/<time of commit>-<commit>.json

A second recording of a commit gets a name of its own; nothing is ever replaced. Files are written whole or not at all. Seconds of different
machines, or of different numbers of threads, are not comparable and are kept apart by the machine's name. For reading trends; nothing is
gated on it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.files import parse_json, write_json
from bench.machine import cpu_name
from bench.track.check import NEW, Say
from bench.track.checkouts import Checkout, CheckoutError, git
from bench.track.processes import Processes
from bench.track.turns import measure

__all__ = ["SCHEMA", "add", "draw", "machine_name", "read", "record", "trend"]

SCHEMA = 1
RECENT = 5
"""The trend compares this many of the latest recordings with those before."""


def record(processes: Processes, checkout: Checkout, names: Sequence[str], count: int, say: Say) -> dict[str, Any]:
    """Return what the history keeps of a checkout: raw samples of `count` processes.

    Benchmarks that fail, or make the wrong thing, are kept with their reason and without samples.

    Raises:
        CheckoutError: if the checkout is not under git, so that there is no commit to record.
        MeasuringError: if it cannot be measured at all.
    """
    if checkout.commit is None:
        raise CheckoutError(
            f"{checkout.root} has no commit, and the history is kept by commits; record in a git repository"
        )
    (correct,) = processes.checked((checkout,), names)
    reasons = {name: correct[name].get("error") or ", ".join(correct[name]["differs"]) for name in names}
    kept: dict[str, dict[str, Any]] = {name: {"error": reason} if reason else {} for name, reason in reasons.items()}
    environments = []
    for number in range(count):
        wanted = [name for name in names if "error" not in kept[name]]
        if not wanted:
            break
        measured = measure(processes, {NEW: checkout}, wanted)[NEW]
        environments.append(measured.environment)
        for name, timing in measured.timings.items():
            seconds = [*kept[name].get("seconds", []), timing.get("seconds")]
            kept[name] = {"error": timing["error"]} if "error" in timing else timing | {"seconds": seconds}
        say(f"process {number + 1} of {count}")
    environment = environments[0] if environments else {}
    return {
        "schema": SCHEMA,
        "kind": "recording",
        "machine": machine_name(environment, processes.device),
        "commit": checkout.commit,
        "commit_time": float(git(checkout.root, "show", "--no-patch", "--format=%ct", checkout.commit) or 0),
        "dirty": checkout.dirty,
        "recorded": time.time(),
        "device": processes.device,
        "environment": environment,
        "ends": [each["clocks"] for each in environments],
        "benchmarks": kept,
    }


def machine_name(environment: Mapping[str, Any], device: str) -> str:
    """Return a name for machines whose seconds can be compared: processor or GPU, cores, threads; no host name.

    Example:
        >>> machine_name({"cores": 2, "threads": 1, "gpu": "NVIDIA H100"}, "cuda")[:11]
        'nvidia-h100'
    """
    model = environment.get("gpu") if device == "cuda" else None
    cores, threads = f"{environment.get('cores')}c", f"{environment.get('threads')}t"
    name = str(model or cpu_name())
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    everything = "|".join([name, cores, threads, str(environment.get("capability", ""))])
    return f"{slug}-{cores}{threads}-{hashlib.sha256(everything.encode()).hexdigest()[:6]}"


def add(folder: Path, recording: Mapping[str, Any]) -> Path:
    """Add a recording, and return where it went; what was there is untouched.

    Raises:
        OSError: if it cannot be written.
    """
    place = folder / str(recording["machine"])
    place.mkdir(parents=True, exist_ok=True)
    stem = f"{int(recording['commit_time']):010d}-{recording['commit'][:12]}"
    names = (f"{stem}{f'-{number}' if number > 1 else ''}.json" for number in itertools.count(1))
    path = next(place / name for name in names if not (place / name).exists())
    write_json(path, recording)
    return path


def read(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per recording and benchmark that was timed, in the order of commits, and a sentence per unusable file.

    Columns: machine, file, time (of the commit), recorded, benchmark, unit, version, rate (units per second, by the median over processes
    of the median over turns).
    """
    rows: list[dict[str, Any]] = []
    problems = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            recording = parse_json(path.read_bytes())
            if recording["schema"] != SCHEMA:
                problems.append(f"{path} has schema {recording['schema']}, this version reads {SCHEMA}; left out")
                continue
            head: dict[str, Any] = {"machine": str(recording["machine"]), "file": path.name}
            head |= {"time": _finite(recording["commit_time"]), "recorded": _finite(recording.get("recorded", 0.0))}
            timed = {name: timing for name, timing in recording["benchmarks"].items() if timing.get("seconds")}
            rows += [
                head
                | {"benchmark": name, "unit": str(timing["unit"]), "version": str(timing["version"])}
                | {"rate": _finite(timing["amount"] / statistics.median(map(statistics.median, timing["seconds"])))}
                for name, timing in timed.items()
            ]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            problems.append(f"{path} cannot be read ({type(error).__name__}); left out")
    frame = pd.DataFrame(rows, columns=["machine", "file", "time", "recorded", "benchmark", "unit", "version", "rate"])
    return frame.sort_values(["time", "recorded"], kind="stable", ignore_index=True), problems


def _finite(value: Any) -> float:
    """Return a number as it is read from a recording; a ValueError if it is not finite."""
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{value} is not finite")
    return number


def comparable(machine: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return by benchmark the rows measured with its latest version."""
    latest = machine["version"] == machine.groupby("benchmark")["version"].transform("last")
    return {str(name): rows for name, rows in machine[latest].groupby("benchmark", sort=False)}


def trend(machine: pd.DataFrame) -> pd.DataFrame:
    """Return one row per benchmark of a machine: its latest rate, and how the recent rates differ from those before.

    Columns: rate, unit, points; change (of the median, as a share) and p (Mann–Whitney), NaN where there are too few points.
    """
    from scipy import stats

    summaries = {}
    for name, rows in comparable(machine).items():
        before, recent = rows["rate"].iloc[:-RECENT], rows["rate"].iloc[-RECENT:]
        summary = {"rate": recent.iloc[-1], "unit": f"{rows['unit'].iloc[-1]}/s", "points": len(rows)}
        if len(before) >= RECENT:
            summary["change"] = recent.median() / before.median() - 1
            summary["p"] = stats.mannwhitneyu(recent, before).pvalue
        summaries[name] = summary
    return pd.DataFrame.from_dict(summaries, orient="index", columns=["rate", "unit", "points", "change", "p"])


def draw(machine: pd.DataFrame, path: Path) -> None:
    """Draw one panel per benchmark: units per second by date of the commit, and their rolling median."""
    from matplotlib.figure import Figure

    benchmarks = comparable(machine)
    figure = Figure(figsize=(12, 2 + len(benchmarks)), layout="tight")
    axes = figure.subplots(-(-len(benchmarks) // 2), 2, squeeze=False)
    for place, (name, rows) in zip(axes.flat, benchmarks.items(), strict=False):
        rates = rows["rate"].set_axis(pd.to_datetime(rows["time"], unit="s"))
        place.plot(rates, ".")
        place.plot(rates.rolling(RECENT, min_periods=1).median())
        place.set(title=name, ylabel=f"{rows['unit'].iloc[-1]}/s", ylim=(0, None))
    figure.suptitle(f"Throughput on {machine['machine'].iloc[0]}")
    figure.savefig(path, dpi=110)
