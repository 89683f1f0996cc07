"""A whole report put together: of each section the blocks of its kind, then what spans sections, claims, and how it was made."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.claims import judge, load_claims
from bench.report.blocks import Block, Commands, Page, PageSection, Verdict
from bench.report.claims import claims_block
from bench.report.commands import commands_block, report_command
from bench.report.tables import environment

if TYPE_CHECKING:
    from bench.results.frame import Results, Section

__all__ = ["make_page"]

_ROOMS = {"density": "densities"}


def make_page(results: Results) -> Page:
    """Return the report of these results; charts are drawn when it is rendered.

    Raises:
        NothingToReportError: if there is no run.
        ValueError: if the results break their contract.
        ClaimError: if an installed package's claims cannot be read.
    """
    found = results.sections()
    sections = [_section(section) for section in found]
    for kind in dict.fromkeys(section.kind for section in found):
        across = getattr(_room(kind), "blocks_across", None)
        title, blocks = across([section for section in found if section.kind == kind]) if across else ("", [])
        if blocks:
            sections.append(PageSection(title, "longest chains", [title], blocks))
    machines = environment(found)
    back: list[Block] = [*([machines] if machines else []), Commands("This page", [report_command(found, "html")])]
    findings = judge(found, load_claims())
    claims = claims_block(findings) if any(finding.verdict != "not run" for finding in findings) else None
    return Page("GEBM Bench report", _subtitle(found), sections, claims, back)


def _room(kind: str) -> Any:
    """Return the module of a kind's blocks."""
    return importlib.import_module(f"bench.{_ROOMS.get(kind, kind)}.blocks")


def _section(section: Section) -> PageSection:
    blocks: list[Block] = [*_room(section.kind).blocks(section), commands_block(section)]
    return PageSection(
        section.dataset,
        f"suite {section.suite}, profile {section.profile}",
        [section.suite, section.profile, section.dataset],
        [block for block in blocks if not isinstance(block, Verdict)],
        [block for block in blocks if isinstance(block, Verdict)],
    )


def _subtitle(sections: Sequence[Section]) -> str:
    places = dict.fromkeys(f"suite {each.suite}, profile {each.profile}" for each in sections)
    runs = {run for each in sections for run in each.runs["run"]}
    seeds = {seed for each in sections for seed in each.runs["seed"]}
    return f"{'; '.join(places)}: {len(runs)} runs, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
