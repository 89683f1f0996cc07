"""Training of a GEBM: energy and base in alternation (Arbel et al., 2021, Algorithm 1), then the energy alone on the frozen base.

Both phases are objects with `step()`, `state_dict()` and `load_state_dict()`: whoever drives them decides when to log, stop and save, and a
restored phase continues bit for bit. The loop knows nothing of KALE: any `gebm.objectives.Objective` fits, the GANs of `baselines`
among them, and any `gebm.base.Base`, implicit or flow. The second phase lives in `gebm.refit`, settings in `gebm.settings`,
minibatches in `gebm.stream`; all are importable from here.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from gebm.base import Base, frozen, recompute_normalisation, seeded_dropout
from gebm.energy_steps import EnergySteps, Losses, energy_optimizer, step_recorder
from gebm.model import energies
from gebm.objectives import Objective
from gebm.optimisation import adam, descend, learning_rate_factor, moving_average, scale_learning_rate
from gebm.precision import mixed_precision, widened
from gebm.refit import EnergyRefit
from gebm.settings import RefitSettings, TrainingSettings
from gebm.stream import DataStream

__all__ = [
    "AlternatingTraining",
    "DataStream",
    "DivergedError",
    "EnergyRefit",
    "RefitSettings",
    "TrainingSettings",
]


class DivergedError(RuntimeError):
    """A loss is no longer finite."""


class AlternatingTraining:
    """Algorithm 1: `n_critic` energy steps, one base step, and so on; base in training mode unless the settings say otherwise.

    Arguments:
        base: trained in place.
        energy: trained in place.
        objective: losses of both.
        data: prepared minibatches.
        generator: latents, penalty points, and dropout.
        settings: see `TrainingSettings`.
        recordable: whether steps may be recorded on a GPU (`gebm.recorded`): networks and objective read no value back, and keep nothing
            that changes but in their parameters and buffers. Steps with dropout, latent chains or a flow are not.

    Raises:
        ValueError: if stream and settings disagree about the batch size; at a step, if the energy does not return one value per
            sample.

    Example:
        >>> from gebm.base import GaussianPrior
        >>> from gebm.objectives import Kale
        >>> base = Base(nn.Linear(1, 1), GaussianPrior(1))
        >>> energy = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
        >>> data = DataStream(torch.randn(64, 1), 32, torch.Generator())
        >>> settings = TrainingSettings(base_steps=2, batch_size=32)
        >>> training = AlternatingTraining(base, energy, Kale(), data, torch.Generator(), settings)
        >>> while training.done < training.total:
        ...     losses = training.step()
        >>> sorted(losses), training.finish().training
        (['base_loss', 'energy_base', 'energy_data', 'energy_loss'], False)
    """

    def __init__(
        self,
        base: Base,
        energy: nn.Module,
        objective: Objective,
        data: DataStream,
        generator: torch.Generator,
        settings: TrainingSettings,
        *,
        recordable: bool = False,
    ) -> None:
        self.base, self.energy, self.objective, self.data = base, energy, objective, data
        self.generator, self.settings = generator, settings
        self.base_optimizer = adam([{"params": list(base.parameters()), "lr": settings.learning_rate}], settings.betas)
        self.energy_optimizer = energy_optimizer(energy, objective, settings.energy_learning_rate, settings)
        base.train()
        energy.train()
        self.recorder = step_recorder(base, energy, objective, generator, recordable)
        self.energy_steps = EnergySteps(
            base,
            energy,
            objective,
            data,
            generator,
            self.energy_optimizer,
            settings,
            recorder=self.recorder,
            evaluation=settings.energy_base_mode == "evaluation",
        )
        self.average = moving_average(base, settings.ema)
        self.done = 0

    @property
    def total(self) -> int:
        """Base steps in all, those of a base that is not trained included."""
        return self.settings.base_steps

    def step(self) -> Losses:
        """Take the energy steps of one round and its base step."""
        settings = self.settings
        factor = learning_rate_factor(
            settings.decay, self.done, settings.base_steps, settings.decay_factor, settings.decay_every
        )
        for optimizer in (self.base_optimizer, self.energy_optimizer):
            scale_learning_rate(optimizer, factor)
        burst = settings.burst and self.done % settings.burst_every == 0
        losses: Losses = {}
        with seeded_dropout(self.generator, self.base, self.energy):
            if settings.initialise_log_partition and not self.done:
                self.energy_steps.initialise_log_partition()
            for _ in range(settings.burst if burst else settings.n_critic):
                losses = self.energy_steps.step()
            self.done += 1
            return losses | self.base_step() if settings.train_base else losses

    def base_step(self) -> Losses:
        """Take one step of the base through the fixed energy, and move its average."""
        losses = self.recorder("base", self.take_base_step)
        if self.average is not None:
            self.average.update_parameters(self.base)
        return losses

    def take_base_step(self) -> Losses:
        """Take the base's step."""
        settings = self.settings
        with frozen(self.energy):
            with mixed_precision(settings.precision, self.generator.device, self.base, self.energy):
                energy = energies(self.energy, self.base.sample(settings.batch_size, self.generator))
            loss = self.objective.base_loss(widened(energy))
            descend(self.base_optimizer, loss, self.base, settings.clip_norm)
        return {"base_loss": loss.detach()}

    def finish(self) -> Base:
        """Return the trained base in evaluation mode, with averaged weights where an average is kept, and its own normalisation statistics.

        It is a copy, so it may be taken at any step: training goes on as if it had not been.
        """
        trained = self.base if self.average is None else self.average.module
        base: Base = copy.deepcopy(trained)  # type: ignore[assignment]
        before = self.generator.get_state()
        recompute_normalisation(base, self.generator)
        self.generator.set_state(before)
        return base.requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of tensors and plain values, which `torch.load(weights_only=True)` reads and training on does not change."""
        return copy.deepcopy(
            {
                "done": self.done,
                "energy_steps": self.energy_steps.state_dict(),
                "base": self.base.state_dict(),
                "energy": self.energy.state_dict(),
                "objective": self.objective.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "base_optimizer": self.base_optimizer.state_dict(),
                "energy_optimizer": self.energy_optimizer.state_dict(),
                "data": self.data.state_dict(),
                "generator": self.generator.get_state(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot of a training with the same networks, data and settings; the snapshot stays as it is."""
        state = copy.deepcopy(state)
        self.recorder.forget()
        self.done = state["done"]
        self.energy_steps.load_state_dict(state["energy_steps"])
        self.base.load_state_dict(state["base"])
        self.energy.load_state_dict(state["energy"])
        self.objective.load_state_dict(state["objective"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.base_optimizer.load_state_dict(state["base_optimizer"])
        self.energy_optimizer.load_state_dict(state["energy_optimizer"])
        self.data.load_state_dict(state["data"])
        self.generator.set_state(state["generator"])
