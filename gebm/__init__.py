"""Generalized Energy Based Models: a base and an energy that reweights it (Arbel, Zhou, Gretton, ICLR 2021).

The library stands alone on torch. Concepts, a module each: `base` (prior and map), `model` (the reweighted law and its latent
potential), `objectives` and `penalties`, `training` (Algorithm 1), `selection` (its best state, on a flow) and `refit` (the energy on
the frozen base) with their `settings`, `samplers`, `partition` (log Z), `diagnostics`, `networks`. `sample` draws from a model in one
call; `targets` makes models of log-densities and of plain networks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gebm.base import Base, FlowBase, GaussianPrior, Prior, UniformPrior
    from gebm.model import GEBM, LatentPotential
    from gebm.sampling import Draws, sample
    from gebm.targets import from_log_density, from_networks

__all__ = [
    "GEBM",
    "Base",
    "Draws",
    "FlowBase",
    "GaussianPrior",
    "LatentPotential",
    "Prior",
    "UniformPrior",
    "from_log_density",
    "from_networks",
    "sample",
]

_ELSEWHERE = {
    "GEBM": "model",
    "LatentPotential": "model",
    "Draws": "sampling",
    "sample": "sampling",
    "from_log_density": "targets",
    "from_networks": "targets",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that settings and names can be read without loading torch."""
    if name not in __all__:
        raise AttributeError(f"module 'gebm' has no attribute '{name}'")
    return getattr(importlib.import_module(f"gebm.{_ELSEWHERE.get(name, 'base')}"), name)
