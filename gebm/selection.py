"""Joint training of a flow and an energy that ends at the best state its validation rows have seen, the one it began at included.

On a flow the log-likelihood of the whole model can be estimated while it trains: mean(log g − E) − A. A state counts by the lower end of
that bracket (`gebm.partition.likelihood_bracket`), and is preferred to the first one only where log Z can be told and it is better by more
than its error, so that what is kept is not worse than what training began with, but for the error of the validation rows.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.base import FlowBase, evaluation_mode
from gebm.energy_steps import Losses
from gebm.model import LatentPotential, energies
from gebm.partition import importance_sampling, likelihood_bracket
from gebm.settings import SelectionSettings
from gebm.training import AlternatingTraining

__all__ = ["SelectedTraining"]


class SelectedTraining:
    """Alternating training on a flow, watched by its validation log-likelihood: it keeps the best state, and returns from a bad one.

    Where a loss is not finite, or the validation log-likelihood falls by more than `largest_fall`, the last good state is restored and
    training goes on with half the learning rates. Steps thrown away stay counted in `done`.

    Arguments:
        training: base, energy and objective, driven from here alone.
        validation: (n, *shape), n >= 2, as the networks see them.
        generator: latents of the log-partition, other than those of training.
        settings: see `SelectionSettings`.

    Raises:
        TypeError: if the base has no density.
        ValueError: if there are fewer than 2 validation rows.
    """

    def __init__(
        self,
        training: AlternatingTraining,
        validation: Float[Tensor, "rows ..."],
        generator: torch.Generator,
        settings: SelectionSettings,
    ) -> None:
        if not isinstance(training.base, FlowBase):
            raise TypeError(
                f"a state is selected by log-likelihood, which {type(training.base).__name__} lacks; use a FlowBase"
            )
        if validation.shape[0] < 2:
            raise ValueError(
                f"validation must have at least 2 rows, got {validation.shape[0]}: states are selected by them"
            )
        self.training, self.validation, self.generator, self.settings = training, validation, generator, settings
        self.done = self.restarts = 0
        self.given_up = False
        self.best_value, self.best_step = -math.inf, 0
        self.first: Tensor | None = None
        self.best: dict[str, Any] = {}
        self.look()
        self.good = training.state_dict()

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` looks all failed to find a better state."""
        looks = (self.training.done - self.best_step) // self.settings.check_every
        return 0 < self.settings.patience <= looks

    @property
    def total(self) -> int:
        """Base steps in all, those thrown away included: those done once patience or restarts are out."""
        left = 0 if self.given_up or self.out_of_patience else self.training.total - self.training.done
        return self.done + left

    @property
    def first_value(self) -> float:
        """Validation log-likelihood of the state that training began at, in nats."""
        return math.nan if self.first is None else float(self.first.mean())

    def step(self) -> Losses:
        """Take one round of training, and look at the validation rows when due; a round that is undone has no losses."""
        losses = self.training.step()
        self.done += 1
        if not bool(torch.stack([*losses.values()]).isfinite().all()):  # one look at the device, not one per loss
            return self.restart()
        if self.training.done % self.settings.check_every == 0 or self.training.done == self.training.total:
            value = self.look()
            if not value > self.best_value - self.settings.largest_fall:
                return self.restart()
            self.good = self.training.state_dict()
            losses["validation_log_likelihood"] = torch.tensor(value)
        return losses

    @torch.no_grad()
    def look(self) -> float:
        """Return the lower end of the validation log-likelihood in nats, and remember the state if it is the best."""
        training = self.training
        base: FlowBase = training.finish()  # type: ignore[assignment]
        with evaluation_mode(training.energy):
            potential = LatentPotential(base, training.energy)
            found = importance_sampling(potential, self.settings.partition_samples, self.generator)
            log_prob, energy = base.log_prob(self.validation), energies(training.energy, self.validation)
        value = likelihood_bracket(log_prob, energy, found).lower
        points = (log_prob - energy).double() - found.estimate
        if first := self.first is None:
            self.first = points
        gains = points - self.first
        error = math.hypot(float(gains.std()) / math.sqrt(len(gains)), found.standard_error)
        better = found.reportable and value > self.best_value and value - self.first_value > error
        if first or better:
            self.best_value, self.best_step = value, training.done
            self.best = copy.deepcopy(
                {
                    "base": base.state_dict(),
                    "energy": training.energy.state_dict(),
                    "objective": training.objective.state_dict(),
                }
            )
        return value

    def restart(self) -> Losses:
        """Go back to the last good state with half the learning rates, or end training if that was done often enough."""
        training = self.training
        if self.restarts == self.settings.restarts:
            self.given_up = True
            return {}
        self.restarts += 1
        training.load_state_dict(self.good)
        for optimizer in (training.base_optimizer, training.energy_optimizer):
            for group in optimizer.param_groups:
                group["initial_lr"] *= 0.5
        self.good = training.state_dict()
        return {}

    def finish(self) -> FlowBase:
        """Return the best base, in evaluation mode and frozen; energy and objective take the weights that belong to it."""
        base: FlowBase = self.training.finish()  # type: ignore[assignment]
        base.load_state_dict(self.best["base"])
        self.training.energy.load_state_dict(self.best["energy"])
        self.training.objective.load_state_dict(self.best["objective"])
        return base

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of tensors and plain values, which `torch.load(weights_only=True)` reads and training on does not change."""
        return copy.deepcopy(
            {
                "training": self.training.state_dict(),
                "good": self.good,
                "done": self.done,
                "restarts": self.restarts,
                "given_up": self.given_up,
                "first": self.first,
                "best": {"value": self.best_value, "step": self.best_step, "state": self.best},
                "generator": self.generator.get_state(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot of a training with the same networks, data and settings; the snapshot stays as it is."""
        state = copy.deepcopy(state)
        self.training.load_state_dict(state["training"])
        self.good, self.done = state["good"], state["done"]
        self.restarts, self.given_up = state["restarts"], state["given_up"]
        self.first = state["first"].to(self.validation.device)
        best = state["best"]
        self.best_value, self.best_step, self.best = best["value"], best["step"], best["state"]
        self.generator.set_state(state["generator"])
