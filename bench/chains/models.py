"""Models of toys: the base is given, the energy is the right one or learned on it; only the energy can be wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.chains.truth import known_model
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import EnergyNetwork, RunSpec
from bench.data import Dataset
from bench.data.toys import toy
from bench.images.models import Model, load_objective, seeded
from gebm.model import GEBM
from gebm.objectives import ContrastiveDivergence
from gebm.samplers import ULA
from gebm.training import DataStream, EnergyRefit, RefitSettings

__all__ = ["ToyModel", "persistent_contrastive_divergence"]


class ToyModel(Model):
    """A GEBM on a toy's base. With an objective its energy is learned, as a refit on the frozen base; without, it is the known one."""

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.toy = toy(dataset.name)
        base, known = known_model(self.toy)
        self.known = known.to(device)
        energy = known
        if isinstance(spec.network, EnergyNetwork):
            with seeded(streams.seed("discriminator-init")):
                energy = energy_network(dataset.shape[0], spec.network.widths)
        self.gebm = GEBM(base, energy).to(device)

    def fit(self, session: Session) -> None:
        spec = self.spec
        if spec.refit is not None:
            data = torch.from_numpy(self.dataset.splits["train"]).to(self.device)
            training = EnergyRefit(
                self.gebm.base,
                self.gebm.energy,
                load_objective(spec.settings["objective"]).to(self.device),
                DataStream(data, spec.refit.batch_size, self.streams.generator("data-order", self.device)),
                torch.from_numpy(self.dataset.splits["validation"]).to(self.device),
                self.streams.generator("training", self.device),
                RefitSettings(**spec.refit.model_dump()),
            )
            session.drive("training", training)
            training.finish()
        self.gebm.eval().requires_grad_(False)

    def state(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().contiguous() for name, value in self.gebm.energy.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.gebm.energy.load_state_dict(state)
        self.gebm.eval().requires_grad_(False)

    def facts(self) -> dict[str, Any]:
        weights = sum(parameter.numel() for parameter in self.gebm.energy.parameters())
        return {
            "parameters": {"energy": weights} if weights else {},
            "flops": {},
            "architecture": {},
            "initial_weights": {},
        }


def persistent_contrastive_divergence() -> ContrastiveDivergence:
    """Chains that are long in all: 2 steps of ULA an energy step, going on from the last but for 1 % restarts."""
    return ContrastiveDivergence(ULA(0.05), steps=2, persistent=True, restart=0.01)


def energy_network(dimension: int, widths: tuple[int, ...]) -> nn.Module:
    """x (batch, dimension) → E (batch,): linear layers with SiLU, smooth so that its chains and quadrature are."""
    layers: list[nn.Module] = []
    for width_in, width in zip([dimension, *widths], widths, strict=False):
        layers += [nn.Linear(width_in, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))
