"""Settings refuse, when they are made, what no run could have; and the learning-rate schedules they name."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jaxtyping
import pytest

from gebm.optimisation import Decay, learning_rate_factor
from gebm.settings import RefitSettings, TrainingSettings

COMMON = [
    ("batch_size", 0, "a whole number >= 1, got 0"),
    ("batch_size", 2.5, "a whole number >= 1, got 2.5"),
    ("penalty_every", 0, "a whole number >= 1, got 0"),
    ("learning_rate", 0.0, "a number > 0, got 0.0"),
    ("learning_rate", -1e-4, "a number > 0, got -0.0001"),
    ("learning_rate", math.nan, "a number > 0, got nan"),
    ("betas", (0.5, 1.0), r"two numbers in \[0, 1\), got \(0.5, 1.0\)"),
    ("betas", (-0.1, 0.9), r"two numbers in \[0, 1\)"),
    ("betas", (0.9,), r"two numbers in \[0, 1\)"),
    ("clip_norm", -1.0, r"a number >= 0 \(0 for none\), got -1.0"),
    ("penalty", math.inf, r"a number >= 0 \(0 for none\), got inf"),
    ("penalty_norm", -1.0, r"a number >= 0 \(0 for none\), got -1.0"),
    ("energy_l2", -0.5, r"a number >= 0 \(0 for none\)"),
    ("weight_decay", -0.5, r"a number >= 0 \(0 for none\)"),
    ("decay", "linaer", "one of 'constant', 'linear', 'cosine', got 'linaer'"),
    ("penalty_points", "base", "one of 'interpolates', 'data', 'both', got 'base'"),
    ("precision", "fp16", "one of 'float32', 'bf16', got 'fp16'"),
]
TRAINING = [
    ("base_steps", 0, "a whole number >= 1, got 0"),
    ("base_steps", -3, "a whole number >= 1, got -3"),
    ("n_critic", 0, "a whole number >= 1, got 0"),
    ("burst", -1, "a whole number >= 0, got -1"),
    ("burst_every", 0, "a whole number >= 1, got 0"),
    ("energy_learning_rate", 0.0, "a number > 0, got 0.0"),
    ("log_partition_learning_rate", math.inf, "a number > 0, got inf"),
    ("ema", 1.0, r"a decay in \[0, 1\), got 1.0"),
    ("ema", -0.1, r"a decay in \[0, 1\), got -0.1"),
]
REFIT = [
    ("steps", -1, "a whole number >= 0, got -1"),
    ("check_every", 0, "a whole number >= 1, got 0"),
    ("partition_samples", 0, "a whole number >= 1, got 0"),
    ("patience", -1, "a whole number >= 0, got -1"),
]


@pytest.mark.parametrize(
    ("kind", "name", "value", "right"),
    [(TrainingSettings, *case) for case in COMMON + TRAINING] + [(RefitSettings, *case) for case in COMMON + REFIT],
)
def test_impossible_values_are_named_in_one_line(kind: Any, name: str, value: Any, right: str) -> None:
    first = {"base_steps": 10} if kind is TrainingSettings else {"steps": 10}
    jaxtyping.config.update("jaxtyping_disable", True)  # as users run it
    try:
        with pytest.raises(ValueError, match=f"^{name} must be {right}") as caught:
            kind(**first | {name: value})
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert "\n" not in str(caught.value)


def test_edges_that_mean_something_are_allowed() -> None:
    TrainingSettings(base_steps=1, burst=0, clip_norm=0.0, penalty=0.0, energy_l2=0.0, ema=0.0, betas=(0.0, 0.0))
    RefitSettings(steps=0, patience=0)


@pytest.mark.parametrize("decay", ["constant", "linear", "cosine"])
def test_schedules_start_whole_and_never_rise_or_vanish(decay: Decay) -> None:
    factors = [learning_rate_factor(decay, done, 40) for done in range(40)]
    assert factors[0] == 1
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors))
    assert factors[-1] > 0
    area = sum((a + b) / 2 for a, b in zip(factors, [*factors[1:], learning_rate_factor(decay, 40, 40)], strict=True))
    assert area == pytest.approx(40 if decay == "constant" else 20)
