"""The GEBM itself: the base G reweighted by an energy, Q(dx) ∝ exp(−E(x)) G(dx), and the potential its latents follow.

Sampling Q is sampling ν(z) ∝ η(z) exp(−E(G(z))) and pushing it through G (Arbel et al., 2021). The chains that do so
live in `gebm.samplers`; log Z in an estimator of its own, never guessed here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import Base, FlowBase
from gebm.frozen import frozen_copy, lower_convolutions

__all__ = ["GEBM", "LatentPotential", "Position", "energies"]


class Position(NamedTuple):
    """A latent with everything a sampler wants to know about it, so that nothing is computed twice.

    `energy` is E(G(z)) without β, `potential` is U(z) = −log η(z) + β E(G(z)); `gradient` is ∇U(z), or None where it was not asked.
    """

    z: Float[Tensor, "batch latent"]
    energy: Float[Tensor, " batch"]
    potential: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch latent"] | None


def energies(energy: nn.Module, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """Return E(x), one value per sample.

    Raises:
        ValueError: if the energy returns anything else, such as (batch, 1), which would broadcast silently.
    """
    values: Tensor = energy(x)
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"energy must return one value per sample, shape {tuple(x.shape[:1])}, got {tuple(values.shape)}; "
            "squeeze its last axis"
        )
    return values


class LatentPotential:
    """U(z) = −log η(z) + β E(G(z)), the potential of the latent posterior at inverse temperature β.

    Only ∂U/∂z is ever computed: weights are not differentiated and no gradient reaches them.

    Arguments:
        base: the base; used in evaluation mode.
        energy: x (batch, *shape) → E (batch,).
        inverse_temperature: β >= 0; 1 is the model, 0 the base, 100 the paper's image protocol.

    Raises:
        ValueError: if β is negative, or the energy does not return one value per sample.
    """

    def __init__(self, base: Base, energy: nn.Module, inverse_temperature: float = 1.0) -> None:
        if not inverse_temperature >= 0:
            raise ValueError(f"inverse_temperature must be >= 0, got {inverse_temperature}")
        self.base = base
        self.network = energy
        self.inverse_temperature = inverse_temperature
        self.prior = base.prior

    def energy(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        """E(G(z)), without β."""
        return energies(self.network, self.base(z))

    def __call__(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        return self.inverse_temperature * self.energy(z) - self.prior.log_prob(z)

    @torch.no_grad()
    def at(self, z: Float[Tensor, "batch latent"]) -> Position:
        """The position at z without its gradient: one forward evaluation."""
        energy = self.energy(z)
        potential = self.inverse_temperature * energy - self.prior.log_prob(z)
        return Position(z, energy, potential, None)

    def with_gradient(self, z: Float[Tensor, "batch latent"]) -> Position:
        """The position at z with ∇U: one gradient evaluation."""
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            energy = self.energy(z)
            potential = self.inverse_temperature * energy - self.prior.log_prob(z)
            (gradient,) = torch.autograd.grad(potential.sum(), z)
        return Position(z.detach(), energy.detach(), potential.detach(), gradient)


class GEBM(nn.Module):
    """A base and an energy: Q(dx) = exp(−E(x) − A) G(dx) with A = log E_G[exp(−E)].

    Arguments:
        base: the base.
        energy: x (batch, *shape) → E (batch,), low on data.

    Example:
        >>> from gebm.base import GaussianPrior
        >>> model = GEBM(Base(nn.Linear(2, 3), GaussianPrior(2)), nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)))
        >>> model.for_sampling().potential(inverse_temperature=100.0)(torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    def __init__(self, base: Base, energy: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.energy = energy

    def potential(self, inverse_temperature: float = 1.0) -> LatentPotential:
        """The latent potential at β."""
        return LatentPotential(self.base, self.energy, inverse_temperature)

    def for_sampling(
        self, memory_format: torch.memory_format = torch.channels_last, dtype: torch.dtype | None = None
    ) -> GEBM:
        """A copy to run chains on: the same law in evaluation mode up to rounding, several times faster, not to be trained.

        Weights ask for no gradient and are folded (`gebm.frozen`), which is exact but for rounding. The copy does not follow later
        changes of this model. Latents, energies, gradients and dense layers keep their precision whatever `dtype` is.

        Arguments:
            memory_format: layout of the convolutions; `torch.preserve_format` leaves it as it is.
            dtype: `torch.bfloat16` runs the convolutions in it. This changes the energy a little, by β times as much the target:
                use it where its chains agree with those of single precision. None changes nothing.

        Raises:
            ValueError: if `dtype` is another one, or there is no convolution to run in it.
        """
        if dtype not in (None, torch.bfloat16):
            raise ValueError(f"dtype must be None or torch.bfloat16, got {dtype}")
        twin = frozen_copy(self, memory_format)
        if dtype is not None:
            twin.base.latent_dtype = self.base.dtype
            if not lower_convolutions(twin.base, dtype) + lower_convolutions(twin.energy, dtype):
                raise ValueError(
                    f"dtype={dtype} is for convolutions, and neither base nor energy has one; leave it out"
                )
        return twin

    def log_prob(self, x: Float[Tensor, "batch ..."], log_partition: float) -> Float[Tensor, " batch"]:
        """log q(x) = log g(x) − E(x) − A in nats, for a given A.

        Raises:
            TypeError: if the base has no density.
        """
        if not isinstance(self.base, FlowBase):
            raise TypeError(
                f"log_prob needs a base with a density (a FlowBase), got {type(self.base).__name__}; for an implicit base report "
                "the likelihood gain over the base, gebm.objectives.likelihood_gain"
            )
        energy: Tensor = self.energy(x)
        return self.base.log_prob(x) - energy - log_partition
