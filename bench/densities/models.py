"""Models of tables: flows by maximum likelihood, and GEBMs on the very same flows.

All models of a comparison with the same kind of flow start from the same initial weights and see the rows in the same order; what is
trained by maximum likelihood comes out bit for bit the same in each, so that a GEBM on the frozen flow stands on the flow it is compared
with. What is done with a trained model is in `bench.densities.likelihoods`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.densities import Density, gaussian_mixture, kernel_density
from baselines.flows import Flow, FlowSettings, MaximumLikelihood, MaximumLikelihoodSettings, build_flow
from bench.components.settings import make, settings_of
from bench.core.model import Model, load_objective, seeded, tensors
from bench.core.phases import alternating_training, energy_refit, minibatches
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from gebm.components import component
from gebm.model import GEBM
from gebm.networks.flow_critic import ContractedCritic, FlowCritic

__all__ = ["BoundedCriticGEBM", "CriticGEBM", "EstimatedDensity", "FlowGEBM", "FlowModel"]


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
@component("models", "flow-realnvp", "RealNVP by maximum likelihood", flow="realnvp", fits=("tabular",))
@component("models", "flow-gaussian", "Gaussian by maximum likelihood", flow="gaussian", fits=("tabular",))
class FlowModel(Model):
    """A flow trained by maximum likelihood. Settings: `flow`, `likelihood`."""

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

    def fit(self, session: Session) -> None:
        self.flow = self.maximise(self.flow, "likelihood", session)
        self.freeze()

    def maximise(self, flow: Flow, phase: str, session: Session) -> Flow:
        """Train a flow by maximum likelihood, from streams that leave the model's name out."""
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


@component(
    "models",
    "gebm-frozen-dv",
    "gebm-frozen-kale with the Donsker–Varadhan objective",
    flow="realnvp",
    objective="donsker-varadhan",
    joint=False,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale",
    "GEBM on the frozen maximum-likelihood RealNVP, energy by KALE",
    flow="realnvp",
    objective="kale",
    joint=False,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-flow-cd",
    "gebm-flow-kale with contrastive divergence",
    flow="realnvp",
    objective="contrastive-divergence",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-flow-dv",
    "gebm-flow-kale with the Donsker–Varadhan objective",
    flow="realnvp",
    objective="donsker-varadhan",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-flow-kale",
    "GEBM on a RealNVP, flow and energy trained jointly by KALE",
    flow="realnvp",
    objective="kale",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
class FlowGEBM(FlowModel):
    """A GEBM on a flow. The setting `joint` trains flow and energy in alternation, from the initial flow or from one that a suite warms up
    by maximum likelihood, then refits the energy; without it the energy is trained on the frozen maximum-likelihood flow.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        with seeded(streams.seed("discriminator-init")):
            self.energy = make("networks", "energy-mlp", spec.config["energy"]).discriminator(dataset.shape).to(device)

    @property
    def gebm(self) -> GEBM:
        """Flow and energy together."""
        return GEBM(self.flow, self.energy)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"flow": self.flow, "energy": self.energy}

    def fit(self, session: Session) -> None:
        config = self.spec.config
        if "likelihood" in config:
            self.flow = self.maximise(self.flow, "likelihood", session)
        objective = load_objective(config, self.device)
        if "training" in config:
            self.flow.requires_grad_(True)
            training = alternating_training(self, self.flow, self.energy, objective)
            session.drive("training", training)
            self.flow = training.finish()  # type: ignore[assignment]
        held_out = tensors(self.dataset, "validation", self.device)
        refit = energy_refit(self, self.flow, self.energy, objective, held_out)
        session.drive("refit", refit)
        refit.finish()
        self.freeze()


@component(
    "models",
    "gebm-critic",
    "GEBM on the frozen RealNVP with a flow critic: log Z known, density that of flow-maf",
    flow="realnvp",
    critic="maf",
    has_energy=True,
    fits=("tabular",),
)
class CriticGEBM(FlowModel):
    """A GEBM whose energy is made of a second flow: E(x) = −log r(x) + log g(x), whose log Z is 0 and whose density is r.

    Both flows are the maximum-likelihood ones of their kind; what is estimated for it tells how far the estimators can be trusted.
    """

    known_log_partition = 0.0

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.critic = self.build(spec.config["critic"])

    @property
    def gebm(self) -> GEBM:
        """Flow and energy together."""
        return GEBM(self.flow, FlowCritic(self.critic, self.flow))

    @torch.no_grad()
    def mass_beyond(self, energy: float) -> float:
        """Return the share of the model's mass with a lower energy than this, from 10,000 of its draws."""
        rows = self.critic.sample(10_000, self.random_stream("mass-beyond"))
        return float((self.gebm.energy(rows) < energy).double().mean())

    def modules(self) -> Mapping[str, nn.Module]:
        return {"flow": self.flow, "critic": self.critic}

    def steps(self) -> int:
        return 2 * super().steps()

    def fit(self, session: Session) -> None:
        self.flow = self.maximise(self.flow, "likelihood", session)
        self.critic = self.maximise(self.critic, "critic", session)
        self.freeze()


@component(
    "models",
    "gebm-critic-bounded",
    "GEBM on the frozen RealNVP whose density is the flow's with contracted latents: log Z known, weights bounded",
    flow="realnvp",
    has_energy=True,
    fits=("tabular",),
)
class BoundedCriticGEBM(FlowModel):
    """A GEBM whose density is the law of G(μ + σζ), ζ ~ N(0, I), on the maximum-likelihood flow G: log Z is 0, weights are bounded.

    ‖μ‖ = 1.5 and σ = √d/(√d + 1), so that 7 to 24 base draws are worth one of the model for d from 2 to 43.
    """

    known_log_partition = 0.0

    @property
    def energy(self) -> ContractedCritic:
        """The critic."""
        root = math.sqrt(self.dataset.shape[0])
        mean = torch.full(self.dataset.shape, 1.5 / root, device=self.device)
        return ContractedCritic(self.flow.network.inverse, mean, root / (root + 1))

    @property
    def gebm(self) -> GEBM:
        """Flow and energy together."""
        return GEBM(self.flow, self.energy)

    def mass_beyond(self, energy: float) -> float:
        """Return the share of the model's mass with a lower energy than this."""
        return self.energy.mass_beyond(-energy)
