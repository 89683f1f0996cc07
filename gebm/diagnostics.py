"""How far a trace of chains, or a set of importance weights, can be trusted.

R-hat, effective sample sizes and Pareto k̂ are those of arviz-stats (Vehtari et al., 2021; Vehtari et al., 2024);
here is only what leads there. Traces have shape (draws, chains). Recording is part of judging, so `record` lives
here; the chain itself is `gebm.samplers.chain`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from arviz_stats.base import array_stats as _untyped  # type: ignore[attr-defined]
from jaxtyping import Float
from torch import Tensor

from gebm.model import LatentPotential
from gebm.samplers import Cost, Info, Sampler, chain

__all__ = [
    "Quantity",
    "Summary",
    "Trace",
    "bulk_ess",
    "mean_ess",
    "pareto_k",
    "record",
    "rhat",
    "summarise",
    "tail_ess",
    "weight_ess",
]

array_stats: Any = _untyped  # arviz-stats carries no annotations

Values = Float[Tensor, "draws chains"]

RHAT_LIMIT = 1.01
"""Above this, chains have not mixed (Vehtari et al., 2021)."""


def _array(values: Values) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(chains, draws) in double precision, as arviz-stats wants it."""
    if values.shape[0] < 4:
        raise ValueError(f"values must have at least 4 draws (rows) to be judged, got shape {tuple(values.shape)}")
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = values.detach().double().cpu().numpy().T
    return array


def rhat(values: Values) -> float:
    """Return rank-normalised split R-hat, the larger of bulk and folded (Vehtari et al., 2021); NaN for one chain or no
    numbers.
    """
    array = _array(values)
    if array.shape[0] < 2 or not np.isfinite(array).all() or np.ptp(array) == 0:
        return math.nan
    return float(array_stats.rhat(array, method="rank"))


def bulk_ess(values: Values) -> float:
    """Return the effective sample size of the rank-normalised values: how well the centre of the law is known."""
    return _ess(values, "bulk", None)


def tail_ess(values: Values) -> float:
    """Return the smaller effective sample size of the 5 % and 95 % quantiles."""
    return _ess(values, "tail", 0.05)


def mean_ess(values: Values) -> float:
    """Return the effective sample size for the mean: the Monte Carlo variance of the mean is the variance divided by it."""
    return _ess(values, "mean", None)


def _ess(values: Values, method: str, prob: float | None) -> float:
    array = _array(values)
    if not np.isfinite(array).all():
        return math.nan
    return float(array_stats.ess(array, method=method, prob=prob))


def weight_ess(log_weights: Float[Tensor, " draws"]) -> float:
    """Return (Σw)²/Σw² (Kong, 1992); NaN and infinite weights count as zero weights."""
    log_weights = usable_log_weights(log_weights)
    if not bool((log_weights > -math.inf).any()):
        return 0.0
    return float((2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp())


def usable_log_weights(log_weights: Float[Tensor, " draws"]) -> Float[Tensor, " draws"]:
    """Return log weights in double precision, with −inf (a zero weight, which stays one of the draws) in place of NaN and +inf."""
    values = log_weights.detach().double()
    return torch.where(values.isnan() | (values == math.inf), torch.full_like(values, -math.inf), values)


def pareto_k(log_weights: Float[Tensor, " draws"]) -> float:
    """Return k̂, the estimated tail shape of the weights: below 0.5 fine, from 0.7 on their mean is not to be used.

    −inf for equal weights, which have no tail; +inf where there are too few draws (under 25) or non-zero weights to
    say.
    """
    values = usable_log_weights(log_weights)
    count, positive = values.shape[0], int((values > -math.inf).sum())
    if count < 25 or positive < 5:
        return math.inf
    array = values.cpu().numpy()
    tail = np.sort(array)[-(math.floor(3 * math.sqrt(count)) if count > 225 else count // 5) :]
    if tail[-1] - tail[0] < 1e-12:
        return -math.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        _, shape = array_stats.psislw(-array)  # psislw takes the negated log weights
    return float(shape) if np.isfinite(shape) else math.inf


@dataclass(frozen=True)
class Trace:
    """Recorded chains: latents, energies, and what their steps reported.

    Arguments:
        z: (draws, chains, latent).
        energy: E(G(z)), without β, (draws, chains).
        acceptance: mean acceptance of each chain, after warm-up.
        energy_error: mean |H′ − H| of each chain after warm-up, for samplers with a Hamiltonian.
        invalid: candidates refused because their energy was not a number, warm-up included.
        cost: evaluations per chain, after warm-up.
        warmup_cost: evaluations per chain before that.
    """

    z: Float[Tensor, "draws chains latent"]
    energy: Float[Tensor, "draws chains"]
    acceptance: Float[Tensor, " chains"]
    energy_error: Float[Tensor, " chains"] | None
    invalid: int
    cost: Cost
    warmup_cost: Cost


class _Tally:
    """Sums over steps, kept on the device."""

    def __init__(self, warmup: int) -> None:
        self.warmup, self.steps = warmup, 0
        self.cost, self.warmup_cost = Cost(), Cost()
        self.acceptance: Tensor = torch.zeros(())
        self.energy_error: Tensor | None = None
        self.invalid: Tensor = torch.zeros((), dtype=torch.int64)

    def __call__(self, step: int, info: Info) -> None:
        self.invalid = self.invalid.to(info.invalid.device) + info.invalid.sum()
        if step <= self.warmup:
            self.warmup_cost = self.warmup_cost.after(info)
            return
        self.steps, self.cost = self.steps + 1, self.cost.after(info)
        self.acceptance = self.acceptance.to(info.acceptance.device) + info.acceptance
        if info.energy_error is not None:
            error = info.energy_error.abs()
            self.energy_error = error if self.energy_error is None else self.energy_error + error


def record(
    sampler: Sampler,
    potential: LatentPotential,
    z: Float[Tensor, "chains latent"],
    draws: int,
    generator: torch.Generator,
    *,
    warmup: int = 0,
    thin: int = 1,
) -> Trace:
    """Run chains from z and keep `draws` draws, one every `thin` steps, after `warmup` steps.

    Raises:
        ValueError: if draws, warmup or thin are out of range.

    Example:
        >>> from torch import nn
        >>> from gebm.base import Base, GaussianPrior
        >>> from gebm.samplers import RandomWalk
        >>> energy = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> potential = LatentPotential(Base(nn.Identity(), GaussianPrior(2)), energy)
        >>> record(RandomWalk(1.0), potential, torch.zeros(3, 2), 7, torch.Generator().manual_seed(0)).energy.shape
        torch.Size([7, 3])
    """
    if draws < 1 or warmup < 0 or thin < 1:
        raise ValueError(f"draws and thin must be >= 1 and warmup >= 0, got {draws}, {thin} and {warmup}")
    tally = _Tally(warmup)
    kept_z, kept_energy = [], []
    lengths = range(warmup + thin, warmup + draws * thin + 1, thin)
    for _, state, _ in chain(sampler, potential, z, lengths, generator, on_step=tally):
        kept_z.append(state.position.z)
        kept_energy.append(state.position.energy)
    error = None if tally.energy_error is None else tally.energy_error / tally.steps
    return Trace(
        torch.stack(kept_z),
        torch.stack(kept_energy),
        tally.acceptance / tally.steps,
        error,
        int(tally.invalid),
        tally.cost,
        tally.warmup_cost,
    )


@dataclass(frozen=True)
class Quantity:
    """One function of the state along a trace: its mean, and how precise the mean is."""

    name: str
    mean: float
    standard_deviation: float
    rhat: float
    bulk_ess: float
    tail_ess: float


@dataclass(frozen=True)
class Summary:
    """A trace in numbers: E, ‖z‖² and some coordinates, with acceptance, energy error and cost.

    `smallest_ess` is the smallest bulk or tail ESS of the quantities; `cost` is a chain's.
    """

    quantities: tuple[Quantity, ...]
    draws: int
    chains: int
    acceptance: float
    energy_error: float | None
    invalid: int
    cost: Cost

    @property
    def smallest_ess(self) -> float:
        return float(np.min([[quantity.bulk_ess, quantity.tail_ess] for quantity in self.quantities]))

    @property
    def largest_rhat(self) -> float:
        return float(np.max([quantity.rhat for quantity in self.quantities]))

    @property
    def mixed(self) -> bool:
        """Whether every R-hat is below 1.01; False where one is undefined."""
        return all(quantity.rhat < RHAT_LIMIT for quantity in self.quantities)


def summarise(trace: Trace, coordinates: Sequence[int] = (0, 1, 2)) -> Summary:
    """Return R-hat and ESS of E, ‖z‖² and the named latent coordinates (those that exist), with acceptance, energy error
    and cost.

    Raises:
        ValueError: if the trace has fewer than 4 draws.
    """
    draws, chains, latent = trace.z.shape
    values = {"energy": trace.energy, "squared_norm": trace.z.square().sum(2)}
    values |= {f"z[{index}]": trace.z[:, :, index] for index in coordinates if index < latent}
    quantities = tuple(
        Quantity(
            name,
            float(value.double().mean()),
            float(value.double().std()),
            rhat(value),
            bulk_ess(value),
            tail_ess(value),
        )
        for name, value in values.items()
    )
    error = None if trace.energy_error is None else float(trace.energy_error.mean())
    return Summary(quantities, draws, chains, float(trace.acceptance.mean()), error, trace.invalid, trace.cost)
