"""Suites and their profiles, as files of suites say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bench.core.spec.evaluations import ChainsSpec, DensityEvaluation, EvaluationSpec
from bench.core.spec.fields import Count, Distinct, Frozen, Positive, Rate
from bench.core.spec.networks import EnergyNetwork, FlowNetwork, Network
from bench.core.spec.phases import Likelihood, Refit, Training

__all__ = [
    "KINDS",
    "ChainsProfile",
    "ChainsSuite",
    "DensityProfile",
    "DensitySuite",
    "ImagesProfile",
    "ImagesSuite",
    "Profile",
    "Suite",
    "SuiteError",
]


class SuiteError(ValueError):
    """A suite that cannot be found or does not say what a suite must say."""


class Profile(Frozen):
    """One size of a suite: what every kind of suite says.

    Datasets that are `optional` are left out, with a word, where their files are not at hand.
    """

    datasets: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    optional: tuple[str, ...] = ()
    models: Annotated[tuple[str, ...], Field(min_length=1), Distinct]
    seeds: Annotated[tuple[Count, ...], Field(min_length=1), Distinct]
    threads: Positive = 1
    minutes_per_run: Rate

    @model_validator(mode="after")
    def _optional_datasets_are_datasets(self) -> Profile:
        if strange := [name for name in self.optional if name not in self.datasets]:
            raise ValueError(f"optional names {strange[0]}, which is not among datasets")
        return self


class ImagesProfile(Profile):
    """Models of images of one architecture, scored by their samples; `precision` is of training, see `gebm.precision`."""

    precision: Literal["float32", "bf16"] = "float32"
    network: Network
    training: Training
    refit: Refit
    evaluation: EvaluationSpec


class ChainsProfile(Profile):
    """Latent chains judged against the truth, on toys and on models that another suite trains.

    `trained_as` names the suite whose profile of the same name trains the models of images: theirs are the very same runs.
    """

    trained_as: str | None = None
    network: EnergyNetwork | None = None
    refit: Refit | None = None
    evaluation: ChainsSpec


class DensityProfile(Profile):
    """Flows by maximum likelihood and GEBMs on the very same flows, scored by the log-likelihood of held-out rows.

    `flows` are named as models name them. With a `warm_up` joint training starts from a flow that had that much maximum likelihood.
    `overrides` hold, by dataset (without its split), what differs there: any of the tables below,
    key by key.
    """

    flows: Mapping[str, FlowNetwork] = Field(min_length=1)
    energy: EnergyNetwork
    likelihood: Likelihood
    warm_up: Likelihood | None = None
    training: Training
    refit: Refit
    evaluation: DensityEvaluation = DensityEvaluation()
    overrides: Mapping[str, Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _overrides_are_valid(self) -> DensityProfile:
        for dataset in self.overrides:
            self.on(dataset)
        return self

    def on(self, dataset: str) -> DensityProfile:
        """The profile as it is for a dataset."""
        changes = self.overrides.get(dataset.partition("@")[0], {})
        return (
            DensityProfile.model_validate(_merged(self.model_dump(exclude={"overrides"}), changes)) if changes else self
        )


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes, table by table."""
    both = dict(settings)
    for key, value in changes.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


class Suite(Frozen):
    """A named set of comparisons, in one or more profiles."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    summary: str
    base_seed: Annotated[int, Field(strict=True)] = 0
    kind: Literal["images", "chains", "density"] = "images"
    profiles: Mapping[Literal["quick", "paper"], Profile] = Field(min_length=1)


class ImagesSuite(Suite):
    """A suite of `ImagesProfile`s, the kind of a suite that does not say one."""

    kind: Literal["images"] = "images"
    profiles: Mapping[Literal["quick", "paper"], ImagesProfile] = Field(min_length=1)


class ChainsSuite(Suite):
    """A suite of `ChainsProfile`s."""

    kind: Literal["chains"]
    profiles: Mapping[Literal["quick", "paper"], ChainsProfile] = Field(min_length=1)


class DensitySuite(Suite):
    """A suite of `DensityProfile`s."""

    kind: Literal["density"]
    profiles: Mapping[Literal["quick", "paper"], DensityProfile] = Field(min_length=1)


KINDS: dict[str, type[Suite]] = {"images": ImagesSuite, "chains": ChainsSuite, "density": DensitySuite}
