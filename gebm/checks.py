"""What settings check when they are made; every complaint is a ValueError of one line that names the setting and what would be right."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["decay_of_average", "one_of", "pair_of_betas", "positive", "weight", "whole"]


def whole(settings: Any, least: int, *names: str) -> None:
    """Each named setting is a whole number >= `least`."""
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def positive(settings: Any, *names: str) -> None:
    """Each named setting is a finite number > 0."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a number > 0, got {value!r}")


def weight(settings: Any, *names: str) -> None:
    """Each named setting is a finite number >= 0, 0 meaning none."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a number >= 0 (0 for none), got {value!r}")


def pair_of_betas(betas: tuple[float, float]) -> None:
    """Adam's two decays."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be two numbers in [0, 1), got {betas!r}")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """A value is among its choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def decay_of_average(ema: float) -> None:
    """The decay of a moving average of weights, 0 meaning none."""
    if not 0 <= ema < 1:
        raise ValueError(f"ema must be a decay in [0, 1), got {ema}")
