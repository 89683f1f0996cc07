"""Normalizing flows as bases of a GEBM, and their training by maximum likelihood.

`FlowSettings` says what a flow is made of, `build_flow` makes it, `MaximumLikelihood` trains it,
`preset` has both as papers published them. The layers are those of nflows, or of
zuko where it is installed; neither is imported before a flow of it is built.
"""

from baselines.flows.build import build_flow
from baselines.flows.maximum_likelihood import MaximumLikelihood, MaximumLikelihoodSettings, mean_log_likelihood
from baselines.flows.network import Flow, InvertibleNetwork
from baselines.flows.presets import PRESETS, Preset, preset
from baselines.flows.settings import FlowSettings

__all__ = [
    "PRESETS",
    "Flow",
    "FlowSettings",
    "InvertibleNetwork",
    "MaximumLikelihood",
    "MaximumLikelihoodSettings",
    "Preset",
    "build_flow",
    "mean_log_likelihood",
    "preset",
]
