"""Settings refuse, when they are made, what no run could have; and the learning-rate schedules they name."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from baselines.flows import FlowSettings, MaximumLikelihoodSettings
from baselines.settings import ShortRunSettings
from gebm.optimisation import learning_rate_factor
from gebm.settings import Decay, RefitSettings, SelectionSettings, TrainingSettings

pytestmark = pytest.mark.usefixtures("unchecked")

FIRST: dict[Any, dict[str, Any]] = {
    TrainingSettings: {"base_steps": 10},
    RefitSettings: {"steps": 10},
    MaximumLikelihoodSettings: {"steps": 10},
    ShortRunSettings: {"steps": 10},
    FlowSettings: {"family": "realnvp"},
    SelectionSettings: {},
}
IMPOSSIBLE: dict[str, list[Any]] = {
    "base_steps": [0, -3, 2.5, True, 10**10],
    "steps": [-1, True, 1e3],
    "batch_size": [1, 2.5, "64", 10**9],
    "penalty_every": [0],
    "n_critic": [0, False],
    "burst": [-1],
    "check_every": [0],
    "partition_samples": [0],
    "patience": [-1],
    "reductions": [-1, 1.0],
    "largest_fall": [-1.0, math.nan],
    "restarts": [-1],
    "learning_rate": [0.0, -1e-4, 1e9, math.nan, math.inf, True],
    "betas": [(0.5, 1.0), (-0.1, 0.9), (0.9,), (0.5, math.nan)],
    "clip_norm": [-1.0, math.inf],
    "penalty": [math.inf, 1e7],
    "ema": [1.0, -0.1],
    "decay_factor": [0.0, 1.1, math.nan],
    "decay_every": [0, 2.5],
    "initialise_log_partition": [1],
    "energy_base_mode": ["eval"],
    "train_base": [0],
    "decay": ["linaer", "Exponential"],
    "precision": ["fp16"],
    "noise": [-1.0],
    "data_noise": [-0.1, math.inf],
    "langevin_steps": [0, 2.5],
    "scale": [0.0, 101.0],
    "family": ["glow"],
    "hidden": [0, 10**6],
    "bins": [1],
    "tail_bound": [0.0],
    "dropout": [1.0],
    "residual": [1],
}
CASES = [
    (kind, name, value)
    for kind in FIRST
    for name, values in IMPOSSIBLE.items()
    for value in values
    if name in kind.__dataclass_fields__
]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_impossible_values_are_named_in_one_line_with_the_range(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .*, got ") as caught:
        kind(**FIRST[kind] | {name: value})
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(FIRST[kind] | {name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 1}, "batch_size must be a whole number from 2 to 1,000,000, got 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a number in (0, 1000], got 0.0"),
        ({"betas": (0.5, 1.0)}, "betas must be a tuple of 2, each a number in [0, 1), got (0.5, 1.0)"),
        ({"clip_norm": -1}, "clip_norm must be a number from 0 to 1,000,000, got -1"),
        ({"penalty_points": "base"}, "penalty_points must be one of 'interpolates', 'data', 'both', got 'base'"),
    ],
)
def test_what_would_be_right_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        TrainingSettings(10, **values)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", FIRST)
def test_the_dataclasses_are_a_schema_for_pydantic(kind: Any) -> None:
    """Lists become tuples and whole numbers floats, as TOML and JSON need it; unknown keys are refused."""
    adapter = TypeAdapter(kind)
    whole = {FlowSettings: {"dropout": 0}, SelectionSettings: {"largest_fall": 1}}
    values = FIRST[kind] | whole.get(kind, {"betas": [0, 0.9], "learning_rate": 1})
    made = adapter.validate_python(values)
    assert adapter.validate_json(adapter.dump_json(made)) == made
    assert made == kind(**values | ({"betas": (0.0, 0.9)} if "betas" in values else {}))
    with pytest.raises(ValidationError, match="typo"):
        adapter.validate_python(values | {"typo": 1})


def test_settings_need_no_torch() -> None:
    script = "import sys, gebm.settings, baselines.flows.settings, baselines.settings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_edges_that_mean_something_are_allowed() -> None:
    TrainingSettings(base_steps=1, burst=0, clip_norm=0.0, penalty=0.0, ema=0.0, betas=(0.0, 0.0))
    RefitSettings(steps=0, patience=0)


@pytest.mark.parametrize("setting", [{"decay_factor": 0.5}, {"decay_every": 100}])
def test_a_factor_without_the_decay_that_reads_it_is_refused(setting: dict[str, Any]) -> None:
    TrainingSettings(10, decay="exponential", **setting)
    with pytest.raises(
        ValueError, match=f"^{next(iter(setting))} is for decay 'exponential', got it with decay 'linear'"
    ):
        TrainingSettings(10, decay="linear", **setting)


def test_reductions_of_the_learning_rate_need_patience() -> None:
    MaximumLikelihoodSettings(10, patience=1, reductions=2)
    with pytest.raises(ValueError, match=r"^reductions follow when patience is out, got 2 without patience; give one"):
        MaximumLikelihoodSettings(10, reductions=2)


def test_the_refit_has_no_exponential_decay() -> None:
    with pytest.raises(ValueError, match="decay must be one of 'constant', 'linear', 'cosine', got 'exponential'"):
        RefitSettings(10, decay="exponential")  # type: ignore[arg-type]


@pytest.mark.parametrize("lacking", [{"residual": True}, {"normalisation": "act"}, {"family": "gaussian"}])
def test_what_zuko_lacks_is_named(lacking: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not there with backend='zuko'"):
        FlowSettings(**{"family": "realnvp", "backend": "zuko"} | lacking)


@pytest.mark.parametrize("decay", ["constant", "linear", "cosine"])
def test_schedules_start_whole_and_never_rise_or_vanish(decay: Decay) -> None:
    factors = [learning_rate_factor(decay, done, 40) for done in range(40)]
    assert factors[0] == 1
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors))
    assert factors[-1] > 0
    area = sum((a + b) / 2 for a, b in zip(factors, [*factors[1:], learning_rate_factor(decay, 40, 40)], strict=True))
    assert area == pytest.approx(40 if decay == "constant" else 20)


def test_exponential_decay_is_torch_s_stepped_every_so_often() -> None:
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)
    for done in range(30):
        factor = learning_rate_factor("exponential", done, 30, decay_factor=0.8, decay_every=7)
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (done + 1) % 7 == 0:
            schedule.step()
