"""Fréchet distances of features, at several numbers of images, and extrapolated to infinitely many.

A symmetric eigenvalue problem gives torch-fidelity's numbers several times faster than its general one. Moments are summed in
float64, a few thousand embeddings at a time, on the device asked for: no float64 copy of all embeddings is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Moments", "extrapolated", "frechet_curve", "frechet_distance"]

CURVE_POINTS = 5
ORDERS = 10
SHUFFLING_SEED = 2020
ROWS_AT_ONCE = 4096
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean (D,) and unbiased covariance (D, D) of a set of embeddings, float64."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]

    @classmethod
    def of(cls, embedding: Float[Tensor, "n d"], device: torch.device = CPU) -> Moments:
        """Return the moments of N ≥ 2 embeddings, summed on a device."""
        sums = _Sums(_mean(embedding, device))
        sums.add(embedding)
        return sums.moments()


def _mean(embedding: Float[Tensor, "n d"], device: torch.device) -> Float[Tensor, " d"]:
    """Return the mean in float64, on a device."""
    parts = [part.to(device, torch.float64).sum(0) for part in torch.split(embedding, ROWS_AT_ONCE)]
    return torch.stack(parts).sum(0) / len(embedding)


class _Sums:
    """Sums of embeddings and of their products about a centre near their mean, where products do not cancel; on the centre's device."""

    def __init__(self, centre: Float[Tensor, " d"]) -> None:
        self.centre, self.count, self.total = centre, 0, torch.zeros_like(centre)
        self.squares = centre.new_zeros(len(centre), len(centre))

    def add(self, embedding: Float[Tensor, "n d"]) -> None:
        """Add embeddings."""
        for part in torch.split(embedding, ROWS_AT_ONCE):
            rows = part.to(self.centre.device, torch.float64) - self.centre
            self.count, self.total = self.count + len(rows), self.total + rows.sum(0)
            self.squares.addmm_(rows.T, rows)

    def moments(self) -> Moments:
        """Return the moments of all that were added, on the CPU."""
        mean = self.total / self.count
        covariance = (self.squares - self.count * torch.outer(mean, mean)) / (self.count - 1)
        return Moments((mean + self.centre).cpu(), covariance.cpu())


def frechet_distance(first: Moments, second: Moments) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), the squared 2-Wasserstein distance of two Gaussians (Heusel et al. 2017).

    Biased upwards by about a constant/N for N images, so compare at equal N; rounding can make it slightly negative for equal sets.
    """
    squared = (first.mean - second.mean).square().sum() + first.covariance.trace() + second.covariance.trace()
    try:
        root = np.linalg.cholesky(first.covariance.numpy())
    except np.linalg.LinAlgError:  # singular
        values, vectors = np.linalg.eigh(first.covariance.numpy())
        root = vectors * np.sqrt(values.clip(min=0))
    product = root.T @ second.covariance.numpy() @ root  # tr (Σ₁Σ₂)^½ = Σ √λ(RᵀΣ₂R) for any R with Σ₁ = RRᵀ
    eigenvalues = scipy.linalg.eigvalsh((product + product.T) / 2, overwrite_a=True, check_finite=False)
    return float(squared) - 2 * float(np.sqrt(eigenvalues.clip(min=0)).sum())


def frechet_curve(
    generated: Float[Tensor, "n d"], real: Moments, device: torch.device = CPU
) -> tuple[tuple[int, float], ...]:
    """Return (m, Fréchet distance of m generated images), for up to 5 sizes m in equal steps up to all, averaged over 10 random orders.

    The smallest is a tenth of all, but twice the width of the features if half of all is that many: with fewer images the bias is not yet
    proportional to 1/m. In one order the sets are nested, so one pass suffices. One order alone moves FID∞ by more than many differences
    that it is to decide. Moments are summed on the device.
    """
    count, width = generated.shape
    least = max(2, count // 10, min(2 * width, count // 2))
    sizes = np.unique(np.linspace(least, count, CURVE_POINTS).round().astype(int)).tolist()
    generator = torch.Generator().manual_seed(SHUFFLING_SEED)
    orders = [torch.randperm(count, generator=generator) for _ in range(ORDERS)]
    centre = _mean(generated, device)
    distances = np.mean([_nested(generated, order, sizes[:-1], real, centre) for order in orders], axis=0)
    whole = frechet_distance(Moments.of(generated, device), real)
    return (*zip(sizes, distances.tolist(), strict=False), (count, whole))


def _nested(
    generated: Float[Tensor, "n d"],
    order: Int[Tensor, " n"],
    sizes: Sequence[int],
    real: Moments,
    centre: Float[Tensor, " d"],
) -> list[float]:
    """Return the distances of the first m images in an order, for rising sizes m."""
    sums, found = _Sums(centre), []
    for size in sizes:
        sums.add(generated[order[sums.count : size]])
        found.append(frechet_distance(sums.moments(), real))
    return found


def extrapolated(curve: Sequence[tuple[int, float]]) -> float:
    """Return FID∞: the intercept of the least-squares line of distance against 1/N (Chong & Forsyth 2020).

    It removes the bias of finitely many generated images; that of the real ones stays. Unlike a distance it may be negative.
    """
    sizes, distances = np.array(curve).T
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)
