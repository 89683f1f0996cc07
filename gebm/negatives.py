"""What the energy is contrasted with: samples of the base, or of the model by latent chains.

Most objectives take base samples. Contrastive divergence wants samples of the model itself, Q ∝ exp(−E) G, which latent
chains give (`gebm.samplers`); `LatentChains` says which chains, `Negatives` runs them during training and keeps the
persistent ones.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import Base, evaluation_mode
from gebm.model import LatentPotential
from gebm.samplers import Sampler, State

__all__ = ["LatentChains", "Negatives"]


@dataclass(frozen=True)
class LatentChains:
    """Chains on ν(z) ∝ η(z) exp(−E(G(z))), `steps` steps before each energy step.

    Arguments:
        sampler: the rule, such as `ULA(1e-2)`.
        steps: k >= 1.
        persistent: go on from where the last energy step left the chains (Tieleman, 2008) instead of from fresh prior draws.
        restart: probability that a persistent chain starts anew from the prior (Du & Mordatch, 2019, have 0.05).

    Raises:
        ValueError: if `steps` < 1, `restart` is no probability, or chains that are not persistent are to be restarted.
    """

    sampler: Sampler
    steps: int
    persistent: bool = False
    restart: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"steps must be a whole number >= 1, got {self.steps!r}")
        if not 0 <= self.restart <= 1:
            raise ValueError(f"restart must be a probability in [0, 1], got {self.restart}")
        if self.restart and not self.persistent:
            raise ValueError("restart is for persistent chains; set persistent=True or restart=0")


class Negatives:
    """Draw negatives for energy steps; the state is that of the persistent chains.

    Chains run with base and energy in evaluation mode: in training mode a batch norm would tie the rows of a batch together,
    and what moved would be no chain.

    Arguments:
        base: the base, as it is trained.
        energy: the energy, as it is trained.
        chains: which chains; None for base samples.
        generator: source of all randomness.
        evaluation: draw base samples with the base in evaluation mode instead of in the mode it is in.
    """

    def __init__(
        self,
        base: Base,
        energy: nn.Module,
        chains: LatentChains | None,
        generator: torch.Generator,
        evaluation: bool = False,
    ) -> None:
        self.base, self.energy, self.chains, self.generator = base, energy, chains, generator
        self.evaluation = evaluation
        self.latents: Tensor | None = None
        self.velocity: Tensor | None = None

    @torch.no_grad()
    def draw(self, count: int) -> Float[Tensor, "batch ..."]:
        """Return `count` negatives, detached."""
        if self.chains is None:
            return self.base_samples(count)
        with evaluation_mode(self.base, self.energy):
            state = self.run(self.chains, count)
            if self.chains.persistent:
                self.keep(state)
            x: Tensor = self.base(state.position.z)
        return x

    @torch.no_grad()
    def base_samples(self, count: int) -> Float[Tensor, "batch ..."]:
        """Return `count` samples of the base, in the mode that energy steps see."""
        with evaluation_mode(self.base) if self.evaluation else nullcontext():
            return self.base.sample(count, self.generator)

    def run(self, chains: LatentChains, count: int) -> State:
        """Return the chains' state after their steps; the energy has changed, so their start is evaluated anew."""
        potential = LatentPotential(self.base, self.energy)
        state = chains.sampler.init(potential, self.start(chains, count))
        if self.velocity is not None:
            state = state._replace(velocity=self.velocity)
        for _ in range(chains.steps):
            state, _ = chains.sampler.step(potential, state, self.generator)
        return state

    def start(self, chains: LatentChains, count: int) -> Float[Tensor, "batch latent"]:
        """Return where the chains start: prior draws, or where they were left, except for those that restart."""
        if self.latents is None:
            return self.base.prior.sample(count, self.generator, self.base.dtype)
        if not chains.restart:
            return self.latents
        fresh = self.base.prior.sample(count, self.generator, self.base.dtype)
        uniform = torch.rand(count, 1, generator=self.generator, device=fresh.device)
        return torch.where(uniform < chains.restart, fresh, self.latents)

    def keep(self, state: State) -> None:
        """Remember the chains.

        Raises:
            ValueError: if the sampler keeps more than latents and velocities, which would be lost.
        """
        if any(kept is not None for kept in (state.replicas, state.adaptation, state.memory)):
            raise ValueError(
                "sampler of persistent chains must keep no more than latents and velocities: no tempering, no step-size "
                "adaptation, no memory; use ULA, MALA, HMC or kinetic Langevin, or persistent=False"
            )
        self.latents, self.velocity = state.position.z, state.velocity

    def state_dict(self) -> dict[str, Any]:
        """Return the persistent chains."""
        return {"latents": self.latents, "velocity": self.velocity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with saved chains, on the device of the generator."""
        kept = (state["latents"], state["velocity"])
        self.latents, self.velocity = (None if each is None else each.to(self.generator.device) for each in kept)
