"""The certificate: that the models of one comparison have the same networks and, seed by seed, start from the same weights.

Only models that name the same networks are compared; a model with networks of its own is listed and not judged. What each was trained with
is beside it: a GAN in the *matched* arm has the GEBM's optimiser, penalty and energy steps per base step, one in the *own* arm those
of its published recipe.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.core.spec import RunSpec
from bench.report.blocks import MISSING, Block, Cell, TextBlock, table_of
from bench.report.text import listed, number, short_count
from bench.results.frame import once
from bench.results.sources import records

if TYPE_CHECKING:
    from bench.results.frame import Section

__all__ = ["Match", "Steps", "arm", "certificate", "check", "kinship", "mismatches", "networks", "training_steps"]


class Match(NamedTuple):
    """The outcome for one question in words; whether all is equal, None where only one model is there."""

    sentence: str
    matched: bool | None


@once
def networks(section: Section) -> dict[str, list[Any]]:
    """Return the trained runs of every model by label, in the order of the section, seeds ascending."""
    found: dict[str, list[Any]] = {}
    for run in records(section.runs[(section.runs["model"] != "data") & (section.runs["device"] != "")]):
        found.setdefault(run.label, []).append(run)
    return {label: sorted(runs, key=lambda run: run.seed) for label, runs in found.items()}


def check(section: Section) -> list[Match]:
    """Compare architectures over all runs, then initial weights seed by seed; nothing where no run was trained."""
    runs = _compared(section)
    found = [_match("Architecture", runs, "architecture")] if runs else []
    for seed in sorted({run.seed for run in runs}):
        own = [run for run in runs if run.seed == seed]
        found.append(_match(f"Initial weights, seed {seed}", own, "initial_weights"))
    return found


def mismatches(section: Section) -> list[str]:
    """Return what must be said loudly: networks that were to match and do not."""
    return [match.sentence for match in check(section) if match.matched is False]


def kinship(known: Mapping[str, Sequence[Any]], treatment: str, rival: str) -> str:
    """Return what a model without a chain is to a GEBM.

    A GAN of the same architecture has the very same networks as the GEBM, whose discriminator it uses in training only; `known` are the
    trained runs as `networks` returns them.
    """
    own, others = (
        {tuple(sorted(run.architecture.items())) for run in known.get(label, ()) if run.architecture}
        for label in (treatment, rival)
    )
    if not own or not others:
        return "no chain, architectures not recorded"
    if len(own) == 1 and own == others and len(min(own)) > 1:
        return "GAN, same architecture"
    return "no chain, another architecture"


def certificate(section: Section) -> list[Block]:
    """Return the table of parameters and FLOPs of every network, that of what training took, and the outcomes of the match."""
    found = networks(section)
    names = sorted({name for own in found.values() for run in own for name in (*run.parameters, *run.flops)})
    if not names:
        return []
    rows = []
    for label, own in found.items():
        cells = {"model": Cell(code=label)}
        for name in names:
            cells[f"{name}: parameters"] = _distinct((run.parameters.get(name) for run in own), "{:,}".format)
            cells[f"{name}: FLOPs per sample"] = _distinct((run.flops.get(name) for run in own), short_count)
        rows.append(cells)
    items = [match.sentence for match in check(section)]
    if strangers := [label for label in found if label not in {run.label for run in _compared(section)}]:
        items.append(f"Not part of the match, with networks of their own: {listed(strangers)}")
    if own_arm := [label for label, own in found.items() if arm(own[0].spec.get("config", {})) == "own"]:
        verb = "is" if len(own_arm) == 1 else "are"
        recipe = "by the published recipe, not with the GEBM's optimiser, penalty and energy steps per base step"
        items.append(f"{listed(own_arm)} {verb} in the own arm: trained {recipe}")
    table = table_of("Certificate of matching architectures", rows)
    return [block for block in (table, _training_table(found), TextBlock("", items=items)) if block]


class Steps(NamedTuple):
    """Gradient steps of a training: of the energy (or discriminator), and of the base."""

    energy: int
    base: int


def arm(config: Mapping[str, Any]) -> str:
    """Return how the base of a run was trained: `matched`, `own`, or what else it was trained by; "—" where that is nothing."""
    while "base" in config:
        config = config["base"]["config"]
    return str(config.get("arm") or ("matched" if config.get("training") else config.get("trained_by", "—")))


def training_steps(config: Mapping[str, Any], done: float = math.inf) -> Steps:
    """Return the steps in `done` steps of a run's phases, a refit at most as long as it was allowed; with those of what it starts from."""
    training, refit = config.get("training") or {}, config.get("refit") or {}
    base = int(min(done, training.get("base_steps", 0)))
    energy = int(min(done - base, refit.get("steps", 0)))
    if base:
        burst, n_critic = training.get("burst", 0), training.get("n_critic", 1)
        bursts = math.ceil(base / training.get("burst_every", 500)) if burst else 0
        energy += (base - bursts) * n_critic + bursts * burst
    before = training_steps(config["base"]["config"]) if "base" in config else Steps(0, 0)
    return Steps(before.energy + energy, before.base + base * training.get("train_base", True))


def _training_table(found: Mapping[str, Sequence[Any]]) -> Block | None:
    """Return arm, steps and seconds of training of every model that has such steps."""
    seconds = {(run.identity, run.seed): run.seconds_training for own in found.values() for run in own}
    rows = []
    for label, own in found.items():
        configs = [(run.spec.get("config", {}), run.steps_done) for run in own]
        steps = [training_steps(config, done or 0) for config, done in configs]
        if not any(map(sum, steps)):
            continue
        cells = {"model": Cell(code=label), "arm": Cell(arm(configs[0][0]))}
        cells["energy steps"] = _distinct((each.energy for each in steps), "{:,}".format)
        cells["base steps"] = _distinct((each.base for each in steps), "{:,}".format)
        cells["gradient evaluations"] = _distinct((sum(each) for each in steps), "{:,}".format)
        cells["seconds"] = _seconds(own, seconds)
        rows.append(cells)
    notes = [
        "Steps of the energy (or discriminator) and of the base, and of what a model starts from, unless that was trained elsewhere. "
        "A refit may have ended before all of its steps."
    ]
    return table_of("Training", rows, notes)


def _seconds(runs: Sequence[Any], known: Mapping[tuple[str, int], float | None]) -> Cell:
    """Return the mean seconds of training, with those of what each run starts from where they are known."""
    whole, partly = [], False
    for run in runs:
        total = run.seconds_training or 0.0
        if "base" in run.spec.get("config", {}) and (base := RunSpec.model_validate(run.spec).base):
            before = known.get((base.identity, run.seed))
            total, partly = total + (before or 0.0), partly or before is None
        whole.append(total)
    return Cell(number(fmean(whole)), fmean(whole), "without its base's" if partly else "")


def _distinct(values: Iterable[int | None], form: Callable[[int], str]) -> Cell:
    known = list(dict.fromkeys(value for value in values if value is not None))
    return Cell(" / ".join(map(form, known)), known[0]) if known else MISSING


@once
def _compared(section: Section) -> list[Any]:
    """Return the runs whose networks have the names that most runs' have, but for those that differ by design."""
    runs = [run for own in networks(section).values() for run in own if not _differs(run.spec.get("config", {}))]
    names = Counter(frozenset(run.architecture) for run in runs)
    usual = max(names, key=lambda each: (names[each], len(each)), default=frozenset())
    return [run for run in runs if frozenset(run.architecture) == usual]


def _differs(config: Mapping[str, Any]) -> bool:
    """Whether the networks are the user's own, or without spectral norm."""
    return arm(config) == "elsewhere" or not config.get("spectral_norm", True)


def _match(question: str, runs: Sequence[Any], field: str) -> Match:
    """Compare digests by network; runs that agree are named together."""
    models = {run.label for run in runs}
    if len(models) < 2:
        return Match(f"{question}: only one model, nothing to match", None)
    found: list[str] = []
    for network in sorted({name for run in runs for name in getattr(run, field)}):
        holders: dict[str, list[str]] = {}
        for run in runs:
            holders.setdefault(getattr(run, field).get(network, ""), []).append(f"{run.label} seed {run.seed}")
        words = [f"{digest[:8] or 'not recorded'} ({', '.join(who)})" for digest, who in holders.items()]
        found += [f"{network}: {' ≠ '.join(words)}"] if len(words) > 1 else []
    if not any(getattr(run, field) for run in runs):
        found.append("no digest was recorded")
    outcome = f"NOT MATCHED — {'; '.join(found)}" if found else f"matched across {len(models)} models"
    return Match(f"{question}: {outcome}", not found)
