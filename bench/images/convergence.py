"""Is training at its end? Bases by what the second half of their steps changes in their score, energies by what it adds to their gain.

The rule is one for both: what still improves over the second half of its steps, by more than the interval over seeds, is not at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.report.comparisons import headline_metric
from bench.report.text import direction, estimate_text, listed, number
from bench.results.frame import SOUND, once
from bench.results.sources import Source, SourceValues, by_source, reading, records
from bench.stats import PairedDifference, paired_difference

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = [
    "RISING",
    "UNDERTRAINED",
    "BaseCurve",
    "EnergyCurve",
    "base_curves",
    "energy_curves",
    "training_marks",
    "training_sentences",
]

UNDERTRAINED = "undertrained"
RISING = "energy still rising"
_SETTLED = {
    "no clear difference": "No clear change in {metric} over the second half of the base's steps",
    "worse": "Worse in {metric} at the end than at half of the base's steps",
    "no verdict": "One seed, so no verdict on whether the base is trained to its end; {metric} over the second half of its steps",
}


@dataclass(frozen=True)
class BaseCurve:
    """The score of one model's base along its training.

    Arguments:
        label: the model's.
        metric: the score.
        points: scores by seed, by base steps, rising; the last are those of the trained base.
        decays: whether its learning rates fall on the way.
    """

    label: str
    metric: str
    points: Mapping[int, Mapping[int, float]]
    decays: bool

    @property
    def steps(self) -> int:
        """Base steps in all."""
        return max(self.points)

    @cached_property
    def change(self) -> PairedDifference:
        """The trained base − that at half of its steps."""
        return paired_difference(self.points[self.steps], self.points.get(self.steps // 2, {}))

    @property
    def reading(self) -> str:
        """That change in words."""
        return reading(self.change.estimate, direction(self.metric))

    @property
    def undertrained(self) -> bool:
        """Whether the second half of the steps still improved the score."""
        return self.reading == "better"

    @property
    def words(self) -> str:
        """The scores at half of the steps and at the end, and their difference."""
        half, end = (
            fmean(self.points[steps][seed] for seed in self.change.seeds) for steps in (self.steps // 2, self.steps)
        )
        return f"{number(half)} → {number(end)} ({estimate_text(self.change.estimate)})"


@dataclass(frozen=True)
class EnergyCurve:
    """The held-out gain in nats of one model's energy along its refit, which keeps the best.

    Arguments:
        label: the model's.
        settings: of the refit.
        looks: (step, gain) by seed.
    """

    label: str
    settings: Mapping[str, Any]
    looks: Mapping[int, Sequence[tuple[int, float]]]

    def best(self, until: int) -> dict[int, tuple[float, int]]:
        """Return the best gain and its step by seed, of the looks up to a step; seeds without any are left out."""
        found = {seed: [(gain, step) for step, gain in own if step <= until] for seed, own in self.looks.items()}
        return {seed: max(own, key=itemgetter(0)) for seed, own in found.items() if own}

    @cached_property
    def ran_out(self) -> list[int]:
        """The seeds whose refit ended because its steps were done, and not by patience."""
        steps, every, patience = (int(self.settings[name]) for name in ("steps", "check_every", "patience"))
        return [
            seed
            for seed, (_, best) in self.best(steps).items()
            if self.looks[seed][-1][0] >= steps and not 0 < patience <= (steps - best) // every
        ]

    @cached_property
    def change(self) -> PairedDifference:
        """The gain of the energy that was kept − the best one in the first half of the steps."""
        ends = (int(self.settings["steps"]), int(self.settings["steps"]) // 2)
        return paired_difference(*({seed: gain for seed, (gain, _) in self.best(end).items()} for end in ends))

    @property
    def rising(self) -> bool:
        """Whether a refit ran out of steps while over seeds the gain still rose."""
        return bool(self.ran_out) and self.change.estimate is not None and self.change.estimate.side() == "above"


@once
def base_curves(section: Section, metric: str) -> list[BaseCurve]:
    """Return the curve of every base that was scored on the way, under the score key of the trained one."""
    earlier = _on_the_way(section)
    found = []
    for label, (config, _) in _finished(section).items():
        end = section.by_source.get((metric, Source(label, "base", None, None, 0)))
        own = {
            source.steps: side.values
            for (name, source), side in earlier.items()
            if (name, source.label) == (metric, label)
        }
        if end is not None and own:
            points = {steps: values.get(end.main_key, {}) for steps, values in sorted(own.items())}
            training = config["training"]
            points[int(training["base_steps"])] = end.values[end.main_key]
            found.append(BaseCurve(label, metric, points, training["decay"] != "constant"))
    return found


@once
def _on_the_way(section: Section) -> dict[tuple[str, Source], SourceValues]:
    """Return the scores of bases at earlier steps of their training that count, by metric and source."""
    rows = section.snapshots
    return by_source(rows[rows["value"].notna() & rows["status"].isin(SOUND)])


@once
def energy_curves(section: Section) -> list[EnergyCurve]:
    """Return the curve of every refit, as its runs have kept it."""
    found = []
    for label, (config, runs) in _finished(section).items():
        if config.get("refit"):
            looks = {run.seed: looks for run in runs if (looks := [*_looks(run.folder / "curve.jsonl")])}
            found += [EnergyCurve(label, config["refit"], looks)] if looks else []
    return found


@once
def _finished(section: Section) -> dict[str, tuple[Mapping[str, Any], list[Any]]]:
    """Return the settings and the finished runs of each model, by label."""
    found: dict[str, tuple[Mapping[str, Any], list[Any]]] = {}
    for run in records(section.runs[section.runs["status"] == "done"]):
        if "config" in run.spec:
            found.setdefault(run.label, (run.spec["config"], []))[1].append(run)
    return found


def _looks(path: Path) -> Iterator[tuple[int, float]]:
    """Yield step and held-out gain of every look of a refit; nothing more from where the file cannot be read."""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if '"held_out_gain"' in line:
                point = json.loads(line)
                yield int(point["step"]), float(point["held_out_gain"])
    except (OSError, ValueError, LookupError, TypeError):
        return


def training_marks(section: Section) -> dict[str, str]:
    """Return what stands beside a model's name where its base, or the base that it starts from, or its energy is not at its end."""
    metric = headline_metric(section)
    origins = {
        label: (config.get("base") or {"config": config})["config"] for label, (config, _) in _finished(section).items()
    }
    under = [origins[each.label] for each in base_curves(section, metric or "") if each.undertrained]
    rising = {each.label for each in energy_curves(section) if each.rising}
    marks = {
        label: ", ".join([UNDERTRAINED] * (origin in under) + [RISING] * (label in rising))
        for label, origin in origins.items()
    }
    return {label: mark for label, mark in marks.items() if mark}


def training_sentences(section: Section) -> list[str]:
    """Return which bases are undertrained and which energies still rising; nothing where no base was scored on the way."""
    metric = headline_metric(section) or ""
    curves = [each for each in base_curves(section, metric) if each.change.estimate is not None]
    said = [
        f"The base of {each.label} still improves: {metric} {each.words} over the second half of its {each.steps:,} steps; "
        f"it is {UNDERTRAINED}."
        for each in curves
        if each.undertrained
    ]
    for known, words in _SETTLED.items():
        if own := [f"{each.label} {each.words}" for each in curves if each.reading == known]:
            said.append(f"{words.format(metric=metric)}: {listed(own)}.")
    said += [
        f"The energy of {each.label} still rises: its refit ran out of its {each.settings['steps']:,} steps, the second half of which "
        f"added {estimate_text(each.change.estimate)} nats of held-out gain."
        for each in energy_curves(section)
        if each.rising
    ]
    return said
