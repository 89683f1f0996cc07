"""What is true of a latent posterior: moments of E and of the latents, log Z; by quadrature on toys, else by importance sampling.

A toy comes with its base and with the energy that makes its GEBM right (`known_model`). The quadrature holds for every energy on that base,
so a learned energy has a truth of its own, and the error of a chain is told apart from the error of what was learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import roots_genlaguerre
from torch import Tensor, nn

from bench.data.toys import GaussianPosterior, Mixture, Spherical, Toy
from gebm.base import Base, GaussianPrior
from gebm.diagnostics import pareto_k
from gebm.model import LatentPotential
from gebm.partition.importance import ROWS_AT_ONCE, network_dtype

__all__ = ["Truth", "closed_form", "energies_at", "importance_truth", "known_model", "quadrature", "quadrature_truth"]


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Nodes z (n, d) with log weights (n,) that sum to 1 under the prior; `hidden_variance` (d,) of latents that the base does not see."""

    z: Tensor
    log_weights: Tensor
    hidden_variance: Tensor


@dataclass(frozen=True, eq=False)
class Truth:
    """Moments under ν(z) ∝ η(z) exp(−βE(G(z))), and log Z; `standard_error` is the reference's own, in units of the mean-error metric.

    Attributes:
        energy_mean, energy_variance: of E, without β.
        latent_mean, latent_variance: (d,).
        log_partition: log E_η[exp(−βE)].
        source: how it was obtained.
        standard_error: of the mean of E and, root mean square, of the latents; 0 where exact.
        ess_fraction, pareto_k: of the importance weights, where there are any.
    """

    energy_mean: float
    energy_variance: float
    latent_mean: Tensor
    latent_variance: Tensor
    log_partition: float
    source: str
    standard_error: tuple[float, float] = (0.0, 0.0)
    ess_fraction: float | None = None
    pareto_k: float | None = None


class OnFrame(nn.Module):
    """A module about a toy, whose `frame` (coordinates, ambient) moves with it and is not saved."""

    frame: Tensor

    def __init__(self, toy: Toy) -> None:
        super().__init__()
        self.toy = toy
        self.register_buffer("frame", torch.from_numpy(np.asarray(toy.frame)).float(), persistent=False)


class Known(OnFrame):
    """−log dP/dG as a function of the point, up to a constant, by the coordinate that the point has."""

    centres: Tensor

    def __init__(self, toy: Toy) -> None:
        super().__init__(toy)
        if isinstance(toy, GaussianPosterior):
            self.register_buffer("centres", torch.tensor(toy.observed), persistent=False)
        elif isinstance(toy, Mixture):
            self.register_buffer("centres", torch.from_numpy(toy.centres).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        toy = self.toy
        if isinstance(toy, GaussianPosterior):
            return 0.5 * (x - self.centres).square().sum(1)
        t = x @ self.frame.T
        if isinstance(toy, Spherical):
            return -toy.concentration * t[:, 0]
        if not isinstance(toy, Mixture):
            raise TypeError(f"no known energy for a {type(toy).__name__}")
        squares = (t[:, None] - self.centres).square().sum(2)
        constant = math.log(len(toy.centres) * toy.width**toy.latent)
        log_data = torch.logsumexp(-0.5 * squares / toy.width**2, 1) - constant
        return -0.5 * t.square().sum(1) - log_data  # both densities' (2π)^(−k/2) cancel


class Support(OnFrame):
    """The toy's map from latents to points of the base's support."""

    def forward(self, z: Tensor) -> Tensor:
        if isinstance(self.toy, Spherical):
            z = z / z.norm(dim=1, keepdim=True)
        return z[:, : self.frame.shape[0]] @ self.frame


def known_model(toy: Toy) -> tuple[Base, nn.Module]:
    """Return the toy's base and the energy that is right for it."""
    return Base(Support(toy), GaussianPrior(toy.latent)).eval(), Known(toy).eval()


def quadrature(toy: Toy) -> Quadrature:
    """Return nodes that integrate smooth functions of the base's points, and latents, under the prior.

    A trapezoid rule on flat supports (exponentially accurate there, Gaussian tails and all), polar coordinates on round ones.
    """
    if isinstance(toy, Spherical):
        return polar_nodes(toy.latent)
    seen = toy.frame.shape[0]
    axis = torch.linspace(-7, 7, 4001 if seen == 1 else 421, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * seen).reshape(-1, seen)
    z = torch.zeros(len(grid), toy.latent, dtype=torch.float64)
    z[:, :seen] = grid
    hidden = torch.ones(toy.latent, dtype=torch.float64)
    hidden[:seen] = 0
    return Quadrature(z, torch.log_softmax(-0.5 * grid.square().sum(1), 0), hidden)


def polar_nodes(dimension: int) -> Quadrature:
    """Return equal angles, Gauss–Legendre heights (in R³), and Gauss–Laguerre radii, for N(0, I) in two or three dimensions."""
    angles = torch.arange(256, dtype=torch.float64) * (2 * math.pi / 256)
    directions = torch.stack([angles.cos(), angles.sin()], 1)
    weights = torch.full((256,), 1 / 256, dtype=torch.float64)
    if dimension == 3:
        height, share = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(48))
        ring = (1 - height.square()).sqrt()[:, None, None] * directions
        directions = torch.cat([height[:, None, None].expand(-1, 256, 1), ring], 2).reshape(-1, 3)
        weights = (share[:, None] / 2 * weights).reshape(-1)
    half_squares, mass = (torch.from_numpy(part) for part in roots_genlaguerre(12, dimension / 2 - 1))
    z = ((2 * half_squares).sqrt()[:, None, None] * directions).reshape(-1, dimension)
    log_weights = ((mass / mass.sum())[:, None] * weights).log().reshape(-1)
    return Quadrature(z, log_weights, torch.zeros(dimension, dtype=torch.float64))


@torch.no_grad()
def energies_at(potential: LatentPotential, z: Tensor) -> Tensor:
    """Return E(G(z)) in double precision, in batches; the networks compute in their own."""
    dtype = network_dtype(potential)
    return torch.cat([potential.at(part.to(dtype)).energy.double() for part in torch.split(z, ROWS_AT_ONCE)])


def weighted_truth(energy: Tensor, z: Tensor, log_weights: Tensor, source: str) -> Truth:
    """Return the moments of energies (n,) and latents (n, d) under unnormalised log weights (n,); their log-sum-exp is log Z."""
    weights = torch.softmax(log_weights, 0)
    mean, latent = (weights * energy).sum(), weights @ z
    energy_variance, latent_variance = (weights * (energy - mean).square()).sum(), weights @ (z - latent).square()
    log_partition = float(log_weights.logsumexp(0))
    return Truth(float(mean), float(energy_variance), latent, latent_variance, log_partition, source)


def quadrature_truth(potential: LatentPotential, nodes: Quadrature) -> Truth:
    """Return the truth about any energy on a toy's base."""
    energy = energies_at(potential, nodes.z)
    tilted = nodes.log_weights - potential.inverse_temperature * energy
    found = weighted_truth(energy, nodes.z, tilted, f"quadrature, {len(energy):,} nodes")
    return replace(found, latent_variance=found.latent_variance + nodes.hidden_variance)


def closed_form(toy: GaussianPosterior, beta: float) -> Truth:
    """Return the truth about the Gaussian latent posterior: linear base, quadratic energy."""
    scales, observed = (torch.tensor(part, dtype=torch.float64) for part in (toy.scales, toy.observed))
    seen, evidence = 1 / (1 + beta * scales.square()), 1 + beta * scales.square()
    mean, variance = torch.zeros(toy.dimension).double(), torch.ones(toy.dimension).double()
    mean[: len(scales)], variance[: len(scales)] = beta * seen * scales * observed, seen
    gap, spread = scales * mean[: len(scales)] - observed, scales.square() * seen
    energy_mean = float(0.5 * (gap.square() + spread).sum())
    energy_variance = float((0.5 * spread.square() + gap.square() * spread).sum())
    log_partition = -0.5 * (evidence.log() + beta * observed.square() / evidence).sum()
    return Truth(energy_mean, energy_variance, mean, variance, float(log_partition), "closed form")


def importance_truth(potential: LatentPotential, draws: int, generator: torch.Generator) -> Truth:
    """Return the truth by self-normalised importance sampling from the prior, with its own error by the delta method."""
    dtype, firsts = network_dtype(potential), range(0, draws, ROWS_AT_ONCE)
    z = torch.cat([potential.prior.sample(min(ROWS_AT_ONCE, draws - i), generator, dtype) for i in firsts])
    energy, z = energies_at(potential, z), z.double()
    log_weights = -potential.inverse_temperature * energy
    found = weighted_truth(energy, z, log_weights, f"importance sampling from the prior, M={draws:,}")
    squared = torch.softmax(log_weights, 0).square()
    energy_error = (squared * (energy - found.energy_mean).square()).sum() / found.energy_variance
    latent_error = ((squared @ (z - found.latent_mean).square()) / found.latent_variance).mean()
    return replace(
        found,
        log_partition=found.log_partition - math.log(draws),
        standard_error=(float(energy_error.sqrt()), float(latent_error.sqrt())),
        ess_fraction=float(1 / squared.sum() / draws),
        pareto_k=pareto_k(log_weights),
    )
