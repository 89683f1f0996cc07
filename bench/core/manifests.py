"""Manifests: which runs make up a suite, and which go by a tag; the report's list of rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bench.core.records import problem
from bench.core.run_folder import CorruptError, RunFolder, StoreError
from bench.core.store import NotInStoreError, Store
from bench.files import make_folder, sync_names

__all__ = ["manifests", "read_manifest", "tagged", "write_manifest", "write_tag"]


def read_manifest(store: Store, suite: str, profile: str) -> dict[str, Any]:
    """What was planned of a suite so far; no runs if nothing was, or if the list is damaged.

    Raises:
        UnreadableError: if it cannot be read.
    """
    try:
        if found := _read(store.root / "suites", f"{suite}-{profile}.json"):
            return found
    except CorruptError:  # the report names it, and it is set aside when the list is written anew
        pass
    return {"suite": suite, "profile": profile, "runs": []}


def write_manifest(store: Store, manifest: Mapping[str, Any]) -> None:
    """Remember what a suite is made of.

    Raises:
        StoreError: if it cannot be written.
    """
    _write(store, store.root / "suites", manifest)


def manifests(store: Store, suite: str | None = None, profile: str | None = None) -> list[dict[str, Any]]:
    """What suites are made of, one dictionary per suite and profile.

    Raises:
        StoreError: if one of them is damaged.
        NotInStoreError: if there is none of that suite and profile.
    """
    found = _read_all(store.root / "suites")
    wanted = [m for m in found if suite in (None, m["suite"]) and profile in (None, m["profile"])]
    if found and not wanted:
        there = ", ".join(f"{m['suite']} ({m['profile']})" for m in found)
        raise NotInStoreError(
            f"no runs of suite '{suite or 'any'}', profile '{profile or 'any'}' here; there are: {there}"
        )
    return wanted


def write_tag(store: Store, tag: str, manifest: Mapping[str, Any]) -> None:
    """Remember runs under a name, with what was tagged so before; they stay listed when their suite changes.

    Raises:
        StoreError: if it cannot be written.
    """
    folder = store.root / "tags" / tag
    before = _read(folder, f"{manifest['suite']}-{manifest['profile']}.json") or {"runs": []}
    runs = {run["run"]: run for run in (*before["runs"], *manifest["runs"])}
    _write(store, folder, {**manifest, "runs": list(runs.values())})


def tagged(store: Store, tag: str) -> list[dict[str, Any]]:
    """The runs under a tag, one dictionary per suite and profile.

    Raises:
        StoreError: if one of them is damaged.
        NotInStoreError: if there is no such tag; the message names those there are.
    """
    if found := _read_all(store.root / "tags" / tag):
        return found
    there = ", ".join(sorted(path.name for path in (store.root / "tags").glob("*") if path.is_dir()))
    hint = f"tags: {there}" if there else "`bench run --tag` makes tags"
    raise NotInStoreError(f"no runs tagged '{tag}' in {store.root}; {hint}")


def _read_all(folder: Path) -> list[dict[str, Any]]:
    """Return the manifests in a folder, whoever wrote them: a StoreError for one that is damaged or cannot be used."""
    found = {path: _read(folder, path.name) for path in sorted(folder.glob("*.json"))}
    for path, manifest in found.items():
        if manifest and (wrong := _problem(manifest)):
            raise StoreError(f"{path} {wrong}")
    return [manifest for manifest in found.values() if manifest]


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    """Return a manifest; None if absent: a CorruptError for one that is damaged or not laid out as it should be."""
    found = RunFolder(folder).read_json(name)
    if found is not None and (wrong := problem("manifest", found)):
        raise CorruptError(f"{folder / name} {wrong}")
    return found


def _problem(manifest: Mapping[str, Any]) -> str:
    """Return why a manifest cannot be used, in words; '' if it is of a known kind and the folders of its runs are in the store."""
    from bench.core.suite import KINDS  # with numpy, which `bench status` does without

    if manifest["kind"] not in KINDS:
        return "is of a kind that there is not: written by another version"
    inside = all(_is_inside(PurePosixPath(run["run"])) for run in manifest["runs"])
    return "" if inside else "names a run that is outside the store"


def _is_inside(path: PurePosixPath) -> bool:
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _write(store: Store, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a list; a damaged one in its place is set aside."""
    name = f"{manifest['suite']}-{manifest['profile']}.json"
    try:
        make_folder(folder)
        try:
            _read(folder, name)
        except CorruptError:
            (folder / name).rename(store.root / "aside" / f"{name}-{time.time_ns()}")
            sync_names(store.root / "aside")
        RunFolder(folder).write_json(name, dict(manifest))
    except OSError as error:
        raise StoreError(f"cannot write to the store {store.root}: {error.strerror}") from error
