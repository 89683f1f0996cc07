"""How a suite of densities resolves to runs, and what is read out of their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from baselines.flows import FlowSettings, MaximumLikelihoodSettings
from bench.components import registry
from bench.components.settings import make
from bench.core.fields import Count, Frozen
from bench.core.spec import Readout
from bench.core.suite import Component, Profile, Suite, SuiteError
from bench.data import Dataset
from gebm.settings import RefitSettings, TrainingSettings

__all__ = ["PROFILE", "LikelihoodReadout", "readouts", "resolve"]

ENERGY = "energy-mlp"


class Evaluation(Frozen):
    """How densities are read out: draws for log Z, and samples kept for the eye."""

    partition_samples: Annotated[int, Field(ge=100, le=10**9)] = 100000
    shown_samples: Count = 2000


class DensityProfile(Profile):
    """Flows by maximum likelihood and GEBMs on the very same flows, scored by the log-likelihood of held-out rows.

    `flows` are named as models name them. With a `warm_up` joint training starts from a flow that had that much maximum likelihood.
    `overrides` hold, by dataset (without its split), what differs there: any of the tables below, key by key.
    """

    flows: Mapping[str, FlowSettings] = Field(min_length=1)
    energy: dict[str, Any]
    likelihood: MaximumLikelihoodSettings
    warm_up: MaximumLikelihoodSettings | None = None
    training: TrainingSettings
    refit: RefitSettings
    evaluation: Evaluation = Evaluation()
    overrides: Mapping[str, Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _overrides_are_valid(self) -> DensityProfile:
        for dataset in self.overrides:
            self.on(dataset)
        return self

    def components(self) -> Iterator[Component]:
        yield Component("energy.family", "networks", ENERGY, self.energy)

    def on(self, dataset: str) -> DensityProfile:
        """Return the profile with the dataset's overrides."""
        changes = self.overrides.get(dataset.partition("@")[0])
        if not changes:
            return self
        return DensityProfile.model_validate(merged(self.model_dump(exclude={"overrides"}), changes))


PROFILE = DensityProfile


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes, table by table."""
    both = dict(settings)
    for key, value in changes.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


class LikelihoodReadout(Readout):
    """The log-likelihood of held-out rows, exact or with an estimated log-partition, and samples for the eye."""

    reader: ClassVar[str] = "bench.densities.likelihoods:read_likelihood"
    methods: ClassVar[tuple[str, ...]] = ("log_prob", "sample", "gebm")
    kind: Literal["density"] = "density"
    partition_samples: Count
    shown_samples: Count


def resolve(suite: Suite[DensityProfile], profile_name: str, dataset: Dataset, entry: registry.Entry) -> dict[str, Any]:
    """Return the networks and phases that a model's settings name, and no more, so that no other change makes another run of it.

    Raises:
        SuiteError: for a flow that the profile does not say how to build.
    """
    profile, config = suite.profile(profile_name).on(dataset.name), dict(entry.settings)
    for part in ("flow", "critic"):
        if (name := config.get(part)) is not None:
            if name not in profile.flows:
                raise SuiteError(f"suite '{suite.name}': flows.{name} must say what the flow of {entry.name} is")
            config[part] = asdict(profile.flows[name])
    learned, joint = "objective" in config, bool(config.get("joint"))
    phases: dict[str, Any] = {
        "likelihood": profile.warm_up if joint else profile.likelihood if "flow" in config else None,
        "training": profile.training if joint else None,
        "refit": profile.refit if learned else None,
    }
    rows = len(dataset.splits["train"])
    for name, phase in phases.items():
        if phase is not None:  # a table of few rows is one batch
            config[name] = asdict(replace(phase, batch_size=min(phase.batch_size, rows)))
    if learned:
        config["energy"] = asdict(make("networks", ENERGY, profile.energy))
    return config


def readouts(
    profile: DensityProfile, dataset: Dataset, entry: registry.Entry, _weights: Path | None
) -> tuple[Readout, ...]:
    """Return one readout of the likelihood; without an energy it is exact and takes no draws."""
    asked = profile.on(dataset.name).evaluation
    draws = asked.partition_samples if entry.facts.get("has_energy") else 0
    return (LikelihoodReadout(partition_samples=draws, shown_samples=asked.shown_samples),)
