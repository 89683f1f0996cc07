"""The commands that make a section's tables again, from what is in it."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.components import registry
from bench.report.blocks import Commands

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["commands_block", "report_command", "run_commands"]

_NOTE = (
    "They make every table and figure of this section again, with any path in the place of runs; what the store has already is kept. "
    "A suite of your own is given by the path of its TOML file."
)


def commands_block(section: Section) -> Commands:
    """Return how the section was made."""
    return Commands("How it was made", [*run_commands(section), report_command([section], "html")], _NOTE)


def run_commands(section: Section) -> list[str]:
    """Return one `bench run` for all models that share their seeds; the device is not part of a run's identity and is left out."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for model, seeds in section.runs.groupby("model", sort=False)["seed"]:
        groups.setdefault(tuple(sorted(set(seeds))), []).append(str(model))
    widest = max(groups, key=len)
    for few in [each for each in groups if each == widest[:1] != widest]:
        alone = [model for model in groups[few] if _has_one_seed(model)]
        groups[widest] += alone
        groups[few] = [model for model in groups[few] if model not in alone]
    return [_run_command(section, models, own) for own, models in groups.items() if models]


def report_command(sections: Iterable[Section], format_: str) -> str:
    """Return the `bench report` of these sections."""
    places = list(dict.fromkeys((section.suite, section.profile) for section in sections))
    chosen = ["--suite", places[0][0], "--profile", places[0][1]] if len(places) == 1 else []
    return shlex.join(["bench", "report", *chosen, "--store", "runs", "--format", format_])


def _run_command(section: Section, models: Sequence[str], seeds: Sequence[int]) -> str:
    known = registry.suite_files().get(section.suite)
    suite = section.suite if known else f"{section.suite}.toml"
    profiles = tomllib.loads(known.read_text(encoding="utf-8"))["profiles"] if known else {}
    dataset = str(section.runs["dataset"].iloc[0])  # its own name, without what tells two contents of one name apart
    words = ["bench", "run", "--suite", suite, "--profile", section.profile, "--dataset", dataset]
    if set(models) != set(profiles.get(section.profile, {}).get("models", ())):
        words += [word for model in models for word in ("--model", model)]
    return shlex.join([*words, "--seeds", ",".join(map(str, seeds)), "--store", "runs"])


def _has_one_seed(model: str) -> bool:
    entry = registry.entries("models").get(model)
    return entry is not None and bool(entry.facts.get("one_seed"))
