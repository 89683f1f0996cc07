"""Maximum likelihood: minibatch negative log-likelihood, early stopping on validation rows, resumable bit for bit.

The validation log-likelihood is that of the evaluation mode, in which the flow is later read out; the test rows are never seen here.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.flows.gaussian import AffineNetwork
from baselines.flows.network import Flow
from baselines.flows.normalisation import set_normalisation
from baselines.flows.settings import MaximumLikelihoodSettings
from gebm.base import evaluation_mode, seeded_dropout
from gebm.energy_steps import Losses
from gebm.optimisation import adam, descend_if_finite, learning_rate_factor, moving_average, scale_learning_rate
from gebm.stream import DataStream
from gebm.training import DivergedError

__all__ = ["MaximumLikelihood", "MaximumLikelihoodSettings", "mean_log_likelihood"]

ROWS_AT_ONCE = 8192
"""Rows evaluated in one pass; only speed and memory depend on it."""


class MaximumLikelihood:
    """Train a flow by maximum likelihood, and keep the weights that are best on the validation rows.

    A Gaussian is fitted in closed form, in a single step.

    Arguments:
        flow: trained in place.
        data: minibatches of the training rows, as they are.
        validation: (n, d), for early stopping and the choice of the weights.
        generator: noise on the rows, and dropout.
        settings: see `MaximumLikelihoodSettings`.

    Raises:
        ValueError: if there are no validation rows, the stream prepares its rows, or stream and settings disagree about the
            batch size.
        DivergedError: at a step, if more than `most_skipped` had no finite loss or gradient.

    Example:
        >>> from baselines.flows import FlowSettings, build_flow
        >>> rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> flow = build_flow(FlowSettings("realnvp", layers=2, hidden=8), 2)
        >>> settings = MaximumLikelihoodSettings(steps=3, batch_size=32, check_every=1)
        >>> data = DataStream(rows[:150], 32, torch.Generator())
        >>> training = MaximumLikelihood(flow, data, rows[150:], torch.Generator(), settings)
        >>> while training.done < training.total:
        ...     losses = training.step()
        >>> sorted(losses), training.finish().training
        (['negative_log_likelihood', 'validation_log_likelihood'], False)
    """

    def __init__(
        self,
        flow: Flow,
        data: DataStream,
        validation: Float[Tensor, "rows latent"],
        generator: torch.Generator,
        settings: MaximumLikelihoodSettings,
    ) -> None:
        if not validation.shape[0]:
            raise ValueError("validation must have at least one row: early stopping looks at it and at nothing else")
        if data.prepare is not None:
            raise ValueError(
                "data must be rows as the flow sees them, without `prepare`; for noise there is settings.noise"
            )
        if data.batch_size != settings.batch_size:
            raise ValueError(
                f"batch_size must be one number, the data stream has {data.batch_size}, the settings {settings.batch_size}"
            )
        self.flow, self.data, self.validation = flow, data, validation
        self.generator, self.settings = generator, settings
        self.optimizer = adam(
            [{"params": list(flow.parameters()), "lr": settings.learning_rate, "weight_decay": settings.weight_decay}],
            settings.betas,
            decoupled_weight_decay=True,
        )
        self.average = moving_average(flow, settings.ema)
        self.done = self.skipped = self.reductions = self.reduced_at = 0
        self.best_value, self.best_step, self.best = -math.inf, 0, copy.deepcopy(flow.state_dict())
        flow.train()
        self.look()

    @property
    def closed_form(self) -> AffineNetwork | None:
        """The network that needs one step only, if it is one."""
        return self.flow.network if isinstance(self.flow.network, AffineNetwork) else None

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` looks, since the learning rate was last reduced, all failed to find better weights."""
        looks = (self.done - max(self.best_step, self.reduced_at)) // self.settings.check_every
        return 0 < self.settings.patience <= looks

    @property
    def total(self) -> int:
        """Steps in all: those done once patience is out."""
        if self.closed_form is not None:
            return 1
        ended = self.out_of_patience and self.reductions == self.settings.reductions
        return self.done if ended else self.settings.steps

    def step(self) -> Losses:
        """Take one step, and look at the validation rows when due; a step that cannot be taken has no loss."""
        closed_form = self.closed_form
        losses = self.descend() if closed_form is None else self.fit(closed_form)
        self.done += 1
        if self.done % self.settings.check_every == 0 or self.done == self.total:
            losses["validation_log_likelihood"] = self.look()
            if self.out_of_patience and self.reductions < self.settings.reductions:
                self.flow.load_state_dict(self.best)
                self.reductions, self.reduced_at = self.reductions + 1, self.done
        return losses

    def fit(self, closed_form: AffineNetwork) -> Losses:
        """Fit the closed form on all training rows; validation rows do not matter."""
        self.best_value = -math.inf
        closed_form.fit(self.data.data)
        return {}

    def descend(self) -> Losses:
        """Take one optimizer step on a minibatch; none, and return no loss, where loss or gradient is not finite."""
        settings = self.settings
        factor = learning_rate_factor(settings.decay, self.done, settings.steps) / 3**self.reductions
        scale_learning_rate(self.optimizer, factor)
        rows = self.data.next()
        if settings.noise:
            rows = rows + settings.noise * torch.randn(
                rows.shape, generator=self.generator, device=rows.device, dtype=rows.dtype
            )
        with seeded_dropout(self.generator, self.flow):
            loss = -self.flow.log_prob(rows).mean()
        if not descend_if_finite(self.optimizer, loss, self.flow, settings.clip_norm):
            self.skipped += 1
            if self.skipped > settings.most_skipped:
                raise DivergedError(
                    f"loss or gradient not finite in {self.skipped} of {self.done + 1} steps; lower the learning rate "
                    f"({settings.learning_rate}) or clip_norm ({settings.clip_norm})"
                )
            return {}
        if self.average is not None:
            self.average.update_parameters(self.flow)
        return {"negative_log_likelihood": loss.detach()}

    @torch.no_grad()
    def look(self) -> Tensor:
        """Return the mean validation log-likelihood in nats, in evaluation mode, and remember the best weights."""
        average: Any = None if self.average is None else self.average.module
        seen: Flow = self.flow if average is None else average
        set_normalisation(seen, self.data.data)
        value = mean_log_likelihood(seen, self.validation)
        if self.best_value < value.item() < math.inf:
            self.best_value, self.best_step = value.item(), self.done
            self.best = copy.deepcopy(seen.state_dict())
        return value

    def finish(self) -> Flow:
        """Return the best flow seen, in evaluation mode and frozen."""
        self.flow.load_state_dict(self.best)
        return self.flow.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of tensors and plain values, which `torch.load(weights_only=True)` reads and training on does not change."""
        return copy.deepcopy(
            {
                "done": self.done,
                "skipped": self.skipped,
                "reductions": [self.reductions, self.reduced_at],
                "flow": self.flow.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "data": self.data.state_dict(),
                "generator": self.generator.get_state(),
                "best": {"value": self.best_value, "step": self.best_step, "flow": self.best},
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot of a training with the same flow, data and settings; the snapshot stays as it is."""
        state = copy.deepcopy(state)
        self.done, self.skipped = state["done"], state["skipped"]
        self.reductions, self.reduced_at = state["reductions"]
        self.flow.load_state_dict(state["flow"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.data.load_state_dict(state["data"])
        self.generator.set_state(state["generator"])
        best = state["best"]
        self.best_value, self.best_step, self.best = best["value"], best["step"], best["flow"]


@torch.no_grad()
def mean_log_likelihood(flow: Flow, rows: Float[Tensor, "rows latent"]) -> Float[Tensor, ""]:
    """Return the mean log-likelihood of rows in nats, in evaluation mode, summed in double precision."""
    with evaluation_mode(flow):
        parts = [flow.log_prob(part).double().sum() for part in torch.split(rows, ROWS_AT_ONCE)]
    return torch.stack(parts).sum() / rows.shape[0]
