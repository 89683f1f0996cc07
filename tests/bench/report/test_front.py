"""The first screen: every question of every section in one table, read as the sections read it, and firm only after Holm's correction."""

from __future__ import annotations

from typing import Any

import pytest

from bench.images.replies import replies
from bench.images.verdict import energy_verdict
from bench.report.blocks import Cell, PageSection, Reply, Verdict
from bench.report.front import front_table
from bench.report.page import make_page
from bench.stats import Estimate, mean_interval

OWN = "Does gebm's energy help, over its own base?"


def cells(*found: tuple[str, list[Reply]]) -> dict[str, list[Cell]]:
    """The rows of the first screen of sections of these names, by question."""
    table = front_table([(PageSection(name, "suite a, profile b", [name], []), own) for name, own in found])
    assert table is not None
    return {row[0].text: list(row[1:]) for row in table.rows}


def better(values: list[float], question: str = "?") -> Reply:
    """A reply that these paired differences read as better."""
    estimate = mean_interval(values)
    assert estimate.side() == "above"
    return Reply(question, "better", estimate=estimate)


def test_an_interval_among_many_stands_in_brackets() -> None:
    """Student's t gives p = 0.02 here: alone below 0.05, times 3 above it."""
    frail, sound = better([1.0, 1.2, 0.7], "frail"), better([1.0, 1.001, 0.999], "sound")
    assert 0.02 < (frail.estimate or Estimate(0, None, None, 0)).p_value < 0.03
    assert cells(("a", [frail]))["frail"][0].text == "✓ better"
    crowd = [("a", [frail, sound]), ("b", [frail, sound]), ("c", [frail])]
    assert {cell.text for cell in cells(*crowd)["frail"]} == {"(✓) better"}
    assert {cell.text for cell in cells(*crowd)["sound"]} == {"✓ better", "—"}


@pytest.mark.parametrize(
    ("reading", "text", "tone"),
    [
        ("worse", "✗ worse", "bad"),
        ("no clear difference", "≈ no clear difference", "open"),
        ("no verdict", "? no verdict", "open"),
        ("on its way", "→ on its way", "bad"),
        ("higher", "higher", "plain"),
    ],
)
def test_a_sign_follows_the_reading(reading: str, text: str, tone: str) -> None:
    (cell,) = cells(("a", [Reply("?", reading)]))["?"]
    assert (cell.text, cell.tone) == (text, tone)


def test_a_question_of_some_sections_stands_where_they_ask_it() -> None:
    one, two = [Reply(name, "better") for name in "ac"], [Reply(name, "better") for name in "abd"]
    found = cells(("one", one), ("two", two))
    assert list(found) == ["a", "b", "d", "c"]
    assert [cell.text for cell in found["b"]] == ["—", "✓ better"]


def test_no_section_that_answers_gives_no_table(made: Any) -> None:
    assert front_table([(PageSection("a", "", ["a"], []), [])]) is None
    assert make_page(made.results([made.unscored("gebm", 0, "missing", "")])).front is None


def test_every_difference_is_one_of_the_verdict_below(made: Any) -> None:
    section = made.section(made.study())
    below = {
        (answer.reading, answer.text.removesuffix(" nats"))
        for finding in energy_verdict(section).findings
        for answer in finding.answers
    }
    asked = [reply for reply in replies(section) if reply.estimate]
    assert len(asked) == 4  # own base, two GANs, likelihood
    for reply in asked:
        assert (reply.reading, reply.text.partition(" in ")[0].removesuffix(" nats")) in below


def test_the_readout_that_stands_for_all_is_not_chosen_by_its_score(made: Any) -> None:
    """β = 1 is worse and β = 100 better, whatever their sizes: the model's own temperature is shown, the other one counted."""
    for shift in (-100.0, 0.0, 100.0):
        shown = next(reply for reply in replies(made.section(made.study(shift=shift))) if reply.question == OWN)
        assert shown.where.startswith("ula β=1, 300 steps; elsewhere: 1 ")
        assert shown.to == "β=1 (model)"


def test_every_answer_leads_to_a_part_of_its_section(made: Any) -> None:
    rows = made.study()
    page = make_page(made.results([*rows, *(row | {"dataset": "fashion", "run": f"f-{row['run']}"} for row in rows)]))
    assert page.front is not None
    for number, section in enumerate(page.sections, 1):
        verdict = section.blocks[0]
        assert isinstance(verdict, Verdict)
        titles = {block.title for block in section.blocks} | {finding.title for finding in verdict.findings}
        assert {row[number].link.removeprefix(f"{section.name} ") for row in page.front.rows} <= titles


def test_what_says_nothing_yet_is_read_last(made: Any) -> None:
    old = [
        row | {"dataset": "a", "run": f"a-{row['run']}", "stale": "gebm.objectives changed"} for row in made.study(1)
    ]
    page = make_page(made.results([*old, *made.study(1)]))
    assert [section.title for section in page.sections] == ["digits", "a"]
