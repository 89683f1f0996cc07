"""A choice of rows keeps what they are compared with, says what it is, and names what is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from bench.components.registry import UnknownNameError
from bench.report import render
from bench.results.choice import choose, in_words
from bench.results.frame import NothingToReportError, Results


@pytest.fixture
def both(made: Any) -> Results:
    """Two datasets, two samplers."""
    rows = made.study(2)
    rows += [row | {"sampler": "mala"} for row in rows if row["sampler"] == "ula"]
    return made.results([*rows, *(row | {"dataset": "fashion", "run": f"f-{row['run']}"} for row in rows)])


def left(results: Results, column: str) -> set[str]:
    return set(results.scores[column].dropna())


def test_rows_are_left_out_by_name_and_what_stands_beside_them_stays(both: Results) -> None:
    assert left(choose(both, {"model": ["gebm"]}), "model") == {"gebm", "data"}
    assert left(choose(both, {"dataset": ["fashion"]}), "dataset") == {"fashion"}
    assert left(choose(both, {"metric": ["fd", "kid[digits-cnn]"]}), "metric") == {"fd[digits-cnn]", "kid[digits-cnn]"}
    chosen = choose(both, {"sampler": ["mala"], "dataset": ["digits"]})
    assert left(chosen, "sampler") == set(chosen.readouts["sampler"].dropna()) == {"mala", "base", "data"}
    assert left(chosen, "dataset") == set(chosen.runs["dataset"]) == {"digits"}


def test_nothing_is_chosen_by_empty_lists(both: Results) -> None:
    chosen = choose(both, {"model": [], "metric": ()})
    assert chosen.scores.equals(both.scores)
    assert chosen.only == {}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"model": ["gemb"]}, "no model 'gemb' in these runs; did you mean 'gebm'?"),
        ({"dataset": ["digit"]}, "no dataset 'digit' in these runs; did you mean 'digits'?"),
        ({"metric": ["fdd"]}, "no metric 'fdd' in these runs; did you mean 'fd'?"),
        ({"sampler": ["xyz"]}, "no sampler 'xyz' in these runs; there are: base, data, likelihood, mala, ula"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(both: Results, wanted: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        choose(both, wanted)
    assert str(caught.value.args[0]) == message


def test_names_that_no_run_has_together_are_refused(made: Any) -> None:
    rows = [made.row(), made.row("gan-ns", dataset="fashion")]
    with pytest.raises(NothingToReportError, match="no run is of model gebm, dataset fashion"):
        choose(made.results(rows), {"model": ["gebm"], "dataset": ["fashion"]})


@pytest.mark.parametrize("format_", ["markdown", "html"])
def test_a_report_of_chosen_rows_says_so_and_judges_no_claims(both: Results, format_: str) -> None:
    whole, chosen = (render(each, format_) for each in (both, choose(both, {"model": ["gebm"], "metric": ["fd"]})))
    assert "only model gebm, metric fd, without claims" in chosen
    assert "What do these runs say about the claims" in whole
    assert "What do these runs say about the claims" not in chosen
    assert "--model gebm --metric fd" in chosen
    assert "gan-ns" not in chosen


def test_a_choice_in_words() -> None:
    assert in_words({"model": ["gebm", "gan-ns"], "metric": ["fd"]}) == "model gebm or gan-ns, metric fd"
