"""Samples of a trained density itself, without a chain: base draws accepted or resampled by their weights, or annealed particles."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bench.images.energies import Energies
from gebm.diagnostics import pareto_k, usable_log_weights, weight_ess

__all__ = ["Draws", "choose", "draw"]


class Draws(NamedTuple):
    """Latents that may stand for the density at some β, and how they were had; without latents, `why_not` says why.

    Arguments:
        z: the latents, or None.
        method: "accepted" of base draws, each once, or "resampled" from them, where some are there several times, or "annealed".
        pool: base draws looked at, or annealed particles.
        ess: effective sample size of the weighted base draws; of annealed particles the prior draws that have descendants.
        distinct: different latents among `z`.
        why_not: why there are none.
    """

    z: Float[Tensor, "n latent"] | None
    method: str
    pool: int
    ess: float
    distinct: int
    why_not: str = ""


def draw(energies: Energies, beta: float, count: int, limit: int, generator: torch.Generator) -> Draws:
    """Return `count` latents of the density at β from at most `limit` base draws.

    They are accepted by rejection, each once, where the limit allows so many; else resampled while an ESS of 2·count can be had, else
    annealed particles. Copies would shrink the neighbourhoods that precision and recall are made of.
    """
    while (size := _pool_for(usable_log_weights(-beta * energies.energy), count, limit)) > len(energies.energy) < limit:
        energies.grow(min(limit, max(size, int(1.25 * len(energies.energy)))))
    log_weights = usable_log_weights(-beta * energies.energy)
    pool, ess, shape = len(log_weights), weight_ess(log_weights), pareto_k(log_weights)
    if shape < 0.7:
        method, rows = choose(torch.softmax(log_weights, 0).cpu().numpy(), count, generator)
        if method == "accepted" or ess >= 2 * count:
            return Draws(energies.z[rows.to(energies.z.device)], method, pool, ess, int(torch.unique(rows).numel()))
    level = energies.annealed(beta)
    if level is not None and level.trustworthy and len(level.z) >= count:
        rows = torch.randperm(len(level.z), generator=generator, device=level.z.device)[:count]
        distinct = int(torch.unique(level.z[rows], dim=0).shape[0])
        return Draws(level.z[rows], "annealed", len(level.z), level.ancestors, distinct)
    why = f"an ESS of {ess:,.0f} from {pool:,} base draws (k̂ = {shape:.2f}), {2 * count:,} wanted; annealing"
    return Draws(None, "", pool, ess, 0, f"{why} {'is not trustworthy either' if energies.particles else 'is off'}")


def _pool_for(log_weights: Float[Tensor, " pool"], count: int, limit: int) -> int:
    """Return how many base draws it takes, as far as those at hand can tell, to accept `count` of them, with five standard errors to spare;
    where that is beyond the limit, for an ESS of 2·count.
    """
    pool, largest = len(log_weights), float(torch.softmax(log_weights, 0).max())
    to_accept = (count + 5 * math.sqrt(count)) * pool * largest
    return math.ceil(to_accept if to_accept <= limit else 1.2 * 2 * count * pool / max(weight_ess(log_weights), 1.0))


def choose(weights: NDArray[np.float64], count: int, generator: torch.Generator) -> tuple[str, Tensor]:
    """Return rows in proportion to the weights, and how they were had: by rejection, each once, where that accepts enough, else with
    replacement; `torch.multinomial` takes no more than 2^24 rows.
    """
    drawn = np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
    accepted = np.flatnonzero(drawn.random(len(weights)) * weights.max() < weights)[:count]
    if len(accepted) == count:
        return "accepted", torch.from_numpy(accepted)
    return "resampled", torch.from_numpy(drawn.choice(len(weights), count, p=weights / weights.sum()))
