"""A trained model built again from what is stored of it: its spec, its weights, and a few facts about data that need not be at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from bench.core.model import Model, build_model
from bench.core.spec import RunSpec
from bench.data import Dataset, DatasetError

__all__ = ["RebuildError", "data_facts", "rebuilt", "without_rows"]


class RebuildError(ValueError):
    """Stored weights that the present code cannot use."""


class NoRows(dict[str, Any]):
    """The splits of a dataset whose rows are not here."""

    def __missing__(self, split: str) -> NoReturn:
        raise DatasetError(f"the model was loaded without its data, and this needs their {split} split")


@dataclass(frozen=True)
class DataFacts(Dataset):
    """A dataset of which the facts alone are known; reading its rows is an error."""

    known_shape: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.known_shape


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """Return what a model must know of its data to be built again without them, and what they are in words."""
    return {
        "kind": dataset.kind,
        "shape": list(dataset.shape),
        "levels": dataset.levels,
        "protocol": dataset.protocol,
        "provenance": dataset.provenance,
    }


def without_rows(spec: RunSpec, facts: Mapping[str, Any]) -> Dataset:
    """Return a run's dataset by the facts that `data_facts` gave, without its rows."""
    words = {key: facts[key] for key in ("kind", "protocol", "provenance", "levels")}
    shape = tuple(facts["shape"])
    return DataFacts(spec.dataset, splits=NoRows(), recorded_digest=spec.dataset_digest, known_shape=shape, **words)


def rebuilt(spec: RunSpec, dataset: Dataset, state: Mapping[str, Tensor], device: torch.device) -> Model:
    """Return a run's model with trained weights, frozen, in evaluation mode.

    Raises:
        UnknownNameError: if the model, or a part of it, is of a package that is not installed.
        RebuildError: if the weights are not those of the present code's networks.
    """
    model = build_model(spec, dataset, device)
    try:
        model.load({name: value.to(device) for name, value in state.items()})
    except (RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise RebuildError(f"the weights of {spec.run_id} do not fit {spec.model} of this version: {first}") from error
    return model
