"""What to run, as data: suites, and the runs and evaluations they resolve to; files of suites are read in `bench.core.suite_files`.

A `RunSpec` is fully resolved: its identity, a hash of its canonical JSON without the seed, says what was run, so that repeats group.
"""

from __future__ import annotations

from bench.core.spec.evaluations import EvaluationSpec
from bench.core.spec.fields import content_hash
from bench.core.spec.networks import DensityNetwork, EnergyNetwork, FlowNetwork, MLPNetwork, Network, SNGANNetwork
from bench.core.spec.phases import Likelihood, Refit, Training
from bench.core.spec.readouts import ChainSpec, DensityReadout, ImageReadout, LawReadout, Readout, TraceReadout
from bench.core.spec.runs import SCHEMA_VERSION, RunSpec
from bench.core.spec.suites import KINDS, ChainsProfile, DensityProfile, ImagesProfile, Profile, Suite, SuiteError

__all__ = [
    "KINDS",
    "SCHEMA_VERSION",
    "ChainSpec",
    "ChainsProfile",
    "DensityNetwork",
    "DensityProfile",
    "DensityReadout",
    "EnergyNetwork",
    "EvaluationSpec",
    "FlowNetwork",
    "ImageReadout",
    "ImagesProfile",
    "LawReadout",
    "Likelihood",
    "MLPNetwork",
    "Network",
    "Profile",
    "Readout",
    "Refit",
    "RunSpec",
    "SNGANNetwork",
    "Suite",
    "SuiteError",
    "TraceReadout",
    "Training",
    "content_hash",
]
