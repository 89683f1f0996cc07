"""Guided samplers of the literature: rules that improve the samples of any base by a discriminator's logit.

One family per file. Each is a `gebm.samplers.Sampler` on a `LatentPotential` whose energy is E = −d, with d the calibrated
logit (`baselines.guided.calibration`); where the base is G and d = log dP/dG, the target at β = 1 is the data law P. What a
class attribute `calibration` asks for is fitted by whoever runs the sampler.
"""

from baselines.guided.calibration import CalibratedEnergy, Isotonic, Logistic, calibration_z, isotonic, logistic
from baselines.guided.ddls import DDLS
from baselines.guided.dgflow import DGflow
from baselines.guided.dot import DOT
from baselines.guided.drs import DRS, accepted
from baselines.guided.mh_gan import MHGAN
from baselines.guided.rep_gan import REPGAN

__all__ = [
    "DDLS",
    "DOT",
    "DRS",
    "MHGAN",
    "REPGAN",
    "CalibratedEnergy",
    "DGflow",
    "Isotonic",
    "Logistic",
    "accepted",
    "calibration_z",
    "isotonic",
    "logistic",
]
