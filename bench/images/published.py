"""Published scores of images beside ours: the paper's verified cells, each side's protocol, and in words why the two may not compare.

The numbers and what is known of how they were made are in `published_images.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.inception import INCEPTION
from bench.report.blocks import MISSING, Cell, Table, TextBlock, table_of
from bench.report.certificate import networks
from bench.report.comparisons import headline_metric, longest_sources
from bench.report.tables import marked_scores, mean_cell, said_apart
from bench.report.text import arrow, beta_name, listed, readout_text, span
from bench.results.sources import records, source_of

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["orientation", "orientation_table", "published_cells", "published_images_table", "published_sentence"]

_FAMILIES = {"sngan": "SNGAN ConvNet", "sngan-resnet": "SNGAN ResNet", "mlp": "fully connected networks"}
_PUBLISHED: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("published_images.toml").read_text(encoding="utf-8")
)
_PAPER: dict[str, Any] = _PUBLISHED["paper"]
_AS_THE_PAPER = f"GEBM, energy × {_PAPER['beta']:g}"
_PROTOCOL = (
    f"Published: {_PAPER['source']}. {_PAPER['networks']}, {_PAPER['base_steps']:,} base steps of batch {_PAPER['batch_size']}; chains of "
    f"{_PAPER['chain_steps']:,} steps at the energy times {_PAPER['beta']:g}; FID by Inception. Not verified: {_PAPER['unverified']}; "
    f"the authors' repository, which is not the paper, has {_PAPER['repository']}. Cells that could not be verified are —."
)


def published_cells(dataset: str) -> dict[str, Any] | None:
    """Return what the paper has on a dataset, or on the one that it stands in for; None where it has nothing."""
    datasets = _PUBLISHED["datasets"]
    return next((each for each in datasets if dataset == each["name"] or dataset in each.get("stand_ins", ())), None)


def published_images_table(section: Section) -> Table | None:
    """Return the paper's cells of this dataset beside our scores, a line per score of ours; None where the paper has none."""
    cells, ours = published_cells(section.dataset_name), _ours(section)
    if cells is None or not ours:
        return None
    published, mine = f"published FID on {cells['title']} ↓", f"ours, {arrow(ours[0][1].metric)}"
    fid = Cell(_fid(cells))
    rows = []
    for what, row in ours:
        also = ("one seed" if row.n == 1 else "", said_apart(row), row.mark)
        names = {"ours": Cell(code=row.label), "samples from": Cell(readout_text(row))}
        rows.append({"model": Cell(what), published: MISSING, **names, mine: mean_cell(row, "—", *also)})
        if _is_papers(row):
            rows[-1][published], fid = fid, Cell("the same") if cells.get("fid") else MISSING
    if not any(_is_papers(row) for _, row in ours):
        rows.insert(0, {"model": Cell(_AS_THE_PAPER), published: fid, "ours": MISSING, "samples from": Cell("not run")})
    chosen = [row for _, row in ours]
    legend = [_PROTOCOL, *_our_protocols(section, {row.label for row in chosen})]
    return table_of("Published scores beside ours", rows, [_comparable(section, cells, chosen)], legend=legend)


def published_sentence(section: Section) -> TextBlock | None:
    """Return what the paper has on this dataset and whether ours compares, in a sentence or two; None where it has nothing."""
    cells, ours = published_cells(section.dataset_name), [row for _, row in _ours(section)]
    if cells is None or not ours:
        return None
    found = f"FID {_fid(cells)}" if cells.get("fid") else "no verified FID"
    said = f"{_PAPER['source']} on {cells['title']}: {found}. {_comparable(section, cells, ours)}"
    return TextBlock("", [said], terminal="untitled")


def orientation(dataset: str) -> list[dict[str, Any]]:
    """Return what others published on a dataset: per source its protocol and rows."""
    return [source for source in _PUBLISHED["orientation"] if source["dataset"] == dataset]


def orientation_table(section: Section) -> Table | None:
    """Return what others published on this dataset; None where nothing is known."""
    cells = published_cells(section.dataset_name)
    if cells is None:
        return None
    sources = orientation(cells["name"])
    rows = [
        {
            "model": Cell(row["model"]),
            "source": Cell(source["source"]),
            "Inception Score ↑": _with_error(row, "inception_score"),
            "FID ↓": _with_error(row, "fid"),
        }
        for source in sources
        for row in source["rows"]
    ]
    note = "Numbers of others, for orientation only: FID moves more with protocol than with method, so compare within a source."
    legend = [f"{source['source']}: {source['protocol']}." for source in sources]
    return table_of(f"Published by others on {cells['title']}", rows, [note], legend=legend)


def _ours(section: Section) -> list[tuple[str, Any]]:
    """Return our scores with what each is: GEBMs at the paper's temperature, at others, their bases, and models without a chain."""
    scores, _ = marked_scores(section)
    ours = (scores["metric"] == headline_metric(section)) & scores["mean"].notna() & (scores["stale"] == "")
    rows, longest = records(scores[ours]), set(longest_sources(section))
    chains = [row for row in rows if source_of(row) in longest]
    labels = {row.label for row in chains}
    bases = sorted((row for row in rows if row.sampler == "base"), key=lambda row: row.label not in labels)
    return [
        *(
            (_AS_THE_PAPER if _is_papers(row) else f"GEBM, {beta_name(row.beta)}", row)
            for row in sorted(chains, key=lambda row: (row.label, not _is_papers(row)))
        ),
        *(("base of the GEBM, alone" if row.label in labels else "model without a chain", row) for row in bases),
    ]


def _is_papers(row: Any) -> bool:
    return bool(row.beta == _PAPER["beta"])


def _fid(cells: Mapping[str, Any]) -> str:
    return f"{listed([f'{value:g}' for value in cells['fid']])} ({cells['networks']})" if cells.get("fid") else "—"


def _with_error(stated: Mapping[str, Any], name: str) -> Cell:
    value, error = stated.get(name), stated.get(f"{name}_error")
    if value is None:
        return MISSING
    return Cell(f"{value:g}" + (f" ± {error:g}" if error is not None else ""), value)


def _comparable(section: Section, cells: Mapping[str, Any], ours: Sequence[Any]) -> str:
    """Return whether the columns may be compared, in words."""
    unverified = f"Of the paper's cells it could not be verified {_PAPER['unverified']}"
    if why := "; ".join(_differences(section, cells, ours)):
        return f"The two do not compare: {why}. {unverified}."
    return f"The same data, networks, steps and extractor. {unverified}; FID moves with all of it."


def _differences(section: Section, cells: Mapping[str, Any], ours: Sequence[Any]) -> Iterator[str]:
    """Yield what is known to differ between the paper's protocol and ours."""
    paper, name, metric = _PAPER, section.dataset_name, ours[0].metric
    if name in cells.get("stand_ins", ()):
        yield f"{name} is not {cells['title']} ({cells['stand_ins'][name]})"
    if metric != "fid":
        yield f"{metric} is no FID: another extractor than Inception"
    configs = [run.spec.get("config", {}) for runs in networks(section).values() for run in runs]
    configs = [config for config in configs if config.get("network")]
    if not configs:
        yield "networks and training of ours are not recorded"
    if others := dict.fromkeys(_network(each["network"]) for each in configs if not _is_published(each["network"])):
        yield f"{listed([*others])} instead of {paper['networks']}"
    trainings = [each["training"] for each in configs if (each.get("training") or {}).get("base_steps")]
    if steps := {each["base_steps"] for each in trainings} - {paper["base_steps"]}:
        yield f"{span([*steps], ' to ')} base steps instead of {paper['base_steps']:,}"
    if lengths := {row.steps for row in ours if _is_papers(row) and row.steps is not None} - {paper["chain_steps"]}:
        yield f"chains of {span([*lengths], ' to ')} steps instead of {paper['chain_steps']:,}"


def _our_protocols(section: Section, labels: Container[str]) -> list[str]:
    """Return how our numbers were made: models that were made alike share a line."""
    scored: dict[str, dict[str, None]] = {}
    for each in records(section.readouts):
        if each.readout.get("kind") in ("base", "chain"):
            extractor = "Inception" if each.readout["extractor"] == INCEPTION else each.readout["extractor"]
            words = f"{each.readout['samples']:,} images against the {each.readout['reference']} split by {extractor}"
            scored.setdefault(each.run, {})[words] = None
    said: dict[str, dict[str, None]] = {}
    for run in (run for label, runs in networks(section).items() if label in labels for run in runs):
        config = run.spec.get("config", {})
        training = config.get("training") or {}
        steps = (
            f"{training['base_steps']:,} base steps of batch {training['batch_size']}"
            if training.get("base_steps")
            else ""
        )
        trained = ", ".join(filter(None, (_network(config.get("network") or {}), steps)))
        if words := "; ".join(filter(None, (trained, *scored.get(run.run, ())))):
            said.setdefault(words, {})[run.label] = None
    return [f"Ours, {listed([*names])}: {words}." for words, names in said.items()]


def _is_published(network: Mapping[str, Any]) -> bool:
    return network.get("family") in _PAPER["families"] and network.get("width") == _PAPER["width"]


def _network(network: Mapping[str, Any]) -> str:
    family, width = str(network.get("family", "")), network.get("width")
    return _FAMILIES.get(family, family) + ("" if width is None or _is_published(network) else f" of width {width}")
