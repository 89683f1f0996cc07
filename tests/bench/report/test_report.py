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

from bench.report import render, write_report
from bench.report.blocks import MOST_COLUMNS
from bench.report.figures import read_curve, wrapped
from bench.report.text import estimate_text, number, short_names, shortened_note
from bench.results.frame import NothingToReportError
from bench.stats import Estimate

HOSTILE = "energy|loss is NaN\n<script>*x*</script> [a](b) `c` [bold red]"


def tables(text: str) -> list[list[list[str]]]:
    """Markdown tables as cells."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [[line.strip("|").split(" | ") for line in block.splitlines()] for block in blocks]


def score_table(text: str) -> list[list[str]]:
    """The table of scores with all of its columns."""
    return next(table for table in tables(text) if "gradient evaluations per sample" in map(str.strip, table[0]))


@pytest.fixture(scope="module")
def written(made: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("written")
    rows = [*made.study(), made.unscored("gan-ns", 3, "failed", HOSTILE), made.unscored("gebm", 3, "missing", "")]
    path = write_report(made.study_on_disk(folder, rows), folder / "out")
    return path, path.read_text()


def test_the_answer_comes_first(written: tuple[Path, str]) -> None:
    order = [
        *("## At a glance", "## digits", "What is the second network worth", "- β=1 (model)", "- β=100 (paper)"),
        *("### Score against", "### Scores", "Score key of", "### Samples along the chain", "### Paired differences"),
        *("### Training", "### Runs without scores", "### Certificate", "### Time", "### How it was made"),
        *("## What do these runs say about the claims of the paper and of this benchmark?", "## Environment"),
    ]
    places = [written[1].index(heading) for heading in order]
    assert places == sorted(places)


def test_every_table_is_whole(written: tuple[Path, str]) -> None:
    found = tables(written[1])
    assert len(found) == 8  # wide ones once with the columns that matter most, once with all
    assert max(len(found[number][0]) for number in (0, 1, 3)) <= MOST_COLUMNS
    assert all(len({len(line) for line in table}) == 1 for table in found)


def test_claims_are_bold_only_where_they_stand_among_all(made: Any) -> None:
    text = render(made.results(made.study(seeds=8)))
    claims = text[text.index("## What do these runs say") :]
    found = re.findall(
        r"^  - (\**)(contradicted|supported|inconclusive)\b.*after Holm ([^;,\n]+)", claims, re.MULTILINE
    )
    verdicts = {(word, bool(bold), float(p.replace("−", "-")) <= 0.05) for bold, word, p in found}
    assert verdicts >= {("contradicted", True, True), ("supported", True, True)}
    assert all(bold == holds for _, bold, holds in verdicts)


def test_every_figure_is_there_and_not_blank(written: tuple[Path, str]) -> None:
    path, text = written
    links = re.findall(r"!\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]\(([^)]+)\)", text)
    assert len(links) == 5
    for link in links:
        picture = imread(path.parent / link)
        assert picture.std() > 0.02
        assert min(picture.shape[:2]) > 300


def test_likelihood_stands_only_beside_the_models_own_temperature(written: tuple[Path, str]) -> None:
    scores = score_table(written[1])
    column = next(i for i, name in enumerate(scores[0]) if "likelihood-gain" in name)
    for line in scores[2:]:
        assert (line[column].strip() != "—") == ("β=1 (model)" in line[1])


def test_a_hostile_reason_stays_text(written: tuple[Path, str], made: Any) -> None:
    path, text = written
    assert path.parent.name == "out"
    assert "<script>" not in text
    assert "](b)" not in text
    shown = made.printed(made.results([made.row(), made.unscored("gebm", 1, "failed", HOSTILE)]))
    assert "[bold red]" in shown
    assert "fd[digits-cnn] ↓" in shown


def test_mixed_keys_are_told_apart_in_every_form(made: Any) -> None:
    rows = [made.row(seed=s, value=10.0) for s in range(3)]
    rows += [made.row("gan-ns", s, value=99.0, key="B") for s in range(2)]
    text = render(made.results(rows))
    assert "99.0 [99.0, 99.0] (key 2)" in text
    assert "Key 2, not comparable with the others: B" in text
    assert {row["key"] for row in json.loads(render(made.results(rows), "json"))} == {made.KEY, "B"}


def test_two_settings_of_one_model_are_told_apart(made: Any) -> None:
    rows = [
        made.row(identity="aaaaaaaaaa", run="a", value=10.0),
        made.row(seed=1, identity="bbbbbbbbbb", run="b", value=20.0),
    ]
    text = render(made.results(rows))
    assert "`gebm (aaaaaaaa)`" in text
    assert "`gebm (bbbbbbbb)`" in text


def test_datasets_get_sections_and_figures_of_their_own(made: Any, tmp_path: Path) -> None:
    rows = made.study(1)
    both = rows + [row | {"dataset": "fashion", "run": f"fashion-{row['model']}-{row['seed']}"} for row in rows]
    path = write_report(made.results(both), tmp_path / "all.md")
    assert path.read_text().count("### Scores") == 2
    assert len(list((tmp_path / "all-figures").glob("*-score.png"))) == 2


@pytest.mark.parametrize("format_", ["markdown", "html"])
@pytest.mark.parametrize(("seeds", "words"), [(1, "no interval"), (2, "too wide to lean on")])
def test_few_seeds_are_said_to_be_few(made: Any, seeds: int, words: str, format_: str) -> None:
    assert words in render(made.results(made.study(seeds)), format_)


@pytest.mark.parametrize("format_", ["markdown", "html", "latex"])
def test_runs_not_yet_made_are_reported(made: Any, format_: str) -> None:
    text = render(made.results([made.unscored("gebm", s, "missing", "") for s in range(3)]), format_)
    assert "seed 2 not run yet" in text
    assert "no answer" in text


def test_json_and_csv_hold_the_same_rows(made: Any, tmp_path: Path) -> None:
    results = made.results([*made.study(), made.unscored("gan-ns", 3, "failed", HOSTILE)])
    records = json.loads(write_report(results, tmp_path / "rows.json", "json").read_text())
    lines = list(csv.DictReader(io.StringIO(write_report(results, tmp_path, "csv").read_text())))
    assert len(records) == len(lines)
    for record, line in zip(records, lines, strict=True):
        assert {name: "" if value is None else str(value) for name, value in record.items()} == line


def test_the_same_store_gives_the_same_bytes(made: Any, tmp_path: Path) -> None:
    for name in "ab":
        results = made.study_on_disk(tmp_path / "runs", made.study(1), 1)
        for format_ in ("markdown", "html"):
            write_report(results, tmp_path / name, format_)
    first, second = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in sorted((tmp_path / n).rglob("*.*"))} for n in "ab"
    )
    assert first == second
    assert len(first) == 7


def test_empty_and_unknown_are_clear(made: Any, tmp_path: Path) -> None:
    with pytest.raises(NothingToReportError, match="nothing to report yet"):
        write_report(made.results([]), tmp_path)
    with pytest.raises(ValueError, match="no report format 'pdf'; there are markdown, html, json, csv"):
        write_report(made.results([made.row()]), tmp_path, "pdf")
    assert not list(tmp_path.iterdir())


def test_damaged_pictures_and_curves_do_not_stop_a_report(made: Any, tmp_path: Path) -> None:
    results = made.study_on_disk(tmp_path, made.study(1), 1)
    for path in [*tmp_path.glob("*/*.npy"), *tmp_path.glob("*/*.jsonl")]:
        path.write_bytes(b"broken")
    text = write_report(results, tmp_path / "out").read_text()
    assert "### Scores" in text
    assert "### Samples" not in text
    assert "### Training" not in text


def test_a_second_phase_continues_behind_the_first(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    lines = [{"phase": "a", "step": s, "energy_loss": 1.0, "base_loss": 2.0} for s in (1, 2, 3)]
    lines += [{"phase": "b", "step": s, "energy_loss": 1.0, "base_loss": None} for s in (1, 2)]
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"phase": "b", "st')
    losses, phases = read_curve(path)
    assert losses["energy_loss"][0].tolist() == [1, 2, 3, 4, 5]
    assert losses["base_loss"][0].tolist() == [1, 2, 3]
    assert [name for _, name in phases] == ["a", "b"]
    assert read_curve(tmp_path / "none") == ({}, [])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0.0, "0.00"), (-0.0, "0.00"), (12.345, "12.3"), (-0.01234, "−0.0123"), (1234.5, "1,234"), (3e-7, "3.00e−07")],
)  # fmt: skip
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


def test_an_extractor_is_named_once_per_table(written: tuple[Path, str]) -> None:
    for table in tables(written[1])[1:5]:
        assert sum("[digits-cnn]" in name for name in table[0]) == 1
    for table in tables(written[1])[2:5:2]:
        assert {"is ↑", "kid ↓", "precision ↑"} <= {name.strip() for name in table[0]}


def test_interval_ends_have_the_decimals_of_the_mean() -> None:
    assert estimate_text(Estimate(12.34, 9.87, 14.81, 3)) == "12.3 [9.9, 14.8]"
    assert estimate_text(Estimate(0.0001, -3.2, 3.2, 2)) == "0.00 [−3.20, 3.20]"
    assert estimate_text(Estimate(5.0, None, None, 1)) == "5.00"


def test_mode_collapse_is_said_before_the_tables(made: Any) -> None:
    gone = {"status": "collapsed", "reason": "1 of 10 classes (collapsed)"}
    rows = [made.row(), made.row(**made.chain(1.0, 10)), made.row(**made.chain(1.0, 100), **gone), made.row("gan-ns")]
    said = "gebm collapsed in 1 of 3 readouts (seed 0 collapsed: 1 of 10 classes)."
    text, page = render(made.results(rows)), render(made.results(rows), "html")
    assert text.index(f"> **Mode collapse**: {said}") < text.index("### Scores")
    assert page.index(said) < page.index("<h3>Scores")
    assert "collapsed in" not in render(made.results(made.study()))


def test_a_long_name_is_broken_after_commas() -> None:
    assert wrapped("gan-ns+refit", 5) == "gan-ns+refit"
    assert (
        wrapped("gebm[width=4,base_steps=6,samples=100], ula β=1", 26)
        == "gebm[width=4,base_steps=6,\nsamples=100], ula β=1"
    )


def test_stale_and_unfinished_rows_stand_apart_and_say_why(made: Any) -> None:
    rows = made.study(1)
    rows += [made.row(seed=5, value=1.5, stale="gebm.objectives changed")]
    rows += [made.row(seed=6, value=2.5, status="unfinished", reason="after 1,200 of 2,500 steps")]
    for text in (render(made.results(rows)), render(made.results(rows), "html"), render(made.results(rows), "latex")):
        assert "gebm.objectives changed" in text
        assert "1,200 of 2,500 steps" in text
        assert "†" in text or r"$\dagger$" in text
    text = render(made.results(rows))
    assert text.count("† Made before a change: gebm.objectives changed") == 1
    assert all(line[-2].strip() == "1" for line in score_table(text)[2:])


def test_a_long_table_of_stale_rows_alone(made: Any) -> None:
    chains = [made.chain(float(beta), 10 * length) for beta in range(1, 5) for length in range(1, 11)]
    rows = [made.row(stale="torch 2.14.0 → 2.15.0", **place) for place in ({}, *chains)]
    assert render(made.results(rows)).count("†stale") >= len(rows)


@pytest.mark.parametrize(("kind", "metric"), [("chains", "rhat"), ("density", "log-likelihood")])
def test_no_kind_hides_what_is_stale_or_unfinished(made: Any, kind: str, metric: str) -> None:
    place = {"kind": kind, "metric": metric, **made.chain(1.0, 10)}
    rows = [made.row(**place), made.row(seed=1, stale="gebm.objectives changed", **place)]
    rows += [made.row(seed=2, status="unfinished", reason="after 1,200 of 2,500 steps", **place)]
    text = render(made.results(rows))
    assert "stale†** | gebm.objectives changed since" in text
    assert "unfinished | seed 2 after 1,200 of 2,500 steps" in text


def test_chains_that_differ_in_their_step_only_are_told_apart(made: Any) -> None:
    rows = [made.row(seed=seed, value=20.0 + seed) for seed in (0, 1)]
    rows += [
        made.row(seed=seed, value=value + seed, **made.chain(1.0, 10, step_size=size))
        for seed in (0, 1)
        for size, value in ((1e-2, 10.0), (1e-3, 30.0))
    ]
    results = made.results(rows)
    for format_ in ("markdown", "html", "latex"):
        text = render(results, format_)
        assert "step 0.01, 10 steps" in text
        assert "step 0.001, 10 steps" in text
    assert "- β=1 (model): gebm, ula, step 0.001, 10 steps; " in render(results)


def test_a_chain_whose_step_size_is_no_number_keeps_its_length(made: Any) -> None:
    rows = [row | {"step_size": None} for row in made.study()]
    assert "gebm ula β=1 (model), 300 steps − its own base" in render(made.results(rows))


def test_the_terminal_shows_the_columns_that_fit_and_every_form_the_same_rows(made: Any) -> None:
    results = made.results(made.study())
    for width, others in ((100, ()), (160, ("is ↑", "kid ↓", "precision ↑"))):
        shown = made.printed(results, width)
        assert max(map(len, shown.splitlines())) <= width
        assert all(name in shown for name in ("fd[digits-cnn] ↓", "ula β=100 (paper)", "real data, held out", *others))
        assert "likelihood-gain ↑" not in shown
    piped = made.printed(results, 100, terminal=False)
    assert "gradient evaluations per sample" not in piped  # in no form of the brief table
    assert all(name in piped for name in ("is ↑", "kid ↓", "precision ↑", "status"))
    assert "…" not in piped


def test_reports_are_made_without_torch(synthetic: Any, tmp_path: Path) -> None:
    synthetic.make(tmp_path / "store", 1, 1, 1)
    script = f"""
import sys
import bench.report
heavy = {{"torch", "pandas", "matplotlib", "scipy", "numpy", "rich"}} & sys.modules.keys()
assert not heavy, heavy
from pathlib import Path
from rich.console import Console
from bench.core.store import Store
from bench.results.frame import scan
results = scan(Store(Path({str(tmp_path / "store")!r})))
for format in ("markdown", "html", "latex"):
    bench.report.write_report(results, Path({str(tmp_path)!r}), format)
from bench.report.terminal import terminal_table
terminal_table(results, Console())
assert not {{"torch", "matplotlib.pyplot"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_show_every_pixel_as_it_is(channels: int) -> None:
    from bench.images.figures import Sheet, draw_sheets
    from bench.report.figures import png_of

    images = np.random.default_rng(0).integers(0, 256, (2, 3, channels, 8, 8), dtype=np.uint8)
    for heads in ((), ("base", "10", "100")):
        figure = draw_sheets([Sheet("a", images, heads)], factor=32, across=1)
        page = np.round(imread(io.BytesIO(png_of(figure)))[..., :3] * 255).astype(np.uint8)
        whole = np.broadcast_to(images[1, 2], (3, 8, 8)).transpose(1, 2, 0).repeat(4, 0).repeat(4, 1)
        windows = np.lib.stride_tricks.sliding_window_view(page, whole.shape)[:, :, 0]
        assert (windows == whole).all(axis=(2, 3, 4)).sum() == 1
    assert draw_sheets([], 32, 1) is None


def test_a_readout_without_a_score_is_called_by_its_name(made: Any) -> None:
    refused = {"metric": None, "value": made.NAN, "status": "refused"}
    rows = [
        *made.study(),
        made.row("gebm", 0, sampler="exact", beta=1.0, reason="an ESS of 3", **refused),
        made.row("gebm", 0, **made.chain(100.0, 30, sampler="drs"), reason="3 of 9 lanes", **refused),
        made.unscored("gan-ns", 3, "failed", "killed"),
    ]
    page = render(made.results(rows), "markdown")
    found = [[[cell.strip() for cell in line] for line in table] for table in tables(page)]
    (table,) = (each for each in found if each[0][:2] == ["model", "of what"])
    assert "### Runs and readouts without scores\n" in page
    assert [line[:3] for line in table[2:]] == [
        ["`gebm`", "exact β=1 (model)", "**refused**"],
        ["`gebm`", "drs β=100 (paper), step 0.0001, 30 steps", "**refused**"],
        ["`gan-ns`", "the run", "**failed**"],
    ]
