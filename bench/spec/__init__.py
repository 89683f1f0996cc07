"""What to run, as data: suites, and the runs and evaluations they resolve to; files of suites are read in `bench.suite_files`.

A `RunSpec` is fully resolved: its identity, a hash of its canonical JSON without the seed, says what was run, so that repeats group.
"""

from __future__ import annotations

from bench.spec.evaluations import EvaluationSpec
from bench.spec.fields import content_hash
from bench.spec.networks import DensityNetwork, EnergyNetwork, FlowNetwork, MLPNetwork, Network, SNGANNetwork
from bench.spec.phases import Likelihood, Refit, Training
from bench.spec.readouts import ChainSpec, DensityReadout, ImageReadout, LawReadout, Readout, TraceReadout
from bench.spec.runs import SCHEMA_VERSION, RunSpec
from bench.spec.suites import KINDS, ChainsProfile, DensityProfile, ImagesProfile, Profile, Suite, SuiteError

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
