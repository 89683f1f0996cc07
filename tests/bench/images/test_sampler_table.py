"""The table sampler × dataset: one target a table, the longest chain a cell, settings told apart, dashes where nothing was run."""

from __future__ import annotations

from typing import Any

from bench.images.sampler_table import sampler_tables
from bench.report import render
from bench.report.blocks import Table


def cells(table: Table, name: str) -> dict[tuple[str, str], float | None]:
    """Values of the column whose heading starts so, by sampler and step size."""
    index = next(i for i, column in enumerate(table.columns) if column.name.startswith(name))
    return {(row[1].text, row[2].text): row[index].value for row in table.rows}


def rows_of(made: Any) -> list[dict[str, Any]]:
    """MALA at β=100 on both datasets, ULA at two step sizes on one of them, both at β=1 on that one; two seeds."""
    rows = []
    for seed in (0, 1):
        for dataset in ("digits", "fashion"):
            rows.append(made.row(seed=seed, dataset=dataset, value=20.0 + seed))
            rows += [
                made.row(seed=seed, dataset=dataset, value=steps + seed, **made.chain(100.0, steps, sampler="mala"))
                for steps in (10, 100)
            ]
        rows += [
            made.row(seed=seed, value=1e5 * size, **made.chain(100.0, 50, step_size=size)) for size in (1e-4, 1e-3)
        ]
        rows += [made.row(seed=seed, value=7.0, **made.chain(1.0, 30, sampler=name)) for name in ("ula", "mala")]
    return rows


def test_longest_chains_by_sampler_step_and_dataset(made: Any) -> None:
    paper, model = sampler_tables(made.results(rows_of(made)).sections())
    assert "β=100" in paper.title
    assert "β=1 (model)" in model.title
    assert cells(paper, "digits") == {
        ("base alone", "—"): 20.5, ("mala", "0.0001"): 100.5, ("ula", "0.0001"): 10.0, ("ula", "0.001"): 100.0,
    }  # fmt: skip
    assert cells(paper, "fashion") == {
        ("base alone", "—"): 20.5, ("mala", "0.0001"): 100.5, ("ula", "0.0001"): None, ("ula", "0.001"): None,
    }  # fmt: skip
    assert [column.name for column in model.columns if "fashion" in column.name] == []
    index = next(i for i, column in enumerate(paper.columns) if column.name.startswith("fashion"))
    assert [row[index].text for row in paper.rows].count("—") == 2


def test_seeds_intervals_and_costs_are_in_the_cells(made: Any) -> None:
    paper, _ = sampler_tables(made.results(rows_of(made)).sections())
    line = next(row for row in paper.rows if row[1].text == "mala")
    assert [cell.text for cell in line[-3:]] == ["100", "100", "101"]
    assert line[3].detail.startswith("[")
    assert "n = 2" in line[3].detail


def test_other_settings_of_a_chain_are_beside_its_name(made: Any) -> None:
    rows = rows_of(made)
    chain = {"settings": {"friction": 100}, "decay_factor": 0.1, "decay_every": 200}
    for row in rows:
        if row["sampler"] == "mala" and row["beta"] == 100:
            row["about"] = {"readout": {"chain": chain}}
    paper, _ = sampler_tables(made.results(rows).sections())
    details = {row[1].text: row[1].detail for row in paper.rows}
    assert details == {"base alone": "", "ula": "", "mala": "friction 100, step ×0.1 every 200 steps"}


def test_one_sampler_is_no_table(made: Any) -> None:
    assert sampler_tables(made.results(made.study()).sections()) == []


def test_stale_and_other_keys_are_not_mixed_in(made: Any) -> None:
    rows = rows_of(made)
    rows += [
        made.row(seed=seed, value=1.0, stale="gebm.samplers changed", **made.chain(100.0, 999, sampler="hmc"))
        for seed in (0, 1)
    ]
    rows += [made.row(seed=0, value=2.0, key="another", **made.chain(100.0, 50, sampler="rwm"))]
    paper, _ = sampler_tables(made.results(rows).sections())
    assert "hmc" not in {row[1].text for row in paper.rows}
    assert "(key 2)" in next(str(row[3]) for row in paper.rows if row[1].text == "rwm")


def test_collapse_is_said(made: Any) -> None:
    rows = [
        made.row(
            value=5.0, status="collapsed", reason="1 of 10 classes (collapsed)", **made.chain(100.0, 10, sampler=name)
        )
        for name in ("ula", "mala")
    ]
    (table,) = sampler_tables(made.results(rows).sections())
    assert all(row[3].tone == "bad" and "collapsed" in row[3].detail for row in table.rows)


def test_one_dataset_of_two_suites_is_two_columns(made: Any) -> None:
    rows = rows_of(made)
    rows += [row | {"suite": "images-wide", "run": f"wide-{row['run']}"} for row in rows]
    paper, _ = sampler_tables(made.results(rows).sections())
    heads = [column.name for column in paper.columns if column.name.startswith("digits")]
    assert heads == ["digits (images, quick), fd[digits-cnn] ↓", "digits (images-wide, quick), fd[digits-cnn] ↓"]


def test_every_form_shows_the_scores(made: Any) -> None:
    results = made.results(rows_of(made))
    paper, _ = sampler_tables(results.sections())
    scores = [row[3].text for row in paper.rows]
    for text in (*(render(results, form) for form in ("markdown", "html", "latex")), made.printed(results, 120)):
        part = text[text.index("Samplers at") :]
        assert all(score in part for score in scores)
        assert "fd[digits-cnn]" in part
