"""From a suite to what would run: every run resolved, looked up in the store, with an estimate of the time it takes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import registry
from bench.core.spec import (
    ChainsProfile,
    DensityNetwork,
    DensityProfile,
    FlowNetwork,
    ImageReadout,
    ImagesProfile,
    Likelihood,
    Profile,
    Readout,
    Refit,
    RunSpec,
    SNGANNetwork,
    Suite,
    SuiteError,
    Training,
)
from bench.core.store import Found, Store
from bench.core.suite_files import load_suite
from bench.core.task import Task
from bench.data import Dataset, NotAtHandError, load_dataset, sources
from bench.metrics import INCEPTION, INCEPTION_FILES

__all__ = ["Planned", "Selection", "make_plan", "wants_work"]


Loader = Callable[[str, Path | None], Dataset]


@dataclass(frozen=True)
class Selection:
    """What the user asked for; empty means all of the profile."""

    profile: str = "quick"
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Planned:
    """A task, what the store has of it, and about how many seconds it takes alone."""

    task: Task
    found: Found
    seconds: float


def make_plan(
    suite: Suite,
    selection: Selection,
    store: Store,
    data: Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    fresh: bool = False,
    cache: Path | None = None,
    load: Loader | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Planned]:
    """Every run of the selection, seeds in the outer loop so that complete comparisons come first.

    Args:
        suite: what there is.
        selection: what of it.
        store: where results are.
        data: folder of local copies of downloads.
        weights: folder of extractors' weights.
        device: where to compute.
        fresh: do everything again.
        cache: folder of decoded images.
        load: `load_dataset` with that folder, or a memory of it for who makes many plans.
        remark: told, in a sentence, of an optional dataset that is not at hand.

    Raises:
        SuiteError: for a profile the suite does not have, or where no model can be fitted to a dataset of the selection.
        UnknownNameError: for a dataset or model that does not exist.
        DatasetError: for a dataset that is not at hand.
    """
    profile = find_profile(suite, selection.profile)
    optional = () if selection.datasets else profile.optional
    load = load or functools.partial(load_dataset, cache=cache)
    datasets = load_datasets(selection.datasets or profile.datasets, optional, data, load, remark)
    models = {name: registry.get("models", name) for name in selection.models or profile.models}
    planned = []
    for source, dataset in datasets.items():
        fitting = [entry for entry in models.values() if dataset.kind in entry.fits]
        for seed in selection.seeds or profile.seeds:
            for entry in fitting:
                if entry.settings.get("one_seed") and seed != (selection.seeds or profile.seeds)[0]:
                    continue
                readouts = plan_readouts(profile, dataset, entry, weights)
                spec = resolve(suite, selection.profile, dataset, entry, seed)
                task = Task(spec, readouts, store.root, data, weights, device, fresh, source, cache)
                found = Found("missing", "--fresh") if fresh else store.lookup(spec, readouts, device)
                planned.append(Planned(task, found, expected_seconds(store, spec, profile)))
    if not planned:
        raise SuiteError(f"none of {', '.join(models)} can be fitted to {' or '.join(datasets)}")
    return planned


def load_datasets(
    names: Sequence[str], optional: Sequence[str], data: Path | None, load: Loader, remark: Callable[[str], None]
) -> dict[str, Dataset]:
    """Datasets by what loads each again, in any working directory; optional ones that are not at hand are left out.

    Raises:
        SuiteError: if two files would have the same name in tables and folders.
    """
    found: dict[str, Dataset] = {}
    for source in dict.fromkeys(str(sources.parse(name)) for name in names):
        try:
            dataset = load(source, data)
        except NotAtHandError as error:
            if source not in optional:
                raise
            remark(f"left out: {error}")
            continue
        if twin := next((known for known, other in found.items() if other.name == dataset.name), None):
            raise SuiteError(f"{twin} and {source} are both called {dataset.name} in tables; rename one of the files")
        found[source] = dataset
    return found


def find_profile(suite: Suite, name: str) -> Profile:
    """A profile of the suite."""
    for known, profile in suite.profiles.items():
        if known == name:
            return profile
    raise SuiteError(f"suite '{suite.name}' has no profile '{name}'; it has: {', '.join(suite.profiles)}")


def plan_readouts(
    profile: Profile, dataset: Dataset, entry: registry.Entry, weights: Path | None
) -> tuple[Readout, ...]:
    """What the profile wants read out of a model on a dataset."""
    has_energy = bool(entry.settings.get("has_energy"))
    if isinstance(profile, ImagesProfile):
        return profile.evaluation.readouts(has_energy, choose_extractor(dataset, weights, profile.evaluation.extractor))
    if isinstance(profile, ChainsProfile):
        return profile.evaluation.readouts(has_energy, known_base=dataset.kind == "toy")
    if isinstance(profile, DensityProfile):
        return profile.on(dataset.name).evaluation.readouts(has_energy)
    raise TypeError(f"do not know what to read out for a {type(profile).__name__}")


def resolve(suite: Suite, profile_name: str, dataset: Dataset, entry: registry.Entry, seed: int) -> RunSpec:
    """The full specification of one run; a model of images in a suite of chains is the run of the suite that trains it.

    Raises:
        SuiteError: for a suite of chains that does not say who trains its models of images, or how its toys' energies are.
    """
    profile = find_profile(suite, profile_name)
    common: dict[str, Any] = {
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "model": entry.name,
        "settings": entry.settings,
        "base_seed": suite.base_seed,
        "threads": profile.threads,
        "seed": seed,
    }
    if isinstance(profile, ImagesProfile):
        rows = len(dataset.splits["train"])
        if (largest := max(profile.training.batch_size, profile.refit.batch_size)) > rows:
            raise SuiteError(
                f"suite '{suite.name}': batch_size {largest} is more than the {rows} images of {dataset.name}"
            )
        if isinstance(profile.network, SNGANNetwork) and not profile.network.takes(dataset.shape):
            sides = "side 32 or 64" if profile.network.family == "sngan-resnet" else "a side that is a multiple of 8"
            size = "×".join(map(str, dataset.shape))
            raise SuiteError(
                f"suite '{suite.name}': {profile.network.family} takes images of {sides}; {dataset.name} is {size}"
            )
        refit = profile.refit if entry.settings.get("has_energy") and profile.refit.steps else None
        if refit is not None and "validation" not in dataset.splits:
            raise SuiteError(
                f"{dataset.name} has no validation split, which picks the energy of {entry.name}; leave that model out"
            )
        training = Training.model_validate(profile.training.model_dump() | entry.settings.get("training", {}))
        return RunSpec(**common, network=profile.network, training=training, refit=refit, precision=profile.precision)
    if isinstance(profile, DensityProfile):
        return RunSpec(**common, **resolve_density(suite.name, profile.on(dataset.name), dataset, entry))
    if not isinstance(profile, ChainsProfile):
        raise TypeError(f"do not know what a {type(profile).__name__} runs")
    if dataset.kind != "toy":
        if profile.trained_as is None:
            raise SuiteError(
                f"suite '{suite.name}': trained_as must name the suite that trains {entry.name} on {dataset.name}"
            )
        return resolve(load_suite(profile.trained_as), profile_name, dataset, entry, seed)
    if "objective" not in entry.settings:
        return RunSpec(**common, network=None, training=None, refit=None)
    if profile.network is None or profile.refit is None:
        raise SuiteError(f"suite '{suite.name}': network and refit must say how {entry.name}'s energy is trained")
    return RunSpec(**common, network=profile.network, training=None, refit=profile.refit)


def resolve_density(
    suite: str, profile: DensityProfile, dataset: Dataset, entry: registry.Entry
) -> dict[str, DensityNetwork | Likelihood | Training | Refit | None]:
    """Networks and phases of a model of tables: what its settings name, and no more, so that no other change makes another run of it.

    Raises:
        SuiteError: for a flow that the profile does not say how to build.
    """
    settings = entry.settings

    def flow(key: str) -> FlowNetwork | None:
        name = settings.get(key)
        if name is not None and name not in profile.flows:
            raise SuiteError(f"suite '{suite}': flows.{name} must say what the flow of {entry.name} is")
        return None if name is None else profile.flows[name]

    learned, joint = "objective" in settings, bool(settings.get("joint"))
    network = DensityNetwork(flow=flow("flow"), critic=flow("critic"), energy=profile.energy if learned else None)
    phases: dict[str, Likelihood | Training | Refit | None] = {
        "likelihood": profile.warm_up if joint else profile.likelihood if network.flow is not None else None,
        "training": profile.training if joint else None,
        "refit": profile.refit if learned else None,
    }
    rows = len(dataset.splits["train"])
    for name, phase in phases.items():
        if phase is not None and phase.batch_size > rows:  # a table of few rows is one batch
            phases[name] = phase.model_copy(update={"batch_size": rows})
    return {"network": network, **phases}


def choose_extractor(dataset: Dataset, weights: Path | None, wanted: str) -> str:
    """For "auto" Inception where its weights are at hand; else the dataset's own classifier.

    Raises:
        SuiteError: if that is wanted, or all there is, and the dataset has no classes to train it on.
    """
    if wanted == "auto" and weights is not None and any((weights / name).is_file() for name in INCEPTION_FILES):
        return INCEPTION
    if dataset.kind == "image" and "train" not in dataset.labels:
        remedy = "set extractor to auto; " if wanted == "in-domain" else ""
        raise SuiteError(
            f"{dataset.name} has no classes to train an in-domain extractor on; {remedy}bench data fetch {INCEPTION}, or BENCH_WEIGHTS="
            f"folder that has {INCEPTION_FILES[0]}"
        )
    return f"{dataset.name}-cnn"


def expected_seconds(store: Store, spec: RunSpec, profile: Profile) -> float:
    """How long the run took here with another seed, else what the suite says."""
    if spec.settings.get("one_seed"):
        return 2.0
    for status in sorted(store.folder(spec).path.parent.glob(f"{spec.identity[:12]}-s*/status.json")):
        try:
            seconds = json.loads(status.read_text())["seconds"]
        except (OSError, ValueError, KeyError):
            continue
        if seconds:
            return float(sum(seconds.values()))
    return profile.minutes_per_run * 60


def wants_work(planned: Planned) -> bool:
    """Whether a run is to be done: not a hit, and not one that would only diverge again."""
    if planned.task.fresh:
        return True
    return planned.found.state != "hit" and not planned.found.diverged


def extractors(planned: Sequence[Planned]) -> list[tuple[str, str]]:
    """(dataset, extractor) pairs that the plan needs, in order."""
    return list(
        dict.fromkeys(
            (p.task.dataset_source, readout.extractor)
            for p in planned
            for readout in p.task.readouts
            if isinstance(readout, ImageReadout)
        )
    )
