"""Samplers by name with settings, and what their steps cost: light parts of running latent chains that models and judges share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core import registry
from gebm.samplers import MALA, Cost, ParallelTempering, Sampler

__all__ = ["FORWARD_COST", "gradient_equivalents", "make_sampler", "parallel_tempering"]

FORWARD_COST = 0.5
"""A forward evaluation in gradient evaluations: with frozen weights the way back to z costs about as much as the way there."""


def make_sampler(name: str, settings: Mapping[str, Any]) -> Sampler:
    """The sampler of that name; settings that are not given are the registry's."""
    entry = registry.get("samplers", name)
    resolved = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    sampler: Sampler = entry.load()(**entry.settings | resolved)
    return sampler


def parallel_tempering(step_size: float, ladder: tuple[float, ...]) -> ParallelTempering:
    """Parallel tempering with MALA moves of one step size at every level."""
    return ParallelTempering(MALA(step_size), ladder)


def gradient_equivalents(cost: Cost) -> float:
    """The cost of a chain in gradient evaluations."""
    return cost.gradient_evaluations + FORWARD_COST * cost.forward_evaluations
