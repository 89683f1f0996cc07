"""Laws whose density is exact and whose entropy is known, in 8, 21 and 43 dimensions: the yardstick for likelihoods.

A law is a product of independent blocks in the plane (a ring, a banana, two moons, three bumps; in odd dimensions one more block on the
line), hidden by maps that keep volume: a shear of one half of the coordinates by a smooth function of the other, and a rotation. So its
density is the product of the blocks' densities, and its entropy the sum of the blocks' entropies: in closed form for ring and banana, by
quadrature, to 1e-8 nats, for mixtures of Gaussians. Everything is NumPy in float64. Values have about unit scale and are left as they
are, so that a log-likelihood compares with −entropy directly.

Blocks are as smooth, and training rows as many, as it takes for a flow trained for a few minutes of one core to come within 0.1 nats of
the truth in 8 dimensions. With 20,000 rows or sharper modes most of the gap is a flow's estimation error, not a difference of methods.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from bench.data import Array, Dataset, Inputs
from bench.data.table import tabular
from gebm.components import component

__all__ = ["DIMENSIONS", "Banana", "Block", "Bumps", "KnownDensity", "Ring", "dataset", "known_density"]

SIZES = {"train": 100_000, "validation": 2_000, "test": 10_000}
LOG_TAU = math.log(2 * math.pi)
SHEAR = 0.3  # its amplitude


@dataclass(frozen=True)
class Ring:
    """Around the origin: angle uniform, log-radius N(log radius, width²), so H = E[log r] + H(r) + log 2π in closed form."""

    radius: float
    width: float
    dimension = 2

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        angle = rng.uniform(0, 2 * math.pi, count)
        r = self.radius * np.exp(self.width * rng.standard_normal(count))
        return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)

    def log_prob(self, x: Array) -> Array:
        log_r = 0.5 * np.log(np.square(x).sum(axis=1))
        score = (log_r - math.log(self.radius)) / self.width
        found: Array = -0.5 * score**2 - 0.5 * LOG_TAU - math.log(self.width) - 2 * log_r - LOG_TAU
        return found

    @property
    def entropy(self) -> float:
        return 2 * math.log(self.radius) + 0.5 * (1 + LOG_TAU) + math.log(self.width) + LOG_TAU


@dataclass(frozen=True)
class Banana:
    """(u, v + bend·(u²/spread² − 1)) of u ~ N(0, spread²), v ~ N(0, width²): bending keeps volume, so H is the Gaussian's."""

    spread: float
    width: float
    bend: float
    dimension = 2

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        u, v = rng.standard_normal((2, count))
        return np.stack([self.spread * u, self.width * v + self.bend * (u**2 - 1)], axis=1)

    def log_prob(self, x: Array) -> Array:
        u = x[:, 0] / self.spread
        v = (x[:, 1] - self.bend * (u**2 - 1)) / self.width
        found: Array = -0.5 * (u**2 + v**2) - LOG_TAU - math.log(self.spread * self.width)
        return found

    @property
    def entropy(self) -> float:
        return 1 + LOG_TAU + math.log(self.spread * self.width)


@dataclass(frozen=True)
class Bumps:
    """An equal mixture of N(centre, width² I); H by the trapezoidal rule.

    Its error falls as exp(−2πy/step), where y = π·width²/D is how far from the real axis p log p stays analytic for centres D apart: below
    1e-8 nats for the laws here.
    """

    centres: Array
    width: float

    @property
    def dimension(self) -> int:
        return int(self.centres.shape[1])

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        chosen = rng.integers(len(self.centres), size=count)
        draws: Array = self.centres[chosen] + self.width * rng.standard_normal((count, self.dimension))
        return draws

    def log_prob(self, x: Array) -> Array:
        squares = np.square(x[:, None, :] - self.centres).sum(axis=2) / self.width**2
        normaliser = self.dimension * (0.5 * LOG_TAU + math.log(self.width)) + math.log(len(self.centres))
        found: Array = logsumexp(-0.5 * squares, axis=1) - normaliser
        return found

    @functools.cached_property
    def entropy(self) -> float:
        step, reach = self.width / 8, 9 * self.width
        low, high = np.min(self.centres, axis=0) - reach, np.max(self.centres, axis=0) + reach
        axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dimension)
        log_p = self.log_prob(grid)
        return float(-(np.exp(log_p) * log_p).sum() * step**self.dimension)


def on_circle(angle: Array) -> Array:
    """Return points of the unit circle, (n, 2)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


Block = Ring | Banana | Bumps
"""A law on the line or in the plane: `sample(count, rng)` and `log_prob(x)` of (n, dimension), `entropy` in nats."""
MOON = on_circle((np.arange(12) + 0.5) * math.pi / 12) - np.array([0.5, 0.25])
PLANE: list[Block] = [
    Ring(radius=1.3, width=0.35),
    Banana(spread=1.0, width=0.7, bend=0.4),
    Bumps(np.concatenate([MOON, -MOON]), width=0.4),
    Bumps(1.2 * on_circle(2 * math.pi * np.arange(3) / 3), width=0.5),
]
LINE = Bumps(np.array([[-1.0], [1.0]]), width=0.4)


class KnownDensity:
    """x = shear(y)·R, with y a product of blocks, R a rotation, and a shear that adds a smooth function of the first half of the
    coordinates to the second half. Both keep volume.

    Blocks of `PLANE` take turns, and `LINE` fills an odd dimension; rotation and shear are drawn with the dimension as their seed.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension, self._half = dimension, dimension // 2
        self.blocks = [PLANE[i % len(PLANE)] for i in range(self._half)] + [LINE] * (dimension % 2)
        rng = np.random.default_rng(dimension)
        q, r = np.linalg.qr(rng.standard_normal((dimension, dimension)))
        self._rotation = q * np.sign(np.diag(r))
        self._directions = rng.standard_normal((self._half, dimension - self._half)) / math.sqrt(self._half)

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Draw samples, (count, dimension)."""
        return self.hide(np.concatenate([block.sample(count, rng) for block in self.blocks], axis=1))

    def log_prob(self, x: Array) -> Array:
        """Return the log-density in nats, (n, dimension) → (n,)."""
        parts = np.split(self.reveal(np.asarray(x, dtype=np.float64)), range(2, self.dimension, 2), axis=1)
        found: Array = np.sum([block.log_prob(part) for block, part in zip(self.blocks, parts, strict=True)], axis=0)
        return found

    @property
    def entropy(self) -> float:
        """Differential entropy in nats: no model's expected log-likelihood exceeds −entropy."""
        return sum(block.entropy for block in self.blocks)

    def hide(self, y: Array) -> Array:
        """Map blocks side by side to x, keeping volume."""
        sheared = y.copy()
        sheared[:, self._half :] += self._bend(y[:, : self._half])
        x: Array = sheared @ self._rotation
        return x

    def reveal(self, x: Array) -> Array:
        """Invert `hide`."""
        y: Array = x @ self._rotation.T
        y[:, self._half :] -= self._bend(y[:, : self._half])
        return y

    def _bend(self, first: Array) -> Array:
        bent: Array = SHEAR * np.sin(1.5 * first @ self._directions)
        return bent


@functools.cache
def known_density(name: str) -> KnownDensity:
    """Return the law behind a dataset's name, whatever its split, or behind a `Dataset.table.truth`; a KeyError if there is none."""
    return KnownDensity(DIMENSIONS[name.partition("@")[0]])


DIMENSIONS = {f"known-density-{dimension}": dimension for dimension in (8, 21, 43)}


@component("datasets", "known-density-43", "exact density and entropy, D = 43; made here", kind="tabular", seeded=True)
@component("datasets", "known-density-21", "exact density and entropy, D = 21; made here", kind="tabular", seeded=True)
@component("datasets", "known-density-8", "exact density and entropy, D = 8; made here", kind="tabular", seeded=True)
def dataset(inputs: Inputs) -> Dataset:
    """Draw from a known law; the split number is the seed of the draw."""
    law = known_density(inputs.name)
    rng = np.random.default_rng([law.dimension, inputs.split])
    return tabular(
        inputs.label,
        {part: law.sample(count, rng) for part, count in SIZES.items()},
        protocol=f"drawn with seed {inputs.split}: " + ", ".join(f"{count} {part}" for part, count in SIZES.items()),
        provenance="made here from a law of exact density and entropy",
        truth=inputs.name,
    )
