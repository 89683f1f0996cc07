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


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> PairedDifference:
    """Compare two sets of values, each indexed by seed, on the seeds that they share.

    Raises:
        ValueError: if a shared value is not finite.
    """
    shared = tuple(sorted(first.keys() & second.keys()))
    dropped = len(first.keys() ^ second.keys())
    if not shared:
        return PairedDifference(None, (), dropped)
    differences = finite([first[seed] - second[seed] for seed in shared])
    return PairedDifference(mean_interval(differences), shared, dropped, tuple(differences.tolist()))


def two_level_difference(
    first: Mapping[int, NDArray[np.float64]], second: Mapping[int, NDArray[np.float64]]
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
    (rows, points), mean = cells.shape, float(cells.mean())
    by_point, by_seed = (
        float(means.var(ddof=1)) / len(means) if len(means) > 1 else None for means in (cells.mean(0), cells.mean(1))
    )
    point_error, seed_error = (None if square is None else square**0.5 for square in (by_point, by_seed))
    if by_point is None or by_seed is None:
        why = ONE_VALUE if by_point is None else "one seed: the error over seeds is unknown"
        return TwoLevelDifference(Estimate(mean, None, None, rows, why), point_error, seed_error, seeds, points)
    rest = cells - cells.mean(0) - cells.mean(1, keepdims=True) + mean
    by_both = float((rest**2).sum()) / ((rows - 1) * (points - 1)) / (rows * points)
    error = max(by_point, by_seed, by_point + by_seed - by_both) ** 0.5
    degrees = float(rows - 1)
    if total := by_point + by_seed:
        degrees = total**2 / (by_point**2 / (points - 1) + by_seed**2 / (rows - 1))
    half = t_quantile(0.95, degrees) * error
    estimate = Estimate(mean, mean - half, mean + half, rows, standard_error=error, degrees=degrees)
    return TwoLevelDifference(estimate, point_error, seed_error, seeds, points)
