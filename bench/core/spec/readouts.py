"""What is read out of a trained model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer

from bench.core.spec.fields import Beta, Count, Frozen, Lengths, Positive, Rate, content_hash

__all__ = ["ChainSpec", "DensityReadout", "Identified", "ImageReadout", "LawReadout", "Readout", "TraceReadout"]


class ChainSpec(Frozen):
    """One latent chain at one inverse temperature, scored at several lengths; other `settings` left out are as the registry has them."""

    sampler: str
    beta: Beta
    step_size: Rate
    settings: dict[str, int | float | tuple[float, ...]] = Field(default={})
    lengths: Lengths
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_every: Positive = 200


class Identified(Frozen):
    """Something to read out of a trained model; its identity adds the checkpoint's hash to all that its values depend on."""

    def identity(self, checkpoint: str) -> str:
        """Short sha256 of checkpoint and readout; the name of the evaluation's file."""
        return content_hash({"checkpoint": checkpoint} | self.model_dump(mode="json"))[:16]


class ImageReadout(Identified):
    """Images scored: the base's, a chain's at several lengths; or the likelihood gain."""

    kind: Literal["base", "chain", "likelihood"]
    extractor: str
    samples: Positive
    reference: Literal["train", "test"]
    chain: ChainSpec | None = None

    @field_serializer("chain")
    def _settings_count_where_there_are_any(self, chain: ChainSpec | None) -> dict[str, Any] | None:
        """Readouts from before chains had settings keep their identity."""
        return (
            None if chain is None else chain.model_dump(mode="json", exclude=None if chain.settings else {"settings"})
        )


class TraceReadout(Identified):
    """One sampler's chains, with resolved settings, judged against the truth at several budgets."""

    kind: Literal["trace"] = "trace"
    sampler: str
    settings: dict[str, int | float | tuple[float, ...]]
    adapt: bool
    beta: Beta
    chains: Positive
    warmup: Positive
    budgets: tuple[Positive, ...]
    reference_samples: Positive
    law_samples: Count


class LawReadout(Identified):
    """A law without a chain: the base, the learned density resampled from the base, or the truth's own error."""

    kind: Literal["law"] = "law"
    law: Literal["base", "resampled", "reference"]
    beta: Beta
    samples: Positive


class DensityReadout(Identified):
    """The log-likelihood of held-out rows, exact or with an estimated log-partition, and samples for the eye."""

    kind: Literal["density"] = "density"
    partition_samples: Count
    shown_samples: Count


Readout = ImageReadout | TraceReadout | LawReadout | DensityReadout
