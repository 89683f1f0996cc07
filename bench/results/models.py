"""Trained models back in memory: from a run of a store, or from a folder that `bench publish` wrote."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.components import registry
from bench.components.digests import changes
from bench.core.manifests import manifests
from bench.core.run_folder import RunFolder
from bench.core.spec import RunSpec
from bench.core.store import Store
from bench.files import sha256_file
from bench.results.one_run import OneRun, find_run
from bench.results.weights import WeightsError

if TYPE_CHECKING:
    from bench.core.model import Model
    from bench.data import Dataset
    from gebm.model import GEBM

__all__ = ["CONFIG", "WEIGHTS", "Trained", "caveats", "check_no_code", "find_trained", "load_model", "rebuild"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""Files of a published model."""


@dataclass(frozen=True)
class Trained:
    """A trained model as it is stored: all that building and sampling it takes.

    Arguments:
        spec: the run that trained it.
        data: facts about its data, see `bench.core.rebuild.data_facts`; None in a run of a version that kept none.
        weights: sha256 of the file of its weights.
        stage: the code that trained it.
        capabilities: what can be read out of it.
        unfinished: how far its training is, in words; '' if it is done.
        temperature: β̂ of its energy, or None.
        chains: settings of the latent chains that were read out.
    """

    spec: Mapping[str, Any]
    data: Mapping[str, Any] | None
    weights: str
    stage: Mapping[str, Any]
    capabilities: Sequence[str]
    unfinished: str
    temperature: float | None
    chains: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, run: OneRun) -> Trained:
        """Return the trained model of a run.

        Raises:
            WeightsError: if it has none, or that is damaged.
        """
        training = run.training
        if training is None:
            if run.folder.read_json("training.json"):
                raise WeightsError(f"{run.folder.path} is damaged; `bench run` of its suite does it again")
            raise WeightsError(f"{run.spec.run_id} has no trained model yet: {run.state}, {run.reason}")
        return cls(
            run.spec.model_dump(mode="json"),
            training.get("data"),
            training["checkpoint"],
            training["stage"],
            training["capabilities"],
            run.unfinished,
            run.temperature,
            run.chains,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a published folder's `config.json` holds of it."""
        return asdict(self)


def find_trained(run: str | Path, store: str | Path = "runs") -> tuple[Trained, Path]:
    """Return a trained model as it is stored, and the file of its weights.

    Arguments:
        run: a folder that `bench publish` wrote, a run's folder, or any part of a run's id that no other run of the store has.
        store: folder of the store.

    Raises:
        StoreError: if there is no store, or a file of the run is damaged.
        NotInStoreError: if there is no such run, or more than one.
        WeightsError: if the run has no trained model, or that is damaged.
    """
    published = RunFolder(Path(run))
    if (config := published.read_json(CONFIG)) is not None:
        trained = Trained(**{name: config["model"][name] for name in Trained.__dataclass_fields__})
        check_no_code(trained)
        return trained, published / WEIGHTS
    folder = find_run(run, Path(store))
    return Trained.of(OneRun.read(folder)), folder / "checkpoint.safetensors"


def rebuild(trained: Trained, weights: Path, device: str = "cpu", data: str | Path | None = None) -> Model:
    """Return the model, its weights held against their hash, frozen, in evaluation mode. See `load_model` for arguments and errors."""
    import torch
    from safetensors.torch import load_file

    from bench.core.rebuild import rebuilt, without_rows

    if not weights.is_file() or sha256_file(weights) != trained.weights:
        raise WeightsError(f"{weights} is {'corrupt: its hash is another' if weights.exists() else 'missing'}")
    spec = RunSpec.model_validate(trained.spec)
    own = registry.get("models", spec.model).origin  # another package's model may look at its data when it is built
    rows_needed = trained.data is None or own
    dataset = _with_rows(spec, weights.parent, data) if rows_needed else without_rows(spec, trained.data or {})
    return rebuilt(spec, dataset, load_file(weights), torch.device(device))


def load_model(
    run: str | Path, store: str | Path = "runs", *, device: str = "cpu", data: str | Path | None = None
) -> GEBM | Model:
    """Load a trained model, frozen and in evaluation mode: of a model with an energy the GEBM itself, else the harness's model.

    The data are not read, but for models of other packages and for runs of a version that kept no facts about them. A GEBM is sampled by
    `gebm.samplers.chain` on its `for_sampling().potential(β)`; any other has `sample(n, generator)`, or `log_prob(rows)`, or both.
    Warns if the weights were trained by other code or libraries, or are of an unfinished training.

    Arguments:
        run: a folder that `bench publish` wrote, a run's folder, or any part of a run's id that no other run of the store has.
        store: folder of the store.
        device: where to put it.
        data: folder of downloaded data, where they are read.

    Raises:
        StoreError: if there is no store, or a file of the run is damaged.
        NotInStoreError: if there is no such run, or more than one.
        WeightsError: if the run has no trained model, or that is damaged.
        RebuildError: if the weights do not fit the present code.
        UnknownNameError: if the model, or a part of it, is of a package that is not installed.
        DatasetError: if its data are needed and are not at hand.

    Example:
        model = bench.load_model("runs/digits/gebm/0123456789ab-s0")
    """
    from bench.core.model import LatentChains

    trained, weights = find_trained(run, store)
    model = rebuild(trained, weights, device, data)
    for text in caveats(trained):
        warnings.warn(f"{RunSpec.model_validate(trained.spec).run_id} {text}", stacklevel=2)
    return model.gebm.eval() if isinstance(model, LatentChains) else model


def check_no_code(trained: Trained) -> None:
    """A published model names registered components only: code that a stranger's file names is never called.

    Raises:
        WeightsError: if its generator is a function of the user's own.
    """
    spec = RunSpec.model_validate(trained.spec)
    if name := next(
        (each.config["generator"] for each in (spec, spec.base) if each and "generator" in each.config), ""
    ):
        raise WeightsError(
            f"the generator of {spec.run_id} is code of its own, {name}, which a published model cannot name"
        )


def caveats(trained: Trained) -> list[str]:
    """Return what a user of the model must know of it: that it is not the present code's, or not trained to its end."""
    changed = changes(trained.stage)
    words = [f"was trained by other code or libraries ({changed})"] if changed else []
    return words + ([f"is unfinished: {trained.unfinished}"] if trained.unfinished else [])


def _with_rows(spec: RunSpec, folder: Path, data: str | Path | None) -> Dataset:
    """Return the run's dataset itself, found by the store that the folder is in, or raise a DatasetError."""
    from bench.data import DatasetError, load_dataset

    store = Store(folder.resolve().joinpath("../../../..").resolve())
    listed = {run["run"]: run["source"] for manifest in manifests(store) for run in manifest["runs"]}
    dataset = load_dataset(listed.get(spec.run_id, spec.dataset), None if data is None else Path(data))
    if dataset.digest != spec.dataset_digest:
        raise DatasetError(f"dataset '{spec.dataset}' is not what {spec.run_id} was trained on")
    return dataset
