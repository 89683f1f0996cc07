"""The energy refitted on the frozen base, in the mode in which the base is later sampled, with early stopping on held-out data.

The alternating phase leaves an energy that was learned against a moving base in training mode; its density is that of another model
than the one sampled (Arbel et al., 2021, refit it too). `gebm.training` is the phase before.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import Base, FlowBase, seeded_dropout
from gebm.energy_steps import EnergySteps, Losses, energy_optimizer, step_recorder
from gebm.model import energies
from gebm.objectives import Objective, likelihood_gain, log_mean_exp
from gebm.optimisation import learning_rate_factor, scale_learning_rate
from gebm.partition.estimate import log_partition_from_weights
from gebm.settings import RefitSettings
from gebm.stream import DataStream
from gebm.temperature import ScaledEnergy, calibrate

__all__ = ["EnergyRefit"]


class EnergyRefit:
    """Train the energy alone, on a frozen base in the evaluation mode in which it will be sampled; keep the best held-out energy.

    Arguments:
        base: frozen, in evaluation mode.
        energy: trained in place, from its present weights; with `settings.calibrated` it is a `ScaledEnergy`, or becomes one.
        objective: loss of the energy.
        data: prepared minibatches of the training split.
        held_out: (n, *shape), prepared validation data for early stopping.
        generator: latents and penalty points.
        settings: see `RefitSettings`.
        recordable: whether steps may be recorded on a GPU, see `gebm.training.AlternatingTraining`.

    Raises:
        ValueError: if the base is in training mode, there are no held-out data, stream and settings disagree about the batch
            size, or the energy does not return one value per sample.
    """

    def __init__(
        self,
        base: Base,
        energy: nn.Module,
        objective: Objective,
        data: DataStream,
        held_out: Float[Tensor, "batch ..."],
        generator: torch.Generator,
        settings: RefitSettings,
        *,
        recordable: bool = False,
    ) -> None:
        if any(module.training for module in base.modules()):
            raise ValueError("the energy is refitted on a base in evaluation mode; call base.eval() first")
        if not held_out.shape[0]:
            raise ValueError("held_out must have at least one row: early stopping looks at it and at nothing else")
        if settings.calibrated and not isinstance(energy, ScaledEnergy):
            energy = ScaledEnergy(energy).to(held_out.device)
        self.base, self.energy, self.objective, self.data = base, energy, objective, data
        self.held_out, self.generator, self.settings = held_out, generator, settings
        scale_rate = settings.scale_learning_rate if settings.calibrated else None
        self.optimizer = energy_optimizer(energy, objective, settings.learning_rate, settings, scale_rate)
        energy.train()
        self.recorder = step_recorder(base, energy, objective, generator, recordable)
        self.energy_steps = EnergySteps(
            base, energy, objective, data, generator, self.optimizer, settings, recorder=self.recorder
        )
        with torch.no_grad():
            self.pool = base.sample(settings.partition_samples, generator)
        self.done = 0
        self.best_gain, self.best_step, self.best = -math.inf, 0, copy.deepcopy(energy.state_dict())
        self.look()

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` looks all failed to find a better energy."""
        looks = (self.done - self.best_step) // self.settings.check_every
        return 0 < self.settings.patience <= looks

    @property
    def total(self) -> int:
        """Energy steps in all: those done once patience is out."""
        return self.done if self.out_of_patience else self.settings.steps

    def step(self) -> Losses:
        """Take one energy step, and look at the held-out gain when due."""
        settings = self.settings
        scale_learning_rate(self.optimizer, learning_rate_factor(settings.decay, self.done, settings.steps))
        with seeded_dropout(self.generator, self.energy):
            losses = self.energy_steps.step()
        self.done += 1
        if self.done % settings.check_every == 0 or self.done == settings.steps:
            losses["held_out_gain"] = self.look()
        return losses

    @torch.no_grad()
    def look(self) -> Tensor:
        """Return the held-out likelihood gain L(E) in nats, and remember the best energy."""
        self.energy.eval()
        log_weights = -energies(self.energy, self.pool)
        gain = likelihood_gain(energies(self.energy, self.held_out), log_mean_exp(log_weights))
        self.energy.train()
        if gain.item() > self.best_gain and self.counts(log_weights):
            self.best_gain, self.best_step = gain.item(), self.done
            self.best = copy.deepcopy(self.energy.state_dict())
        return gain

    def counts(self, log_weights: Float[Tensor, " draws"]) -> bool:
        """Whether an energy may be kept: on a flow, where its gain ends in a log-likelihood, only if these weights tell log Z."""
        if not isinstance(self.base, FlowBase):
            return True
        return log_partition_from_weights(log_weights, "importance sampling", 0, len(log_weights)).reportable

    @torch.no_grad()
    def finish(self) -> nn.Module:
        """Return the best energy seen, in evaluation mode and frozen; a calibrated one at its best temperature on the held-out data.

        Where the held-out gain still rises at the last temperature whose log Z can be estimated, there is no best one to be had, and the
        scale stays as it was learned.
        """
        self.energy.load_state_dict(self.best)
        self.energy.eval().requires_grad_(False)
        if self.settings.calibrated and isinstance(self.energy, ScaledEnergy):
            found = calibrate(energies(self.energy, self.held_out), energies(self.energy, self.pool))
            if found.beta and not found.at_edge:
                self.energy.multiply(found.beta)
        return self.energy

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of tensors and plain values, which `torch.load(weights_only=True)` reads and training on does not change."""
        return copy.deepcopy(
            {
                "done": self.done,
                "energy_steps": self.energy_steps.state_dict(),
                "energy": self.energy.state_dict(),
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "data": self.data.state_dict(),
                "generator": self.generator.get_state(),
                "pool": self.pool,
                "best": {"gain": self.best_gain, "step": self.best_step, "energy": self.best},
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot of a refit with the same networks, data and settings; the snapshot stays as it is."""
        state = copy.deepcopy(state)
        self.recorder.forget()
        self.done = state["done"]
        self.energy_steps.load_state_dict(state["energy_steps"])
        self.energy.load_state_dict(state["energy"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.data.load_state_dict(state["data"])
        self.generator.set_state(state["generator"])
        self.pool = state["pool"].to(self.pool.device)
        best = state["best"]
        self.best_gain, self.best_step, self.best = best["gain"], best["step"], best["energy"]
