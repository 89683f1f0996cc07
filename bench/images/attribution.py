"""What is due to the base's training, what to the energy's: the 2 × 2 of jointly trained GEBM and GAN, own and post-hoc energy.

All contrasts are paired by seed, under one score key. How a model came by its base and its energy is read from its run's settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.images.targets import AT_TARGET, Reached, reached
from bench.report.comparisons import headline_metric, step_text
from bench.report.text import direction
from bench.results.frame import once
from bench.results.sources import CALIBRATED_BETA, Source, SourceValues, beta_text, is_variant, reading, records
from bench.stats import Estimate, holm_of, mean_interval

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = [
    "GAIN",
    "Contrast",
    "Making",
    "SameSeconds",
    "Spot",
    "Square",
    "chain_name",
    "contrast",
    "corrected",
    "makings",
    "post_hoc_contrasts",
    "same_seconds",
    "spots",
    "two_by_two",
]

GAIN = "likelihood-gain"
MAIN_SAMPLER = "ula"
_BETAS = (CALIBRATED_BETA, 1.0, 100.0)
EFFECTS = {
    "base training, KALE − GAN": (0.5, 0.5, -0.5, -0.5),
    "energy, own − post-hoc": (0.5, -0.5, 0.5, -0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}
"""Weights of the cells KALE base with own and with post-hoc energy, GAN base with own and with post-hoc energy."""


@dataclass(frozen=True)
class Making:
    """How a model came by its base and its energy.

    Arguments:
        label: the model's.
        base: name of the model that its base was trained as.
        energy: `own`, trained with the base; `refit` or `warm`, fitted afterwards; empty for a model without one.
        joint: whether the base was trained with an energy, as a GEBM's is.
        config: settings of the base's run.
    """

    label: str
    base: str
    energy: str
    joint: bool
    config: Mapping[str, Any]

    @property
    def post_hoc(self) -> bool:
        """Whether this is a GAN with an energy fitted to its frozen base."""
        return not self.joint and self.energy == "refit"


class Spot(NamedTuple):
    """Where models are compared: a metric at one readout."""

    name: str
    metric: str
    sampler: str
    beta: float | None
    step_size: float | None = None
    steps: int = 0

    def source(self, label: str) -> Source:
        """Return this readout of a model."""
        return Source(label, self.sampler, self.beta, self.step_size, self.steps)


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of models' values, paired by seed; `estimate` is None where there is none, and `why_not` says why."""

    name: str
    spot: Spot
    estimate: Estimate | None
    why_not: str = ""
    p_holm: float | None = None

    @property
    def sense(self) -> int:
        """Which sign is better: neither of a difference of gains over two different bases."""
        across = self.name not in ("energy, own − post-hoc",)
        return 0 if self.name == "interaction" or (across and self.spot.metric == GAIN) else direction(self.spot.metric)

    @property
    def reading(self) -> str:
        """The contrast in words: better, worse, higher, lower, no clear difference, no verdict or not comparable."""
        return reading(self.estimate, self.sense)


@once
def makings(section: Section) -> dict[str, Making]:
    """Return how the section's trained models were made, by label; variants, those whose settings are not recorded and controls whose base
    is not trained are left out.
    """
    found = {}
    for run in records(section.runs.drop_duplicates("label")):
        config = (run.spec or {}).get("config") or {}
        if "objective" not in config or is_variant(run.model, run.label):
            continue
        base = config.get("base") or {"model": run.model, "config": config}
        if not (base["config"].get("training") or {}).get("train_base", True):
            continue
        energy = config.get("energy") or ("own" if config.get("has_energy") else "")
        joint = bool(base["config"].get("has_energy"))
        found[run.label] = Making(run.label, base["model"], energy, joint, base["config"])
    return found


@once
def spots(section: Section) -> list[Spot]:
    """Return where the second network's worth is read, as far as anything was scored there."""
    metric, there = headline_metric(section), section.by_source
    if metric is None:
        return []
    found = [Spot("exact samples at β̂", metric, "exact", CALIBRATED_BETA)]
    chains = dict.fromkeys(source._replace(label="") for name, source in there if name == metric)
    known = reached(section)
    for beta in _BETAS:
        for chain in chains:
            if (chain.sampler, chain.beta) == (MAIN_SAMPLER, beta) and chain.steps == section.longest[chain[1:3]]:
                own = [each for source, each in known.items() if source._replace(label="") == chain]
                found.append(Spot(chain_name(chain, own, chains), metric, *chain[1:]))
    found.append(Spot("likelihood gain at β̂", GAIN, "likelihood", CALIBRATED_BETA))
    scored = {(name, source._replace(label="")) for name, source in there}
    return [spot for spot in found if (spot.metric, spot.source("")) in scored]


def chain_name(chain: Source, own: Sequence[Reached], chains: Iterable[Source]) -> str:
    """Return a chain's name; one that is not at its target for every model is no sample of it."""
    told = {each.verdict for each in own} - {None}
    kind = "" if not told or told == {AT_TARGET} else ", short-run" + " for some" * (AT_TARGET in told)
    target = "" if chain.beta is None else f" {beta_text(chain.beta)}"
    return f"{chain.sampler}{target}{step_text(chain, chains)}, {chain.steps} steps{kind}"


def contrast(name: str, spot: Spot, sides: Sequence[SourceValues | None], weights: Sequence[float]) -> Contrast:
    """Return Σ weight·value over the seeds that all sides share, under the key that most of them share."""
    known = [side.values for side in sides if side is not None]
    if len(known) < len(sides):
        return Contrast(name, spot, None, "not scored on all sides")
    keys = set.intersection(*(set(each) for each in known))
    if not keys:
        return Contrast(name, spot, None, "scored under different keys")
    seeds = {key: sorted(set.intersection(*(set(each[key]) for each in known))) for key in keys}
    key = max(seeds, key=lambda each: (len(seeds[each]), each))
    if not seeds[key]:
        return Contrast(name, spot, None, "no seed shared")
    sums = [sum(w * each[key][seed] for w, each in zip(weights, known, strict=True)) for seed in seeds[key]]
    return Contrast(name, spot, mean_interval(sums))


def corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """Return contrasts with p-values corrected by Holm for all that are read together."""
    adjusted = holm_of(each.estimate for each in found)
    return [replace(each, p_holm=p_holm) for each, p_holm in zip(found, adjusted, strict=True)]


class Square(NamedTuple):
    """Four models, and what they say at one readout: `cells` are means, None where there is none."""

    gan: str
    joint: str
    labels: tuple[str | None, ...]
    spot: Spot
    cells: tuple[float | None, ...]
    effects: Sequence[Contrast]


def two_by_two(section: Section) -> list[Square]:
    """Return the square of every GAN and every GEBM at every readout, effects corrected over all; cells may be missing."""
    made = makings(section)
    joint = dict.fromkeys(
        each.base for each in made.values() if each.joint and each.energy == "refit"
    ) or dict.fromkeys(each.base for each in made.values() if each.joint and each.config.get("objective") == "kale")
    gans = dict.fromkeys(each.base for each in made.values() if not each.joint and each.energy in ("own", "refit"))
    squares, metric = [], headline_metric(section)
    for gan in gans:
        for kale in joint:
            labels = tuple(_label(made, base, energy) for base in (kale, gan) for energy in ("own", "refit"))
            for spot in [Spot("base alone", metric, "base", None), *spots(section)] if metric else []:
                sides = [
                    section.by_source.get((spot.metric, spot.source(label))) if label else None for label in labels
                ]
                cells = _means(sides)
                squares.append(Square(gan, kale, labels, spot, cells, _effects(spot, sides)))
    effects = iter(corrected([effect for square in squares for effect in square.effects]))
    return [square._replace(effects=[next(effects) for _ in square.effects]) for square in squares]


def _means(sides: Sequence[SourceValues | None]) -> tuple[float | None, ...]:
    """Return the means over the seeds that all sides with scores share, so that they can be read beside each other."""
    known = [None if side is None else side.values[side.main_key] for side in sides]
    shared = set.intersection(*(set(each) for each in known if each)) if any(known) else set()
    return tuple(fmean(each[seed] for seed in shared) if each and shared else None for each in known)


def _effects(spot: Spot, sides: Sequence[SourceValues | None]) -> list[Contrast]:
    if spot.sampler != "base":
        return [contrast(name, spot, sides, weights) for name, weights in EFFECTS.items()]
    (training, _), *others = EFFECTS.items()
    bases = [next((side for side in pair if side is not None), None) for pair in (sides[:2], sides[2:])]
    return [
        contrast(training, spot, bases, (1.0, -1.0)),
        *(Contrast(name, spot, None, "one base") for name, _ in others),
    ]


def _label(made: Mapping[str, Making], base: str, energy: str) -> str | None:
    """Return the model with this base and energy; None for none, and for several settings of it, which one is not known."""
    found = [each.label for each in made.values() if (each.base, each.energy) == (base, energy)]
    return found[0] if len(found) == 1 else None


def post_hoc_contrasts(section: Section) -> list[Contrast]:
    """Return GAN with a post-hoc energy − GEBM at every readout of samples, corrected over all; the name says which."""
    made, there = makings(section), section.by_source
    gebms = [each.label for each in made.values() if each.joint and each.energy == "own"]
    rivals = [each.label for each in made.values() if each.post_hoc]
    found = []
    for rival in rivals:
        for gebm in gebms:
            for spot in spots(section):
                if spot.metric != GAIN:
                    sides = [there.get((spot.metric, spot.source(label))) for label in (rival, gebm)]
                    found.append(contrast(f"{rival} − {gebm}", spot, sides, (1.0, -1.0)))
    return corrected(found)


class SameSeconds(NamedTuple):
    """A GAN trained longer against a shorter one with an energy: the difference, and the mean seconds of training of both."""

    longer: str
    post_hoc: str
    difference: Contrast
    seconds: tuple[float | None, float | None]


@once
def same_seconds(section: Section) -> list[SameSeconds]:
    """Return base of the longer-trained GAN − samples with the post-hoc energy, at every readout of samples, corrected over all."""
    made, there, spent = makings(section), section.by_source, _seconds(section)
    metric = headline_metric(section)
    pairs = [
        (longer.label, short)
        for short in made.values()
        if short.post_hoc
        for longer in made.values()
        if not longer.energy and _longer(longer.config, short.config)
    ]
    found = []
    for label, short in pairs:
        total = _sum(spent.get(short.label), spent.get(_label_of_base(made, short) or ""))
        for spot in spots(section):
            if spot.metric != GAIN:
                base = there.get((metric or "", Source(label, "base", None, None, 0)))
                sides = [base, there.get((spot.metric, spot.source(short.label)))]
                difference = contrast(f"{label}, base alone − {short.label}", spot, sides, (1.0, -1.0))
                found.append(SameSeconds(label, short.label, difference, (spent.get(label), total)))
    fixed = corrected([each.difference for each in found])
    return [each._replace(difference=difference) for each, difference in zip(found, fixed, strict=True)]


def _longer(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two GANs differ in the number of base steps only, of which the first has more."""
    if not one.get("training") or not other.get("training"):
        return False
    first, second = ({**each, "training": {**each["training"], "base_steps": 0}} for each in (one, other))
    return first == second and one["training"]["base_steps"] > other["training"]["base_steps"]


def _label_of_base(made: Mapping[str, Making], model: Making) -> str | None:
    found = [each.label for each in made.values() if each.base == model.base and each.energy == "" and not each.joint]
    return found[0] if len(found) == 1 else None


def _seconds(section: Section) -> dict[str, float]:
    """Return the mean seconds of training by label, where recorded."""
    runs = section.runs[section.runs["seconds_training"].notna()]
    return {str(label): float(value) for label, value in runs.groupby("label")["seconds_training"].mean().items()}


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
