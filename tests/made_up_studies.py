"""Made-up frames, facts and pages for tests of reports and claims, and a strict reader of pages; handed to them as the fixture `made`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.report import RunFacts, SampleFile, write_report
from bench.results.facts import PartitionFacts
from bench.results.scores import COLUMNS

NAN = float("nan")
FD, IS, GAIN = "fd[digits-cnn]", "is[digits-cnn]", "likelihood-gain"
KEY = "4,000 generated vs 1,437 real (digits/train 1234abcd), digits-cnn 99aa88bb"
DATA_KEY = KEY.replace("4,000", "360")
GAIN_KEY = "test split, n=360; log Z: importance sampling, M=4000"
CURVES = {1.0: {10: 12.1, 30: 19.0, 100: 37.4, 300: 47.2}, 100.0: {10: 10.7, 30: 6.7, 100: 7.6, 300: 17.8}}
GANS = {"gan-hinge": 19.5, "gan-ns": 22.5}
HOSTILE = "energy|loss is NaN\n<script>alert(1)</script> <img src=x onerror=alert(2)> \"' style=x [bold red]"
VOID = {"meta", "link", "img", "br", "hr"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}

Row = dict[str, Any]


def row(model: str = "gebm", seed: int = 0, **changes: Any) -> Row:
    """One row of the frame; everything not said is a plausible base score."""
    plain = {
        "suite": "images",
        "profile": "quick",
        "dataset": "digits",
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
        "reason": "",
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


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as the report gets them."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS))


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


def facts(model: str, seed: int = 0, **changes: Any) -> RunFacts:
    """A run's certificate with networks that match those of every other run of this seed."""
    plain: dict[str, Any] = {
        "run": f"digits-{model}-{seed}",
        "dataset": "digits",
        "model": model,
        "seed": seed,
        "parameters": {"generator": 41_233, "discriminator": 28_417},
        "flops": {"generator": 1_240_000, "discriminator": 933_000},
        "architecture": {"generator": "aaaa1111", "discriminator": "bbbb2222"},
        "initial_weights": {"generator": f"cccc{seed}", "discriminator": f"dddd{seed}"},
        "seconds": {"training": 61.0, "sampling": 7.5, "scoring": 2.25},
        "versions": {"torch": "2.9.0", "numpy": "2.1.0"},
        "device": "2 CPU cores",
    }
    return RunFacts(**plain | changes)


def study_facts(folder: Path, seeds: int = 3, images: Callable[[int, int], np.ndarray] | None = None) -> list[RunFacts]:
    """Facts with curves and pictures on disk for `study`; `images(seed, n)` gives uint8 arrays."""
    make = images or (lambda seed, n: np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8))
    found = []
    for seed in range(seeds):
        for index, model in enumerate(("gebm", *GANS, "data")):
            places: list[tuple[str, float | None, int]] = [("data" if model == "data" else "base", None, 0)]
            if model == "gebm":
                places += [*(("ula", b, s) for b in CURVES for s in (10, 300))]
            samples = []
            for number, (sampler, beta, steps) in enumerate(places):
                path = folder / f"{model}-{seed}-{number}.npy"
                np.save(path, make(1000 * seed + 100 * index + number, 64))
                samples.append(SampleFile(sampler, beta, steps, path))
            nothing = {"parameters": {}, "flops": {}, "architecture": {}, "initial_weights": {}}
            curve = _curve(folder / f"{model}-{seed}.jsonl", seed, index)
            found.append(facts(model, seed, samples=samples, **(nothing if model == "data" else {"curve": curve})))
    return found


def _curve(path: Path, seed: int, index: int) -> Path:
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
    return path


def write_page(folder: Path) -> Path:
    """A page of two datasets, a failed run with a hostile reason, estimates of log Z, curves and samples."""
    rows = [*study(), unscored("gan-ns", 3, "failed", HOSTILE), unscored("gebm", 3, "missing", "")]
    rows += [row | {"dataset": "<b>moons & stars</b>", "run": f"moons-{row['run']}"} for row in study(1)]
    known = study_facts(folder)
    estimates = [
        PartitionFacts(0.27, 4e-4, 0.997, -0.1, 0.05, True, (-1.5, -1.2), (), "test split, M=20000"),
        PartitionFacts(0.31, 0.2, 0.01, 0.83, None, False, None, ("heavy tail",), "test split, M=20000"),
    ]
    known[0] = replace(known[0], log_partitions=estimates)
    return write_report(frame(rows), known, folder / "out", "html")


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
