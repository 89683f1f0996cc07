"""One training run, resolved, and what is to be read out of the trained model; both with an identity."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

from bench.core.fields import Count, Frozen, Positive, content_hash

__all__ = ["SCHEMA_VERSION", "Readout", "RunSpec", "identity_of"]

SCHEMA_VERSION = 2


class RunSpec(Frozen):
    """One training run, resolved. `seed` stays outside the identity, so that repeats group.

    `config` holds what the model is built and trained by: its registered facts, networks and settings of each phase, as its kind of suite
    resolves them. Under `base` it may hold another model's name and config: that model, trained once for all, is what this one starts from.
    """

    schema_version: int = SCHEMA_VERSION
    kind: str
    dataset: str
    dataset_digest: str
    model: str
    config: dict[str, Any]
    base_seed: int
    threads: Positive
    seed: Count

    @cached_property
    def identity(self) -> str:
        """Hex sha256 of the canonical JSON of everything but the seed; found once, since it takes as long as all else of a plan."""
        return identity_of(self.model_dump(mode="json"))

    @property
    def run_id(self) -> str:
        """A readable, unique name: dataset, model, identity, seed."""
        return f"{self.dataset}/{self.model}/{self.identity[:12]}-s{self.seed}"

    @property
    def base(self) -> RunSpec | None:
        """The run whose trained model this one starts from, of the same seed; None if it starts from nothing."""
        base = self.config.get("base")
        return base and self.model_copy(update={"model": base["model"], "config": base["config"]})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, unchecked; what is known of its identity is forgotten unless only the seed differs."""
        copy = super().model_copy(update=update, deep=deep)
        if {*(update or ())} - {"seed"}:
            copy.__dict__.pop("identity", None)
        return copy


def identity_of(content: Mapping[str, Any]) -> str:
    """The identity of a run by what its `spec.json` holds."""
    return content_hash({name: value for name, value in content.items() if name != "seed"})


class Readout(Frozen):
    """Something to read out of a trained model.

    Every kind of suite has subclasses. `reader` names the function `(readout, context) -> Result` that does it, see `bench.core.readout`;
    `methods` of the model are what it uses. Where time may run out they are done in the order of their `turn`: first what every model has
    and takes seconds, last log Z.
    """

    reader: ClassVar[str]
    methods: ClassVar[tuple[str, ...]]
    turn: ClassVar[int] = 0

    @property
    def title(self) -> str:
        """What is being read out, as progress shows it."""
        return str(getattr(self, "kind", "")).replace("-", " ")

    def identity(self, checkpoint: str) -> str:
        """Short sha256 of checkpoint and readout; the name of the evaluation's file."""
        return content_hash({"checkpoint": checkpoint} | self.model_dump(mode="json"))[:16]

    def roots(self, model: str) -> list[str]:
        """The code that the values rest on, as `module:name`; `model` is the model's class."""
        return [self.reader, *(f"{model}.{method}" for method in self.methods)]
