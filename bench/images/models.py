"""Models under one contract: fit in a session, keep weights as named tensors, and say what can be read out of them.

GEBM and GANs of a comparison are the same `LatentModel` with another objective: the very same generator and discriminator classes, initial
weights, data order and evaluation latents. What is done with a trained model is in `bench.images.evaluation`.
"""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import MLPNetwork, RunSpec, SNGANNetwork
from bench.data import Dataset
from bench.data.images import PixelCodec
from gebm.base import Base, GaussianPrior
from gebm.model import GEBM
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.networks.sngan_resnet import SNGANResNetDiscriminator, SNGANResNetGenerator
from gebm.objectives import Objective
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

__all__ = ["HeldOutData", "LatentModel", "Model", "build_model"]


class Model(ABC):
    """What the runner needs of a model.

    Arguments:
        spec: the resolved run.
        dataset: real data.
        streams: the run's random streams.
        device: where to compute.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        self.spec, self.dataset, self.streams, self.device = spec, dataset, streams, device

    @abstractmethod
    def fit(self, session: Session) -> None:
        """Train to the end, or raise InterruptedRunError with everything saved."""

    def stand(self) -> str:
        """After an interrupted `fit`: become what training has made so far, frozen in evaluation mode, and say how far that is.

        Fit no further afterwards: what is to be continued is in the session. Empty if an unfinished model cannot be read out.
        """
        return ""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The trained weights."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Take weights that `state` gave, in evaluation mode and frozen."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Before training: parameters, FLOPs, architecture and initial weights of each network, for the certificate."""


def build_model(spec: RunSpec, target: Callable[..., Model], dataset: Dataset, device: torch.device) -> Model:
    """The untrained model of a run."""
    streams = Streams(spec.base_seed, spec.dataset, spec.seed, spec.model)
    return target(spec, dataset, streams, device)


class LatentModel(Model):
    """A base and an energy (or discriminator) trained in alternation; with `has_energy`, the energy is refitted and kept as a GEBM's."""

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        network = spec.network
        if not isinstance(network, MLPNetwork | SNGANNetwork):
            raise TypeError(f"{spec.model} needs a generator and a discriminator, the suite gives {network}")
        self.codec = PixelCodec(dataset.levels)
        self.phase: AlternatingTraining | EnergyRefit | None = None
        generator, discriminator = build_networks(network, dataset.shape, streams)
        self.base = Base(generator, GaussianPrior(network.latent)).to(device)
        self.energy = discriminator.to(device)
        for module in (self.base, self.energy):
            module.to(memory_format=torch.channels_last)  # activations follow the convolutions' weights
        self.initial = network_facts(
            {"generator": (self.base.network, (network.latent,)), "discriminator": (self.energy, dataset.shape)}
        )

    @property
    def has_energy(self) -> bool:
        """Whether the second network is kept and its chains are sampled."""
        return bool(self.spec.settings["has_energy"])

    @property
    def gebm(self) -> GEBM:
        """Base and energy together."""
        return GEBM(self.base, self.energy)

    def fit(self, session: Session) -> None:
        spec = self.spec
        if spec.training is None:
            raise ValueError(f"{spec.model} needs settings of the alternating phase")
        objective = load_objective(spec.settings["objective"]).to(self.device)
        settings = TrainingSettings(**spec.training.model_dump(), precision=spec.precision)
        data = self.data_stream("data-order", settings.batch_size)
        training = self.phase = AlternatingTraining(
            self.base, self.energy, objective, data, self.streams.generator("training", self.device), settings
        )
        session.drive("training", training)
        self.base = training.finish()
        if spec.refit is not None:
            refit = self.phase = EnergyRefit(
                self.base,
                self.energy,
                objective,
                self.data_stream("refit-order", spec.refit.batch_size),
                self.prepared("validation"),
                self.streams.generator("refit", self.device),
                RefitSettings(**spec.refit.model_dump(), precision=spec.precision),
            )
            session.drive("refit", refit)
            refit.finish()
        self.freeze()

    def stand(self) -> str:
        phase, training = self.phase, self.spec.training
        if phase is None or training is None:
            return ""
        if isinstance(phase, AlternatingTraining):
            self.base = phase.finish()
            words = f"{phase.done:,} of {phase.total:,} base steps"
            words += ", the energy not refitted on the frozen base" if self.spec.refit else ""
        else:
            phase.finish()
            words = f"all {training.base_steps:,} base steps and {phase.done:,} of {phase.total:,} steps of the energy's refit"
        self.freeze()
        return words

    def freeze(self) -> None:
        """Evaluation mode, no gradients to weights."""
        self.base.eval().requires_grad_(False)
        self.energy.eval().requires_grad_(False)

    def data_stream(self, stream: str, batch_size: int) -> DataStream:
        """Prepared minibatches of the training split, on the device."""
        pixels = torch.from_numpy(self.dataset.splits["train"]).to(self.device)
        return DataStream(pixels, batch_size, self.streams.generator(stream, self.device), self.codec.dequantise)

    def prepared(self, split: str) -> Tensor:
        """A whole split as the networks see it, with the same noise for every model."""
        pixels = torch.from_numpy(self.dataset.splits[split]).to(self.device)
        return self.codec.dequantise(pixels, self.streams.generator(f"{split}-noise", self.device))

    def state(self) -> dict[str, Tensor]:
        tensors = {f"base.{name}": value for name, value in self.base.state_dict().items()}
        if self.has_energy:
            tensors |= {f"energy.{name}": value for name, value in self.energy.state_dict().items()}
        return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        for part, module in (("base.", self.base), ("energy.", self.energy)):
            if part == "base." or self.has_energy:
                module.load_state_dict({k.removeprefix(part): v for k, v in state.items() if k.startswith(part)})
        self.freeze()

    def facts(self) -> dict[str, Any]:
        return self.initial


class HeldOutData(Model):
    """The test split in a model's place: nothing is trained, and its scores are the floor of everybody's."""

    def fit(self, session: Session) -> None:
        """Nothing to train."""

    def state(self) -> dict[str, Tensor]:
        return {"pixels": torch.from_numpy(self.dataset.splits["test"])}

    def load(self, state: dict[str, Tensor]) -> None:
        """Nothing to load: the data are at hand."""

    def facts(self) -> dict[str, Any]:
        return {"parameters": {}, "flops": {}, "architecture": {}, "initial_weights": {}}


def build_networks(
    network: MLPNetwork | SNGANNetwork, shape: tuple[int, ...], streams: Streams
) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator with the initial weights of the streams that all models share.

    Raises:
        ValueError: if the family has no networks for images of this shape.
    """
    make_generator, make_discriminator = constructors(network, shape)
    with seeded(streams.seed("generator-init")):
        generator = make_generator()
    with seeded(streams.seed("discriminator-init")):
        discriminator = make_discriminator()
    return generator, discriminator


def constructors(
    network: MLPNetwork | SNGANNetwork, shape: tuple[int, ...]
) -> tuple[Callable[[], nn.Module], Callable[[], nn.Module]]:
    """What makes a family's generator and discriminator; weights are drawn from the global generator."""
    if isinstance(network, MLPNetwork):
        return (
            partial(MLPGenerator, network.latent, shape, network.generator_widths),
            partial(MLPDiscriminator, shape, network.discriminator_widths),
        )
    if network.family == "sngan":
        return (
            partial(SNGANGenerator, network.latent, shape, network.width),
            partial(SNGANDiscriminator, shape, network.width),
        )
    return (
        partial(SNGANResNetGenerator, network.latent, shape, network.width),
        partial(SNGANResNetDiscriminator, shape, network.width),
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generator, which constructors of layers draw from, and restore it afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def load_objective(target: str) -> Objective:
    """The objective named by `module:Class`."""
    module, _, name = target.partition(":")
    objective: Objective = getattr(importlib.import_module(module), name)()
    return objective


def network_facts(networks: Mapping[str, tuple[nn.Module, tuple[int, ...]]]) -> dict[str, Any]:
    """The certificate of networks, given with the shape of one input: parameters, forward FLOPs a sample, digests of layer structure and
    of current weights.
    """
    facts: dict[str, Any] = {"parameters": {}, "flops": {}, "architecture": {}, "initial_weights": {}}
    for name, (network, sample_shape) in networks.items():
        state = network.state_dict()
        structure = str(network) + str([(key, tuple(value.shape)) for key, value in state.items()])
        weights = hashlib.sha256()
        for key, value in sorted(state.items()):
            weights.update(key.encode() + value.detach().cpu().numpy().tobytes())
        facts["parameters"][name] = sum(p.numel() for p in network.parameters())
        facts["flops"][name] = forward_flops(network, sample_shape)
        facts["architecture"][name] = hashlib.sha256(structure.encode()).hexdigest()[:16]
        facts["initial_weights"][name] = weights.hexdigest()[:16]
    return facts


def forward_flops(network: nn.Module, sample_shape: tuple[int, ...]) -> int:
    """FLOPs of one sample's forward pass in evaluation mode (a multiply-add is two)."""
    training = network.training
    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *sample_shape, device=device))
    network.train(training)
    return int(counter.get_total_flops())
