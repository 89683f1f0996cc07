"""One training run, resolved, and its identity."""

from __future__ import annotations

from typing import Any, Literal

from bench.core.spec.fields import Count, Frozen, Positive, content_hash
from bench.core.spec.networks import DensityNetwork, EnergyNetwork, Network
from bench.core.spec.phases import Likelihood, Refit, Training

__all__ = ["SCHEMA_VERSION", "RunSpec"]

SCHEMA_VERSION = 1


class RunSpec(Frozen):
    """One training run, resolved. `seed` stays outside the identity, so that repeats group."""

    schema_version: int = SCHEMA_VERSION
    dataset: str
    dataset_digest: str
    model: str
    settings: dict[str, Any]
    base_seed: int
    network: Network | EnergyNetwork | DensityNetwork | None
    likelihood: Likelihood | None = None
    training: Training | None
    refit: Refit | None
    precision: Literal["float32", "bf16"] = "float32"
    threads: Positive
    seed: Count

    @property
    def identity(self) -> str:
        """Hex sha256 of the canonical JSON of everything but the seed; what is younger than the schema counts where it is used."""
        facts = self.model_dump(mode="json", exclude={"seed"})
        if not self.likelihood:
            del facts["likelihood"]
        for phase in ("training", "refit"):
            if facts[phase] and not facts[phase]["penalty_norm"]:
                del facts[phase]["penalty_norm"]
        return content_hash(facts)

    @property
    def run_id(self) -> str:
        """A readable, unique name: dataset, model, identity, seed."""
        return f"{self.dataset}/{self.model}/{self.identity[:12]}-s{self.seed}"
