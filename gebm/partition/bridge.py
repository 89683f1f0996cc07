"""log Z by bridge sampling between the prior and a trace of the posterior."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.diagnostics import Trace, mean_ess, usable_log_weights
from gebm.model import LatentPotential
from gebm.partition.estimate import LogPartition, at_least, judgement, log_mean_exp
from gebm.partition.importance import prior_energies

__all__ = ["bridge_sampling"]


def bridge_sampling(
    potential: LatentPotential, trace: Trace, prior_draws: int, generator: torch.Generator
) -> LogPartition:
    """Bridge sampling between η and ν with the optimal bridge (Meng & Wong, 1996), as a second opinion.

    Needs a trace of ν from a Metropolis-corrected sampler. Its draws count by their measured ESS, in the bridge and
    in the standard error (Frühwirth-Schnatter, 2004). Ẑ is not unbiased; there are no halves and no bracket.

    Arguments:
        potential: whose log Z is wanted, the one the trace was recorded at.
        trace: of `gebm.diagnostics.record`.
        prior_draws: fresh draws of η, >= 4.
        generator: source of these.

    Raises:
        ValueError: if the trace has energies that are not finite.
    """
    at_least("prior_draws", prior_draws, 4)
    posterior = -potential.inverse_temperature * trace.energy.double()
    if not bool(posterior.isfinite().all()):
        raise ValueError("trace has energies that are not finite; start its chains where the energy is a number")
    drawn = -potential.inverse_temperature * prior_energies(potential, prior_draws, generator)
    unusable, prior = int((drawn.isnan() | (drawn == math.inf)).sum()), usable_log_weights(drawn)
    share = mean_ess(posterior) / (mean_ess(posterior) + prior_draws)
    log_z = _optimal_bridge(prior, posterior.reshape(-1), share)
    from_prior = (prior - _mixture(prior, log_z, share)).exp()
    from_posterior = (log_z - _mixture(posterior, log_z, share)).exp()
    ess = mean_ess(from_posterior)
    variance = _relative_variance(from_prior) / prior_draws + _relative_variance(from_posterior) / ess
    chains = trace.energy.shape[1]
    objections, warnings = judgement(-math.inf, ess, unusable, prior_draws)
    return LogPartition(
        estimate=log_z,
        standard_error=math.sqrt(variance),
        method="bridge sampling",
        draws=prior_draws + trace.energy.numel(),
        halves=None,
        effective_fraction=ess / trace.energy.numel(),
        pareto_k=None,
        unusable=unusable,
        gradient_evaluations=chains * (trace.cost.gradient_evaluations + trace.warmup_cost.gradient_evaluations),
        forward_evaluations=chains * (trace.cost.forward_evaluations + trace.warmup_cost.forward_evaluations)
        + prior_draws,
        objections=objections,
        warnings=warnings,
    )


def _mixture(log_ratio: Tensor, log_z: float, share: float) -> Tensor:
    """log(s₁ exp(−βE) + s₂ Z)."""
    return torch.logaddexp(log_ratio + math.log(share), torch.full_like(log_ratio, log_z + math.log1p(-share)))


def _optimal_bridge(
    prior: Float[Tensor, " prior_draws"], posterior: Float[Tensor, " posterior_draws"], share: float
) -> float:
    """The fixed point of Meng & Wong's iteration, from importance sampling's estimate."""
    log_z = log_mean_exp(prior)
    if not math.isfinite(log_z):
        log_z = float(posterior.median())
    for _ in range(1000):
        above = log_mean_exp(prior - _mixture(prior, log_z, share))
        update = above - log_mean_exp(-_mixture(posterior, log_z, share))
        if abs(update - log_z) < 1e-10:
            return update
        log_z = update
    return math.nan


def _relative_variance(values: Tensor) -> float:
    return float(values.var() / values.mean().square())
