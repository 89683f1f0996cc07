"""Differences of two sides that share something: the same seeds, or the same seeds and the same test points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimates import ONE_VALUE, Estimate, finite, mean_interval, t_quantile
from bench.stats.significance import sign_flip_p_value

__all__ = ["PairedDifference", "TwoLevelDifference", "paired_difference", "two_level_difference"]


@dataclass(frozen=True)
class PairedDifference:
    """first − second over the seeds that both have.

    Attributes:
        estimate: mean difference with its Student-t interval, or None where no seed is shared.
        seeds: the shared seeds, ascending.
        dropped: how many seeds only one side has.
        differences: seed by seed.
    """

    estimate: Estimate | None
    seeds: tuple[int, ...]
    dropped: int
    differences: tuple[float, ...] = ()

    @cached_property
    def p_value(self) -> float | None:
        """Two-sided sign-flip test of "no difference", or None where no seed is shared."""
        return sign_flip_p_value(self.differences) if self.differences else None


@dataclass(frozen=True)
class TwoLevelDifference:
    """first − second over shared seeds and shared test points, and what its uncertainty is made of.

    Attributes:
        estimate: mean over points and seeds; its interval is about new points and new seeds, so of one seed or one point there is none.
        point_error: standard error from the choice of test points, seeds held; None with one point.
        seed_error: standard error from the choice of seeds, points held; None with one seed.
        seeds: the shared seeds, ascending.
        points: number of test points.
    """

    estimate: Estimate
    point_error: float | None
    seed_error: float | None
    seeds: tuple[int, ...]
    points: int


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Compare two sets of values, each indexed by seed, on the seeds that they share.

    Raises:
        ValueError: if a shared value is not finite.
    """
    shared = tuple(sorted(first.keys() & second.keys()))
    dropped = len(first.keys() ^ second.keys())
    if not shared:
        return PairedDifference(None, (), dropped)
    differences = finite([first[seed] - second[seed] for seed in shared])
    return PairedDifference(mean_interval(differences, confidence), shared, dropped, tuple(differences.tolist()))


def two_level_difference(
    first: Mapping[int, NDArray[np.float64]], second: Mapping[int, NDArray[np.float64]], confidence: float = 0.95
) -> TwoLevelDifference | None:
    """Compare values of the same test points, (points,) for each seed, on the seeds that both sides have; None where there is none.

    The cells d[seed, point] are read as mean + seed effect + point effect + rest, all random. With A the variance of the points' means over
    the number of points, B that of the seeds' means over the number of seeds and C the rest's share in both, the squared error of the grand
    mean is A + B − C (Cornfield and Tukey, Ann. Math. Stat. 1956), here never less than A or B. Its degrees of freedom are
    Satterthwaite's, those of A + B, which is on the safe side.

    Raises:
        ValueError: if the sides do not have the same points, or a shared value is not finite.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        return None
    sizes = {np.shape(side[seed]) for side in (first, second) for seed in seeds}
    if len(sizes) != 1:
        raise ValueError(f"the test points differ between seeds or sides: shapes {sorted(sizes)}")
    cells = np.stack([np.asarray(first[seed], np.float64) - np.asarray(second[seed], np.float64) for seed in seeds])
    if cells.ndim != 2 or not cells.size or not np.isfinite(cells).all():
        raise ValueError("values of test points must form one line for each seed, not empty, all finite")
    rows, points = cells.shape
    mean = float(cells.mean())
    point_square = float(cells.mean(0).var(ddof=1)) / points if points > 1 else None
    seed_square = float(cells.mean(1).var(ddof=1)) / rows if rows > 1 else None
    point_error = None if point_square is None else point_square**0.5
    seed_error = None if seed_square is None else seed_square**0.5
    if point_square is None or seed_square is None:
        why = ONE_VALUE if point_square is None else "one seed: the error over seeds is unknown"
        return TwoLevelDifference(Estimate(mean, None, None, rows, why), point_error, seed_error, seeds, points)
    rest = cells - cells.mean(0) - cells.mean(1, keepdims=True) + mean
    shared_square = float((rest**2).sum()) / ((rows - 1) * (points - 1)) / (rows * points)
    square = max(point_square, seed_square, point_square + seed_square - shared_square)
    degrees = _degrees(point_square, points, seed_square, rows)
    half = t_quantile(confidence, degrees) * square**0.5
    estimate = Estimate(mean, mean - half, mean + half, rows, standard_error=square**0.5, degrees=degrees)
    return TwoLevelDifference(estimate, point_error, seed_error, seeds, points)


def _degrees(point_square: float, points: int, seed_square: float, rows: int) -> float:
    """Satterthwaite's degrees of freedom of the sum of two mean squares."""
    total = point_square + seed_square
    if total == 0:
        return float(rows - 1)
    return total**2 / (point_square**2 / (points - 1) + seed_square**2 / (rows - 1))
