"""A flow as a base: an invertible network under a Gaussian prior. Which layers it is made of is for the backends to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import FlowBase, GaussianPrior

__all__ = ["ACTIVATIONS", "Flow", "InvertibleNetwork", "start_at_zero"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU}
"""Activations by the names that settings use."""


class InvertibleNetwork(nn.Module, ABC):
    """A bijection of R^d: latents to samples forwards, samples to latents with the log-determinant backwards."""

    @abstractmethod
    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """X = G(z)."""

    @abstractmethod
    def inverse(
        self, x: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Z with G(z) = x, and log|det ∂z/∂x|."""


class Flow(FlowBase):
    """The law of an invertible network's output under N(0, I), with its density.

    Arguments:
        network: the bijection.
        dimension: d.
    """

    network: InvertibleNetwork

    def __init__(self, network: InvertibleNetwork, dimension: int) -> None:
        super().__init__(network, GaussianPrior(dimension))

    def log_prob(self, x: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        z, log_determinant = self.network.inverse(x)
        return self.prior.log_prob(z) + log_determinant


def start_at_zero(last: nn.Module) -> None:
    """Zero the last layer of an affine layer's network: a deep flow then starts at the prior."""
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
