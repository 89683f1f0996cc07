"""The commands that make a chapter's tables again, from what is in it."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Sequence

from bench.core import registry
from bench.results.scores import Section

__all__ = ["report_command", "run_commands"]


def run_commands(section: Section) -> list[str]:
    """One `bench run` for all models that share their seeds; the device, which is not part of a run's identity, is left out."""
    seeds: dict[str, set[int]] = {}
    for score in section.scores:
        seeds.setdefault(score.model, set()).add(score.seed)
    groups: dict[tuple[int, ...], list[str]] = {}
    for model, own in seeds.items():
        groups.setdefault(tuple(sorted(own)), []).append(model)
    widest = max(groups, key=len)
    for few in [each for each in groups if each == widest[:1] != widest]:
        alone = [model for model in groups[few] if _has_one_seed(model)]
        groups[widest] += alone
        groups[few] = [model for model in groups[few] if model not in alone]
    return [_run_command(section, models, own) for own, models in groups.items() if models]


def report_command(sections: Iterable[Section], format_: str) -> str:
    """The `bench report` of these sections."""
    places = list(dict.fromkeys((section.suite, section.profile) for section in sections))
    chosen = ["--suite", places[0][0], "--profile", places[0][1]] if len(places) == 1 else []
    return shlex.join(["bench", "report", *chosen, "--store", "runs", "--format", format_])


def _run_command(section: Section, models: Sequence[str], seeds: Sequence[int]) -> str:
    suite = section.suite if section.suite in registry.suite_files() else f"{section.suite}.toml"
    words = ["bench", "run", "--suite", suite, "--profile", section.profile, "--dataset", section.dataset]
    if set(models) != set(_planned_models(section)):
        words += [word for model in models for word in ("--model", model)]
    return shlex.join([*words, "--seeds", ",".join(map(str, seeds)), "--store", "runs"])


def _planned_models(section: Section) -> Sequence[str]:
    """All models of the profile, where it is one that ships with the harness."""
    path = registry.suite_files().get(section.suite)
    if path is None:
        return ()
    profiles = tomllib.loads(path.read_text(encoding="utf-8"))["profiles"]
    models: Sequence[str] = profiles.get(section.profile, {}).get("models", ())
    return models


def _has_one_seed(model: str) -> bool:
    entry = registry.entries("models").get(model)
    return entry is not None and bool(entry.settings.get("one_seed"))
