"""What the steps of latent samplers cost, in one currency."""

from __future__ import annotations

from gebm.samplers import Cost

__all__ = ["FORWARD_COST", "gradient_equivalents"]

FORWARD_COST = 0.5
"""A forward evaluation in gradient evaluations: with frozen weights the way back to z costs about as much as the way there."""


def gradient_equivalents(cost: Cost) -> float:
    """Return the cost of a chain in gradient evaluations."""
    return cost.gradient_evaluations + FORWARD_COST * cost.forward_evaluations
