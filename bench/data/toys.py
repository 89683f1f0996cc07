"""Toys: data whose law is known, on or beside the support of a base that is given.

Here are the laws and their draws. The base, the energy that is right for it and the quadrature that says what is true are in
`bench.chains.truth`. A *coordinate* is where a point stands along the support; where data stand beside it (a support mismatch, as in the
paper's first figure), the truth on the support is the law of the data's coordinate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from bench.data import Array, Dataset, Inputs
from bench.data.known_density import Bumps, on_circle
from gebm.components import component

__all__ = ["TOYS", "GaussianPosterior", "Mixture", "Spherical", "Toy", "dataset"]

SIZES = {"train": 4000, "validation": 1000, "test": 4000}


class Toy(ABC):
    """A law of data and the support of a base whose latent is N(0, I)."""

    frame: Array
    """(coordinates, ambient): where coordinate axes point in data space."""
    offset: Array | float = 0.0
    """(ambient,): offset of the data from the support."""
    radius: float = 1.0
    """Radius of the data relative to the support's."""

    @property
    def latent(self) -> int:
        """Dimension of the base's latent."""
        return int(self.frame.shape[0])

    @abstractmethod
    def coordinates(self, count: int, rng: np.random.Generator) -> Array:
        """Draw the data's coordinate, (count, coordinates)."""

    def on_support(self, coordinates: Array) -> Array:
        """Return points of the base's support, (count, ambient)."""
        points: Array = coordinates @ self.frame
        return points

    def data(self, coordinates: Array) -> Array:
        """Return the data with these coordinates; on the support, or beside it."""
        return self.radius * self.on_support(coordinates) + self.offset


@dataclass(frozen=True)
class GaussianPosterior(Toy):
    """x = s ⊙ z[:k] on the first k latents and E(x) = ½‖x − y‖²: the latent posterior is Gaussian with variances 1/(1 + βs²).

    Data are drawn from that very model (at β = 1).
    """

    scales: tuple[float, ...]
    observed: tuple[float, ...]
    dimension: int

    @property
    def latent(self) -> int:
        return self.dimension

    @property
    def frame(self) -> Array:  # type: ignore[override]
        return np.diag(self.scales)

    def coordinates(self, count: int, rng: np.random.Generator) -> Array:
        scales, observed = np.asarray(self.scales), np.asarray(self.observed)
        variance = 1 / (1 + scales**2)
        draws: Array = variance * scales * observed + np.sqrt(variance) * rng.standard_normal((count, len(scales)))
        return draws


@dataclass(frozen=True)
class Mixture(Toy):
    """The base is N(0, I) on a flat support, x = z·frame; data coordinates are an equal mixture of N(centre, width² I)."""

    frame: Array
    centres: Array
    width: float
    offset: Array | float = 0.0

    def coordinates(self, count: int, rng: np.random.Generator) -> Array:
        return Bumps(self.centres, self.width).sample(count, rng)


@dataclass(frozen=True)
class Spherical(Toy):
    """The base is uniform on a unit circle or sphere, x = z/‖z‖·frame; the data on one of another radius, von Mises(–Fisher) distributed
    around the first axis: density ∝ exp(concentration · u₁).
    """

    frame: Array
    concentration: float
    radius: float
    offset: Array | float

    def coordinates(self, count: int, rng: np.random.Generator) -> Array:
        from scipy.stats import vonmises_fisher

        draws: Array = vonmises_fisher(np.eye(self.latent)[0], self.concentration).rvs(count, random_state=rng)
        return draws


def rotated(coordinates: int, ambient: int) -> tuple[Array, Array]:
    """Return fixed orthonormal axes (coordinates, ambient), and a unit vector orthogonal to them."""
    axes = np.linalg.qr(np.random.default_rng(ambient).standard_normal((ambient, ambient)))[0]
    return axes[:coordinates], axes[coordinates]


MOON = on_circle(np.linspace(0, np.pi, 32))
MOONS = 1.2 * (np.concatenate([MOON, np.array([1.0, 0.5]) - MOON]) - np.array([0.5, 0.25]))
RINGS = np.concatenate([r * on_circle(np.linspace(0, 2 * np.pi, int(40 * r), endpoint=False)) for r in (0.6, 1.7)])
LINE, BESIDE_LINE = rotated(1, 3)
CIRCLE, BESIDE_CIRCLE = rotated(2, 3)
SPHERE, BESIDE_SPHERE = rotated(3, 4)
TOYS: dict[str, Toy] = {
    "gaussian-posterior": GaussianPosterior((1.0, 8.0), (1.0, -4.0), 10),
    "line": Mixture(LINE, np.array([[-1.5], [1.5]]), 0.4, 0.5 * BESIDE_LINE),
    "circle": Spherical(CIRCLE, 2.0, 1.3, 0.3 * BESIDE_CIRCLE),
    "sphere": Spherical(SPHERE, 3.0, 1.3, 0.3 * BESIDE_SPHERE),
    "two-moons": Mixture(np.eye(2), MOONS, 0.12),
    "rings": Mixture(np.eye(2), RINGS, 0.12),
}


@component("datasets", "rings", "Gaussian base in the plane, data on two rings", kind="toy")
@component("datasets", "two-moons", "Gaussian base in the plane, data on two moons", kind="toy")
@component("datasets", "sphere", "base on a sphere in R⁴, von Mises–Fisher data on a larger one beside it", kind="toy")
@component("datasets", "circle", "base on a circle in R³, von Mises data on a larger one beside it", kind="toy")
@component("datasets", "line", "base on a line in R³, bimodal data on a line beside it", kind="toy")
@component("datasets", "gaussian-posterior", "linear base, quadratic energy; Gaussian latent posterior", kind="toy")
def dataset(inputs: Inputs) -> Dataset:
    """Draw the splits of a toy, once, with a fixed seed."""
    toy, rng = TOYS[inputs.name], np.random.default_rng(0)
    splits = {split: toy.data(toy.coordinates(n, rng)).astype(np.float32) for split, n in SIZES.items()}
    protocol = "drawn once with seed 0: " + ", ".join(f"{n} {split}" for split, n in SIZES.items())
    return Dataset(inputs.label, "toy", splits, protocol, "made here from a law in closed form")
