"""What the steps of latent samplers cost, in one currency; without torch, so that reports count alike."""

from __future__ import annotations

from typing import Any

__all__ = ["FORWARD_COST", "gradient_equivalents"]

FORWARD_COST = 0.5
"""A forward evaluation in gradient evaluations: with frozen weights the backward pass to z costs about as much as the forward pass."""


def gradient_equivalents(cost: Any) -> float:
    """Return the cost of a chain, a `gebm.samplers.Cost` or a row with its fields, in gradient evaluations."""
    return float(cost.gradient_evaluations + FORWARD_COST * cost.forward_evaluations)
