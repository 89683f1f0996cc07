"""The HTML report without a browser: whole, escaped, complete in itself, accessible, and with commands that are valid."""

from __future__ import annotations

import dataclasses
import html
import re
import shlex
from itertools import pairwise
from typing import Any

import click
import pytest

from bench.cli import main
from bench.cli.usage import parse_settings
from bench.report import render, write_report
from bench.report.blocks import Answer, Cell, Column, Page, PageSection, Table, TextBlock, Verdict
from bench.report.html import render_html
from bench.report.page import make_page, run_commands
from bench.report.tables import other_settings
from bench.results.frame import Results


@pytest.fixture(scope="module")
def page(made: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    return write_report(made.page_study(folder), folder / "out", "html").read_text(encoding="utf-8")


def test_tags_are_balanced_and_ids_unique(made: Any, page: str) -> None:
    reader = made.Reader(page)
    ids = [value for _, attributes in reader.tags if (value := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    assert {load[1:] for load in reader.loads if load.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert len(page) < 3_000_000


def test_nothing_is_loaded_from_anywhere(made: Any, page: str) -> None:
    reader = made.Reader(page)
    assert all(load.startswith(("#", "data:")) for load in reader.loads)
    assert not re.search(r"url\((?!#)|@import|@font-face|https?://", page)
    assert any(load.startswith("data:image/png;base64,") for load in reader.loads)
    policy = next(a["content"] for tag, a in reader.tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_untrusted_text_stays_text(made: Any, page: str) -> None:
    reader = made.Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert [tag for tag, _ in reader.tags].count("style") == 1
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;moons &amp; stars&lt;/b&gt;" in page
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)


def test_every_kind_of_text_is_escaped(made: Any) -> None:
    columns = [Column(made.HOSTILE), Column("n", numeric=True)]
    table = Table(made.HOSTILE, columns, [[Cell(made.HOSTILE, code=made.HOSTILE), Cell("1", 1)]])
    text = TextBlock(made.HOSTILE, [made.HOSTILE], [made.HOSTILE], "bad")
    shown = render_html(
        Page(made.HOSTILE, made.HOSTILE, [PageSection(made.HOSTILE, made.HOSTILE, [""], [table, text])])
    )
    tags = [tag for tag, _ in made.Reader(shown).tags]
    assert "img" not in tags
    assert tags.count("script") == 1


def test_what_is_read_first_comes_first(page: str) -> None:
    order = ["<h2>At a glance", "<h2>digits", "What is the second network worth", "Over its own base"]
    order += ["<h3>Score against cost", "<h3>Scores", "<h4>β=1 (model)", "<h4>β=100 (paper)", "<h4>Likelihood"]
    order += ["<h3>Samples of the first seed", "<h3>Paired differences", "<h3>Calibration of log Z"]
    order += [
        "<h3>Training curves",
        "<h3>Runs without scores",
        "<h3>Certificate",
        "<h3>Time",
        "<h3>Every run by itself",
    ]
    order += ["<h3>How it was made", "<h2>Claims", "<h2>Environment"]
    places = [page.index(words.replace("'", "&#39;")) for words in order]
    assert places == sorted(places)


def test_tables_have_headers_with_scope_and_equal_rows(made: Any, page: str) -> None:
    tables = made.Reader(page).tables
    assert len(tables) == 9
    for table in tables:
        assert len({len(row) for row in table}) == 1
        assert all(tag == "th" and attributes.get("scope") == "col" for tag, attributes in table[0])
        assert all(row[0][0] == "th" and row[0][1].get("scope") == "row" for row in table[1:])


def test_pictures_have_words_and_headings_skip_no_level(made: Any, page: str) -> None:
    reader = made.Reader(page)
    assert all(attributes.get("alt") for tag, attributes in reader.tags if tag == "img")
    charts = [attributes for _, attributes in reader.tags if attributes.get("role") == "img"]
    assert charts
    assert all(attributes.get("aria-label") for attributes in charts)
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_numeric_cells_carry_what_they_are_sorted_by(made: Any, page: str) -> None:
    scores = made.Reader(page).tables[1]
    column = next(i for i, (_, attributes) in enumerate(scores[0]) if attributes.get("class") == "number")
    values = [row[column][1].get("data-value") for row in scores[1:]]
    assert values == [None if value is None else str(float(value)).removesuffix(".0") for value in values]
    assert len(set(values)) > 2


def test_every_command_is_one_that_the_command_line_takes(page: str) -> None:
    lines = [html.unescape(line) for line in re.findall(r"<pre><code>(.*?)</code></pre>", page)]
    assert len(lines) >= 5
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "bench"
        command = main.get_command(click.Context(main), words[0])
        assert command is not None
        context = command.make_context(words[0], words[1:])
        assert isinstance(context, click.Context)
        assert not context.args


def test_the_commands_name_just_what_is_there(made: Any) -> None:
    def commands(*runs: tuple[str, int]) -> list[str]:
        return run_commands(made.section([made.row(model, seed) for model, seed in runs]))

    start = "bench run --suite images --profile quick --dataset digits"
    trained = ("gebm", "gan-hinge", "gan-ns", "gan-ns+refit")
    whole = [(model, seed) for model in trained for seed in (0, 1)] + [("data", 0)]
    assert commands(*whole) == [f"{start} --seeds 0,1 --store runs"]
    assert commands(("gebm", 0), ("gebm", 4)) == [f"{start} --model gebm --seeds 0,4 --store runs"]
    assert commands(("gebm", 0), ("gebm", 1), ("gan-ns", 1)) == [
        f"{start} --model gebm --seeds 0,1 --store runs",
        f"{start} --model gan-ns --seeds 1 --store runs",
    ]


def test_what_was_set_is_named_in_full_and_asked_for_again(made: Any) -> None:
    settings = {"refit.steps": 30, "network": {"family": "mlp", "widths": [8, 8]}}
    own = {"label": "small", "asked": "small", "set": settings, "changes": {**settings, "refit.penalty": 0.5}}
    rows = [made.row("gan-ns", 0), made.row("gebm", 0)]
    section = made.section(rows, {rows[1]["run"]: own})
    (block,) = other_settings(section)
    assert block.items == ["small: refit.steps = 30, network = family mlp, widths [8, 8], refit.penalty = 0.5"]
    plain, changed = run_commands(section)
    words = shlex.split(changed)
    assert "--set" not in plain
    assert words[words.index("--model") + 1] == "small"
    given = [after for word, after in pairwise(words) if word == "--set"]
    assert parse_settings(None, None, tuple(given)) == settings
    assert other_settings(made.section(rows)) == []


def answers_of(results: Results) -> list[Answer]:
    verdict = make_page(results).sections[0].blocks[0]
    assert isinstance(verdict, Verdict)
    return [answer for finding in verdict.findings for answer in finding.answers]


def test_verdicts_point_to_the_better_side(made: Any) -> None:
    """A lower Fréchet distance lies right of the middle, and its words are those of the Markdown report."""
    answers = [answer for answer in answers_of(made.results(made.study())) if answer.effect]
    assert {answer.reading for answer in answers} >= {"better", "worse"}
    markdown = render(made.results(made.study()))
    for answer in answers:
        sides = {"better": 1, "gain": 1, "worse": -1, "loss": -1}
        if answer.reading in sides:
            assert answer.effect.mean * sides[answer.reading] > 0
            assert (answer.effect.ci_low or 0.0) <= answer.effect.mean <= (answer.effect.ci_high or 0.0)
        if answer.reading in ("better", "worse"):
            assert f"{answer.reading} {answer.subject}" in markdown


def test_several_samplers_at_one_temperature_are_told_apart(made: Any) -> None:
    rows = made.study() + [row | {"sampler": "mala"} for row in made.study() if row["sampler"] == "ula"]
    page = render(made.results(rows), "html")
    assert "mala at β=1 (model)" in page
    assert "ula at β=1 (model)" in page


def test_a_metric_that_knows_no_better_gets_no_bar(made: Any) -> None:
    rows = [row | {"metric": "new-score"} for row in made.study() if row["metric"] == made.FD]
    answers = answers_of(made.results(rows))
    assert "higher" in {answer.reading for answer in answers}
    assert not any(answer.effect for answer in answers)


def test_chains_are_a_page_with_their_own_tables(made: Any) -> None:
    values = {
        "rhat": 1.3,
        "mean-error[E]": 0.2,
        "variance-error[z]": 0.1,
        "ess-per-cost[z]": 0.01,
        "sliced-wasserstein": 0.5,
    }
    rows = [
        made.row(model, seed, kind="chains", **made.chain(1.0, 600, sampler=sampler), metric=metric, value=value / (1 + number))
        for model in ("toy-known", "toy-cd")
        for seed in (0, 1)
        for number, sampler in enumerate(("ula", "mala"))
        for metric, value in values.items()
    ]  # fmt: skip
    page = render(made.results(rows), "html")
    reader = made.Reader(page)
    assert "Which chains can be trusted" in page
    assert page.index("R-hat is below 1.01") < page.index("objective × sampler</h3>")
    assert len(reader.tables) == 1 + len(values)
    assert ">1.300 !<" in page
    assert 'data-value="1.3"' in page


def test_what_was_refitted_names_its_command(made: Any) -> None:
    base = {"model": "gan-ns", "config": {}}
    spec = {"kind": "images", "dataset": "digits", "dataset_digest": "ab", "model": "gan-ns+refit", "base_seed": 0}
    spec |= {"threads": 1, "seed": 3, "config": {"base": base}}
    section = made.section([made.row("gan-ns+refit", 3)])
    runs = section.runs.assign(spec=[spec], suite="images-refit")
    (command,) = run_commands(dataclasses.replace(section, suite="images-refit", runs=runs))
    assert re.fullmatch(
        r"bench refit digits/gan-ns/\w{12}-s3 --suite images --profile quick --dataset digits --seed 3 --store runs",
        command,
    )


def test_every_run_by_itself_is_looked_up_only_where_it_is_shown(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("bench.report.runs._findings", lambda section: asked.append(section.dataset) or {})
    results = made.results(made.study(seeds=2))
    render(results)
    assert not asked
    render(results, "html")
    assert asked
