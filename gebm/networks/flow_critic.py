"""An energy made of a flow: the one setting in which the log-partition of a GEBM is known (Arbel et al., 2021, closed form)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import FlowBase

__all__ = ["FlowCritic"]


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
