"""Chapters laid out as a page: what is read first, then tables, curves, samples and the commands that make them again."""

from __future__ import annotations

from collections.abc import Sequence

from bench.chains.blocks import chain_notes, grids
from bench.chains.figures import objectives_chart, trade_off_chart
from bench.densities.blocks import likelihood_difference_table, likelihood_table, published_table
from bench.densities.figures import corner_chart, likelihood_chart
from bench.images.along_chain import chain_sheets, chain_sheets_chart
from bench.images.frechet_curves import frechet_table
from bench.images.published import orientation_table, published_images_table
from bench.images.sampler_table import SAMPLERS_TITLE, sampler_tables
from bench.report.answers import claims_block, verdict_block
from bench.report.blocks import Block, Commands, Page, Part, Picture, Pictures, TextBlock
from bench.report.chapters import Chapter
from bench.report.claims import findings_of
from bench.report.commands import report_command, run_commands
from bench.report.comparisons import headline_metric, metrics_of
from bench.report.curves import read_curve
from bench.report.pictures import CORNER_TITLE, OTHER_PANELS, TRAINING_TITLE, sample_rows
from bench.report.plots import DPI, Chart, chart_png, curves_chart, score_chart, sheet_png
from bench.report.svg import legend_entries, svg_of
from bench.report.tables import (
    certificate_table,
    collapse_notes,
    difference_table,
    environment,
    failure_table,
    partition_table,
    score_table,
    time_table,
)

__all__ = ["make_page"]

_PANEL = (5.0, 3.3)  # inches: its text can be read at the width of a phone
_ALONG, _COLUMNS = 4.0, 4  # inches of a sheet along a chain, and the lengths that it has room for at least
_COMMAND_NOTE = (
    "They make every table and figure of this chapter again, with any path in the place of runs; what the store has already is kept. "
    "A suite of your own is given by the path of its TOML file."
)


def make_page(chapters: Sequence[Chapter]) -> Page:
    """The whole report of these chapters; figures are drawn here."""
    parts = [_part(chapter, f"c{number}") for number, chapter in enumerate(chapters)]
    if tables := sampler_tables(chapters):
        parts.append(Part(SAMPLERS_TITLE, "longest chains", tables))
    machines = environment([facts for chapter in chapters for facts in chapter.facts])
    command = report_command([chapter.section for chapter in chapters], "html")
    back: list[Block] = [Commands("This page", [command])]
    if machines:
        back.insert(0, TextBlock("Environment", items=machines))
    claimed = claims_block(findings_of(chapters))
    front = [*(verdict_block(each) for each in chapters), *([claimed] if claimed else [])]
    return Page("GEBM Bench report", _subtitle(chapters), front, parts, back)


def _subtitle(chapters: Sequence[Chapter]) -> str:
    places = dict.fromkeys(f"suite {each.section.suite}, profile {each.section.profile}" for each in chapters)
    runs = {score.run for each in chapters for score in each.section.scores}
    seeds = {score.seed for each in chapters for score in each.section.scores}
    return f"{'; '.join(places)}: {len(runs)} runs, {len(seeds)} seed{'s' * (len(seeds) > 1)}"


def _part(chapter: Chapter, name: str) -> Part:
    section = chapter.section
    if chapter.about_likelihoods:
        blocks = _likelihood_blocks(chapter, name)
    else:
        blocks = _chain_blocks(chapter, name) if chapter.about_chains else _image_blocks(chapter, name)
    lines = [*run_commands(section), report_command([section], "html")]
    last = Commands("Commands that make this chapter again", lines, _COMMAND_NOTE)
    shown = [block for block in [*blocks, last] if block is not None]
    return Part(section.dataset, f"suite {section.suite}, profile {section.profile}", shown)


def _image_blocks(chapter: Chapter, name: str) -> list[Block | None]:
    return [
        *_warnings(chapter),
        _sheets(chapter),
        _along_chain(chapter, name),
        _score_curves(chapter, name),
        score_table(chapter),
        published_images_table(chapter),
        orientation_table(chapter),
        difference_table(chapter),
        frechet_table(chapter),
        partition_table(chapter),
        _training_curves(chapter, name),
        *_common(chapter),
    ]


def _chain_blocks(chapter: Chapter, name: str) -> list[Block | None]:
    dataset = chapter.section.dataset
    return [
        _wide("Error and R-hat against cost", trade_off_chart(chapter.rows), f"{name}-cost", dataset),
        _wide("Error against truth, objective by objective", objectives_chart(chapter.rows), f"{name}-error", dataset),
        *grids(chapter.rows),
        TextBlock("What the numbers are", items=chain_notes(chapter.rows)),
        partition_table(chapter),
        _training_curves(chapter, name),
        *_common(chapter),
    ]


def _likelihood_blocks(chapter: Chapter, name: str) -> list[Block | None]:
    dataset = chapter.section.dataset
    return [
        likelihood_table(chapter),
        _wide("Held-out log-likelihood", likelihood_chart(chapter), f"{name}-likelihood", dataset),
        likelihood_difference_table(chapter),
        published_table(chapter),
        _corner(chapter),
        partition_table(chapter),
        _training_curves(chapter, name),
        failure_table(chapter),
        certificate_table(chapter),
        time_table(chapter),
    ]


def _corner(chapter: Chapter) -> Pictures | None:
    png = chart_png(corner_chart(chapter))
    text = f"Samples of two models against data on {chapter.section.dataset}, feature by feature"
    return Pictures(CORNER_TITLE, [Picture(text, png=png)], "wide") if png else None


def _common(chapter: Chapter) -> list[Block | None]:
    """What every chapter ends with."""
    table = certificate_table(chapter)
    outcomes = TextBlock("", items=[match.sentence for match in chapter.matches])
    certificate = [table, outcomes] if table and chapter.matches and not chapter.about_chains else []
    return [failure_table(chapter), *certificate, time_table(chapter)]


def _warnings(chapter: Chapter) -> list[Block]:
    loud = [match.sentence for match in chapter.matches if match.compared > 1 and not match.matched]
    found = (("Not a comparison of equals", loud), ("Mode collapse", collapse_notes(chapter)))
    return [TextBlock(title, items=items, tone="bad") for title, items in found if items]


def _sheets(chapter: Chapter) -> Pictures | None:
    pictures = [
        Picture(f"Samples on {chapter.section.dataset}: {row.title}", row.title, png=sheet_png(row.images))
        for row in sample_rows(chapter)
        if len(row.images)
    ]
    note = (
        "First seed with pictures, nothing chosen. What is generated starts from the same latents in the same places; chains are the "
        "longest of the suite."
    )
    return Pictures("Samples side by side", pictures, "sheets", note=note) if pictures else None


def _along_chain(chapter: Chapter, name: str) -> Pictures | None:
    sheets, pictures = chain_sheets(chapter), []
    columns = max([_COLUMNS, *(len(sheet.steps) for sheet in sheets)])
    for number, sheet in enumerate(sheets):
        factor = max(1, round(_ALONG * DPI / (columns * sheet.images.shape[4])))
        chart = chain_sheets_chart([sheet], factor, columns, titles=False)
        if chart is not None:
            text = f"Samples along {sheet.title} on {chapter.section.dataset}"
            pictures.append(Picture(text, sheet.title, svg=svg_of(chart.figure, f"{name}-along{number}")))
    note = "A row is one latent of the first seed, none chosen; a column is a number of steps, from the base alone."
    return Pictures("Samples along the chain", pictures, note=note) if pictures else None


def _score_curves(chapter: Chapter, name: str) -> Pictures | None:
    headline = headline_metric(chapter.section)
    if headline is None:
        return None
    others = [each for each in metrics_of(chapter.section.scores, density=False) if each != headline]
    charts = {metric: score_chart(chapter.rows, [metric], _PANEL) for metric in [headline, *others[:OTHER_PANELS]]}
    first = charts[headline]
    if first is None:
        return None
    pictures = [
        Picture(
            f"{metric} against gradient evaluations per sample on {chapter.section.dataset}",
            svg=svg_of(chart.figure, f"{name}-score{number}"),
        )
        for number, (metric, chart) in enumerate(charts.items())
        if chart is not None
    ]
    note = (
        "Chains start at their own base, at 0 evaluations. Bands are 95 % intervals over seeds, clipped where few seeds make them "
        "taller than everything else; one seed has none."
    )
    return Pictures("Score against compute", pictures, legend=legend_entries(first.handles), note=note)


def _training_curves(chapter: Chapter, name: str) -> Pictures | None:
    pictures = []
    for number, (label, runs) in enumerate(chapter.networks.items()):
        chart = curves_chart({label: [read_curve(run.curve) for run in runs if run.curve]})
        if chart is not None:
            text = f"Losses of {label} against steps on {chapter.section.dataset}"
            pictures.append(Picture(text, svg=svg_of(chart.figure, f"{name}-training{number}")))
    return Pictures(TRAINING_TITLE, pictures) if pictures else None


def _wide(title: str, chart: Chart | None, name: str, dataset: str) -> Pictures | None:
    if chart is None:
        return None
    picture = Picture(f"{title} on {dataset}", svg=svg_of(chart.figure, name))
    return Pictures(title, [picture], "wide", legend_entries(chart.handles))
