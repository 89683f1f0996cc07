"""GEBMs on flows: trained jointly from a trained flow or from scratch, on the frozen flow, or with an energy whose log Z is known.

A trained flow that joint training starts from is kept beside the model, and training ends at its best state by validation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from baselines.flows import Flow
from baselines.flows.network import start_at_zero
from bench.components.settings import make, settings_of
from bench.core.model import load_objective, seeded, tensors
from bench.core.phases import alternating_training, energy_refit
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from bench.densities.models import FlowModel
from gebm.components import component
from gebm.model import GEBM
from gebm.networks.flow_critic import ContractedCritic, FlowCritic
from gebm.objectives import Objective
from gebm.selection import SelectedTraining
from gebm.settings import SelectionSettings

__all__ = ["BoundedCriticGEBM", "CriticGEBM", "FlowGEBM", "WarmStart"]


class WarmStart(nn.Module):
    """The flow that joint training starts from, and what became of it; kept with the weights, so that a readout can tell.

    Arguments:
        flow: with the architecture of the one that training starts from.
    """

    outcome: Tensor

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow
        self.register_buffer("outcome", torch.zeros(4, dtype=torch.float64))

    def record(self, training: SelectedTraining) -> None:
        """Remember what was selected."""
        found = (training.first_value, training.best_value, training.best_step, training.restarts)
        self.outcome.copy_(torch.tensor(found, dtype=torch.float64))

    def facts(self) -> dict[str, float]:
        """What a row says of it: validation log-likelihoods in nats, the base step that was kept (0: the start), restarts."""
        first, best, step, restarts = self.outcome.tolist()
        return {"validation": first, "selected_validation": best, "step": int(step), "restarts": int(restarts)}


@component(
    "models",
    "gebm-frozen-kale+nsf",
    "gebm-frozen-kale on flow-nsf",
    base="flow-nsf",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale+maf",
    "gebm-frozen-kale on flow-maf",
    base="flow-maf",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale+1x",
    "gebm-frozen-kale on flow-realnvp+1x",
    base="flow-realnvp+1x",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale+2x",
    "gebm-frozen-kale on flow-realnvp+2x",
    base="flow-realnvp+2x",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale+4x",
    "gebm-frozen-kale on flow-realnvp+4x",
    base="flow-realnvp+4x",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale+params",
    "gebm-frozen-kale on flow-realnvp+params",
    base="flow-realnvp+params",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-dv",
    "gebm-frozen-kale with the Donsker–Varadhan objective",
    base="flow-realnvp",
    objective="donsker-varadhan",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-frozen-kale",
    "GEBM on the frozen maximum-likelihood RealNVP, energy by KALE",
    base="flow-realnvp",
    objective="kale",
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-scratch-cd",
    "gebm-scratch-kale with contrastive divergence",
    flow="realnvp",
    objective="contrastive-divergence",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-scratch-dv",
    "gebm-scratch-kale with the Donsker–Varadhan objective",
    flow="realnvp",
    objective="donsker-varadhan",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-scratch-kale",
    "GEBM on a RealNVP, trained jointly by KALE from initial weights and never looked at, as in the GEBM paper",
    flow="realnvp",
    objective="kale",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-flow-cd",
    "gebm-flow-kale with contrastive divergence",
    base="flow-realnvp",
    objective="contrastive-divergence",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-flow-dv",
    "gebm-flow-kale with the Donsker–Varadhan objective",
    base="flow-realnvp",
    objective="donsker-varadhan",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
@component(
    "models",
    "gebm-flow-kale",
    "GEBM on a RealNVP, both trained on jointly by KALE from maximum likelihood, best state by validation",
    base="flow-realnvp",
    objective="kale",
    joint=True,
    has_energy=True,
    fits=("tabular",),
)
class FlowGEBM(FlowModel):
    """A GEBM on a flow, its energy 0 at the start. The setting `joint` trains flow and energy in alternation, then refits the energy;
    without it the energy is trained on the frozen flow. Joint training that starts from a trained flow ends at its best state.
    """

    warm_start: WarmStart | None = None

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        with seeded(streams.seed("discriminator-init")):
            self.energy = make("networks", "energy-mlp", spec.config["energy"]).discriminator(dataset.shape).to(device)
        start_at_zero([layer for layer in self.energy.modules() if isinstance(layer, nn.Linear)][-1])
        if "selection" in spec.config:
            self.warm_start = WarmStart(copy.deepcopy(self.flow))

    @property
    def gebm(self) -> GEBM:
        """Flow and energy together."""
        return GEBM(self.flow, self.energy)

    def modules(self) -> Mapping[str, nn.Module]:
        parts = {"flow": self.flow, "energy": self.energy}
        return parts if self.warm_start is None else parts | {"warm_start": self.warm_start}

    def certified(self) -> Mapping[str, tuple[nn.Module, tuple[int, ...] | None]]:
        return {part: (module, self.dataset.shape) for part, module in self.modules().items() if part != "warm_start"}

    def fit(self, session: Session) -> None:
        config, held_out = self.spec.config, tensors(self.dataset, "validation", self.device)
        objective = load_objective(config, self.device)
        if "training" in config:
            self.train_jointly(objective, held_out, session)
        refit = energy_refit(self, self.flow, self.energy, objective, held_out)
        session.drive("refit", refit)
        refit.finish()
        self.freeze()

    def train_jointly(self, objective: Objective, held_out: Tensor, session: Session) -> None:
        """Train flow and energy in alternation; from a warm start, keep the best state."""
        if self.warm_start is not None:
            self.warm_start.flow.load_state_dict(self.flow.state_dict())
        self.flow.requires_grad_(True)
        training = alternating_training(self, self.flow, self.energy, objective)
        if self.warm_start is None:
            session.drive("training", training)
            self.flow = training.finish()  # type: ignore[assignment]
            return
        settings = settings_of(SelectionSettings, self.spec.config["selection"])
        selected = SelectedTraining(training, held_out, self.random_stream("selection"), settings)
        session.drive("training", selected)
        self.flow = selected.finish()  # type: ignore[assignment]
        self.warm_start.record(selected)


@component(
    "models",
    "gebm-critic",
    "GEBM on the frozen RealNVP with a flow critic: log Z known, density that of flow-maf",
    base="flow-realnvp",
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

    def fit(self, session: Session) -> None:
        self.critic = self.maximise(self.critic, "critic", session)
        self.freeze()


@component(
    "models",
    "gebm-critic-bounded",
    "GEBM on the frozen RealNVP whose density is the flow's with contracted latents: log Z known, weights bounded",
    base="flow-realnvp",
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

    def fit(self, _session: Session) -> None:
        self.freeze()
