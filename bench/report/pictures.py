"""Which pictures a chapter gets, and from which files; `plots` draws them."""

from __future__ import annotations

import multiprocessing
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from urllib.parse import quote

from bench.chains.figures import objectives_figure, trade_off_figure
from bench.core.files import write_bytes
from bench.densities.figures import corner_chart, likelihood_chart
from bench.images.along_chain import chain_sheets, chain_sheets_chart
from bench.report.chapters import Chapter
from bench.report.comparisons import headline_metric, metrics_of
from bench.report.curves import read_curve
from bench.report.markdown import Figure
from bench.report.plots import SampleRow, chart_png, curves_figure, samples_figure, score_figure
from bench.report.sample_files import chains_of, first_seed, load_images, title_of
from bench.results.facts import DATA, RunFacts, SampleFile

__all__ = ["sample_rows", "write_all_figures", "write_figures"]

TRAINING_TITLE = "Training curves: mean and range over seeds, medians of neighbouring steps"
ALONG_TITLE = "Samples along the chain: a row a latent, a column a number of steps"
CORNER_TITLE = "Samples against data, feature by feature, first seed"
OTHER_PANELS = 6
_WORTH_A_POOL = 3  # chapters; starting workers costs about as much as drawing one
_Drawn = tuple[str, str, str, bytes | None]  # file, title, text for those who do not see it, PNG


def write_all_figures(chapters: Sequence[Chapter], report: Path, workers: int) -> list[list[Figure]]:
    """The figures of every chapter, several chapters side by side where that is worth the processes."""
    alone = threading.active_count() > 1 or "fork" not in multiprocessing.get_all_start_methods()
    if alone or workers < 2 or len(chapters) < _WORTH_A_POOL:
        return [write_figures(chapter, report) for chapter in chapters]
    with ProcessPoolExecutor(min(workers, len(chapters)), multiprocessing.get_context("fork")) as pool:
        return list(pool.map(write_figures, chapters, repeat(report)))


def write_figures(chapter: Chapter, report: Path) -> list[Figure]:
    """Draw what there is to draw into `<report>-figures/` beside the report; paths come back relative to it."""
    if chapter.about_likelihoods:
        drawn = _likelihood_figures(chapter)
    else:
        drawn = _chain_figures(chapter) if chapter.about_chains else _image_figures(chapter)
    folder = report.with_name(f"{report.stem}-figures")
    stem = _slug(f"{chapter.section.suite}-{chapter.section.profile}-{chapter.section.dataset}")
    figures = []
    for name, title, text, png in drawn:
        if png is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{stem}-{name}.png"
            write_bytes(path, png)
            figures.append(Figure(f"{quote(folder.name)}/{path.name}", title, text))
    return figures


def _chain_figures(chapter: Chapter) -> Sequence[_Drawn]:
    dataset = chapter.section.dataset
    return [
        (
            "trade-off",
            "Error and R-hat against cost",
            f"Error of the chains' means and R-hat against cost on {dataset}, a line for each sampler",
            trade_off_figure(chapter.rows),
        ),
        (
            "errors",
            "Error against truth, objective by objective",
            f"Errors of every sampler under every objective on {dataset}",
            objectives_figure(chapter.rows),
        ),
    ]


def _likelihood_figures(chapter: Chapter) -> Sequence[_Drawn]:
    dataset = chapter.section.dataset
    charts = (
        (
            "likelihood",
            "Held-out log-likelihood",
            f"Log-likelihood of every model on {dataset}",
            likelihood_chart(chapter),
        ),
        (
            "corner",
            CORNER_TITLE,
            f"Samples of two models against data on {dataset}, feature by feature",
            corner_chart(chapter),
        ),
    )
    drawn: list[_Drawn] = [(name, title, text, chart_png(chart)) for name, title, text, chart in charts if chart]
    return [*drawn, _training_figure(chapter)]


def _training_figure(chapter: Chapter) -> _Drawn:
    curves = {label: [read_curve(r.curve) for r in runs if r.curve] for label, runs in chapter.networks.items()}
    text = f"Losses against steps for every model on {chapter.section.dataset}"
    return "training", TRAINING_TITLE, text, curves_figure(curves)


def _image_figures(chapter: Chapter) -> Sequence[_Drawn]:
    headline = headline_metric(chapter.section)
    metrics = metrics_of(chapter.section.scores, density=False)
    others = [name for name in metrics if name != headline][:OTHER_PANELS]
    dataset = chapter.section.dataset
    rows = sample_rows(chapter)
    return (
        (
            "score",
            "Score against cost",
            f"{headline} against gradient evaluations per sample on {dataset}",
            score_figure(chapter.rows, [headline]) if headline else None,
        ),
        (
            "samples",
            "Samples of the first seed, one latent in one place",
            f"Sample sheets on {dataset}: {', '.join(row.title for row in rows)}",
            samples_figure(rows),
        ),
        (
            "along-chain",
            ALONG_TITLE,
            f"The same latents of the first seed along every chain on {dataset}, from the base alone to its longest",
            chart_png(chain_sheets_chart(chain_sheets(chapter))),
        ),
        (
            "other-scores",
            "Other scores against cost",
            f"{', '.join(others)} against gradient evaluations per sample on {dataset}",
            score_figure(chapter.rows, others) if others else None,
        ),
        _training_figure(chapter),
    )


def sample_rows(chapter: Chapter) -> list[SampleRow]:
    """Sheets of the first seed with pictures: real data, models without a chain, then bases and longest chains."""
    ordered = sorted(first_seed(chapter), key=lambda run: _has_chain(run[1]))
    sheets = [
        (file.sampler == DATA, SampleRow(_title(label, file, facts.samples), images))
        for label, facts in ordered
        for file in _chosen(facts.samples)
        if (images := load_images(file)) is not None
    ]
    real = [row for is_real, row in sheets if is_real][:1]
    return real + [row for is_real, row in sheets if not is_real]


def _has_chain(facts: RunFacts) -> bool:
    return any(file.sampler not in {"base", DATA} for file in facts.samples)


def _chosen(samples: Sequence[SampleFile]) -> Iterator[SampleFile]:
    """Base or real data first, then of every chain its longest."""
    yield from [file for file in samples if file.sampler in ("base", DATA)][:1]
    yield from (chain[-1] for chain in chains_of(samples))


def _title(label: str, file: SampleFile, samples: Sequence[SampleFile]) -> str:
    title = title_of(label, file, samples, full=True)
    return f"{title} ({file.steps} steps)" if file.steps else title


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"
