"""A Gaussian with full covariance as a flow: the affine map z → μ + Lz, whose maximum likelihood is known in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from baselines.flows.network import InvertibleNetwork

__all__ = ["AffineNetwork"]


class AffineNetwork(InvertibleNetwork):
    """x = μ + Lz with L lower triangular; starts as the identity.

    Arguments:
        dimension: d.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dimension))
        self.factor = nn.Parameter(torch.eye(dimension))

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return self.mean + z @ self.factor.tril().T

    def inverse(
        self, x: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        z = torch.linalg.solve_triangular(self.factor.tril(), (x - self.mean).T, upper=False).T
        log_determinant = -self.factor.diagonal().abs().log().sum()
        return z, log_determinant.expand(x.shape[0])

    @torch.no_grad()
    def fit(self, rows: Float[Tensor, "rows latent"]) -> None:
        """Maximum likelihood: mean and covariance of the rows, computed in double precision.

        Raises:
            ValueError: if their covariance is singular to working precision.
        """
        rows = rows.double()
        mean = rows.mean(0)
        covariance = (rows - mean).T @ (rows - mean) / rows.shape[0]
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if failed or (factor.diagonal() < 1e-6 * covariance.diagonal().sqrt()).any():
            raise ValueError(
                f"the covariance of these {rows.shape[0]} rows in {rows.shape[1]} dimensions is singular; "
                "drop constant and duplicate columns, or give more rows"
            )
        self.mean.copy_(mean)
        self.factor.copy_(factor)
