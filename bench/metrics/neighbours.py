"""Nearest-neighbour balls, whose union stands for the manifold of a set of images (Kynkäänniemi et al. 2019).

As in torch-fidelity, but with the radii kept, and never the whole matrix of distances: that of 50,000 images would take 10 GB.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["NEIGHBOURS", "ball_radii", "share_within"]

NEIGHBOURS = 3
_ROWS = 1000  # of the matrix of distances at a time


def ball_radii(embedding: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return distances to the 3rd nearest neighbour of the same set of at least four, in feature units."""
    return torch.cat(
        [
            torch.cdist(rows, embedding).topk(NEIGHBOURS + 1, largest=False).values[:, -1]
            for rows in torch.split(embedding, _ROWS)
        ]
    )


def share_within(points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float[Tensor, " m"]) -> float:
    """Return the share of points that lie in a ball around any centre."""
    within = torch.cat([(torch.cdist(rows, centres) <= radii).any(1) for rows in torch.split(points, _ROWS)])
    return within.float().mean().item()
