"""From a suite to what would run: every run resolved, looked up in the store, with an estimate of the time it takes.

A kind of suite is a module with

    PROFILE                                             its pydantic profile
    resolve(suite, profile_name, dataset, entry)        the settings of one model on one dataset, as JSON has them
    readouts(profile, dataset, entry, weights)          what is read out of it
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.components import registry
from bench.components.digests import Stage, stage
from bench.core.run_folder import RunFolder, StoreError
from bench.core.spec import Readout, RunSpec
from bench.core.store import Lookup, Store
from bench.core.suite import Choice, Profile, Suite, SuiteError, alternatives, kind_of, load_suite, suite_with
from bench.core.task import Places, Task
from bench.core.variants import Changes, label_of, points
from bench.data import Dataset, NotAtHandError, load_dataset, sources
from bench.data.hygiene import refuse_concerns

__all__ = [
    "Planned",
    "Selection",
    "expected_seconds",
    "make_plan",
    "make_task",
    "mixed_devices",
    "readout_seconds",
    "timed",
]

Loader = Callable[[str], Dataset]
Timing = Literal["known", "measured", "trained", "unknown"]
UNKNOWN = 60.0
"""Seconds of a run in place of those that nobody knows: all such runs are given equal time."""


@dataclass(frozen=True)
class Selection:
    """What the user asked for; empty means all of the profile.

    Arguments:
        profile: of the suite.
        datasets: names or sources.
        models: names of models, or labels of the profile's variants.
        seeds: repeats.
        settings: other settings than the profile's, by dotted keys.
        sweeps: keys that are set to each of several values, all combinations of them.
        allow: concerns about tables beside those that the profile allows.
        retrain: train again what other code trained.
        fresh: do everything again.
    """

    profile: str = "quick"
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    seeds: Sequence[int] = ()
    settings: Changes = field(default_factory=dict)
    sweeps: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    allow: Sequence[str] = ()
    fresh: bool = False
    retrain: bool = False


@dataclass(frozen=True)
class Planned:
    """A task, what the store has of it, and about how many seconds it takes alone.

    Arguments:
        task: what is to be done.
        found: what there is of it.
        seconds: how long it takes.
        timing: whether that is known, from the store or the suite, was measured for this plan, or only of training, or is no more than
            `UNKNOWN`.
        label: what tables call its model.
        asked: the model or variant that was asked for, from which with `settings` the same run is planned again.
        settings: other settings than the profile's that the command gave.
        changes: all that differ from the profile's where this run is concerned, a variant's own included.
    """

    task: Task
    found: Lookup
    seconds: float
    timing: Timing = "known"
    label: str = ""
    asked: str = ""
    settings: Changes = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)

    @property
    def pending(self) -> bool:
        """Whether the run is to be done: not a hit, and not one that would only diverge again."""
        return self.task.fresh or not (self.found.state == "hit" or self.found.diverged)


def make_plan(
    suite: Suite[Any],
    selection: Selection,
    places: Places,
    load: Loader | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> list[Planned]:
    """Every run of the selection, seeds in the outer loop so that complete comparisons come first.

    Args:
        suite: what there is.
        selection: what of it.
        places: where results, data and weights are, and where to compute.
        load: how a dataset is loaded by its source; by default from `places`.
        warn: called with a sentence for each dataset of the profile that is not at hand, each model that fits none of them, and what of a
            dataset that the user chose cannot be scored.

    Raises:
        SuiteError: for a profile the suite does not have, or where no model can be fitted to a dataset of the selection.
        SettingError: for settings that the profile does not have or cannot have.
        UnknownNameError: for a dataset or model that does not exist.
        DatasetError: for a dataset that is not at hand or cannot be used, or a table with a concern that is not allowed.
    """
    profile, store = suite.profile(selection.profile), Store(places.store)
    kind, seeds = kind_of(suite.kind), selection.seeds or profile.seeds
    load = load or (lambda source: load_dataset(source, places.data, places.cache))
    datasets = load_datasets(selection.datasets, load) or load_choices(profile.datasets, load, warn)
    for dataset in datasets.values():
        refuse_concerns(dataset, {*profile.allow, *selection.allow})
    arms = make_arms(suite, selection)
    tell = functools.cache(warn)  # once, whatever is swept over
    flags = {"fresh": selection.fresh, "retrain": selection.retrain}
    planned: dict[str, Planned] = {}
    for source, dataset in datasets.items():
        first = []  # of every arm the run of the first seed, from which those of the others differ in nothing else
        for arm in (each for each in arms if _fits(each.entry, dataset)):
            entry, own = arm.entry, arm.suite.profile(selection.profile)
            readouts = kind.readouts(own, dataset, entry, places.weights)
            if selection.datasets and hasattr(kind, "remarks"):  # of its own a profile knows
                for sentence in kind.remarks(own, dataset, entry):
                    tell(sentence)
            spec = resolve(arm.suite, selection.profile, dataset, entry, seeds[0])
            once = bool(entry.facts.get("one_seed"))  # it is the same for all seeds
            seconds = 2.0 if once else expected_seconds(store, spec, own)
            differs = arm.differs(suite, selection.profile, dataset, spec)
            changes = {key: value for key, value in arm.changes.items() if differs or key.startswith("evaluation.")}
            about = (*timed(seconds), arm.label if differs else entry.name, arm.asked, arm.settings, changes)
            first.append((make_task(spec, readouts, places, source, **flags), once, about))
        for seed, (task, once, about) in itertools.product(seeds, first):
            if not once or seed == seeds[0]:
                task = _with_seed(task, seed)
                found = Lookup("missing", "--fresh") if selection.fresh else store.lookup(task)
                planned.setdefault(task.spec.run_id, Planned(task, found, *about))
    names = dict.fromkeys(arm.entry.name for arm in arms)
    if not planned:
        raise SuiteError(f"none of {', '.join(names)} can be fitted to {' or '.join(datasets)}")
    for name in names:
        if not any(_fits(registry.get("models", name), dataset) for dataset in datasets.values()):
            warn(f"left out: {name} cannot be fitted to {' or '.join(datasets)}")
    return [*planned.values()]


@dataclass(frozen=True)
class Arm:
    """A model with the settings that it is planned with.

    Arguments:
        entry: the model.
        suite: the suite with those settings.
        label: what tables call it where they are not the profile's own.
        asked: the name that it was asked for by.
        settings: what the command set.
        changes: that, and what the variant sets.
    """

    entry: registry.Entry
    suite: Suite[Any]
    label: str
    asked: str
    settings: Changes
    changes: Changes

    def differs(self, suite: Suite[Any], profile_name: str, dataset: Dataset, spec: RunSpec) -> bool:
        """Whether the run is another one than that of the suite as it is in its file."""
        if self.suite is suite:
            return False
        try:
            return resolve(suite, profile_name, dataset, self.entry, spec.seed).identity != spec.identity
        except SuiteError:  # without these settings there is none
            return True


def make_arms(suite: Suite[Any], selection: Selection) -> list[Arm]:
    """Every selected model and variant, with each combination of the settings that the command gave.

    Raises:
        UnknownNameError: for a model that does not exist.
        SettingError: for settings that the profile does not have or cannot have.
    """
    variants = {each.label: each for each in suite.variants_of(selection.profile)}
    with_settings = functools.cache(lambda key: suite_with(suite, selection.profile, json.loads(key)))
    found = []
    for point in points(selection.settings, selection.sweeps):
        for name in selection.models or (*suite.profile(selection.profile).models, *variants):
            variant = variants.get(name)
            entry = registry.get("models", variant.model if variant else name)
            changes = {**(variant.set if variant else {}), **point}
            label = label_of(name, point) if variant and variant.name else label_of(entry.name, changes)
            found.append(
                Arm(entry, with_settings(json.dumps(changes)) if changes else suite, label, name, point, changes)
            )
    return found


def _fits(entry: registry.Entry, dataset: Dataset) -> bool:
    return dataset.kind in entry.facts.get("fits", ("image",))


def mixed_devices(planned: Sequence[Planned], here: Collection[str]) -> list[str]:
    """A sentence for each dataset whose runs were, or would be, trained on different kinds of device.

    Args:
        planned: the plan of one suite.
        here: the kinds of device that runs are trained on now, see `bench.core.store.trained_on`.
    """
    kinds: dict[str, Counter[str]] = {}
    for p in planned:
        if not registry.get("models", p.task.spec.model).facts.get("one_seed"):
            kept = p.found.device and not p.task.fresh and p.found.state != "stale"
            own = [p.found.device] if kept else here if p.pending else []
            kinds.setdefault(p.task.spec.dataset, Counter()).update(own)
    said = {
        dataset: ", ".join(f"{count} on {kind}" for kind, count in sorted(own.items()))
        for dataset, own in kinds.items()
        if len(own) > 1
    }
    return [
        f"{dataset}: one comparison of runs trained on different kinds of device ({counts}); "
        "one seed draws other numbers on each, so that they are not paired; a --store for each keeps them apart"
        for dataset, counts in said.items()
    ]


def make_task(spec: RunSpec, readouts: Sequence[Readout], places: Places, source: str, **flags: bool) -> Task:
    """The task of a resolved run; of the run that it starts from the training alone, which is trained again only with `retrain`."""
    training, reading = stages(spec, registry.get("models", spec.model), readouts)
    retrain = flags.get("retrain", False)
    base = None if spec.base is None else make_task(spec.base, (), places, source, retrain=retrain)
    return Task(spec, tuple(readouts), training, reading, places, source, **flags, base=base)


def _with_seed(task: Task, seed: int) -> Task:
    base = None if task.base is None else _with_seed(task.base, seed)
    return replace(task, spec=task.spec.model_copy(update={"seed": seed}), base=base)


def stages(spec: RunSpec, entry: registry.Entry, readouts: Sequence[Readout]) -> tuple[Stage, tuple[Stage, ...]]:
    """The code that trains a run, that of the run it starts from included, and the code behind each of its readouts."""
    networks = _networks(spec.config)
    reading = tuple(stage([*each.roots(entry.target), *networks]) for each in readouts)
    return stage(_trainers(spec)), reading


def _trainers(spec: RunSpec) -> list[str]:
    """The roots of the code that trains a run and what it starts from."""
    found = [registry.get("models", spec.model).target, *_networks(spec.config)]
    if "objective" in spec.config:
        found.append(registry.get("objectives", spec.config["objective"]).target)
    return found if spec.base is None else [*found, *_trainers(spec.base)]


def _networks(config: Mapping[str, Any]) -> list[str]:
    """The roots of a run's networks; `generator` is one of the user's own, as `module:name`."""
    found = [registry.get("networks", config["network"]["family"]).target] if "network" in config else []
    found += [config["generator"]] if "generator" in config else []
    backends = {each["backend"] for each in config.values() if isinstance(each, dict) and "backend" in each}
    return found + [f"baselines.flows.{backend}_backend:{backend}_network" for backend in backends]


def load_datasets(names: Sequence[str], load: Loader) -> dict[str, Dataset]:
    """Datasets by what loads each again, in any working directory.

    Raises:
        SuiteError: if two files would have the same name in tables and folders.
    """
    found: dict[str, Dataset] = {}
    for source in dict.fromkeys(str(sources.parse(name)) for name in names):
        dataset = load(source)
        if twin := next((known for known, other in found.items() if other.name == dataset.name), None):
            raise SuiteError(f"{twin} and {source} are both called {dataset.name} in tables; rename one of the files")
        found[source] = dataset
    return found


def load_choices(choices: Sequence[Choice], load: Loader, warn: Callable[[str], None]) -> dict[str, Dataset]:
    """The first dataset at hand of each choice; what is not at hand is said, and raised only if nothing is.

    Raises:
        NotAtHandError: the first one, if none is at hand.
        SuiteError: as `load_datasets`.
    """
    found: dict[str, Dataset] = {}
    absent: list[NotAtHandError] = []
    for choice in choices:
        missing: list[NotAtHandError] = []
        for name in alternatives(choice):
            try:
                found |= load_datasets([name], load)
            except NotAtHandError as error:
                missing.append(error)
                continue
            for each in missing:
                warn(f"{name} stands in: {each}")
            break
        else:
            absent += missing
    if absent and not found:
        raise absent[0]
    for each in absent:
        warn(f"left out: {each}")
    return load_datasets(list(found), found.__getitem__)


def resolve(suite: Suite[Any], profile_name: str, dataset: Dataset, entry: registry.Entry, seed: int) -> RunSpec:
    """The full specification of one run; what another suite trains (`trained_as`) is that suite's run.

    Raises:
        SuiteError: if the suite lacks what the run needs.
    """
    profile: Profile = suite.profile(profile_name)
    trainer = getattr(profile, "trained_as", None)
    if trainer is not None and dataset.kind != "toy":
        return resolve(load_suite(trainer), profile_name, dataset, entry, seed)
    config = kind_of(suite.kind).resolve(suite, profile_name, dataset, entry)
    return RunSpec(
        kind=suite.kind,
        dataset=dataset.name,
        dataset_digest=dataset.digest,
        model=entry.name,
        config=json.loads(json.dumps(config)),
        base_seed=suite.base_seed,
        threads=profile.threads,
        seed=seed,
    )


def timed(seconds: float | None) -> tuple[float, Timing]:
    """Return seconds, or what stands for those that nobody knows, and which of them it is."""
    return (UNKNOWN, "unknown") if seconds is None else (seconds, "known")


def expected_seconds(store: Store, spec: RunSpec, profile: Profile) -> float | None:
    """How long the run took here with another seed, else what the profile says; None where nobody knows."""
    if seconds := _recorded(store, spec, f"{spec.identity[:12]}-s*"):
        return sum(seconds.values())
    return None if profile.minutes_per_run is None else profile.minutes_per_run * 60


def readout_seconds(store: Store, spec: RunSpec) -> float | None:
    """How long it took to sample and score this model on this dataset, with whatever settings; None where that was never done."""
    seconds = _recorded(store, spec, "*")
    return None if seconds is None else seconds.get("sampling", 0.0) + seconds.get("scoring", 0.0)


def _recorded(store: Store, spec: RunSpec, like: str) -> dict[str, float] | None:
    """Return the seconds by part of a finished run of the same model and dataset whose directory has a name like this."""
    for path in sorted(store.folder(spec).path.parent.glob(f"{like}/status.json")):
        with contextlib.suppress(StoreError):
            status = RunFolder(path.parent).read_json(path.name)
            if status and status["state"] == "done" and status["seconds"]:
                return dict(status["seconds"])
    return None
