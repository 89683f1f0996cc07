"""Fréchet distances of features, at several numbers of images, and extrapolated to infinitely many.

A symmetric eigenvalue problem gives torch-fidelity's numbers several times faster than its general one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics

__all__ = ["Moments", "extrapolated", "frechet_curve", "frechet_distance"]

CURVE_POINTS = 5
ORDERS = 10
SHUFFLING_SEED = 2020


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean (D,) and unbiased covariance (D, D) of a set of embeddings, float64."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]

    @classmethod
    def of(cls, embedding: Float[Tensor, "n d"]) -> Moments:
        """Return the moments of N ≥ 2 embeddings."""
        statistics = fid_features_to_statistics(embedding.double())
        covariance = torch.from_numpy(statistics["sigma"]).reshape(embedding.shape[1], embedding.shape[1])
        return cls(torch.from_numpy(statistics["mu"]), covariance)


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


def frechet_curve(generated: Float[Tensor, "n d"], real: Moments) -> tuple[tuple[int, float], ...]:
    """Return (m, Fréchet distance of m generated images), for up to 5 sizes m in equal steps up to all, averaged over 10 random orders.

    The smallest is a tenth of all, but twice the width of the features if half of all is that many: with fewer images the bias is not yet
    proportional to 1/m. In one order the sets are nested, so one pass suffices. One order alone moves FID∞ by more than many differences
    that it is to decide.
    """
    count, width = generated.shape
    least = max(2, count // 10, min(2 * width, count // 2))
    sizes = np.unique(np.linspace(least, count, CURVE_POINTS).round().astype(int)).tolist()
    generator = torch.Generator().manual_seed(SHUFFLING_SEED)
    orders = [torch.randperm(count, generator=generator) for _ in range(ORDERS)]
    distances = np.mean([_nested(generated[order], sizes[:-1], real) for order in orders], axis=0)
    return (*zip(sizes, distances.tolist(), strict=False), (count, frechet_distance(Moments.of(generated), real)))


def _nested(generated: Float[Tensor, "n d"], sizes: Sequence[int], real: Moments) -> list[float]:
    """Return the distances of the first m images, for rising sizes m."""
    width = generated.shape[1]
    centre = generated.double().mean(0)  # sums of squares about it do not cancel
    total, squares = torch.zeros(width).double(), torch.zeros(width, width).double()
    found, start = [], 0
    for size in sizes:
        part = generated[start:size].double() - centre
        total += part.sum(0)
        squares += part.T @ part
        mean, start = total / size, size
        covariance = (squares - size * torch.outer(mean, mean)) / (size - 1)
        found.append(frechet_distance(Moments(mean + centre, covariance), real))
    return found


def extrapolated(curve: Sequence[tuple[int, float]]) -> float:
    """Return FID∞: the intercept of the least-squares line of distance against 1/N (Chong & Forsyth 2020).

    It removes the bias of finitely many generated images; that of the real ones stays. Unlike a distance it may be negative.
    """
    sizes, distances = np.array(curve).T
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)
