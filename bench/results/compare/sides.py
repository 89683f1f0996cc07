"""What is compared: a store, or the part of it that was made under a tag, by a suite, by some code, or on a machine; and its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.store import RunFolder, Store, StoreError
from bench.results.frame import scan_listed
from bench.results.scores import NothingToReportError, Score, read_scores

__all__ = ["Run", "Side", "runs_of", "scores_of"]

WHERE = ("tag", "suite", "code", "device")
_OWN = frozenset({"seed", "schema_version"})


@dataclass(frozen=True)
class Run:
    """One run of a side: its spec without the seed, flat by path, and its surroundings."""

    run: str
    dataset: str
    model: str
    seed: int
    identity: str
    spec: Mapping[str, Any]
    code: str
    device: str


@dataclass(frozen=True)
class Side:
    """A store, or the part of it that `where` names, such as `("tag", "before")`."""

    root: Path
    where: tuple[str, str] | None = None

    @classmethod
    def parse(cls, text: str) -> Side:
        """`FOLDER`, or `FOLDER@tag=NAME`, `@suite=NAME`, `@code=FINGERPRINT`, `@device=WORDS`; a bare `@NAME` is a tag.

        Raises:
            StoreError: for another word before "=", or an empty one after it.
        """
        folder, at, rest = text.rpartition("@") if "@" in text else (text, "", "")
        if not at:
            return cls(Path(text))
        word, equals, value = rest.partition("=")
        what, name = (word, value) if equals else ("tag", word)
        if what not in WHERE or not name:
            raise StoreError(f"'{text}': write FOLDER, or FOLDER@WHAT=NAME with one of {', '.join(WHERE)} for WHAT")
        return cls(Path(folder), (what, name))

    def __str__(self) -> str:
        return f"{self.root}" + (f"@{'='.join(self.where)}" if self.where else "")

    def manifests(self) -> list[dict[str, Any]]:
        """Where the side's runs are listed.

        Raises:
            StoreError: if there is no store, or no such tag in it.
        """
        store = Store(self.root).require()
        return store.tagged(self.where[1]) if self.where and self.where[0] == "tag" else store.manifests()

    def has(self, run: Run, suites: Iterable[str]) -> bool:
        """Whether a run belongs to the side."""
        if self.where is None:
            return True
        what, name = self.where
        if what == "suite":
            return name in suites
        if what == "tag":
            return True
        return name in run.device if what == "device" else run.code.startswith(name)


def runs_of(side: Side) -> dict[str, Run]:
    """The runs of a side by id.

    Raises:
        StoreError: if there is none.
    """
    suites: dict[tuple[str, str], set[str]] = {}
    for manifest in side.manifests():
        for listed in manifest["runs"]:
            suites.setdefault((listed["run"], listed["identity"]), set()).add(manifest["suite"])
    found: dict[str, Run] = {}
    for (name, identity), of in suites.items():
        run = _read(RunFolder(side.root / "runs" / name), name, identity)
        if run is not None and side.has(run, of):
            found[name] = run
    if not found:
        raise StoreError(f"no runs in {side}")
    return found


def _read(folder: RunFolder, name: str, identity: str) -> Run | None:
    """A run's spec and surroundings; None where there is no spec yet.

    Raises:
        StoreError: if it is damaged or of another version.
    """
    spec = folder.read_json("spec.json")
    if spec is None:
        return None
    try:
        status = folder.read_json("status.json") or {}
        environment = folder.read_json("env.json") or {}
        return Run(
            name,
            spec["dataset"],
            spec["model"],
            spec["seed"],
            identity,
            {path: value for path, value in _flat(spec) if path not in _OWN},
            status.get("fingerprint", "unfinished"),
            environment.get("device", "not recorded"),
        )
    except (KeyError, AttributeError) as error:
        raise StoreError(f"{folder / 'spec.json'} was written by another version") from error


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves of a spec by path, such as training.learning_rate."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def scores_of(side: Side, runs: Mapping[str, Run]) -> list[Score]:
    """What counts of the side's runs, each run once though several suites may list it."""
    tag = side.where[1] if side.where and side.where[0] == "tag" else ""
    frame, _ = scan_listed(Store(side.root), side.manifests(), tag)
    try:
        scores = read_scores(frame.drop_duplicates(["run", "sampler", "beta", "step_size", "steps", "metric", "key"]))
    except NothingToReportError:
        return []
    return [score for score in scores if score.run in runs]
