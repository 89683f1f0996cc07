"""Energies made of a flow: the setting in which the log-partition of a GEBM is known (Arbel et al., 2021, closed form)."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Float
from scipy.stats import ncx2
from torch import Tensor, nn

from gebm.base import FlowBase

__all__ = ["ContractedCritic", "FlowCritic"]


class FlowCritic(nn.Module):
    """E(x) = −log r(x) + log g(x) + s: the GEBM on the base g is the flow r, and A = log E_G[exp(−E)] = −s for all weights.

    The base is no submodule: its weights are not the energy's to train or save, and its mode is left as it is. Gradients flow through
    log g to weights of the base that ask for them.

    Arguments:
        critic: the flow r; its support must lie within the base's.
        base: the flow g that the energy reweights.
        shift: s, in nats.

    Example:
        >>> import torch
        >>> from gebm.base import GaussianPrior
        >>> class Standard(FlowBase):
        ...     def log_prob(self, x: Tensor) -> Tensor:
        ...         return self.prior.log_prob(x)
        >>> normal = Standard(nn.Identity(), GaussianPrior(2))
        >>> energy = FlowCritic(normal, normal, shift=0.5)
        >>> energy(torch.ones(3, 2)), energy.log_partition
        (tensor([0.5000, 0.5000, 0.5000]), -0.5)
    """

    def __init__(self, critic: FlowBase, base: FlowBase, shift: float = 0.0) -> None:
        super().__init__()
        self.critic, self.shift = critic, shift
        self._base = (base,)  # in a tuple torch does not take it for a submodule

    @property
    def base(self) -> FlowBase:
        """The flow g."""
        return self._base[0]

    @property
    def log_partition(self) -> float:
        """A = −s, exactly."""
        return -self.shift

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        return self.base.log_prob(x) - self.critic.log_prob(x) + self.shift


class ContractedCritic(nn.Module):
    """E(x) = −log N(z; μ, σ²I) + log N(z; 0, I) + s with z = G⁻¹(x), σ < 1: the GEBM on the flow G is the law of G(μ + σζ), ζ ~ N(0, I).

    A = −s exactly, as for a `FlowCritic`, whose weights r/g however have no bound: much of its mass can lie where no draw of g ever is.
    Here weights are bounded, log w = −E <= b = −s − d log σ + ‖μ‖²/(2(1 − σ²)), and how much mass has weights above a given one is
    known: b − log w = ½(1 − σ²)‖ζ − σμ/(1 − σ²)‖².

    Arguments:
        inverse: x → (z, log|det ∂z/∂x|), as of a flow's network; a bound method is copied with its flow.
        mean: μ; on the device of the data.
        scale: σ in (0, 1).
        shift: s, in nats.

    Raises:
        ValueError: if the scale is out of range.

    Example:
        >>> import torch
        >>> energy = ContractedCritic(lambda x: (x, torch.zeros(len(x))), torch.tensor([1.0, 0.0]), scale=0.5)
        >>> round(energy.largest_log_weight, 3), round(energy.mass_beyond(1.5), 3)
        (2.053, 0.448)
    """

    mean: Tensor

    def __init__(
        self,
        inverse: Callable[[Tensor], tuple[Tensor, Tensor]],
        mean: Float[Tensor, " latent"],
        scale: float,
        shift: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < scale < 1:
            raise ValueError(f"scale must be in (0, 1) for bounded weights, got {scale}")
        self.inverse, self.scale, self.shift = inverse, scale, shift
        self.register_buffer("mean", mean)

    @property
    def log_partition(self) -> float:
        """A = −s, exactly."""
        return -self.shift

    @property
    def largest_log_weight(self) -> float:
        """The bound b of −E."""
        reach = float(self.mean.double().square().sum()) / (2 * (1 - self.scale**2))
        return reach - len(self.mean) * math.log(self.scale) - self.shift

    def mass_beyond(self, log_weight: float) -> float:
        """Return the share of the GEBM's mass where −E exceeds `log_weight`: a non-central χ² with d degrees of freedom."""
        shrink = 1 - self.scale**2
        offset = float(self.mean.double().square().sum()) * (self.scale / shrink) ** 2
        return float(ncx2.cdf(2 * (self.largest_log_weight - log_weight) / shrink, len(self.mean), offset))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        z, _ = self.inverse(x)
        contracted = 0.5 * ((z - self.mean) / self.scale).square().sum(1) + len(self.mean) * math.log(self.scale)
        return contracted - 0.5 * z.square().sum(1) + self.shift
