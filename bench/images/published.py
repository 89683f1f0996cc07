"""Published scores of images beside ours: the paper's verified cells, each side's protocol, and in words why the two may not compare.

The numbers and what is known of how they were made are in `published_images.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.inception import INCEPTION
from bench.report.blocks import Cell, Column, Table
from bench.report.certificate import networks
from bench.report.comparisons import headline_metric, longest_sources
from bench.report.tables import Keys, mean_cell, read_keys, said_apart
from bench.report.text import arrow, listed, readout_text, span
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["orientation_table", "published_cells", "published_images_table", "published_sentence"]

_FAMILIES = {"sngan": "SNGAN ConvNet", "sngan-resnet": "SNGAN ResNet", "mlp": "fully connected networks"}


@cache
def _published() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("published_images.toml").read_text(encoding="utf-8"))


def _paper() -> dict[str, Any]:
    """Return what is known of how the paper made its cells; `unverified` says in words what is not known."""
    found: dict[str, Any] = _published()["paper"]
    return found


def published_cells(dataset: str) -> dict[str, Any] | None:
    """Return what the paper has on a dataset, or on the one that it stands in for; None where it has nothing."""
    datasets = _published()["datasets"]
    return next((each for each in datasets if dataset == each["name"] or dataset in each.get("stand_ins", ())), None)


def published_images_table(section: Section) -> Table | None:
    """Return the paper's cells of this dataset beside our scores, a line per score of ours; None where the paper has none."""
    cells, metric = published_cells(_name(section)), headline_metric(section)
    ours = list(_ours(section, metric)) if cells and metric else []
    if cells is None or metric is None or not ours:
        return None
    keys = read_keys(section.summary)
    first = next((row for _, row in ours if _is_papers(row)), None)
    lines = [
        [
            Cell(what),
            Cell(_fid(cells) if row is first else "the same" if cells.get("fid") and _is_papers(row) else "—"),
            Cell("", code=row.label),
            Cell(readout_text(row.sampler, row.beta, row.step_size, row.steps)),
            _our_cell(row, keys),
        ]
        for what, row in ours
    ]
    if first is None:
        lines.insert(0, [Cell(_as_the_paper()), Cell(_fid(cells)), Cell("—"), Cell("not run"), Cell("—")])
    names = ("model", f"published FID on {cells['title']} ↓", "ours", "samples from")
    columns = [*map(Column, names), Column(f"ours, {arrow(metric)}", numeric=True)]
    rows = [row for _, row in ours]
    notes = [_comparable(section, cells, metric, rows)]
    return Table("Published scores beside ours", columns, lines, notes, list(_protocols(section, rows)))


def published_sentence(section: Section) -> str:
    """Return what the paper has on this dataset and whether ours compares, in a sentence or two; empty where it has nothing."""
    cells, metric = published_cells(_name(section)), headline_metric(section)
    ours = [row for _, row in _ours(section, metric)] if cells and metric else []
    if cells is None or metric is None or not ours:
        return ""
    found = f"FID {_fid(cells)}" if cells.get("fid") else "no verified FID"
    return f"{_paper()['source']} on {cells['title']}: {found}. {_comparable(section, cells, metric, ours)}"


def orientation_table(section: Section) -> Table | None:
    """Return what others published on this dataset; None where nothing is known."""
    cells = published_cells(_name(section))
    found = [each for each in _published()["orientation"] if cells and each["dataset"] == cells["name"]]
    if cells is None or not found:
        return None
    lines = [
        [
            Cell(each["model"]),
            Cell(each.get("source") or "—"),
            *(_with_error(each, name) for name in ("inception_score", "fid")),
        ]
        for each in found
    ]
    columns = [
        Column("model"),
        Column("source"),
        Column("Inception Score ↑", numeric=True),
        Column("FID ↓", numeric=True),
    ]
    notes = [
        "Numbers of others, for orientation only. FID moves more with protocol than with method, and how many images each of them scored "
        "was not verified."
    ]
    return Table(f"Published by others on {cells['title']}", columns, lines, notes)


def _name(section: Section) -> str:
    """Return the dataset's own name, without what tells two contents of one name apart."""
    return str(section.scores["dataset"].iloc[0])


def _ours(section: Section, metric: str) -> Iterator[tuple[str, Any]]:
    """Yield our scores with what each is: GEBMs at the paper's temperature, at others, their bases, and models without a chain."""
    summary = section.summary
    rows = records(summary[(summary["metric"] == metric) & summary["mean"].notna() & (summary["stale"] == "")])
    longest = set(longest_sources(section))
    chains = [row for row in rows if (row.label, row.sampler, row.beta, row.step_size, row.steps) in longest]
    for row in sorted(chains, key=lambda row: (row.label, not _is_papers(row))):
        yield _as_the_paper() if _is_papers(row) else f"GEBM, β={row.beta:g}", row
    with_chains = {row.label for row in chains}
    bases = [row for row in rows if row.sampler == "base"]
    yield from (("base of the GEBM, alone", row) for row in bases if row.label in with_chains)
    yield from (("model without a chain", row) for row in bases if row.label not in with_chains)


def _as_the_paper() -> str:
    return f"GEBM, energy × {_paper()['beta']:g}"


def _is_papers(row: Any) -> bool:
    return bool(row.beta == _paper()["beta"])


def _fid(cells: dict[str, Any]) -> str:
    return f"{listed([f'{value:g}' for value in cells['fid']])} ({cells['networks']})" if cells.get("fid") else "—"


def _our_cell(row: Any, keys: Keys) -> Cell:
    return mean_cell(row, "—", "one seed" if row.n == 1 else "", said_apart(row), keys.mark(row))


def _with_error(stated: dict[str, Any], name: str) -> Cell:
    value, error = stated[name], stated.get(f"{name}_error")
    return Cell(f"{value:g}" + (f" ± {error:g}" if error is not None else ""), value)


def _comparable(section: Section, cells: dict[str, Any], metric: str, ours: Sequence[Any]) -> str:
    """Return whether the columns may be compared, in words."""
    unverified = f"Of the paper's cells it could not be verified {_paper()['unverified']}"
    why = list(_differences(section, cells, metric, ours))
    if not why:
        return f"The same data, networks, steps and extractor. {unverified}; FID moves with all of it."
    return f"The two do not compare: {'; '.join(why)}. {unverified}."


def _differences(section: Section, cells: dict[str, Any], metric: str, ours: Sequence[Any]) -> Iterator[str]:
    """Yield what is known to differ between the paper's protocol and ours."""
    paper, name = _paper(), _name(section)
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
    if steps := {each["training"]["base_steps"] for each in configs if each.get("training")} - {paper["base_steps"]}:
        yield f"{span([*steps], ' to ')} base steps instead of {paper['base_steps']:,}"
    if lengths := {row.steps for row in ours if _is_papers(row) and row.steps is not None} - {paper["chain_steps"]}:
        yield f"chains of {span([*lengths], ' to ')} steps instead of {paper['chain_steps']:,}"


def _protocols(section: Section, ours: Sequence[Any]) -> Iterator[str]:
    """Yield how the numbers of each side were made, a line per side."""
    paper = _paper()
    yield (
        f"Published: {paper['source']}. {paper['networks']}, {paper['base_steps']:,} base steps of batch {paper['batch_size']}; chains of "
        f"{paper['chain_steps']:,} steps at the energy times {paper['beta']:g}; FID by Inception. Not verified: {paper['unverified']}. "
        "Cells that could not be verified are —."
    )
    scored: dict[str, dict[str, None]] = {}
    for each in records(section.readouts):
        if each.readout.get("kind") in ("base", "chain"):
            extractor = "Inception" if each.readout["extractor"] == INCEPTION else each.readout["extractor"]
            words = f"{each.readout['samples']:,} images against the {each.readout['reference']} split by {extractor}"
            scored.setdefault(each.run, {})[words] = None
    said: dict[str, dict[str, None]] = {}
    for label, runs in networks(section).items():
        for run in runs if any(row.label == label for row in ours) else ():
            if words := "; ".join(filter(None, (_trained(run.spec.get("config", {})), *scored.get(run.run, ())))):
                said.setdefault(words, {})[label] = None
    yield from (f"Ours, {listed([*names])}: {words}." for words, names in said.items())


def _trained(config: dict[str, Any]) -> str:
    """Return networks and training of a run, in words."""
    training = config.get("training") or {}
    steps = (
        f"{training['base_steps']:,} base steps of batch {training['batch_size']}" if training.get("base_steps") else ""
    )
    return ", ".join(filter(None, (_network(config.get("network") or {}), steps)))


def _is_published(network: dict[str, Any]) -> bool:
    return network.get("family") in _paper()["families"] and network.get("width") == _paper()["width"]


def _network(network: dict[str, Any]) -> str:
    family, width = str(network.get("family", "")), network.get("width")
    return _FAMILIES.get(family, family) + ("" if width is None or _is_published(network) else f" of width {width}")
