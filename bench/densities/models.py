"""Models of tables: densities that need no training, and flows by maximum likelihood; GEBMs on those very flows are in `gebms`.

All models of a comparison with the same kind of flow start from the same initial weights and see the rows in the same order. A GEBM
starts from the run of a flow, which is trained once for all of them, so that it stands on the flow it is compared with; those from
scratch do not. What is done with a trained model is in `bench.densities.likelihoods`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from baselines.densities import Density, gaussian_mixture, kernel_density
from baselines.flows import Flow, FlowSettings, MaximumLikelihood, MaximumLikelihoodSettings, build_flow
from bench.components.settings import settings_of
from bench.core.model import Model, seeded, tensors
from bench.core.phases import minibatches
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from gebm.components import component
from gebm.networks.family import EnergyFamily

__all__ = ["EstimatedDensity", "FlowModel", "with_parameters_of"]


@component(
    "models", "gmm", "full-covariance Gaussian mixture, size by validation", density="mixture", fits=("tabular",)
)
@component("models", "kde", "Gaussian kernels, bandwidth by validation", density="kernel", fits=("tabular",))
class EstimatedDensity(Model):
    """A kernel density or a mixture of Gaussians, chosen by validation rows: what no learned flow should lose to."""

    density: Density

    def fit(self, session: Session) -> None:
        train, validation = (tensors(self.dataset, split, self.device) for split in ("train", "validation"))
        session.progress({"phase": self.spec.config["density"]})
        if self.spec.config["density"] == "kernel":
            self.density = kernel_density(train, validation)
        else:
            self.density = gaussian_mixture(train, validation, self.streams.generator("training"))

    def log_prob(self, rows: Tensor) -> Tensor:
        return self.density.log_prob(rows)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return self.density.sample(count, generator)

    def modules(self) -> Mapping[str, nn.Module]:
        return {}

    def state(self) -> dict[str, Tensor]:
        return self.density.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.density = Density.from_state(state)


@component("models", "flow-nsf-ar", "autoregressive neural spline flow", flow="nsf-ar", fits=("tabular",))
@component("models", "flow-nsf", "neural spline flow of couplings", flow="nsf", fits=("tabular",))
@component("models", "flow-maf", "masked autoregressive flow by maximum likelihood", flow="maf", fits=("tabular",))
@component(
    "models",
    "flow-realnvp+1x",
    "flow-realnvp of a fixed, small number of steps",
    flow="realnvp",
    times=1,
    fits=("tabular",),
)
@component(
    "models", "flow-realnvp+2x", "flow-realnvp+1x of twice the steps", flow="realnvp", times=2, fits=("tabular",)
)
@component(
    "models", "flow-realnvp+4x", "flow-realnvp+1x of four times the steps", flow="realnvp", times=4, fits=("tabular",)
)
@component(
    "models",
    "flow-realnvp+time",
    "flow-realnvp trained on, by about the seconds of an energy on it",
    base="flow-realnvp",
    control="time",
    fits=("tabular",),
)
@component(
    "models",
    "flow-realnvp+params",
    "flow-realnvp with couplings for the parameters of an energy on it",
    flow="realnvp",
    control="parameters",
    fits=("tabular",),
)
@component("models", "flow-realnvp", "RealNVP by maximum likelihood", flow="realnvp", fits=("tabular",))
@component("models", "flow-gaussian", "Gaussian by maximum likelihood", flow="gaussian", fits=("tabular",))
class FlowModel(Model):
    """A flow trained by maximum likelihood, from its initial weights or on from another run's. Settings: `flow`, `likelihood`."""

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.flow = self.build(spec.config["flow"])

    def build(self, network: Mapping[str, Any]) -> Flow:
        """Return an untrained flow, its weights from the stream that all flows share."""
        with seeded(self.streams.seed("generator-init")):
            return build_flow(settings_of(FlowSettings, network), self.dataset.shape[0]).to(self.device)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"flow": self.flow}

    def certified(self) -> Mapping[str, tuple[nn.Module, tuple[int, ...] | None]]:
        return {part: (module, self.dataset.shape) for part, module in self.modules().items()}

    def steps(self) -> int:
        phases = (("likelihood", "steps"), ("training", "base_steps"), ("refit", "steps"))
        return sum(int(self.spec.config[phase][key]) for phase, key in phases if phase in self.spec.config)

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        own = {name: value for name, value in state.items() if name.startswith("flow.")}
        self.flow.load_state_dict({name.removeprefix("flow."): value for name, value in own.items()})
        self.flow.eval().requires_grad_(False)

    def fit(self, session: Session) -> None:
        self.flow = self.maximise(self.flow, "likelihood", session)
        self.freeze()

    def maximise(self, flow: Flow, phase: str, session: Session) -> Flow:
        """Train a flow by maximum likelihood, from streams that leave the model's name out."""
        flow.requires_grad_(True)
        settings = settings_of(MaximumLikelihoodSettings, self.spec.config["likelihood"])
        training = MaximumLikelihood(
            flow,
            minibatches(self, "data-order", settings.batch_size),
            tensors(self.dataset, "validation", self.device),
            self.random_stream("likelihood"),
            settings,
        )
        session.drive(phase, training)
        return training.finish()

    def log_prob(self, rows: Tensor) -> Tensor:
        return self.flow.log_prob(rows)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return self.flow.sample(count, generator)


def with_parameters_of(energy: EnergyFamily, flow: FlowSettings, shape: Sequence[int]) -> FlowSettings:
    """Return the flow with as many layers more as bring its parameters nearest to those of flow and energy together."""

    def parameters(layers: int) -> int:
        return sum(each.numel() for each in build_flow(replace(flow, layers=layers), shape[0]).parameters())

    with seeded(0):  # building draws weights
        wanted = parameters(flow.layers) + sum(each.numel() for each in energy.discriminator(shape).parameters())
        layers = flow.layers
        while parameters(layers + 1) <= wanted:
            layers += 1
        nearest = min((layers, layers + 1), key=lambda count: abs(parameters(count) - wanted))
    return replace(flow, layers=nearest)
