"""What `bench refit` plans: a run that fits an energy on a trained generator, from the store or from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bench.components import registry
from bench.components.settings import make
from bench.core.manifests import manifests
from bench.core.model import weights_digest
from bench.core.plan import Planned, expected_seconds, load_choices, make_task, timed
from bench.core.run_folder import progress_words, unfinished
from bench.core.runner import Run
from bench.core.spec import RunSpec
from bench.core.store import Lookup, NotInStoreError, Store
from bench.core.suite import Suite, suite_with
from bench.core.task import Places, Task
from bench.core.variants import Changes, label_of
from bench.data import Dataset, sources
from bench.images.own_generator import GeneratorError, OwnGenerator, checked, imported, with_weights
from bench.images.suite import ImagesProfile, network_settings, on_base, readouts

__all__ = ["Refit", "RefitError", "plan_refit", "take_in"]

Loader = Callable[[str], Dataset]
OWN = "own-generator"


class RefitError(ValueError):
    """A generator that no energy can be fitted on."""


@dataclass(frozen=True)
class Refit:
    """What the user asked for.

    Arguments:
        generator: the id of a run or its beginning, a .safetensors file of the suite's generator, or `module:name`, which makes one.
        profile: of the suite: how the energy is fitted and read out.
        dataset: a run's own, or the profile's first, if None.
        seed: a run's own, or 0, if None.
        steps: energy steps at most; the profile's if None.
        energy: `refit` fits fresh weights, `warm` starts from the run's discriminator.
        latent: dimension of the latents of a generator from elsewhere; that of the suite's networks if None.
        settings: other settings than the profile's, by dotted keys; not those of the training that the generator has behind it.
        fresh: do it again, whatever is there.
    """

    generator: str
    profile: str = "quick"
    dataset: str | None = None
    seed: int | None = None
    steps: int | None = None
    energy: str = "refit"
    latent: int | None = None
    settings: Changes = field(default_factory=dict)
    fresh: bool = False


def plan_refit(suite: Suite[Any], asked: Refit, places: Places, load: Loader) -> tuple[Planned, nn.Module | None]:
    """Return the planned run, and of a generator from elsewhere the network that `take_in` is to put into the store.

    Raises:
        RefitError: if there is no such run, it has no generator, or the options do not go with it.
        GeneratorError: if a generator from elsewhere cannot be used.
        SuiteError: if the suite or the dataset lacks what the fit needs.
        SettingError: for settings that the profile does not have or cannot have.
    """
    if suite.kind != "images":
        raise RefitError(f"suite '{suite.name}' is of kind {suite.kind}; name one of images with --suite")
    profile, changes, elsewhere = suite.profile(asked.profile), asked.settings, _is_elsewhere(asked.generator)
    known = ("post_hoc", *["refit"] * (profile.post_hoc is None), "evaluation", "precision", *["network"] * elsewhere)
    if idle := [key for key in changes if key.partition(".")[0] not in known]:
        raise RefitError(f"{idle[0]} changes nothing here; a refit takes its settings from {', '.join(known)}")
    if changes:
        suite = suite_with(suite, asked.profile, changes)
        profile = suite.profile(asked.profile)
    if asked.steps is not None:
        settings = replace(profile.post_hoc or profile.refit, steps=asked.steps)
        profile = profile.model_copy(update={"post_hoc": settings})
    network = None
    if elsewhere:
        ((source, dataset),) = load_choices([asked.dataset or profile.datasets[0]], load, lambda _: None).items()
        _check_images(dataset)
        base, network = _from_elsewhere(suite, profile, dataset, asked)
    else:
        base, source = _from_store(places.store, asked)
        dataset = load(source)
        _check_images(dataset)
        if dataset.digest != base.dataset_digest:
            raise RefitError(f"{source} is not the dataset that {base.run_id} was trained on; name that with --dataset")
    entry = _fitted(base, asked.energy)
    config = on_base(suite, profile, dataset, entry, {"model": base.model, "config": base.config})
    if config["refit"] is None:
        raise RefitError(f"suite '{suite.name}' fits no energy in its profile {asked.profile}; name --steps")
    spec = base.model_copy(update={"model": entry.name, "config": json.loads(json.dumps(config))})
    task = make_task(spec, readouts(profile, dataset, entry, places.weights), places, source, fresh=asked.fresh)
    store = Store(places.store)
    found = Lookup("missing", "--fresh") if asked.fresh else store.lookup(task)
    label = label_of(entry.name, {key: value for key, value in changes.items() if not key.startswith("evaluation.")})
    seconds, timing = timed(expected_seconds(store, spec, profile))
    return Planned(task, found, seconds, timing, label, entry.name, settings=changes, changes=changes), network


def take_in(task: Task, network: nn.Module) -> None:
    """Make a generator from elsewhere a run of the store, done without training, unless it is there already.

    Raises:
        GeneratorError: if another process is taking it in.
    """
    run = Run(task, lambda _: None, lambda: False)
    with run.store.lock(task.spec) as mine:
        if not mine:
            raise GeneratorError("another process takes in this generator; try again when it is done")
        if run.folder.training():
            return
        run.store.prepare(task.spec)
        model = run.build()
        if not isinstance(model, OwnGenerator):
            raise TypeError(f"{task.spec.model} is no generator from elsewhere")
        model.base.network.load_state_dict(network.state_dict())
        session = run.session()
        session.finish()
        run.read_out(model, run.record_training(model, model.facts(), session, 0))


def _is_elsewhere(generator: str) -> bool:
    """Whether a generator is a file or a function, and no run."""
    return generator.endswith(".safetensors") or re.fullmatch(r"[\w.]+:\w+", generator) is not None


def _check_images(dataset: Dataset) -> None:
    """Raise a RefitError for anything but images."""
    if dataset.kind != "image":
        raise RefitError(f"{dataset.name} is no dataset of images; name one with --dataset")


def _fitted(base: RunSpec, energy: str) -> registry.Entry:
    """Return the model that fits such an energy on that base, or raise a RefitError if there is none."""
    known = registry.entries("models")
    if f"{base.model}+refit" not in known:
        raise RefitError(f"{base.run_id}: {base.model} has no generator to fit an energy on")
    if f"{base.model}+{energy}" not in known:
        why = "has no discriminator of the energy's structure to start from; leave out --energy"
        raise RefitError(f"{base.run_id}: {base.model} {why}")
    return known[f"{base.model}+{energy}"]


def _from_store(root: Path, asked: Refit) -> tuple[RunSpec, str]:
    """Return the run that trained the generator, and the source of its dataset."""
    if asked.latent is not None:
        raise RefitError("--latent is for a generator from elsewhere; a run has its own latent dimension")
    store = Store(root).require()
    try:
        found = RunSpec.model_validate(store.find(asked.generator).read_json("spec.json"))
    except NotInStoreError as error:
        raise RefitError(f"{error}; a generator may also be a file .safetensors or module:function") from error
    spec = found.base or found  # what was fitted afterwards has its base from another run
    if (training := store.folder(spec).training()) and unfinished(training):
        raise RefitError(
            f"{spec.run_id} is trained for {progress_words(training)}; finish it first, by its `bench run`"
        )
    if asked.seed not in (None, spec.seed):
        raise RefitError(f"--seed {asked.seed}: {found.run_id} has seed {spec.seed}, and so has what is fitted on it")
    listed = {run["run"]: run["source"] for manifest in manifests(store) for run in manifest["runs"]}
    source = asked.dataset or listed.get(found.run_id) or spec.dataset
    return spec, str(sources.parse(source))


def _from_elsewhere(
    suite: Suite[ImagesProfile], profile: ImagesProfile, dataset: Dataset, asked: Refit
) -> tuple[RunSpec, nn.Module]:
    """Return the run that a generator from elsewhere makes, and that generator, checked."""
    if asked.energy != "refit":
        raise RefitError(f"--energy {asked.energy}: a generator from elsewhere has no discriminator to start from")
    network = network_settings(suite, profile, dataset)
    network |= {} if asked.latent is None else {"latent": asked.latent}
    config: dict[str, Any] = {"network": network, "training": None, "refit": None}
    if asked.generator.endswith(".safetensors"):
        family = make("networks", network["family"], {key: network[key] for key in network if key != "family"})
        made = _read(Path(asked.generator), family.generator(dataset.shape))
    else:
        made, config["generator"] = imported(asked.generator), asked.generator
    made = checked(made, network["latent"], dataset.shape)
    config = registry.get("models", OWN).settings | config | {"weights": weights_digest(made)}
    spec = RunSpec(
        kind=suite.kind,
        dataset=dataset.name,
        dataset_digest=dataset.digest,
        model=OWN,
        config=json.loads(json.dumps(config)),
        base_seed=suite.base_seed,
        threads=profile.threads,
        seed=asked.seed or 0,
    )
    return spec, made


def _read(path: Path, network: nn.Module) -> nn.Module:
    """Return the network with the weights of a file, or raise a GeneratorError."""
    try:
        return with_weights(network, load_file(path))
    except FileNotFoundError:
        raise GeneratorError(f"no file {path}") from None
    except (OSError, SafetensorError) as error:
        raise GeneratorError(f"{path} cannot be read as safetensors: {error}") from error
    except GeneratorError as error:
        raise GeneratorError(f"{path}: {error}") from error
