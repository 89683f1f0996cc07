"""Words that messages of every part share."""

from __future__ import annotations

__all__ = ["plural"]


def plural(count: int, noun: str) -> str:
    """Such as "1 run" or "20,000 runs"; the noun's plural ends in s."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
