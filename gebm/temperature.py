"""The temperature at which an energy is the best density: L(βE) on held-out data, its maximiser, and an energy that carries its scale.

L(βE) = −β E_P[E] − log E_G[exp(−βE)] is concave in β, and costs one pass over base samples for all β together. Spectral norm and
gradient penalties leave an energy flatter than the log-ratio it stands for, so its maximiser β̂ is seldom 1. Energies on data and on
base samples are handed in: whoever chose the energy on some data must calibrate it on others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.partition.estimate import LogPartition, log_partition_from_weights

__all__ = ["Gain", "ScaledEnergy", "Temperature", "calibrate", "gain", "weighted_moments"]

LARGEST_BETA = 1e6
"""Where the search for β̂ gives up."""


@dataclass(frozen=True)
class Gain:
    """The held-out gain L(βE) over the base, in nats, with its two standard errors apart.

    Arguments:
        beta: β.
        value: L(βE); optimistic by Jensen, as log Ẑ is low on average.
        points_error: standard error over the data points.
        log_partition: log Ẑ at β, with its own error, ESS/M and k̂.
    """

    beta: float
    value: float
    points_error: float
    log_partition: LogPartition

    @property
    def standard_error(self) -> float:
        """Both errors together; data and base samples are independent."""
        return math.hypot(self.points_error, self.log_partition.standard_error)

    @property
    def reportable(self) -> bool:
        """Whether log Ẑ is."""
        return self.log_partition.reportable


@dataclass(frozen=True)
class Temperature:
    """The inverse temperature at which an energy is the best density.

    Arguments:
        beta: β̂; 0 where the energy takes likelihood away at any temperature.
        standard_error: of β̂, from data and base samples; NaN at the edge.
        at_edge: whether L still rose at `beta`, and beyond it log Z could not be estimated: β̂ is this or more.
        gain: L there, on the data that chose it.
    """

    beta: float
    standard_error: float
    at_edge: bool
    gain: Gain

    def __str__(self) -> str:
        """As a reader is told: "3.14 ± 0.20", or "at the edge: 3.14 or more"."""
        return (
            f"at the edge: {self.beta:.3g} or more" if self.at_edge else f"{self.beta:.3g} ± {self.standard_error:.2g}"
        )


class ScaledEnergy(nn.Module):
    """An energy times a positive scale that is learned with it: what a 1-Lipschitz network cannot express by itself.

    The offset, which a density does not depend on, is the objective's own c.

    Arguments:
        network: x (batch, *shape) → energies (batch,).
        scale: to begin with, > 0.

    Example:
        >>> scaled = ScaledEnergy(nn.Flatten(0), scale=2.0)
        >>> scaled(torch.ones(3, 1)).tolist()
        [2.0, 2.0, 2.0]
    """

    def __init__(self, network: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        energy: Tensor = self.log_scale.exp() * self.network(x)
        return energy

    @torch.no_grad()
    def multiply(self, factor: float) -> None:
        """Multiply the scale by a factor > 0, in place."""
        self.log_scale.add_(math.log(factor))


def gain(
    energy_data: Float[Tensor, " data"],
    energy_base: Float[Tensor, " base"],
    beta: float,
    judge: Float[Tensor, " base"] | None = None,
) -> Gain:
    """Return L(βE) = −β E_P[E] − log E_G[exp(−βE)].

    Arguments:
        energy_data: E on held-out data, without β, at least 2.
        energy_base: E on independent base samples, at least 4.
        beta: β >= 0.
        judge: E on as many other base samples, by whose weights log Ẑ is admitted (`LogPartition.admitted_by`); without them by its own.

    Raises:
        ValueError: if an energy on data is not finite, or there are too few.

    Example:
        >>> gain(-torch.ones(10), torch.zeros(10), 3.0).value
        3.0
    """
    data = energy_data.double()
    if data.shape[0] < 2 or not bool(data.isfinite().all()):
        wrong = int((~data.isfinite()).sum())
        raise ValueError(f"energies of at least 2 held-out points must be finite, {wrong} of {data.shape[0]} are not")
    found, *admission = (
        log_partition_from_weights(-beta * energy.double(), "importance sampling", 0, energy.shape[0])
        for energy in (energy_base, judge)
        if energy is not None
    )
    found = found.admitted_by(*admission) if admission else found
    points_error = beta * float(data.std()) / math.sqrt(data.shape[0])
    return Gain(beta, -beta * float(data.mean()) - found.estimate, points_error, found)


def weighted_moments(energy_base: Float[Tensor, " base"], beta: float) -> tuple[float, float, float]:
    """Return mean and variance of E under exp(−βE)G, from weighted base samples, and the standard error of the mean.

    The error is that of self-normalised importance sampling, by the delta method.
    """
    energy = energy_base.double()
    usable = energy.isfinite()
    weights = torch.softmax(torch.where(usable, -beta * energy, -math.inf), 0)
    energy = torch.where(usable, energy, 0.0)
    mean = float((weights * energy).sum())
    spread = (energy - mean).square()
    return mean, float((weights * spread).sum()), math.sqrt(float((weights.square() * spread).sum()))


def calibrate(
    energy_data: Float[Tensor, " data"],
    energy_base: Float[Tensor, " base"],
    judge: Float[Tensor, " base"] | None = None,
) -> Temperature:
    """Return the maximiser β̂ of L(βE), as far as the base samples can tell.

    L is concave with L′(β) = E_β[E] − E_P[E] (E_β: the mean under exp(−βE)G), so β̂ is found by bisection for the sign of L′. The search
    ends where log Z is no longer reportable (k̂ >= 0.7, or an ESS under 100): what lies beyond is not made up.

    Arguments:
        energy_data: E on data that the energy was neither trained on nor will be judged by, without β.
        energy_base: E on independent base samples.
        judge: as in `gain`.

    Raises:
        ValueError: as `gain`.

    Example:
        >>> x, y = torch.randn(2, 20000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> found = calibrate(-0.5 * (x + 1), -0.5 * y)  # P = N(1, 1) and G = N(0, 1), whose log-ratio is x − 1/2
        >>> abs(found.beta - 2) < 4 * found.standard_error
        True
    """
    target = float(energy_data.double().mean())

    def climbing(beta: float) -> bool:
        return weighted_moments(energy_base, beta)[0] > target

    def reliable(beta: float) -> bool:
        return gain(energy_data, energy_base, beta, judge).reportable

    if not climbing(0.0):
        return Temperature(0.0, math.nan, False, gain(energy_data, energy_base, 0.0, judge))
    low, high = 0.0, 1.0
    while climbing(high) and reliable(high) and high < LARGEST_BETA:
        low, high = high, 2 * high
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if climbing(middle) and reliable(middle) else (low, middle)
    at_edge = climbing(high)
    _, variance, log_z_error = weighted_moments(energy_base, low)
    error = math.hypot(float(energy_data.double().std()) / math.sqrt(energy_data.shape[0]), log_z_error)
    standard_error = math.nan if at_edge or not variance else error / variance
    return Temperature(low, standard_error, at_edge, gain(energy_data, energy_base, low, judge))
