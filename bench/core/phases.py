"""The phases that models with an energy share: base and energy in alternation, then the energy alone on the frozen base."""

from __future__ import annotations

from torch import Tensor, nn

from bench.components.registry import BUILT_IN
from bench.components.settings import settings_of
from bench.core.model import Model, tensors
from gebm.base import Base
from gebm.objectives import Objective
from gebm.refit import EnergyRefit
from gebm.settings import RefitSettings, TrainingSettings
from gebm.stream import DataStream, Prepare
from gebm.training import AlternatingTraining

__all__ = ["alternating_training", "energy_refit", "minibatches"]


def minibatches(model: Model, stream: str, batch_size: int, prepare: Prepare | None = None) -> DataStream:
    """Return minibatches of the training split, on the device, in the order of a named random stream."""
    data = tensors(model.dataset, "train", model.device)
    return DataStream(data, batch_size, model.random_stream(stream), prepare)


def alternating_training(
    model: Model, base: Base, energy: nn.Module, objective: Objective, prepare: Prepare | None = None
) -> AlternatingTraining:
    """Return the alternating phase, with the run's settings `training`."""
    settings = settings_of(TrainingSettings, model.spec.config["training"])
    data = minibatches(model, "data-order", settings.batch_size, prepare)
    noise = model.random_stream("training")
    return AlternatingTraining(
        base, energy, objective, data, noise, settings, recordable=_recordable(base, energy, objective)
    )


def energy_refit(
    model: Model,
    base: Base,
    energy: nn.Module,
    objective: Objective,
    held_out: Tensor,
    prepare: Prepare | None = None,
    streams: tuple[str, str] = ("refit-order", "refit"),
) -> EnergyRefit:
    """Return the energy's refit, with the run's settings `refit`; `streams` names the random streams of data order and of latents."""
    settings = settings_of(RefitSettings, model.spec.config["refit"])
    data = minibatches(model, streams[0], settings.batch_size, prepare)
    noise = model.random_stream(streams[1])
    return EnergyRefit(
        base, energy, objective, data, held_out, noise, settings, recordable=_recordable(base, energy, objective)
    )


def _recordable(*modules: nn.Module) -> bool:
    """Whether steps through these may be recorded on a GPU: all classes that they are made of are torch's or ours, which keep nothing
    that changes in Python. (torch makes a class of its own of a layer with spectral norm; whose it was is among its bases.)
    """
    classes = {base for module in modules for part in module.modules() for base in type(part).__mro__}
    packages = {each.__module__.partition(".")[0] for each in classes}
    return packages <= {"builtins", "abc", "typing", "torch", *BUILT_IN}
