"""What was read of a store's runs, kept so that only runs that changed are read again.

One sealed file for each suite and profile in the store's cache folder: the rows of all runs in columns, texts by number, and for each run a
stamp of what is in its directory, of what was asked of it, and of the code. A cache that is absent, damaged or of other code is empty.
Runs without a status, which are still being worked on, are never taken from it.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.files import CorruptFileError, read_sealed, write_sealed
from bench.core.store import fingerprint
from bench.results.facts import LikelihoodFacts, PartitionFacts, ReadoutFacts, RunFacts, SampleFile
from bench.results.scores import DIGEST

__all__ = ["ScannedRun", "Table", "load", "save", "stamp_of"]

NUMBERS = ("beta", "step_size", "steps", "gradient_evaluations", "forward_evaluations", "value")
TEXTS = ("sampler", "metric", "key", "status", "reason")
_OWN_CODE = ("scan_cache.py", "reading.py", "facts.py")
_PLACE = ("suite", "profile")


class ScannedRun(NamedTuple):
    """One run of a table: its rows, its stamp (None for one that may not be kept) and its facts as JSON has them."""

    start: int
    stop: int
    stamp: str | None
    digest: str
    facts: dict[str, Any] | None
    fresh: bool = False

    def facts_of(self, folder: Path, place: Mapping[str, str]) -> RunFacts | None:
        """The facts, for a run that is in this folder."""
        if self.facts is None:
            return None
        values = self.facts | dict(place)
        values["samples"] = tuple(
            SampleFile(sampler, beta, steps, folder / name, position, step_size)
            for sampler, beta, steps, name, position, step_size in values["samples"]
        )
        values["readouts"] = tuple(
            ReadoutFacts._make((*head, _pairs(curve), infinity, _pairs(settings)))
            for *head, curve, infinity, settings in values["readouts"]
        )
        values["curve"] = None if values["curve"] is None else folder / values["curve"]
        values["log_partitions"] = tuple(PartitionFacts(*each) for each in values["log_partitions"])
        if (likelihood := values["likelihood"]) is not None:
            paths = {name: folder / likelihood[name] for name in LikelihoodFacts.FILES}
            values["likelihood"] = LikelihoodFacts(**likelihood | paths)
        return RunFacts(**values)


@dataclass
class Table:
    """Rows of many runs in columns."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    texts: list[str | None]
    runs: dict[str, ScannedRun]
    in_order: Sequence[ScannedRun] = ()
    _rows: list[tuple[list[float], list[int]]] = field(default_factory=list)
    _numbered: dict[str | None, int] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Table:
        """A table without rows."""
        return cls(np.zeros((0, len(NUMBERS))), np.zeros((0, len(TEXTS)), np.int32), [], {})

    def append(
        self, name: str, stamp: str | None, rows: Iterable[Mapping[str, Any]], facts: RunFacts | None, folder: Path
    ) -> ScannedRun:
        """Add a run that was read."""
        start, digest = len(self._rows), ""
        for row in rows:
            digest = row[DIGEST]
            values = [row.get(column) for column in NUMBERS]
            codes = [self._numbered.setdefault(row.get(column), len(self._numbered)) for column in TEXTS]
            self._rows.append(([np.nan if value is None else value for value in values], codes))
        kept = None if facts is None else _plain(facts, folder)
        self.runs[name] = ScannedRun(start, len(self._rows), stamp, digest, kept, fresh=True)
        return self.runs[name]

    def joined(self, fresh: Table, runs: Sequence[ScannedRun]) -> Table:
        """The given runs of this table and of a fresh one, in this order."""
        if not fresh.runs and [run.start for run in runs] == [run.start for run in self.runs.values()]:
            return replace(self, in_order=runs)
        offset, texts = len(self.numbers), [*self.texts, *fresh._numbered]
        numbers = np.array([row for row, _ in fresh._rows], np.float64).reshape(-1, len(NUMBERS))
        read = np.array([row for _, row in fresh._rows], np.int64).reshape(-1, len(TEXTS)) + len(self.texts)
        names = {id(run): name for table in (self, fresh) for name, run in table.runs.items()}
        places, kept, start = [], {}, 0
        for run in runs:
            places.append(np.arange(run.start, run.stop) + (offset if run.fresh else 0))
            stop = start + run.stop - run.start
            kept[names[id(run)]] = run._replace(start=start, stop=stop, fresh=False)
            start = stop
        index = np.concatenate(places) if places else np.zeros(0, np.int64)
        used, codes = np.unique(np.concatenate([self.codes, read])[index], return_inverse=True)
        return Table(
            np.concatenate([self.numbers, numbers])[index],
            codes.reshape(-1, len(TEXTS)).astype(np.int32),
            [texts[code] for code in used],
            kept,
            tuple(kept.values()),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """Columns by name: numbers with NaN for what is missing, texts as objects with None."""
        texts = np.array([*self.texts, None], dtype=object)[:-1]
        found: dict[str, NDArray[Any]] = {name: self.numbers[:, i] for i, name in enumerate(NUMBERS)}
        return found | {name: texts[self.codes[:, i]] for i, name in enumerate(TEXTS)}


def stamp_of(folder: Path, readouts: str) -> str | None:
    """A hash of what is in a run's directory and of what is asked of it; None without a status."""
    try:
        files = [*_listed(f"{folder}/"), *_listed(f"{folder}/evals/")]
    except OSError:
        return None
    if not any(file[0] == "status.json" for file in files):
        return None
    return hashlib.blake2b(f"{readouts}{sorted(files)}".encode(), digest_size=12).hexdigest()


def _listed(folder: str) -> list[tuple[str, int, int]]:
    """Name, size and time of change of text files, names of all others: pictures and weights are checked where they are used."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name, size, changed = entry.name, 0, 0
            if name.endswith((".json", ".jsonl")):
                stat = entry.stat()
                size, changed = stat.st_size, stat.st_mtime_ns
            files.append((name, size, changed))
    return files


def load(path: Path) -> Table:
    """The table kept at `path`; an empty one if there is none that can be used."""
    try:
        with np.load(io.BytesIO(read_sealed(path)), allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            if about["code"] != _code():
                return Table.empty()
            runs = {name: ScannedRun(*values) for name, values in about["runs"].items()}
            return Table(arrays["numbers"], arrays["codes"], about["texts"], runs)
    except (OSError, CorruptFileError, ValueError, KeyError, TypeError):
        return Table.empty()


def save(path: Path, table: Table) -> None:
    """Keep a table; a store that cannot be written goes without."""
    runs = {name: run[:5] for name, run in table.runs.items()}
    about = json.dumps({"code": _code(), "texts": table.texts, "runs": runs}, ensure_ascii=False).encode()
    buffer = io.BytesIO()
    np.savez(buffer, numbers=table.numbers, codes=table.codes, about=np.frombuffer(about, np.uint8))
    try:
        path.parent.mkdir(exist_ok=True)
        write_sealed(path, buffer.getvalue())
    except OSError:
        return


def _pairs(lists: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    """Pairs as they were before JSON made lists of them."""
    return tuple(tuple(each) for each in lists)


@functools.cache
def _code() -> str:
    """Of the code that makes numbers, which decides what is stale, and of the code that reads runs."""
    own = hashlib.sha256(fingerprint().encode())
    for name in _OWN_CODE:
        own.update((Path(__file__).parent / name).read_bytes())
    return own.hexdigest()


def _plain(facts: RunFacts, folder: Path) -> dict[str, Any]:
    """Facts as JSON has them, paths relative to the run's directory; suite and profile are the manifest's."""
    values = {name: value for name, value in asdict(facts).items() if name not in _PLACE}
    values["samples"] = [
        list((sample._asdict() | {"path": str(sample.path.relative_to(folder))}).values()) for sample in facts.samples
    ]
    values["curve"] = None if facts.curve is None else str(facts.curve.relative_to(folder))
    if facts.likelihood is not None:
        files = {name: getattr(facts.likelihood, name) for name in LikelihoodFacts.FILES}
        values["likelihood"] |= {name: str(path.relative_to(folder)) for name, path in files.items()}
    return values
