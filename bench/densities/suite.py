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
from bench.core.fields import Count, Frozen, Positive
from bench.core.spec import Readout
from bench.core.suite import Component, Profile, Suite, SuiteError
from bench.core.variants import SettingError, changed, flat
from bench.data import Dataset
from gebm.settings import RefitSettings, SelectionSettings, TrainingSettings

__all__ = ["PROFILE", "LikelihoodReadout", "readouts", "resolve"]

ENERGY = "energy-mlp"


class Evaluation(Frozen):
    """How densities are read out.

    Attributes:
        partition_samples: draws for log Z.
        shown_samples: samples kept for the eye.
    """

    partition_samples: Annotated[int, Field(ge=100, le=10**9)] = 100000
    shown_samples: Count = 2000


class DensityProfile(Profile):
    """Flows by maximum likelihood and GEBMs on the very same flows, scored by the log-likelihood of held-out rows.

    Attributes:
        flows: what the flows are built from, by the names that models use for them, such as [profiles.quick.flows.realnvp].
        energy: what the energy is built from: settings of energy-mlp.
        likelihood: how flows are trained.
        stage_steps: steps of a flow trained 1×; others take 2× and 4× as many.
        longer_steps: steps that a trained flow gets instead of an energy.
        training: how flow and energy are trained together.
        selection: what watches that training on held-out rows.
        refit: how an energy is trained on a flow that stays as it is.
        evaluation: how they are read out.
        overrides: what differs on one dataset, by its name without a split: any of these tables, key by key.
    """

    flows: Mapping[str, FlowSettings] = Field(min_length=1)
    energy: dict[str, Any]
    likelihood: MaximumLikelihoodSettings
    stage_steps: Positive | None = None
    longer_steps: Positive | None = None
    training: TrainingSettings
    selection: SelectionSettings = SelectionSettings()
    refit: RefitSettings
    evaluation: Evaluation = Evaluation()
    overrides: Mapping[str, Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _overrides_are_valid(self) -> DensityProfile:
        wrong = []
        for dataset in self.overrides:
            try:
                self.on(dataset)
            except SettingError as error:
                wrong.append(f"overrides of {dataset}: {error}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def components(self) -> Iterator[Component]:
        yield Component("energy.family", "networks", ENERGY, self.energy)

    def on(self, dataset: str) -> DensityProfile:
        """Return the profile with the dataset's overrides."""
        changes = self.overrides.get(dataset.partition("@")[0])
        return changed(self.model_copy(update={"overrides": {}}), flat(changes)) if changes else self


PROFILE = DensityProfile


class LikelihoodReadout(Readout):
    """The log-likelihood of held-out rows, exact or with an estimated log-partition, and samples for the eye."""

    reader: ClassVar[str] = "bench.densities.likelihoods:read_likelihood"
    methods: ClassVar[tuple[str, ...]] = ("log_prob", "sample", "gebm", "warm_start")
    kind: Literal["density"] = "density"
    partition_samples: Count
    shown_samples: Count


def resolve(suite: Suite[DensityProfile], profile_name: str, dataset: Dataset, entry: registry.Entry) -> dict[str, Any]:
    """Return the networks and phases that a model's settings name, and no more, so that no other change makes another run of it.

    Raises:
        SuiteError: for a flow that the profile does not say how to build, or steps that it does not give.
    """
    profile, config = suite.profile(profile_name).on(dataset.name), dict(entry.settings)
    if base := config.get("base"):
        own = resolve(suite, profile_name, dataset, registry.get("models", base))
        config |= {"base": {"model": base, "config": own}, "flow": own["flow"]}
    for part in ("flow", "critic"):
        if isinstance(name := config.get(part), str):
            if name not in profile.flows:
                raise SuiteError(f"suite '{suite.name}': flows.{name} must say what the flow of {entry.name} is")
            config[part] = asdict(profile.flows[name])
    energy = make("networks", ENERGY, profile.energy)
    if config.get("control") == "parameters":
        from bench.densities.models import with_parameters_of

        config["flow"] = asdict(with_parameters_of(energy, FlowSettings(**config["flow"]), dataset.shape))
    learned, joint = "objective" in config, bool(config.get("joint"))
    phases: dict[str, Any] = {
        "training": profile.training if joint else None,
        "refit": profile.refit if learned else None,
    }
    if "flow" in config and not learned:
        phases["likelihood"] = likelihood(suite, profile, entry)
    rows = len(dataset.splits["train"])
    for name, phase in phases.items():
        if phase is not None:  # a table of few rows is one batch
            config[name] = asdict(replace(phase, batch_size=min(phase.batch_size, rows)))
    if learned:
        config["energy"] = asdict(energy)
    if joint and base:
        config["selection"] = asdict(profile.selection)
    return config


def likelihood(
    suite: Suite[DensityProfile], profile: DensityProfile, entry: registry.Entry
) -> MaximumLikelihoodSettings:
    """Return how a flow is trained: to the end of its patience, or by steps where it is a stage or gets the time of an energy.

    Raises:
        SuiteError: if the profile does not give those steps.
    """
    times, longer = entry.facts.get("times", 0), entry.facts.get("control") == "time"
    if not times and not longer:
        return profile.likelihood
    key = "longer_steps" if longer else "stage_steps"
    if (steps := getattr(profile, key)) is None:
        raise SuiteError(f"suite '{suite.name}': {entry.name} needs {key} in its profile")
    return replace(profile.likelihood, steps=steps * (times or 1), decay="cosine", patience=0, reductions=0)


def readouts(
    profile: DensityProfile, dataset: Dataset, entry: registry.Entry, _weights: Path | None
) -> tuple[Readout, ...]:
    """Return one readout of the likelihood; without an energy it is exact and takes no draws."""
    asked = profile.on(dataset.name).evaluation
    draws = asked.partition_samples if entry.facts.get("has_energy") else 0
    return (LikelihoodReadout(partition_samples=draws, shown_samples=asked.shown_samples),)
