"""Normalizing flows as bases of a GEBM, and their training by maximum likelihood.

`FlowSettings` says what a flow is made of, `build_flow` makes it, `MaximumLikelihood` trains it. The layers are those of nflows, or of
zuko where it is installed; neither is imported before a flow of it is built, nor is torch for the settings alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from baselines.flows.settings import FlowSettings, MaximumLikelihoodSettings

if TYPE_CHECKING:
    from baselines.flows.build import build_flow
    from baselines.flows.maximum_likelihood import MaximumLikelihood, mean_log_likelihood
    from baselines.flows.network import Flow, InvertibleNetwork

__all__ = [
    "Flow",
    "FlowSettings",
    "InvertibleNetwork",
    "MaximumLikelihood",
    "MaximumLikelihoodSettings",
    "build_flow",
    "mean_log_likelihood",
]

_MODULES = {
    "Flow": "network",
    "InvertibleNetwork": "network",
    "MaximumLikelihood": "maximum_likelihood",
    "build_flow": "build",
    "mean_log_likelihood": "maximum_likelihood",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'baselines.flows' has no attribute '{name}'")
    return getattr(importlib.import_module(f"baselines.flows.{_MODULES[name]}"), name)
