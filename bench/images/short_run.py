"""The data-space control: an energy on the GEBM's discriminator network, without a base, trained and sampled by short-run Langevin chains.

It shares the discriminator's initial weights and the order of the data with every other model of a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from baselines.settings import ShortRunSettings
from baselines.short_run import ShortRunTraining, short_run, uniform_noise
from bench.components.settings import make, settings_of
from bench.core.model import Model, seeded
from bench.core.phases import minibatches
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from bench.data.images import PixelCodec
from bench.images.models import AT_ONCE
from gebm.components import component
from gebm.samplers import Cost

__all__ = ["ShortRunModel"]


@component(
    "models",
    "ebm-short-run",
    "energy without a base on the GEBM's discriminator: short-run Langevin chains over pixels, from uniform noise",
    has_energy=False,
    trained_by="short-run",
)
class ShortRunModel(Model):
    """A learned sampler, scored by its samples as a GAN is; its energy is no density of theirs, so no chain or likelihood reads it.

    Settings: `network`, of which the discriminator is used, and `short_run`, see `baselines.settings.ShortRunSettings`.
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.settings = settings_of(ShortRunSettings, spec.config["short_run"])
        network = dict(spec.config["network"])
        family = make("networks", network.pop("family"), network)
        with seeded(streams.seed("discriminator-init")):
            discriminator = family.discriminator(dataset.shape)
        self.energy = discriminator.to(device, memory_format=torch.channels_last)
        self.phase: ShortRunTraining | None = None

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        starts = uniform_noise(count, self.dataset.shape, generator)
        return torch.cat([short_run(self.energy, x, self.settings, generator) for x in torch.split(starts, AT_ONCE)])

    def sampling_cost(self) -> Cost:
        return Cost(gradient_evaluations=self.settings.langevin_steps)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"energy": self.energy}

    def certified(self) -> Mapping[str, tuple[nn.Module, tuple[int, ...] | None]]:
        return {"discriminator": (self.energy, self.dataset.shape)}

    def steps(self) -> int:
        return self.settings.steps

    def fit(self, session: Session) -> None:
        prepare = PixelCodec(self.dataset.levels).dequantise
        data = minibatches(self, "data-order", self.settings.batch_size, prepare)
        self.phase = ShortRunTraining(self.energy, data, self.random_stream("training"), self.settings)
        session.drive("short-run", self.phase)
        self.freeze()

    def leave_off(self) -> bool:
        self.freeze()
        return self.phase is not None
