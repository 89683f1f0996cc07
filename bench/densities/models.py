"""Models of tables: flows by maximum likelihood, and GEBMs on the very same flows.

All models of a comparison with the same kind of flow start from the same initial weights and see the rows in the same order; what is
trained by maximum likelihood comes out bit for bit the same in each, so that a GEBM on the frozen flow stands on the flow it is compared
with. What is done with a trained model is in `bench.densities.likelihoods`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.densities import Density, gaussian_mixture, kernel_density
from baselines.flows import Flow, FlowSettings, MaximumLikelihood, MaximumLikelihoodSettings, build_flow
from bench.chains.models import energy_network
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import DensityNetwork, FlowNetwork, RunSpec
from bench.data import Dataset
from bench.images.models import Model, load_objective, network_facts, seeded
from gebm.model import GEBM
from gebm.networks.flow_critic import FlowCritic
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

__all__ = ["CriticGEBM", "DensityModel", "EstimatedDensity", "FlowGEBM", "FlowModel", "ReweightedFlow"]


class DensityModel(Model):
    """A model with a density that can be evaluated, and sampled."""

    @abstractmethod
    def log_prob(self, rows: Tensor) -> Tensor:
        """Exact log-density in nats of rows (n, d); of a GEBM that of its base."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Exact draws (count, d); of a GEBM those of its base."""

    def rows(self, split: str) -> Tensor:
        """A split on the device."""
        return torch.from_numpy(self.dataset.splits[split]).to(self.device)


class EstimatedDensity(DensityModel):
    """A kernel density or a mixture of Gaussians, chosen by validation rows: what no learned flow should lose to."""

    fitted: Density | None = None

    def fit(self, session: Session) -> None:
        train, validation = self.rows("train"), self.rows("validation")
        session.progress({"phase": self.spec.settings["density"]})
        if self.spec.settings["density"] == "kernel":
            self.fitted = kernel_density(train, validation)
        else:
            self.fitted = gaussian_mixture(train, validation, self.streams.generator("training"))

    def log_prob(self, rows: Tensor) -> Tensor:
        return self.density.log_prob(rows)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return self.density.sample(count, generator)

    @property
    def density(self) -> Density:
        """The fitted density."""
        if self.fitted is None:
            raise RuntimeError("this density is not fitted yet")
        return self.fitted

    def state(self) -> dict[str, Tensor]:
        return self.density.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.fitted = Density.from_state(state)

    def facts(self) -> dict[str, Any]:
        return network_facts({})


class FlowModel(DensityModel):
    """A flow trained by maximum likelihood."""

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        if not isinstance(spec.network, DensityNetwork) or spec.network.flow is None:
            raise TypeError(f"{spec.model} needs a flow, the suite gives {spec.network}")
        self.networks = spec.network
        self.flow = self.build(spec.network.flow)

    def build(self, network: FlowNetwork) -> Flow:
        """An untrained flow, its weights from the stream that all flows share."""
        with seeded(self.streams.seed("generator-init")):
            return build_flow(FlowSettings(**network.model_dump()), self.dataset.shape[0]).to(self.device)

    def fit(self, session: Session) -> None:
        self.flow = self.maximise(self.flow, "likelihood", session)
        self.freeze()

    def maximise(self, flow: Flow, phase: str, session: Session) -> Flow:
        """The flow by maximum likelihood, from streams that leave the model's name out."""
        if self.spec.likelihood is None:
            raise ValueError(f"{self.spec.model} needs settings of maximum likelihood")
        settings = MaximumLikelihoodSettings(**self.spec.likelihood.model_dump())
        training = MaximumLikelihood(
            flow,
            self.data_stream("data-order", settings.batch_size),
            self.rows("validation"),
            self.streams.generator("likelihood", self.device),
            settings,
        )
        session.drive(phase, training)
        return training.finish()

    def data_stream(self, stream: str, batch_size: int) -> DataStream:
        """Minibatches of the training rows."""
        return DataStream(self.rows("train"), batch_size, self.streams.generator(stream, self.device))

    def modules(self) -> dict[str, nn.Module]:
        """The trained parts, by the name under which their weights are kept."""
        return {"flow": self.flow}

    def freeze(self) -> None:
        """Evaluation mode, no gradients to weights."""
        for module in self.modules().values():
            module.eval().requires_grad_(False)

    def log_prob(self, rows: Tensor) -> Tensor:
        return self.flow.log_prob(rows)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return self.flow.sample(count, generator)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{part}.{name}": value.detach().cpu().contiguous()
            for part, module in self.modules().items()
            for name, value in module.state_dict().items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        for part, module in self.modules().items():
            own = f"{part}."
            module.load_state_dict({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})
        self.freeze()

    def facts(self) -> dict[str, Any]:
        shape = self.dataset.shape
        return network_facts({part: (module, shape) for part, module in self.modules().items()})


class ReweightedFlow(FlowModel):
    """A flow with an energy: its density is known up to log Z."""

    known_log_partition: ClassVar[float | None] = None
    """A, where it is known in closed form."""

    @property
    @abstractmethod
    def gebm(self) -> GEBM:
        """Flow and energy together."""


class FlowGEBM(ReweightedFlow):
    """A GEBM on a flow. The setting `joint` trains flow and energy in alternation, from the initial flow or from one that a suite warms up
    by maximum likelihood, then refits the energy; without it the energy is trained on the frozen maximum-likelihood flow.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        if self.networks.energy is None:
            raise TypeError(f"{spec.model} needs an energy, the suite gives {self.networks}")
        with seeded(streams.seed("discriminator-init")):
            self.energy = energy_network(dataset.shape[0], self.networks.energy.widths).to(device)

    @property
    def gebm(self) -> GEBM:
        return GEBM(self.flow, self.energy)

    def modules(self) -> dict[str, nn.Module]:
        return {"flow": self.flow, "energy": self.energy}

    def fit(self, session: Session) -> None:
        spec = self.spec
        if spec.refit is None:
            raise ValueError(f"{spec.model} needs settings of the energy's refit")
        if spec.likelihood is not None:
            self.flow = self.maximise(self.flow, "likelihood", session)
        objective = load_objective(spec.settings["objective"]).to(self.device)
        if spec.training is not None:
            self.flow.requires_grad_(True)
            alternating = AlternatingTraining(
                self.flow,
                self.energy,
                objective,
                self.data_stream("data-order", spec.training.batch_size),
                self.streams.generator("training", self.device),
                TrainingSettings(**spec.training.model_dump()),
            )
            session.drive("training", alternating)
            self.flow = alternating.finish()  # type: ignore[assignment]
        refit = EnergyRefit(
            self.flow,
            self.energy,
            objective,
            self.data_stream("refit-order", spec.refit.batch_size),
            self.rows("validation"),
            self.streams.generator("refit", self.device),
            RefitSettings(**spec.refit.model_dump()),
        )
        session.drive("refit", refit)
        refit.finish()
        self.freeze()


class CriticGEBM(ReweightedFlow):
    """A GEBM whose energy is made of a second flow: E(x) = −log r(x) + log g(x), whose log Z is 0 and whose density is r.

    Both flows are the maximum-likelihood ones of their kind; what is estimated for it tells how far the estimators can be trusted.
    """

    known_log_partition = 0.0

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        if self.networks.critic is None:
            raise TypeError(f"{spec.model} needs a critic, the suite gives {self.networks}")
        self.critic = self.build(self.networks.critic)

    @property
    def gebm(self) -> GEBM:
        return GEBM(self.flow, FlowCritic(self.critic, self.flow))

    def modules(self) -> dict[str, nn.Module]:
        return {"flow": self.flow, "critic": self.critic}

    def fit(self, session: Session) -> None:
        self.flow = self.maximise(self.flow, "likelihood", session)
        self.critic = self.maximise(self.critic, "critic", session)
        self.freeze()
