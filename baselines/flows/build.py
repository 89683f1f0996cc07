"""Settings to flow."""

from __future__ import annotations

import importlib

from baselines.flows.gaussian import AffineNetwork
from baselines.flows.network import Flow, InvertibleNetwork
from baselines.flows.settings import FlowSettings

__all__ = ["build_flow"]


def build_flow(settings: FlowSettings, dimension: int) -> Flow:
    """Build the flow of the settings on R^dimension, in training mode.

    Weights, and the permutations of `linear`, come from torch's global generator, which the caller seeds.

    Raises:
        ValueError: if the family needs more dimensions.
        ImportError: if the backend is not installed, naming the extra that has it.

    Example:
        >>> import torch
        >>> build_flow(FlowSettings("realnvp", layers=2, hidden=8), 3).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """
    least = 1 if settings.family == "gaussian" else 2
    if dimension < least:
        raise ValueError(f"dimension must be >= {least} for family {settings.family!r}, got {dimension}")
    return Flow(_network(settings, dimension), dimension)


def _network(settings: FlowSettings, dimension: int) -> InvertibleNetwork:
    if settings.family == "gaussian":
        return AffineNetwork(dimension)
    backend = importlib.import_module(
        f"baselines.flows.{settings.backend}_backend"
    )  # by name: a flow rests on its own only
    network: InvertibleNetwork = getattr(backend, f"{settings.backend}_network")(settings, dimension)
    return network
