"""Aggregates over runs and tasks that one bad run does not rule.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.stats.estimates import Estimate, Sample, finite, t_quantile

__all__ = ["improvement_probability", "interquartile_mean"]

ENOUGH_ALONE = 10  # runs of a task; three tasks of 5 exponential runs are covered 0.91 of the time
FEWEST, ENOUGH_TOGETHER = 5, 30  # or so many a task and in all: six tasks of 5 are covered 0.95


def interquartile_mean(tasks: Sequence[Sample], confidence: float = 0.95, draws: int = 4000) -> Estimate:
    """Mean of the middle half of all runs of all tasks, with a bootstrap stratified by task.

    Scores of all tasks must be of one scale. Runs are drawn anew within each task. A percentile interval is too short for few runs, so it
    is taken further out, as far as Student-t with half of the runs' degrees of freedom would (Hesterberg, "What Teachers Should Know About
    the Bootstrap", 2015, section 5.3, for the mean).

    Arguments:
        tasks: the runs' values, task by task.
        confidence: of the interval.
        draws: resamples.

    Raises:
        ValueError: if there is no task, a task without values, or a value that is not finite.
    """
    strata = [finite(task) for task in tasks]
    if not strata:
        raise ValueError("no task to aggregate")
    everything = np.concatenate(strata)
    middle, fewest = float(_middle_mean(everything)), min(map(len, strata))
    if fewest < ENOUGH_ALONE and (fewest < FEWEST or len(everything) < ENOUGH_TOGETHER):
        why = (
            f"{fewest} run{'s' * (fewest > 1)} a task, {len(everything)} in all, are too few for a stratified bootstrap; it takes "
            f"{ENOUGH_ALONE} a task, or {FEWEST} a task and {ENOUGH_TOGETHER} in all"
        )
        return Estimate(middle, None, None, len(everything), why)
    rng = np.random.default_rng(0)
    drawn = [stratum[rng.integers(0, len(stratum), (draws, len(stratum)))] for stratum in strata]
    means = _middle_mean(np.concatenate(drawn, axis=1))
    tail = widened_tail([len(stratum) for stratum in strata], confidence)
    low, high = np.quantile(means, tail, method="lower"), np.quantile(means, 1 - tail, method="higher")
    return Estimate(middle, float(low), float(high), len(everything))


def widened_tail(sizes: Sequence[int], confidence: float) -> float:
    """What share of the bootstrap is left out on each side, for tasks of these sizes."""
    degrees = sum(size - 1 for size in sizes)
    shrunk = np.sqrt(sum(sizes) / degrees)
    return float(special.ndtr(-shrunk * t_quantile(confidence, degrees / 2)))


def improvement_probability(
    first: Mapping[int, float], second: Mapping[int, float], sign: int, confidence: float = 0.95
) -> Estimate | None:
    """How likely the first is better than the second on a new shared seed, with the exact binomial interval (Clopper and Pearson).

    Ties count half in the mean, as a loss in the lower end and as a win in the upper one. None where no seed is shared.

    Arguments:
        first: values by seed.
        second: values by seed.
        sign: +1 where higher is better, −1 where lower is.
        confidence: of the interval, reached or exceeded at any number of seeds.

    Raises:
        ValueError: if a shared value is not finite, or the sign is neither.
    """
    if sign not in (1, -1):
        raise ValueError("sign is +1 where higher is better, −1 where lower is")
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    gains = sign * finite([first[seed] - second[seed] for seed in shared])
    n, wins, ties = len(gains), int((gains > 0).sum()), int((gains == 0).sum())
    tail = (1 - confidence) / 2
    low = special.betaincinv(wins, n - wins + 1, tail) if wins else 0.0
    high = special.betaincinv(wins + ties + 1, n - wins - ties, 1 - tail) if wins + ties < n else 1.0
    return Estimate((wins + ties / 2) / n, float(low), float(high), n)


def _middle_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last axis without the lowest and the highest quarter, rounded down."""
    cut = values.shape[-1] // 4
    middle: NDArray[np.float64] = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(-1)
    return middle
