"""Generalized Energy Based Models: a base and an energy that reweights it (Arbel, Zhou, Gretton, ICLR 2021).

The library stands alone on torch. Concepts, a module each: `base` (prior and map), `model` (the reweighted law and its latent
potential), `objectives` and `penalties`, `training` (Algorithm 1) and `refit` (the energy on the frozen base) with their `settings`,
`samplers`, `partition` (log Z), `diagnostics`, `networks`.
"""

from gebm.base import Base, FlowBase, GaussianPrior, Prior, UniformPrior
from gebm.model import GEBM, LatentPotential

__all__ = ["GEBM", "Base", "FlowBase", "GaussianPrior", "LatentPotential", "Prior", "UniformPrior"]
