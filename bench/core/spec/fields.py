"""What fields of a specification may hold, and how a specification is hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "BatchSize",
    "Beta",
    "Count",
    "Distinct",
    "Frozen",
    "Lengths",
    "Moment",
    "Positive",
    "Rate",
    "Weight",
    "content_hash",
]

Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0)]
Moment = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=2, strict=True)]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("nothing may be listed twice")
    return values


Distinct = AfterValidator(_distinct)
Lengths = Annotated[tuple[Positive, ...], Field(min_length=1), Distinct]


class Frozen(BaseModel):
    """A table of settings: unknown keys, infinities and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def content_hash(value: Any) -> str:
    """Hex sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
