"""The paper's cells beside ours: nothing that was not verified is stated, and what does not compare is said not to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.images.published import (
    orientation_table,
    published_cells,
    published_images_table,
    published_sentence,
)
from bench.report import render, write_report
from bench.results.frame import Results, Section

STATED = {"cifar10": ["23.02", "19.31"], "celeba-32": ["5.21"], "imagenet32": [], "lsun-bedroom": []}
PAPERS = {
    "network": {"family": "sngan", "latent": 100, "width": 64},
    "training": {"base_steps": 150_000, "batch_size": 128},
}
SCORED = {"readout": {"kind": "base", "samples": 50_000, "reference": "train", "extractor": "inception-v3-compat"}}


def results_of(made: Any, dataset: str, metric: str = "fid", steps: int = 1000, **config: Any) -> Results:
    """A study of one seed on that dataset in that metric, its longest chain so long, its runs made as said."""
    rows = [
        row
        | {
            "dataset": dataset,
            "metric": metric,
            "steps": steps if row["steps"] == 300 else row["steps"],
            "about": SCORED,
        }
        for row in made.study(1)
        if row["metric"] == made.FD
    ]
    facts = made.facts(spec={"config": {**PAPERS, **config}})
    return made.results(rows, {row["run"]: facts for row in rows})  # type: ignore[no-any-return]


def section_of(made: Any, dataset: str, **about: Any) -> Section:
    (section,) = results_of(made, dataset, **about).sections()
    return section


def published_column(section: Section) -> list[str]:
    table = published_images_table(section)
    return [row[1].text for row in table.rows]


@pytest.mark.parametrize("dataset", STATED)
def test_only_verified_cells_are_stated_and_all_others_are_dashes(made: Any, dataset: str) -> None:
    first, *others = published_column(section_of(made, dataset))
    assert set(others) == {"—"}
    if STATED[dataset]:
        assert all(value in first for value in STATED[dataset])
        assert "unverified which" in first
    else:
        assert first == "—"


def test_a_dataset_that_the_paper_does_not_have_gets_no_table(made: Any) -> None:
    section = section_of(made, "digits")
    assert published_images_table(section) is None
    assert orientation_table(section) is None
    assert published_sentence(section) is None
    assert published_cells("celeba-64") is None


def test_numbers_of_others_come_with_their_protocol_and_unverified_ones_not_at_all(made: Any) -> None:
    table = orientation_table(section_of(made, "cifar10"))
    cells = {(row[0].text, row[1].text): (row[2].text, row[3].text) for row in table.rows}
    assert cells["SNGAN ResNet", "mimicry"] == ("7.97 ± 0.06", "16.77 ± 0.04")
    assert cells["SNGAN with DDLS", "Che et al. 2020"] == ("9.09", "—")
    assert cells["IGEBM", "Du and Mordatch 2019"] == ("6.78", "40.58")
    assert {source for _, source in cells} == {line.partition(":")[0] for line in table.legend}
    protocols = " ".join(table.legend)
    assert "Miyato et al. 2018: FID of 5,000 images against 10,000 real ones" in protocols
    assert "the 38.2 that others quote for it could not be found" in protocols
    assert "not the paper's table" in protocols
    assert len(orientation_table(section_of(made, "imagenet32")).rows) == 3


def test_the_papers_number_stands_beside_its_own_temperature_only(made: Any) -> None:
    table = published_images_table(section_of(made, "cifar10"))
    beside = {row[3].text.partition(",")[0]: row[1].text for row in table.rows if row[1].text != "—"}
    assert list(beside) == ["ula β=100 (paper)"]
    assert [row[4].value for row in table.rows if "β=100" in row[3].text] == [
        row["value"] for row in made.study(1) if row["metric"] == made.FD and row["steps"] == 300 and row["beta"] == 100
    ]


def test_several_samplers_do_not_each_get_the_number(made: Any) -> None:
    rows = [made.row(dataset="cifar10", metric="fid")]
    rows += [
        made.row(dataset="cifar10", metric="fid", **made.chain(100.0, 1000, sampler=name)) for name in ("ula", "mala")
    ]
    found = published_column(made.section(rows))
    assert sum("23.02" in text for text in found) == 1
    assert found.count("the same") == 1


def test_the_papers_number_is_there_even_where_we_have_none(made: Any) -> None:
    table = published_images_table(made.section([made.row("gan-ns", dataset="celeba-32", metric="fid")]))
    assert [(row[1].text[:4], row[3].text) for row in table.rows] == [("5.21", "not run"), ("—", "base alone")]


def test_nothing_is_said_to_compare_unless_all_that_is_known_agrees(made: Any) -> None:
    def said(section: Section) -> str:
        table = published_images_table(section)
        return " ".join(table.notes)

    alike = said(section_of(made, "cifar10"))
    assert alike.startswith("The same data, networks, steps and extractor.")
    assert "could not be verified" in alike
    differing = {
        "is no FID": {"metric": "fd[cifar10-cnn]"},
        "cifar10-jpeg75 is not CIFAR-10": {"dataset": "cifar10-jpeg75"},
        "chains of 300 steps instead of 1,000": {"steps": 300},
        "2,500 base steps instead of 150,000": {"training": {"base_steps": 2500, "batch_size": 128}},
        "SNGAN ConvNet of width 16 instead of": {"network": {"family": "sngan", "width": 16}},
        "fully connected networks instead of": {"network": {"family": "mlp"}},
        "networks and training of ours are not recorded": {"network": {}, "training": None},
    }
    for words, change in differing.items():
        text = said(section_of(made, **{"dataset": "cifar10", **change}))
        assert text.startswith("The two do not compare: ")
        assert words in text
        assert [other for other in differing if other in text] == [words]


def test_each_sides_protocol_is_told(made: Any) -> None:
    table = published_images_table(section_of(made, "cifar10"))
    theirs, ours = table.legend
    assert all(part in theirs for part in ("arXiv 2003.05033", "150,000 base steps", "energy times 100"))
    assert "SNGAN ConvNet, 150,000 base steps of batch 128; 50,000 images against the train split by Inception" in ours


def test_a_model_that_takes_no_steps_has_a_protocol_too(made: Any) -> None:
    """A model of another package may have training settings of its own."""
    table = published_images_table(section_of(made, "cifar10", training={"epochs": 3}))
    assert "Ours, gebm, gan-hinge and gan-ns: SNGAN ConvNet; 50,000 images" in table.legend[1]


def test_stale_scores_and_runs_without_scores_are_not_set_beside_published_ones(made: Any) -> None:
    stale = [made.row(dataset="cifar10", metric="fid", stale="gebm.objectives changed")]
    failed = [made.unscored("gebm", 0, "failed", "diverged") | {"dataset": "cifar10"}]
    for rows in (stale, failed):
        section = made.section(rows)
        assert published_images_table(section) is None
        assert published_sentence(section) is None


def test_every_form_of_the_report_has_them(made: Any, tmp_path: Path) -> None:
    results = results_of(made, "cifar10-jpeg75", metric="fd[cifar10-jpeg75-cnn]")
    for form in ("markdown", "html", "latex"):
        text = write_report(results, tmp_path, form).read_text()
        assert "23.02 and 19.31" in text, form
        assert "is not CIFAR-10" in text, form
    assert "16.77 ± 0.04" in render(results)
