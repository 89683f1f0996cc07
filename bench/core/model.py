"""Models under one contract: fit in a session, keep weights as named tensors, and say by their methods what can be read out of them."""

from __future__ import annotations

import hashlib
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.components import registry
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from gebm.model import GEBM
from gebm.objectives import Objective
from gebm.samplers import Cost

__all__ = [
    "LatentChains",
    "LogProb",
    "Model",
    "Samples",
    "build_model",
    "capabilities",
    "gebm_of",
    "load_objective",
    "seeded",
    "tensors",
]

T = TypeVar("T")


class Model(ABC):
    """What the harness needs of a model; a subclass adds the methods of `Samples`, `LatentChains` or `LogProb` that it can keep.

    Arguments:
        spec: the resolved run; `spec.config` holds the model's settings.
        dataset: real data.
        streams: the run's random streams.
        device: where to compute.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        self.spec, self.dataset, self.streams, self.device = spec, dataset, streams, device

    def random_stream(self, name: str) -> torch.Generator:
        """Return a fresh generator of a named random stream of the run, on the device."""
        return self.streams.generator(name, self.device)

    @abstractmethod
    def fit(self, session: Session) -> None:
        """Train to the end, or raise InterruptedRunError with everything saved."""

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Before `fit`: take the weights, as `state` gave them, of the trained model that `spec.base` names.

        Raises:
            TypeError: for a model that starts from nothing.
        """
        raise TypeError(f"{self.spec.model} starts from no other model, and cannot take {len(state)} weights")

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """The trained parts, by the name under which their weights are kept."""

    def certified(self) -> Mapping[str, tuple[nn.Module, tuple[int, ...] | None]]:
        """The parts whose size and structure are certified, each with the shape of one input if its FLOPs are to be counted."""
        return {name: (module, None) for name, module in self.modules().items()}

    def steps(self) -> int:
        """Training steps asked for, over all phases that the `Session` drives."""
        return 0

    def sampling_cost(self) -> Cost:
        """What one of its own samples costs in evaluations of the energy, where it makes them by chains."""
        return Cost()

    def leave_off(self) -> bool:
        """After an interrupted `fit`: become what training has made so far, ready to be read out.

        Returns:
            False if an unfinished model of this kind cannot be read out.
        """
        return False

    def state(self) -> dict[str, Tensor]:
        """The trained weights."""
        return {
            f"{part}.{name}": value.detach().cpu().contiguous()
            for part, module in self.modules().items()
            for name, value in module.state_dict().items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take weights that `state` gave, in evaluation mode and frozen."""
        for part, module in self.modules().items():
            own = f"{part}."
            module.load_state_dict({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})
        self.freeze()

    def freeze(self) -> None:
        """Evaluation mode, no gradients to weights."""
        for module in self.modules().values():
            module.eval().requires_grad_(False)

    def facts(self) -> dict[str, Any]:
        """The certificate of the parts as they are: parameters, forward FLOPs per sample, digests of structure and of weights."""
        found: dict[str, Any] = {"parameters": {}, "flops": {}, "architecture": {}, "initial_weights": {}}
        for name, (network, shape) in self.certified().items():
            if not (parameters := sum(each.numel() for each in network.parameters())):
                continue
            found["parameters"][name] = parameters
            if shape is not None:
                found["flops"][name] = forward_flops(network, shape)
            structure = str(network) + str([(key, tuple(value.shape)) for key, value in network.state_dict().items()])
            found["architecture"][name] = hashlib.sha256(structure.encode()).hexdigest()[:16]
            found["initial_weights"][name] = weights_digest(network)
        return found


@runtime_checkable
class Samples(Protocol):
    """A model that can be sampled without a chain."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, *shape) samples as the networks see data; latents, where there are any, are the first draws of the generator."""
        ...


class _Asked(ABCMeta):
    """Asks an object for its `gebm`, which may raise an AttributeError; from Python 3.12 on `isinstance` of a protocol only looks whether
    the class has such a property.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        return hasattr(instance, "gebm")


class LatentChains(metaclass=_Asked):
    """A model with an energy on a base, which latent chains sample."""

    @property
    @abstractmethod
    def gebm(self) -> GEBM:
        """Base and energy together."""


@runtime_checkable
class LogProb(Protocol):
    """A model whose density can be evaluated; of a GEBM on a flow this is the base's."""

    def log_prob(self, rows: Tensor) -> Tensor:
        """Return the exact log-density in nats of rows (n, d), shape (n,)."""
        ...


CAPABILITIES: dict[str, type] = {"samples": Samples, "latent-chains": LatentChains, "log-prob": LogProb}


def capabilities(model: Model) -> list[str]:
    """What can be read out of a model, by name."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(model, protocol)]


def gebm_of(model: Model) -> GEBM:
    """Return a model's base and energy.

    Raises:
        TypeError: for a model without an energy.
    """
    if not isinstance(model, LatentChains):
        raise TypeError(f"{model.spec.model} has no energy that a chain could follow")
    return model.gebm


def build_model(spec: RunSpec, dataset: Dataset, device: torch.device) -> Model:
    """The untrained model of a run."""
    target: Callable[..., Model] = registry.get("models", spec.model).load()
    return target(spec, dataset, Streams(spec.base_seed, spec.dataset, spec.seed, spec.model), device)


def load_objective(config: Mapping[str, Any], device: torch.device) -> Objective:
    """The registered objective that a model's settings name, with the settings that they give it."""
    make: Callable[..., Objective] = registry.get("objectives", config["objective"]).load()
    return make(**config.get("objective_settings", {})).to(device)


def tensors(dataset: Dataset, split: str, device: torch.device) -> Tensor:
    """A split as it is stored, on the device."""
    return torch.from_numpy(dataset.splits[split]).to(device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generator, which constructors of layers draw from, and restore it afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def weights_digest(network: nn.Module) -> str:
    """Short sha256 of a network's present weights."""
    content = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        content.update(key.encode() + value.detach().cpu().numpy().tobytes())
    return content.hexdigest()[:16]


def forward_flops(network: nn.Module, sample_shape: tuple[int, ...]) -> int:
    """FLOPs of one sample's forward pass in evaluation mode (a multiply-add is two)."""
    training = network.training
    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *sample_shape, device=device))
    network.train(training)
    return int(counter.get_total_flops())
