"""A whole report put together: of each section the blocks of its kind, then what spans sections, claims, and how it was made."""

from __future__ import annotations

import importlib
import json
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.claims import judge, load_claims
from bench.components import registry
from bench.core.spec import RunSpec
from bench.report.blocks import Commands, Page, PageSection
from bench.report.claims import claims_block
from bench.report.front import front_table
from bench.report.runs import runs_block
from bench.report.tables import environment, mixed_devices, other_settings
from bench.results.choice import in_words
from bench.results.sources import records
from bench.words import plural

if TYPE_CHECKING:
    from bench.results.frame import Results, Section

__all__ = ["make_page", "run_commands"]

_ROOMS = {"density": "densities"}
_NOTE = (
    "They make every table and figure of this section again, with any path in the place of runs; what the store has already is kept. "
    "A suite of your own is given by the path of its TOML file."
)


def make_page(results: Results) -> Page:
    """Return the report of these results; charts are drawn when it is rendered.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the results break their contract.
        ClaimError: if an installed package's claims cannot be read.
    """
    found = results.sections()
    found.sort(key=lambda section: section.counted.empty)  # what says nothing yet is not read first
    sections = [
        PageSection(
            section.dataset,
            f"suite {section.suite}, profile {section.profile}",
            [section.suite, section.profile, section.dataset],
            [
                *_room(section.kind).blocks(section),
                *other_settings(section),
                *mixed_devices(section),
                runs_block(section),
                _how_it_was_made(section),
            ],
        )
        for section in found
    ]
    front = front_table(
        [(page, _room(section.kind).replies(section)) for page, section in zip(sections, found, strict=True)]
    )
    places = dict.fromkeys(section.subtitle for section in sections)
    for kind in dict.fromkeys(section.kind for section in found):
        across = getattr(_room(kind), "blocks_across", None)
        title, blocks = across([section for section in found if section.kind == kind]) if across else ("", [])
        if blocks:
            sections.append(PageSection(title, "longest chains", [title], blocks))
    findings = [] if results.only else judge(found, load_claims())  # a choice of rows proves nothing
    claims = claims_block(findings) if any(finding.verdict != "not run" for finding in findings) else None
    runs, seeds = ({value for section in found for value in section.runs[name]} for name in ("run", "seed"))
    subtitle = f"{'; '.join(places)}: {plural(len(runs), 'run')}, {plural(len(seeds), 'seed')}"
    if results.only:
        subtitle += f"; only {in_words(results.only)}, without claims, which are about all rows"
    back = [*environment(found), Commands("This page", [_report_command(found, results.only)])]
    return Page("GEBM Bench report", subtitle, sections, front, claims, back)


def _room(kind: str) -> Any:
    """Return the module of a kind's blocks."""
    return importlib.import_module(f"bench.{_ROOMS.get(kind, kind)}.blocks")


def _how_it_was_made(section: Section) -> Commands:
    return Commands("How it was made", [*run_commands(section), _report_command([section])], _NOTE)


def run_commands(section: Section) -> list[str]:
    """Return one `bench run` for all models that share their seeds and settings, or the `bench refit` of each generator.

    The device is not part of a run's identity and is left out.
    """
    if section.suite.endswith("-refit"):
        return [_refit_command(section, run) for run in records(section.runs) if "base" in run.spec.get("config", {})]
    asked: dict[tuple[str, ...], dict[str, set[int]]] = {}
    for run in records(section.runs):
        settings = tuple(f"{key}={_literal(value)}" for key, value in run.set.items())
        asked.setdefault(settings, {}).setdefault(run.asked or run.model, set()).add(run.seed)
    return [command for settings, models in asked.items() for command in _run_commands(section, models, settings)]


def _run_commands(section: Section, asked: Mapping[str, set[int]], settings: Sequence[str]) -> list[str]:
    groups: dict[tuple[int, ...], list[str]] = {}
    for model, own in asked.items():
        groups.setdefault(tuple(sorted(own)), []).append(model)
    widest = max(groups, key=len)
    if len(widest) > 1 and (first := groups.get(widest[:1])):
        models = registry.entries("models")
        alone = [model for model in first if model in models and models[model].facts.get("one_seed")]
        groups[widest[:1]] = [model for model in first if model not in alone]
        groups[widest] += alone
    return [_run_command(section, models, seeds, settings) for seeds, models in groups.items() if models]


def _report_command(sections: Iterable[Section], only: Mapping[str, Sequence[str]] | None = None) -> str:
    places = list(dict.fromkeys((section.suite, section.profile) for section in sections))
    chosen = ["--suite", places[0][0], "--profile", places[0][1]] if len(places) == 1 else []
    chosen += [word for column, names in (only or {}).items() for name in names for word in (f"--{column}", name)]
    return shlex.join(["bench", "report", *chosen, "--store", "runs", "--format", "html"])


def _refit_command(section: Section, run: Any) -> str:
    spec = RunSpec.model_validate(run.spec)
    known = spec.base is not None and spec.base.model != "own-generator"
    generator = spec.base.run_id if known and spec.base else "GENERATOR"
    name = section.suite.removesuffix("-refit")
    suite = name if name in registry.suite_files() else f"{name}.toml"
    words = ["bench", "refit", generator, "--suite", suite, "--profile", section.profile]
    words += ["--dataset", section.dataset_name, "--seed", str(run.seed)]
    words += ["--steps", str(spec.config["refit"]["steps"])] if spec.config.get("refit") else []
    words += ["--energy", "warm"] * (spec.config.get("energy") == "warm")
    words += [word for key, value in run.set.items() for word in ("--set", f"{key}={_literal(value)}")]
    return shlex.join([*words, "--store", "runs"])


def _literal(value: Any) -> str:
    """Return a setting as TOML has it."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)} = {_literal(own)}' for key, own in value.items())}}}"
    return f"[{', '.join(map(_literal, value))}]" if isinstance(value, list) else json.dumps(value)


def _run_command(section: Section, models: Sequence[str], seeds: Sequence[int], settings: Sequence[str]) -> str:
    known = registry.suite_files().get(section.suite)
    suite = section.suite if known else f"{section.suite}.toml"
    profiles = tomllib.loads(known.read_text(encoding="utf-8"))["profiles"] if known else {}
    words = ["bench", "run", "--suite", suite, "--profile", section.profile, "--dataset", section.dataset_name]
    if set(models) != set(profiles.get(section.profile, {}).get("models", ())):
        words += [word for model in models for word in ("--model", model)]
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join([*words, "--seeds", ",".join(map(str, seeds)), "--store", "runs"])
