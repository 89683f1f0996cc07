"""Energy steps, as both phases of training take them: data against negatives, plus penalties."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import Base, FlowBase, evaluation_mode, has_dropout
from gebm.model import energies
from gebm.negatives import Negatives
from gebm.objectives import Objective, log_mean_exp
from gebm.optimisation import adam, descend
from gebm.penalties import gradient_penalty, penalty_points
from gebm.precision import mixed_precision, widened
from gebm.recorded import Losses, StepRecorder
from gebm.settings import EnergySettings
from gebm.stream import DataStream

__all__ = ["EnergySteps", "Losses", "energy_optimizer", "step_recorder"]

LOG_PARTITION_BATCHES = 100
"""Batches of base samples behind an initial log-partition, as in the authors' code."""


def energy_optimizer(
    energy: nn.Module,
    objective: Objective,
    learning_rate: float,
    settings: EnergySettings,
    scale_learning_rate: float | None = None,
) -> torch.optim.Adam:
    """Return Adam over the energy's weights, and over the objective's own parameters at their learning rate.

    The scale of a `ScaledEnergy` has a rate of its own where one is given, and no weight decay.
    """
    scale = [] if scale_learning_rate is None else [p for name, p in energy.named_parameters() if name == "log_scale"]
    network = [parameter for parameter in energy.parameters() if all(parameter is not own for own in scale)]
    return adam(
        [
            {"params": network, "lr": learning_rate, "weight_decay": settings.weight_decay},
            {"params": list(objective.parameters()), "lr": settings.log_partition_learning_rate},
            {"params": scale, "lr": scale_learning_rate},
        ],
        settings.betas,
    )


def step_recorder(
    base: Base, energy: nn.Module, objective: Objective, generator: torch.Generator, recordable: bool
) -> StepRecorder:
    """Return what takes a phase's steps; it records none of these: with dropout, which is seeded anew in each, latent chains, or a flow."""
    plain = objective.negatives is None and not isinstance(base, FlowBase) and not has_dropout(base, energy)
    return StepRecorder(generator, recordable and plain)


class EnergySteps:
    """Energy steps on data against the negatives that the objective wants.

    Arguments:
        base: not changed.
        energy: trained in place.
        objective: loss of the energy, and which negatives.
        data: prepared minibatches.
        generator: latents and penalty points.
        optimizer: of the energy and of the objective's parameters.
        settings: penalties and clipping.
        recorder: takes the steps.
        evaluation: take base samples in evaluation mode instead of in the mode the base is in.

    Raises:
        ValueError: if stream and settings disagree about the batch size.
    """

    def __init__(
        self,
        base: Base,
        energy: nn.Module,
        objective: Objective,
        data: DataStream,
        generator: torch.Generator,
        optimizer: torch.optim.Optimizer,
        settings: EnergySettings,
        *,
        recorder: StepRecorder,
        evaluation: bool = False,
    ) -> None:
        if data.batch_size != settings.batch_size:
            raise ValueError(
                f"batch_size must be one number, the data stream has {data.batch_size}, the settings {settings.batch_size}"
            )
        self.energy, self.objective, self.data = energy, objective, data
        self.generator, self.optimizer, self.settings, self.recorder = generator, optimizer, settings, recorder
        self.negatives = Negatives(base, energy, objective.negatives, generator, evaluation)
        self.count = 0

    @torch.no_grad()
    def initialise_log_partition(self) -> None:
        """Give the objective log-mean-exp(−E) over `LOG_PARTITION_BATCHES` batches of base samples, the energy in evaluation mode."""
        with evaluation_mode(self.energy):
            values = [
                energies(self.energy, self.negatives.base_samples(self.settings.batch_size))
                for _ in range(LOG_PARTITION_BATCHES)
            ]
        self.objective.initialise_log_partition(log_mean_exp(-torch.cat(values)))

    @property
    def penalised(self) -> bool:
        """Whether the next step has the gradient penalty."""
        return self.settings.penalty > 0 and self.count % self.settings.penalty_every == 0

    def step(self) -> Losses:
        """Take one energy step; the losses stay on the device."""
        penalised = self.penalised
        losses = self.recorder(("energy", penalised), partial(self.take, penalised), self.data.next())
        self.count += 1
        return losses

    def take(self, penalised: bool, x_data: Float[Tensor, "batch ..."]) -> Losses:
        """Take the energy step on these data."""
        with mixed_precision(self.settings.precision, x_data.device, self.negatives.base, self.energy):
            x_base = widened(self.negatives.draw(x_data.shape[0]))
            both = widened(energies(self.energy, torch.cat([x_data, x_base])))
        energy_data, energy_base = torch.chunk(both, 2)
        objective_loss = self.objective.energy_loss(energy_data, energy_base)
        loss = objective_loss + self.penalty(x_data, x_base) if penalised else objective_loss
        descend(self.optimizer, loss, self.energy, self.settings.clip_norm)
        return {
            "energy_loss": objective_loss.detach(),
            "energy_data": energy_data.detach().mean(),
            "energy_base": energy_base.detach().mean(),
        }

    def penalty(self, x_data: Tensor, x_base: Tensor) -> Tensor:
        """Return the weighted gradient penalty, times the steps that it stands for."""
        settings = self.settings
        points = penalty_points(settings.penalty_points, x_data, x_base, self.generator)
        with mixed_precision(settings.precision, points.device, self.energy):
            penalty = gradient_penalty(self.energy, points, settings.penalty_norm)
        return settings.penalty * settings.penalty_every * penalty

    def state_dict(self) -> dict[str, Any]:
        """Return the count, on which the lazy penalty depends, and the persistent chains."""
        return {"count": self.count, "negatives": self.negatives.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.count = state["count"]
        self.negatives.load_state_dict(state["negatives"])
