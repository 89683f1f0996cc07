"""Latent samplers, one family a file; all aim at ν(z) ∝ η(z) exp(−βE(G(z)))."""

from gebm.samplers.adaptation import StepSizeAdaptation
from gebm.samplers.hamiltonian import HMC, AdjustedKineticLangevin, KineticLangevin
from gebm.samplers.importance import SIR, Ex2MCMC, IteratedSIR
from gebm.samplers.kernel import Cost, Info, InvalidEnergyWarning, Sampler, State, StepDecay, chain
from gebm.samplers.langevin import MALA, ULA
from gebm.samplers.metropolis import IndependentMH, PreconditionedCrankNicolson, RandomWalk
from gebm.samplers.tempering import ParallelTempering

__all__ = [
    "HMC",
    "MALA",
    "SIR",
    "ULA",
    "AdjustedKineticLangevin",
    "Cost",
    "Ex2MCMC",
    "IndependentMH",
    "Info",
    "InvalidEnergyWarning",
    "IteratedSIR",
    "KineticLangevin",
    "ParallelTempering",
    "PreconditionedCrankNicolson",
    "RandomWalk",
    "Sampler",
    "State",
    "StepDecay",
    "StepSizeAdaptation",
    "chain",
]
