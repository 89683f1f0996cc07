"""A data-space energy-based model without a base: f(x) = −s E(x), trained and sampled by short Langevin chains from uniform noise.

Nijkamp, Hill, Zhu and Wu, "Learning non-convergent non-persistent short-run MCMC toward energy-based model", NeurIPS 2019. Chains of K
steps do not converge: what is learned is a sampler, the law of the K-th state, and E is no density of it. There is no likelihood.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from baselines.settings import ShortRunSettings
from gebm.base import evaluation_mode, seeded_dropout
from gebm.energy_steps import Losses
from gebm.model import energies
from gebm.optimisation import adam, descend, learning_rate_factor, scale_learning_rate
from gebm.stream import DataStream
from gebm.training import DivergedError

__all__ = ["LARGEST_LOSS", "ShortRunSettings", "ShortRunTraining", "short_run", "uniform_noise"]

LARGEST_LOSS = 1e8
"""The source stops where |loss| is beyond it."""


def uniform_noise(count: int, shape: Sequence[int], generator: torch.Generator) -> Float[Tensor, "batch ..."]:
    """Return (count, *shape) draws of U(−1, 1), where chains start, on the generator's device."""
    return 2 * torch.rand(count, *shape, generator=generator, device=generator.device) - 1


def short_run(
    energy: nn.Module, x: Float[Tensor, "batch ..."], settings: ShortRunSettings, generator: torch.Generator
) -> Float[Tensor, "batch ..."]:
    """Return where chains from x are after K steps x ← x + ∇f(x) + σξ, the energy in evaluation mode.

    Each step is one gradient evaluation; no gradient reaches the weights, and nothing keeps a chain within [−1, 1].

    Raises:
        ValueError: if the energy does not return one value per sample.
    """
    x = x.detach()
    with evaluation_mode(energy), parametrize.cached(), torch.enable_grad():
        for _ in range(settings.langevin_steps):
            x.requires_grad_(True)
            (gradient,) = torch.autograd.grad(energies(energy, x).sum(), x)
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            x = x.detach() - settings.scale * gradient + settings.noise * noise
    return x


class ShortRunTraining:
    """Train an energy on the difference between its mean on data and on short-run chains (Nijkamp et al., 2019, Algorithm 1).

    Arguments:
        energy: x (batch, *shape) → E (batch,), trained in place.
        data: minibatches as the network sees them, in (−1, 1).
        generator: noise on data, starts and noise of chains, dropout.
        settings: see `ShortRunSettings`.

    Raises:
        ValueError: if stream and settings disagree about the batch size; at a step, if the energy does not return one value per
            sample.
        DivergedError: at a step, if the loss is beyond `LARGEST_LOSS` or not finite; the weights are those before the step.

    Example:
        >>> energy = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> data = DataStream(torch.zeros(16, 2), 8, torch.Generator())
        >>> settings = ShortRunSettings(2, batch_size=8, langevin_steps=3)
        >>> training = ShortRunTraining(energy, data, torch.Generator(), settings)
        >>> while training.done < training.total:
        ...     losses = training.step()
        >>> sorted(losses), training.finish().training
        (['energy_data', 'energy_gap', 'energy_samples'], False)
    """

    def __init__(
        self, energy: nn.Module, data: DataStream, generator: torch.Generator, settings: ShortRunSettings
    ) -> None:
        if data.batch_size != settings.batch_size:
            raise ValueError(
                f"batch_size must be one number, the data stream has {data.batch_size}, the settings {settings.batch_size}"
            )
        self.energy, self.data, self.generator, self.settings = energy, data, generator, settings
        self.optimizer = adam([{"params": list(energy.parameters()), "lr": settings.learning_rate}], settings.betas)
        self.done = 0
        energy.train()

    @property
    def total(self) -> int:
        """Training steps in all."""
        return self.settings.steps

    def step(self) -> Losses:
        """Run the chains and take one step; `energy_gap` is d_s, the mean of s E on data less that on chains, which is the loss too."""
        settings = self.settings
        scale_learning_rate(self.optimizer, learning_rate_factor(settings.decay, self.done, settings.steps))
        x_data = self.data.next()
        x_data = x_data + settings.data_noise * torch.randn(
            x_data.shape, generator=self.generator, device=x_data.device
        )
        start = uniform_noise(x_data.shape[0], x_data.shape[1:], self.generator)
        x_chain = short_run(self.energy, start, settings, self.generator)
        with seeded_dropout(self.generator, self.energy):
            both = settings.scale * energies(self.energy, torch.cat([x_data, x_chain]))
        energy_data, energy_chain = (each.mean() for each in torch.chunk(both, 2))
        loss = energy_data - energy_chain
        if not abs(loss.item()) <= LARGEST_LOSS:
            raise DivergedError(
                f"energy gap {loss.item():.3g} is beyond {LARGEST_LOSS:.0e} at step {self.done + 1}; "
                f"lower the learning rate ({settings.learning_rate}) or the scale ({settings.scale})"
            )
        descend(self.optimizer, loss, self.energy, 0.0)
        self.done += 1
        return {
            "energy_gap": loss.detach(),
            "energy_data": energy_data.detach(),
            "energy_samples": energy_chain.detach(),
        }

    def finish(self) -> nn.Module:
        """Return the trained energy, in evaluation mode and frozen."""
        return self.energy.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of tensors and plain values, which `torch.load(weights_only=True)` reads and training on does not change."""
        return copy.deepcopy(
            {
                "done": self.done,
                "energy": self.energy.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "data": self.data.state_dict(),
                "generator": self.generator.get_state(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot of a training with the same network, data and settings; the snapshot stays as it is."""
        state = copy.deepcopy(state)
        self.done = state["done"]
        self.energy.load_state_dict(state["energy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.data.load_state_dict(state["data"])
        self.generator.set_state(state["generator"])
