"""What settings may hold, and how they are hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Beta", "Count", "Distinct", "Frozen", "Lengths", "Positive", "Rate", "content_hash"]

MOST = 10**9  # of anything that is counted

Positive = Annotated[int, Field(ge=1, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Beta = Annotated[float, Field(ge=0, le=1e6)]


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


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
    """Return the hex sha256 of a value's canonical JSON."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()
