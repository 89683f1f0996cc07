"""Log-likelihoods of others beside ours: as printed, and a working notebook is never called published."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from bench.densities.published import published_likelihoods, published_table
from bench.report.blocks import Table


def table_of(dataset: str, **ours: float) -> Table | None:
    """The table beside models of ours with those log-likelihoods."""
    rows = {
        name.replace("_", "-"): SimpleNamespace(mean=mean, ci_low=None, ci_high=None, status="done", stale="")
        for name, mean in ours.items()
    }
    section = SimpleNamespace(scores=pd.DataFrame({"dataset": [dataset]}))
    found: Any = SimpleNamespace(section=section, rows={"log-likelihood": rows})
    return published_table(found)


def cells(table: Table) -> dict[str, dict[str, str]]:
    names = [column.name for column in table.columns]
    return {row[0].text: dict(zip(names, [cell.text or cell.code for cell in row], strict=True)) for row in table.rows}


def test_numbers_are_as_their_source_prints_them() -> None:
    table = table_of("miniboone", flow_realnvp=-13.2)
    assert table is not None
    found = cells(table)
    assert found["RealNVP (5)"] == {
        "model of others": "RealNVP (5)", "published": "−13.55 ± 0.49", "ours": "flow-realnvp", "here": "−13.2",
    }  # fmt: skip
    assert found["TAN"]["published"] == "−11.01 ± 0.48"
    assert found["MAF (5)"]["ours"] == "—"
    assert "standard errors for TAN" in table.notes[-1]
    power = table_of("power")
    assert power is not None
    assert "TAN" not in cells(power)


def test_a_split_and_a_smaller_set_have_their_datasets_numbers() -> None:
    small, split = table_of("miniboone-small"), table_of("redwine@3")
    assert small is not None
    assert split is not None
    assert cells(small)["NAF (10)"]["published"] == "−9.01 ± 0.01"
    assert small.notes[0].startswith("The same test split, but ours are trained on a tenth")
    assert cells(split)["NVP"]["published"] == "−12.14"
    assert table_of("digits") is None


def test_the_authors_notebook_is_never_called_published() -> None:
    table = table_of("redwine")
    assert table is not None
    found = cells(table)
    assert found["GEBM, KALE-F"]["notebook, not published"] == "−12.10"
    assert {row["published"] for name, row in found.items() if "notebook, not published" in row and "GEBM" in name} == {
        "—"
    }
    assert "the authors' working notebook" in table.notes[0]
    assert "not a published result" in table.notes[0]
    assert "best over epochs of the test log-likelihood" in table.notes[0]


@pytest.mark.parametrize("name", published_likelihoods()["datasets"])
def test_every_dataset_with_numbers_has_a_table(name: str) -> None:
    table = table_of(name)
    assert table is not None
    assert all(len(row) == len(table.columns) for row in table.rows)
