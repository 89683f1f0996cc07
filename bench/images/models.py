"""Models of images: a generator and a discriminator trained in alternation, as a GAN or as a GEBM; and real data in a model's place.

GEBM and GANs of a comparison are the same `LatentModel` with another objective: the very same generator and discriminator classes, initial
weights, data order and evaluation latents. What is read out of a trained model is in `bench.images.evaluation`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.components.settings import make
from bench.core.model import Model, load_objective, seeded, tensors
from bench.core.phases import alternating_training, energy_refit
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from bench.data.images import PixelCodec
from bench.images.snapshots import SnapshotTraining
from gebm.base import Base, GaussianPrior
from gebm.components import component
from gebm.model import GEBM
from gebm.networks.plain import remove_spectral_norm
from gebm.objectives import Objective
from gebm.refit import EnergyRefit
from gebm.temperature import ScaledEnergy

__all__ = ["AT_ONCE", "HeldOutData", "LatentModel", "PlainCriticModel", "prepared", "sample_base"]

AT_ONCE = 2000  # images that a network makes or sees together


@component(
    "models",
    "wgan-gp",
    "Wasserstein GAN, gradient penalty around 1 of weight 10, the GEBM's own networks",
    objective="wasserstein",
    has_energy=False,
    training={"penalty": 10.0, "penalty_norm": 1.0, "penalty_points": "interpolates"},
)
@component(
    "models",
    "sngan",
    "hinge GAN as published: spectral norm and no gradient penalty, 5 discriminator steps per generator step",
    objective="hinge",
    has_energy=False,
    arm="own",
    training={"penalty": 0.0, "n_critic": 5, "burst": 0},
)
@component(
    "models",
    "gan-ns+time",
    "gan-ns trained longer, by about the seconds of an energy fitted afterwards",
    objective="non-saturating",
    has_energy=False,
    longer=True,
)
@component(
    "models", "gan-ns", "non-saturating GAN on the GEBM's own networks", objective="non-saturating", has_energy=False
)
@component("models", "gan-hinge", "hinge GAN on the GEBM's own networks", objective="hinge", has_energy=False)
@component(
    "models",
    "gebm-cd",
    "GEBM by contrastive divergence, 10 ULA steps per energy step",
    objective="contrastive-divergence",
    has_energy=True,
)
@component(
    "models",
    "gebm-dv-ma",
    "gebm-dv with a moving average of Z in the gradient",
    objective="moving-average-donsker-varadhan",
    has_energy=True,
)
@component("models", "gebm-dv", "GEBM by Donsker–Varadhan", objective="donsker-varadhan", has_energy=True)
@component(
    "models",
    "gebm-frozen-base",
    "gebm with the base left at its initial weights: the control that shows what the base contributes",
    objective="kale",
    has_energy=True,
    training={"train_base": False},
)
@component(
    "models",
    "gebm",
    "GEBM by KALE on an implicit base; energy refitted on the frozen base",
    objective="kale",
    has_energy=True,
)
class LatentModel(Model):
    """A base and an energy (or discriminator) trained in alternation; a GEBM's energy is then refitted on the frozen base.

    Settings: `objective`, `has_energy` (whether the second network is an energy, which chains may follow), `network`, `training`, `refit`,
    and where its training curve is asked for `snapshots`, the base steps after which the base is kept.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.codec = PixelCodec(dataset.levels)
        network = dict(spec.config["network"])
        self.latent = int(network["latent"])
        family = make("networks", network.pop("family"), network)
        with seeded(streams.seed("generator-init")):
            generator = family.generator(dataset.shape)
        with seeded(streams.seed("discriminator-init")):
            discriminator = family.discriminator(dataset.shape)
        self.base = Base(generator, GaussianPrior(self.latent)).to(device)
        self.discriminator = discriminator.to(device)
        for module in (self.base, self.discriminator):
            module.to(memory_format=torch.channels_last)  # activations follow the convolutions' weights
        scaled = bool(spec.config["refit"] and spec.config["refit"]["calibrated"])
        self.energy: nn.Module = ScaledEnergy(self.discriminator).to(device) if scaled else self.discriminator
        self.snapshots: dict[int, Base] = {}
        self.phase: SnapshotTraining | EnergyRefit | None = None

    @property
    def gebm(self) -> GEBM:
        """Base and energy together; an AttributeError for a discriminator, so that such a model lacks this capability."""
        if not self.spec.config["has_energy"]:
            raise AttributeError(f"{self.spec.model} has a discriminator and no energy")
        return GEBM(self.base, self.energy)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return sample_base(self.base, count, generator)

    def modules(self) -> Mapping[str, nn.Module]:
        earlier = {f"base@{step}": base for step, base in self.snapshots.items()}
        return {"base": self.base, "energy": self.energy, **earlier}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.snapshots = {step: copy.deepcopy(self.base) for step in self.spec.config.get("snapshots", ())}
        super().load(state)

    def certified(self) -> Mapping[str, tuple[nn.Module, tuple[int, ...] | None]]:
        return {
            "generator": (self.base.network, (self.latent,)),
            "discriminator": (self.discriminator, self.dataset.shape),
        }

    def steps(self) -> int:
        refit = self.spec.config["refit"]
        return int(self.spec.config["training"]["base_steps"]) + (int(refit["steps"]) if refit else 0)

    def fit(self, session: Session) -> None:
        objective = load_objective(self.spec.config, self.device)
        alternating = alternating_training(self, self.base, self.discriminator, objective, self.codec.dequantise)
        training = self.phase = SnapshotTraining(alternating, self.spec.config.get("snapshots", ()))
        self.snapshots = training.snapshots
        session.drive("training", training)
        self.base = training.finish()
        if self.spec.config["refit"]:
            self.refit(session, objective)
        self.freeze()

    def refit(self, session: Session, objective: Objective) -> None:
        """Fit the energy, from its present weights, on the base as it is."""
        refit = self.phase = energy_refit(
            self, self.base, self.energy, objective, prepared(self, "validation"), self.codec.dequantise
        )
        session.drive("refit", refit)
        refit.finish()

    def leave_off(self) -> bool:
        if isinstance(self.phase, SnapshotTraining):
            self.base = self.phase.finish()
        elif self.phase is not None:
            self.phase.finish()
        self.freeze()
        return self.phase is not None


@component(
    "models",
    "wgan-gp-published",
    "Wasserstein GAN with gradient penalty as published: no spectral norm, 5 critic steps per generator step, Adam's betas 0 and 0.9",
    objective="wasserstein",
    has_energy=False,
    arm="own",
    spectral_norm=False,
    training={
        "penalty": 10.0,
        "penalty_norm": 1.0,
        "penalty_every": 1,
        "penalty_points": "interpolates",
        "n_critic": 5,
        "burst": 0,
        "betas": (0.0, 0.9),
    },
)
class PlainCriticModel(LatentModel):
    """A base and a discriminator without spectral norm, from the same initial weights (Gulrajani et al., "Improved Training of
    Wasserstein GANs", NeurIPS 2017).
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        remove_spectral_norm(self.discriminator)


@component("models", "data", "held-out real data: the floor of every score", has_energy=False, one_seed=True)
class HeldOutData(Model):
    """Held-out real data in a model's place, never the reference itself: nothing is trained, and the scores are every model's floor."""

    def fit(self, session: Session) -> None:
        """Nothing to train."""

    def modules(self) -> Mapping[str, nn.Module]:
        return {}

    def real(self, reference: str) -> Tensor:
        """Return held-out pixels: of the test split, or where that is the reference of the validation split."""
        return tensors(self.dataset, "validation" if reference == "test" else "test", self.device)


def sample_base(base: Base, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, *shape) samples of a base from the first draws of the generator, as the networks see data."""
    latents = base.prior.sample(count, generator)
    return torch.cat([base(z) for z in torch.split(latents, AT_ONCE)])


def prepared(model: Model, split: str) -> Tensor:
    """Return a whole split as the networks see it, with the same noise for every model."""
    codec = PixelCodec(model.dataset.levels)
    pixels = tensors(model.dataset, split, model.device)
    return codec.dequantise(pixels, model.random_stream(f"{split}-noise"))
