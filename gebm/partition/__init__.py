"""log Z of a GEBM: A = log E_η[exp(−βE(G(z)))], estimated four ways, and the test log-likelihood's bracket that
follows.

Every estimate is one typed value that carries what it is worth: standard error, number of draws, ESS, Pareto k̂,
evaluations, warnings. Draws must be independent of training and model selection, with the networks in evaluation
mode (`gebm.base.evaluation_mode`); that is the caller's part, since only the caller knows what trained the networks.

Importance sampling, AIS and SMC have E[Ẑ] = Z exactly, so log Ẑ is low on average (Jensen) and a log-likelihood
computed with it is high.
"""

from gebm.partition.annealing import (
    AnnealedLevel,
    annealed_importance_sampling,
    annealed_path,
    reverse_annealing,
    sequential_monte_carlo,
)
from gebm.partition.bracket import LikelihoodBracket, likelihood_bracket
from gebm.partition.bridge import bridge_sampling
from gebm.partition.estimate import LogPartition, log_partition_from_weights
from gebm.partition.importance import importance_sampling
from gebm.partition.schedule import Schedule, adaptive_schedule

__all__ = [
    "AnnealedLevel",
    "LikelihoodBracket",
    "LogPartition",
    "Schedule",
    "adaptive_schedule",
    "annealed_importance_sampling",
    "annealed_path",
    "bridge_sampling",
    "importance_sampling",
    "likelihood_bracket",
    "log_partition_from_weights",
    "reverse_annealing",
    "sequential_monte_carlo",
]
