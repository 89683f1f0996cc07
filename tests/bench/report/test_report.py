"""The written reports: structure, figures, robustness of text, and what is imported."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from bench.report import render, terminal_table, write_report
from bench.report.chapters import read_chapters
from bench.report.curves import read_curve
from bench.report.pictures import sample_rows, write_all_figures
from bench.report.plots import curves_figure, samples_figure, score_chart, score_figure
from bench.report.text import estimate_text, number, short_names, shortened_note
from bench.results.scores import NothingToReportError
from bench.stats import Estimate

HOSTILE = "energy|loss is NaN\n<script>*x*</script> [a](b) `c` [bold red]"


def tables(text: str) -> list[list[list[str]]]:
    """Markdown tables as cells."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [[line.strip("|").split(" | ") for line in block.splitlines()] for block in blocks]


@pytest.fixture
def written(made: Any, tmp_path: Path) -> tuple[Path, str]:
    rows = [*made.study(), made.unscored("gan-ns", 3, "failed", HOSTILE), made.unscored("gebm", 3, "missing", "")]
    path = write_report(made.frame(rows), made.study_facts(tmp_path), tmp_path / "out")
    return path, path.read_text()


def test_the_answer_comes_first(written: tuple[Path, str]) -> None:
    _, text = written
    order = [
        "## What do these runs say about the paper's claims?",
        "Does the energy help",
        "**At β=1, the model",
        "**At β=100",
        "### Scores",
        "Score key of",
        "### Score against",
        "### Samples along the chain",
    ]
    order += ["### Paired differences", "### Runs without scores", "### Certificate", "### Time", "## Environment"]
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)


def test_every_table_is_whole(written: tuple[Path, str]) -> None:
    found = tables(written[1])
    assert len(found) == 6
    assert all(len({len(line) for line in table}) == 1 for table in found)


def test_claims_are_bold_only_where_they_stand_among_all(made: Any) -> None:
    table = tables(render(made.frame(made.study(seeds=8))))[0]
    verdicts = {(line[2].strip(), float(line[5].replace("−", "-")) <= 0.05) for line in table[2:]}
    assert verdicts >= {("**contradicted**", True), ("**supported**", True)}
    assert all(verdict.startswith("**") == holds for verdict, holds in verdicts)


def test_every_figure_is_there_and_not_blank(written: tuple[Path, str]) -> None:
    path, text = written
    links = re.findall(r"!\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]\(([^)]+)\)", text)
    assert len(links) == 5
    for link in links:
        picture = imread(path.parent / link)
        assert picture.std() > 0.02
        assert min(picture.shape[:2]) > 300


def test_likelihood_stands_only_beside_the_models_own_temperature(written: tuple[Path, str]) -> None:
    scores = tables(written[1])[1]
    column = next(i for i, name in enumerate(scores[0]) if "likelihood-gain" in name)
    for line in scores[2:]:
        assert (line[column].strip() != "—") == ("β=1, the model" in line[1])


def test_a_hostile_reason_stays_text(written: tuple[Path, str], made: Any) -> None:
    path, text = written
    assert path.parent.name == "out"
    assert "<script>" not in text
    assert "](b)" not in text
    console = Console(file=io.StringIO(), width=200)
    terminal_table(made.frame([made.row(), made.unscored("gebm", 1, "failed", HOSTILE)]), console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "[bold red]" in printed
    assert "fd[digits-cnn] ↓" in printed


def test_mixed_keys_are_told_apart_in_every_form(made: Any) -> None:
    rows = [made.row(seed=s, value=10.0) for s in range(3)] + [
        made.row("gan-ns", s, value=99.0, key="B") for s in range(2)
    ]
    text = render(made.frame(rows))
    assert "99.0 [99.0, 99.0] (key 2)" in text
    assert "Key 2, not comparable with the others: B" in text
    assert {row["key"] for row in json.loads(render(made.frame(rows), format="json"))} == {made.KEY, "B"}


def test_two_settings_of_one_model_are_told_apart(made: Any) -> None:
    rows = [made.row(identity="aaaaaaaaaa", value=10.0), made.row(seed=1, identity="bbbbbbbbbb", value=20.0)]
    text = render(made.frame(rows))
    assert "`gebm (aaaaaaaa)`" in text
    assert "`gebm (bbbbbbbb)`" in text


def test_datasets_get_sections_and_figures_of_their_own(made: Any, tmp_path: Path) -> None:
    rows = made.study()
    both = rows + [row | {"dataset": "fashion", "run": f"fashion-{row['model']}-{row['seed']}"} for row in rows]
    path = write_report(made.frame(both), [], tmp_path / "all.md")
    assert path.read_text().count("### Scores") == 2
    assert len(list((tmp_path / "all-figures").glob("*-score.png"))) == 2


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_still_make_a_report(made: Any, tmp_path: Path, seeds: int) -> None:
    text = write_report(made.frame(made.study(seeds)), made.study_facts(tmp_path, seeds), tmp_path).read_text()
    assert ("no interval" if seeds == 1 else "too wide to lean on") in text


def test_runs_not_yet_made_are_reported(made: Any, tmp_path: Path) -> None:
    text = write_report(
        made.frame([made.unscored("gebm", s, "missing", "") for s in range(3)]), [], tmp_path
    ).read_text()
    assert "seed 2 not run yet" in text
    assert "no answer" in text


def test_json_and_csv_hold_the_same_rows(made: Any, tmp_path: Path) -> None:
    frame = made.frame([*made.study(), made.unscored("gan-ns", 3, "failed", HOSTILE)])
    records = json.loads(write_report(frame, [], tmp_path / "rows.json", "json").read_text())
    lines = list(csv.DictReader(io.StringIO(write_report(frame, [], tmp_path, "csv").read_text())))
    assert len(records) == len(lines)
    for record, line in zip(records, lines, strict=True):
        assert {name: "" if value is None else str(value) for name, value in record.items()} == line


def test_the_same_store_gives_the_same_bytes(made: Any, tmp_path: Path) -> None:
    frame, facts = made.frame(made.study()), made.study_facts(tmp_path)
    for name in "ab":
        write_report(frame, facts, tmp_path / name)
    first, second = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in sorted((tmp_path / n).rglob("*.*"))} for n in "ab"
    )
    assert first == second
    assert len(first) == 6


def test_figures_drawn_side_by_side_are_the_same(made: Any, tmp_path: Path) -> None:
    rows = [row | {"dataset": name, "run": f"{name}-{row['run']}"} for name in "abc" for row in made.study(seeds=1)]
    chapters = read_chapters(made.frame(rows))
    pictures = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        figures = write_all_figures(chapters, folder / "report.md", workers)
        pictures.append([(folder / figure.path).read_bytes() for chapter in figures for figure in chapter])
    assert len(pictures[0]) == 6
    assert pictures[0] == pictures[1]


def test_empty_and_unknown_are_clear(made: Any, tmp_path: Path) -> None:
    with pytest.raises(NothingToReportError, match="nothing to report yet"):
        write_report(made.frame([]), [], tmp_path)
    with pytest.raises(ValueError, match="no report format 'pdf'; there are markdown, html, json, csv"):
        write_report(made.frame([made.row()]), [], tmp_path, "pdf")
    assert not list(tmp_path.iterdir())


def test_sample_sheets_hold_the_longest_chains_of_the_first_seed(made: Any, tmp_path: Path) -> None:
    (chapter,) = read_chapters(made.frame(made.study()), made.study_facts(tmp_path))
    titles = [row.title for row in sample_rows(chapter)]
    assert titles[:4] == ["real data, held out", "gan-hinge: base alone", "gan-ns: base alone", "gebm: base alone"]
    assert [("β=1," in t, "β=100," in t, "300 steps" in t) for t in titles[4:]] == [
        (True, False, True),
        (False, True, True),
    ]


def test_damaged_pictures_and_curves_do_not_stop_a_report(made: Any, tmp_path: Path) -> None:
    facts = made.study_facts(tmp_path)
    for path in [*tmp_path.glob("gan-ns-*.npy"), *tmp_path.glob("gan-ns-*.jsonl")]:
        path.write_bytes(b"broken")
    next(tmp_path.glob("gan-hinge-0-*.npy")).unlink()
    (chapter,) = read_chapters(made.frame(made.study()), facts)
    assert not any("gan" in row.title for row in sample_rows(chapter))
    assert "### Scores" in write_report(made.frame(made.study()), facts, tmp_path / "out").read_text()


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_show_every_pixel_as_it_is(made: Any, channels: int) -> None:
    from bench.report.plots import SampleRow

    images = np.random.default_rng(0).integers(0, 256, (5, channels, 8, 8), dtype=np.uint8)
    png = samples_figure([SampleRow("a", images)])
    assert png is not None
    page = np.round(imread(io.BytesIO(png))[..., :3] * 255).astype(np.uint8)
    seen = {tuple(pixel) for pixel in page.reshape(-1, 3)}
    wanted = images.transpose(0, 2, 3, 1).reshape(-1, channels)
    assert {tuple(np.broadcast_to(pixel, 3)) for pixel in wanted} <= seen


def test_nothing_to_draw_is_no_figure(made: Any) -> None:
    (chapter,) = read_chapters(made.frame([made.row()]))
    assert score_figure(chapter.rows, [made.FD]) is None
    assert samples_figure([]) is None
    assert curves_figure({}) is None


def test_a_second_phase_continues_behind_the_first(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    lines = [{"phase": "a", "step": s, "energy_loss": 1.0} for s in (1, 2, 3)]
    lines += [{"phase": "b", "step": s, "energy_loss": None} for s in (1, 2)]
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"phase": "b", "st')
    curve = read_curve(path)
    assert curve.steps.tolist() == [1, 2, 3, 4, 5]
    assert [name for _, name in curve.phases] == ["a", "b"]
    assert np.isnan(curve.losses["energy_loss"][3:]).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (12.345, "12.3"),
        (-0.01234, "−0.0123"),
        (1234.5, "1,234"),
        (3e-7, "3.00e−07"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["fd[a-cnn]", "is[a-cnn]", "likelihood-gain"], ["fd[a-cnn]", "is", "likelihood-gain"]),
        (["fd[a-cnn]", "fd[b-cnn]", "is[a-cnn]"], ["fd[a-cnn]", "fd[b-cnn]", "is[a-cnn]"]),
        (["fid", "is", "fd[a-cnn]", "is[a-cnn]"], ["fid", "is", "fd[a-cnn]", "is[a-cnn]"]),
        (["fid", "is", "likelihood-gain"], ["fid", "is", "likelihood-gain"]),
        ([], []),
    ],
)
def test_an_extractor_that_all_share_is_named_once(names: list[str], shown: list[str]) -> None:
    assert list(short_names(names).values()) == shown
    assert bool(shortened_note(names)) == (names != shown)


def test_mode_collapse_is_said_before_the_tables(made: Any) -> None:
    gone = {"status": "collapsed", "reason": "1 of 10 classes (collapsed)"}
    rows = [made.row(), made.row(**made.chain(1.0, 10)), made.row(**made.chain(1.0, 100), **gone), made.row("gan-ns")]
    text = render(made.frame(rows))
    said = "gebm collapsed in 1 of 3 readouts (seed 0 collapsed: 1 of 10 classes)."
    assert text.index(f"> **Mode collapse**: {said}") < text.index("### Scores")
    page = render(made.frame(rows), format="html")
    assert page.index(said) < page.index("<h3>Scores")
    assert "collapsed in" not in render(made.frame(made.study()))


def test_an_extractor_is_named_once_a_table(made: Any) -> None:
    scores, differences = tables(render(made.frame(made.study())))[1:3]
    for table in (scores, differences):
        assert sum("[digits-cnn]" in name for name in table[0]) == 1
        assert {"is ↑", "kid ↓", "precision ↑"} <= {name.strip() for name in table[0]}


def test_chains_that_differ_in_their_step_only_are_told_apart(made: Any) -> None:
    rows = [made.row(seed=seed, value=20.0 + seed) for seed in (0, 1)]
    rows += [
        made.row(seed=seed, value=value + seed, **made.chain(1.0, 10, step_size=size))
        for seed in (0, 1)
        for size, value in ((1e-2, 10.0), (1e-3, 30.0))
    ]
    frame = made.frame(rows)
    for text in (render(frame), render(frame, format="html"), render(frame, format="latex")):
        assert "step 0.01, 10 steps" in text
        assert "step 0.001, 10 steps" in text
    assert "**At β=1, the model (gebm, ula, step 0.001, 10 steps)**" in render(frame)


def test_more_chains_than_colours_are_still_drawn_apart(made: Any) -> None:
    rows = [made.row(**made.chain(beta, 10), value=beta) for beta in range(1, 13)]
    (chapter,) = read_chapters(made.frame(rows))
    chart = score_chart(chapter.rows, [made.FD], (5, 3))
    assert chart is not None
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in chart.handles.values()}
    assert len(looks) == len(chart.handles) == 12


def test_interval_ends_have_the_decimals_of_the_mean() -> None:
    assert estimate_text(Estimate(12.34, 9.87, 14.81, 3)) == "12.3 [9.9, 14.8]"
    assert estimate_text(Estimate(0.0001, -3.2, 3.2, 2)) == "0.00 [−3.20, 3.20]"
    assert estimate_text(Estimate(5.0, None, None, 1)) == "5.00"


def test_reports_are_made_without_torch(made: Any, tmp_path: Path) -> None:
    made.frame(made.study(1)).to_json(tmp_path / "frame.json")
    script = f"""
import sys
import bench.report
heavy = {{"torch", "pandas", "matplotlib", "scipy", "numpy", "rich"}} & sys.modules.keys()
assert not heavy, heavy
from pathlib import Path
import pandas
from rich.console import Console
frame = pandas.read_json({str(tmp_path / "frame.json")!r})
for format in ("markdown", "html"):
    bench.report.write_report(frame, [], Path({str(tmp_path)!r}), format)
bench.report.terminal_table(frame, Console())
assert not {{"torch", "matplotlib.pyplot"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL)
