"""Made-up results and pages for tests of reports and claims, and a strict reader of pages; handed to them as the fixture `made`."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.report.terminal import terminal_table
from bench.results.frame import NO_FACTS, Results, Section, build

NAN = float("nan")
FD, IS, GAIN = "fd[digits-cnn]", "is[digits-cnn]", "likelihood-gain"
KEY = "4,000 generated vs 1,437 real (digits/train 1234abcd), digits-cnn 99aa88bb"
DATA_KEY = KEY.replace("4,000", "360")
GAIN_KEY = "test split, n=360; log Z: importance sampling, M=4000"
CURVES = {1.0: {10: 12.1, 30: 19.0, 100: 37.4, 300: 47.2}, 100.0: {10: 10.7, 30: 6.7, 100: 7.6, 300: 17.8}}
GANS = {"gan-hinge": 19.5, "gan-ns": 22.5}
HOSTILE = "energy|loss is NaN\n<script>alert(1)</script> <img src=x onerror=alert(2)> \"' style=x [bold red]"
VOID = {"meta", "link", "img", "br", "hr", "input"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}

Row = dict[str, Any]


def row(model: str = "gebm", seed: int = 0, **changes: Any) -> Row:
    """One row of the frame; everything not said is a plausible base score."""
    plain = {
        "suite": "images",
        "profile": "quick",
        "kind": "images",
        "dataset": "digits",
        "dataset_digest": "",
        "model": model,
        "seed": seed,
        "run": f"{changes.get('dataset', 'digits')}-{model}-{seed}",
        "identity": f"{model}-identity",
        "sampler": "base",
        "beta": NAN,
        "step_size": NAN,
        "steps": 0,
        "gradient_evaluations": 0,
        "forward_evaluations": 1,
        "metric": FD,
        "value": 20.0,
        "key": KEY,
        "status": "done",
        "collapsed": changes.get("status") == "collapsed",
        "refused": changes.get("status") == "refused",
        "reason": "",
        "stale": "",
        "steps_done": 100,
        "steps_asked": 100,
    }
    return plain | changes


def chain(beta: float, steps: int, **changes: Any) -> Row:
    """The columns of a latent chain's score."""
    counts = {"steps": steps, "gradient_evaluations": steps, "forward_evaluations": steps + 1}
    return {"sampler": "ula", "beta": beta, "step_size": 1e-2 if beta == 1 else 1e-4, **counts, **changes}


def unscored(model: str, seed: int, status: str, reason: str) -> Row:
    """A run that failed or was never made."""
    gone = {"sampler": None, "steps": NAN, "gradient_evaluations": NAN, "forward_evaluations": NAN}
    return row(model, seed, metric=None, value=NAN, key="", status=status, reason=reason, **gone)


def results(
    rows: Iterable[Row], facts: Mapping[str, Row] | None = None, arrays: Mapping[tuple[Any, ...], Row] | None = None
) -> Results:
    """The rows as a scan gives them.

    Arguments:
        rows: made by `row` and `unscored`.
        facts: columns of `Results.runs` by run, such as those of `study_facts`.
        arrays: files of a readout by run, sampler, β (None for NaN) and steps.
    """
    runs: dict[tuple[Any, ...], Row] = {}
    records: list[Row] = []
    last: tuple[Any, ...] = ()
    for each in rows:
        name = tuple(each[key] for key in ("suite", "profile", "dataset", "identity", "run"))
        runs.setdefault(name, {**NO_FACTS, **each, **(facts or {}).get(each["run"], {})})
        own = {key: value for key, value in each.items() if key not in ("metric", "value")}
        if records and repr((name, own)) == last and each["metric"] not in records[-1]["scores"]:
            records[-1]["scores"][each["metric"]] = each["value"]
            continue
        last = repr((name, own))
        beta = None if math.isnan(each["beta"]) else each["beta"]
        files = (arrays or {}).get((each["run"], each["sampler"], beta, each["steps"]), {})
        about = {"at": list(runs).index(name), "scores": {each["metric"]: each["value"]}}
        records.append(own | about | {"readout": {}, "row": {}, "arrays": files} | each.get("about", {}))
    return build(list(runs.values()), records)


def section(rows: Iterable[Row], facts: Mapping[str, Row] | None = None) -> Section:
    """The one section of these rows."""
    (found,) = results(rows, facts).sections()
    return found


def printed(results: Results, width: int = 200, terminal: bool = True) -> str:
    """What a terminal of that width shows of them, or what a pipe gets."""
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    terminal_table(results, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def study(seeds: int = 3, noise: float = 1.0, shift: float = 0.0) -> list[Row]:
    """A GEBM with chains at both temperatures, two GANs and real data; the shape of the first study's numbers."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for seed in range(seeds):
        shared = rng.normal(0, 3 * noise)
        rows += [
            row("data", seed, sampler="data", metric=name, value=v, key=DATA_KEY) for name, v in ((FD, 15.1), (IS, 9.1))
        ]
        for model, level in {"gebm": 20.7, **GANS}.items():
            rows += _scores(model, seed, level + shared + rng.normal(0, noise), {})
        for beta, curve in CURVES.items():
            for steps, level in curve.items():
                rows += _scores("gebm", seed, level + shift + shared + rng.normal(0, noise), chain(beta, steps))
        density = {"sampler": "likelihood", "beta": 1.0, "forward_evaluations": 0, "key": GAIN_KEY}
        rows.append(row("gebm", seed, **density, metric=GAIN, value=0.86 + 0.1 * rng.normal()))
        rows.append(row("gebm", seed, **density, metric="ess-fraction", value=0.31))
    return rows


def _scores(model: str, seed: int, level: float, place: Mapping[str, Any]) -> list[Row]:
    others = {IS: 9.5 - level / 15, "kid[digits-cnn]": level / 4000, "precision[digits-cnn]": 1 / (1 + level / 60)}
    return [
        row(model, seed, **place, value=level),
        *(row(model, seed, **place, metric=name, value=value) for name, value in others.items()),
    ]


def facts(seed: int = 0, **changes: Any) -> Row:
    """What is known of a run besides scores, with networks that match those of every other run of this seed."""
    plain: Row = {
        "parameters": {"generator": 41_233, "discriminator": 28_417},
        "flops": {"generator": 1_240_000, "discriminator": 933_000},
        "architecture": {"generator": "aaaa1111", "discriminator": "bbbb2222"},
        "initial_weights": {"generator": f"cccc{seed}", "discriminator": f"dddd{seed}"},
        "seconds_training": 61.0,
        "seconds_sampling": 7.5,
        "seconds_scoring": 2.25,
        "versions": {"torch": "2.9.0", "numpy": "2.1.0"},
        "capabilities": ["Samples"],
        "device": "2 CPU cores",
        "folder": Path("nowhere"),
    }
    return plain | changes


def study_on_disk(
    folder: Path, rows: Iterable[Row], seeds: int = 3, images: Callable[[int, int], np.ndarray] | None = None
) -> Results:
    """The rows of a `study` with facts, and with curves and pictures on disk; `images(seed, n)` gives uint8 arrays."""
    make = images or (lambda seed, n: np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8))
    known: dict[str, Row] = {}
    arrays: dict[tuple[Any, ...], Row] = {}
    for seed in range(seeds):
        for index, model in enumerate(("gebm", *GANS, "data")):
            places: list[tuple[str, float | None, int]] = [("data" if model == "data" else "base", None, 0)]
            if model == "gebm":
                places += [*(("ula", b, s) for b in CURVES for s in (10, 300))]
            run = f"digits-{model}-{seed}"
            where = folder / run
            where.mkdir(parents=True, exist_ok=True)
            for number, place in enumerate(places):
                np.save(where / f"{number}.npy", make(1000 * seed + 100 * index + number, 64))
                arrays[run, *place] = {"samples": where / f"{number}.npy"}
            nothing: Row = {name: {} for name in ("parameters", "flops", "architecture", "initial_weights")}
            if model != "data":
                write_curve(where / "curve.jsonl", seed, index)
            known[run] = facts(seed, folder=where, **(nothing if model == "data" else {}))
    return results(rows, known, arrays)


def write_curve(path: Path, seed: int, index: int) -> None:
    """A training curve, its last line cut off."""
    rng = np.random.default_rng([seed, index])
    lines = [
        {
            "phase": "adversarial",
            "step": s,
            "energy_loss": -1 + np.exp(-s / 900) + rng.normal(0, 0.1),
            "base_loss": rng.normal(),
        }
        for s in range(0, 6000, 20)
    ]
    if index == 0:
        lines += [{"phase": "refit", "step": s, "energy_loss": -1.2 + rng.normal(0, 0.05)} for s in range(0, 1000, 20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"phase": "refit", "st')


def page_study(folder: Path) -> Results:
    """Two datasets, a failed run with a hostile reason, estimates of log Z, curves and samples."""
    rows = [*study(), unscored("gan-ns", 3, "failed", HOSTILE), unscored("gebm", 3, "missing", "")]
    sound = {"estimate": 0.27, "standard_error": 4e-4, "pareto_k": -0.1, "reportable": True, "bracket": [-1.5, -1.2]}
    frail = {"estimate": 0.31, "standard_error": 0.2, "pareto_k": 0.83, "reportable": False, "warnings": ["heavy tail"]}
    for each in rows:
        if each["sampler"] == "likelihood":
            each["about"] = {"row": {"log_partition": frail if each["seed"] else sound}}
    rows += [row | {"dataset": "<b>moons & stars</b>", "run": f"moons-{row['run']}"} for row in study(1)]
    return study_on_disk(folder, rows)


class Reader(HTMLParser):
    """Reads a page strictly: what is opened is closed in order. Notes tags, tables and everything that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[tuple[str, dict[str, str | None]]]]] = []
        self.loads: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, dict(attrs))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def note(self, tag: str, attributes: dict[str, str | None]) -> None:
        """Remember a tag."""
        self.tags.append((tag, attributes))
        self.loads += [value or "" for name, value in attributes.items() if name in LOADING]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append((tag, attributes))
