"""Models of toys: the base is given, the energy is the right one or learned on it; only the energy can be wrong."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from bench.chains.truth import known_model
from bench.components.settings import make
from bench.core.model import Model, load_objective, seeded, tensors
from bench.core.phases import energy_refit
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from bench.data.toys import TOYS
from gebm.components import component
from gebm.model import GEBM

__all__ = ["ToyModel"]


@component(
    "models",
    "toy-cd",
    "the toy's base, energy by contrastive divergence with persistent chains of ULA",
    objective="persistent-contrastive-divergence",
    has_energy=True,
    fits=("toy",),
)
@component(
    "models",
    "toy-dv",
    "the toy's base, energy by Donsker–Varadhan",
    objective="donsker-varadhan",
    has_energy=True,
    fits=("toy",),
)
@component("models", "toy-kale", "the toy's base, energy by KALE", objective="kale", has_energy=True, fits=("toy",))
@component("models", "toy-known", "the toy's base with the energy that is right for it", has_energy=True, fits=("toy",))
class ToyModel(Model):
    """A GEBM on a toy's base. With an objective its energy is learned, as a refit on the frozen base; without, it is the known one."""

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.toy = TOYS[dataset.name]
        base, known = known_model(self.toy)
        self.known = known.to(device)
        energy = known
        if "network" in spec.config:
            network = dict(spec.config["network"])
            family = make("networks", network.pop("family"), network)
            with seeded(streams.seed("discriminator-init")):
                energy = family.discriminator(dataset.shape)
        self.gebm = GEBM(base, energy).to(device)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"energy": self.gebm.energy}

    def freeze(self) -> None:
        self.gebm.eval().requires_grad_(False)

    def steps(self) -> int:
        return int(self.spec.config["refit"]["steps"]) if "refit" in self.spec.config else 0

    def fit(self, session: Session) -> None:
        if "refit" in self.spec.config:
            objective = load_objective(self.spec.config, self.device)
            held_out = tensors(self.dataset, "validation", self.device)
            streams = ("data-order", "training")
            refit = energy_refit(self, self.gebm.base, self.gebm.energy, objective, held_out, streams=streams)
            session.drive("training", refit)
            refit.finish()
        self.freeze()
