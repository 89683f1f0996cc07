"""What settings may hold, and how they are hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Beta", "Count", "Distinct", "Frozen", "Lengths", "Positive", "Rate", "Seeds", "content_hash", "seeds_in"]

MOST = 10**9  # of anything that is counted
MOST_SEEDS = 10_000

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


def seeds_in(text: str) -> tuple[int, ...]:
    """Return comma-separated whole numbers >= 0 and ranges of them, such as 0,2 or 0-4, each once.

    Raises:
        ValueError: if a text is no such list, or of too many.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (each.strip() for each in part.partition("-"))
        ends = (first, last if dash else first)
        if not all(each.isdecimal() and int(each) <= MOST for each in ends) or int(ends[0]) > int(ends[1]):
            raise ValueError(
                f"'{text}' is not a list of seeds; write whole numbers from 0 to {MOST:,} with commas, or a range: 0,1,2 or 0-2"
            )
        found += range(int(ends[0]), min(int(ends[1]), int(ends[0]) + MOST_SEEDS) + 1)
    if len(found) > MOST_SEEDS:
        raise ValueError(f"'{text}' is more than {MOST_SEEDS:,} seeds")
    return tuple(dict.fromkeys(found))


def _seeds(value: Any) -> Any:
    if isinstance(value, str):
        return seeds_in(value)
    return tuple(value) if isinstance(value, list) else value  # which it is no longer, once it was looked at


Seeds = Annotated[
    tuple[Count, ...],
    BeforeValidator(_seeds, json_schema_input_type=tuple[Count, ...] | str),
    Field(min_length=1),
    Distinct,
]


class Frozen(BaseModel):
    """A table of settings: unknown keys, infinities and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def content_hash(value: Any) -> str:
    """Return the hex sha256 of a value's canonical JSON."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()
