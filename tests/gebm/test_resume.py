"""Exact resume: a phase stopped anywhere, saved, and restored into freshly built objects goes on bit for bit.

Freshly built means other initial weights and other seeds: all that is equal afterwards came out of the saved state. Whole states are
compared (weights, statistics, average, optimizers, order of data, persistent chains, generators) and every loss. Stops are drawn from
fixed seeds.
"""

from __future__ import annotations

import copy
import io
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.flows import FlowSettings, MaximumLikelihood, MaximumLikelihoodSettings, build_flow
from baselines.gan import Hinge
from baselines.short_run import ShortRunSettings, ShortRunTraining
from gebm.base import Base, GaussianPrior, UniformPrior
from gebm.networks.mlp import MLPDiscriminator, MLPGenerator
from gebm.objectives import ContrastiveDivergence, DonskerVaradhan, Kale, MovingAverageDonskerVaradhan
from gebm.samplers import HMC, MALA, ULA, KineticLangevin
from gebm.selection import SelectedTraining
from gebm.settings import SelectionSettings
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

Phase = AlternatingTraining | EnergyRefit | MaximumLikelihood | SelectedTraining | ShortRunTraining
STEPS = 8

OBJECTIVES = {
    "kale": Kale,
    "kale-learned": lambda: Kale("log-partition"),
    "dv": DonskerVaradhan,
    "moving-average": lambda: MovingAverageDonskerVaradhan(0.9),
    "cd": lambda: ContrastiveDivergence(ULA(0.05), 2),
    "pcd-ula": lambda: ContrastiveDivergence(ULA(0.05), 1, persistent=True),
    "pcd-hmc": lambda: ContrastiveDivergence(HMC(0.2, 2), 1, persistent=True, restart=0.2),
    "pcd-kinetic": lambda: ContrastiveDivergence(KineticLangevin(0.02, friction=1.0), 2, persistent=True),
    "hinge": Hinge,
    "dropout": Kale,
}
TRAININGS = {
    "plain": {},
    "critic-lazy-linear": {"n_critic": 3, "penalty_every": 4, "decay": "linear", "clip_norm": 0.1},
    "burst-ema-cosine": {"burst": 5, "burst_every": 4, "ema": 0.9, "decay": "cosine", "penalty_points": "both"},
    "weight-decay": {"weight_decay": 0.1, "penalty": 0.0, "ema": 0.5},
    "bf16": {"precision": "bf16", "n_critic": 2, "ema": 0.9},
    "evaluation-exponential": {
        "energy_base_mode": "evaluation",
        "initialise_log_partition": True,
        "decay": "exponential",
        "decay_factor": 0.5,
        "decay_every": 3,
    },
    "frozen-base": {"train_base": False, "initialise_log_partition": True, "ema": 0.9},
}
REFITS = {
    "plain": {},
    "lazy-patient": {"penalty_every": 3, "patience": 2, "check_every": 2, "decay": "cosine", "clip_norm": 0.1},
}

FLOWS = {
    "plain": FlowSettings("realnvp", layers=2, hidden=8),
    "dropout": FlowSettings("realnvp", layers=2, hidden=8, dropout=0.4, residual=True, linear="lu"),
    "batch": FlowSettings("maf", layers=2, hidden=8, normalisation="batch", linear="permutation"),
    "act": FlowSettings("realnvp", layers=2, hidden=8, normalisation="act"),
    "spline": FlowSettings("nsf-coupling", layers=1, hidden=8, bins=4),
    "gaussian": FlowSettings("gaussian"),
}
LIKELIHOODS = {
    "cosine": {},
    "noise": {"noise": 0.1, "weight_decay": 0.1},
    "ema-patient": {"ema": 0.5, "patience": 2, "decay": "constant", "learning_rate": 0.3},
    "reduced": {"patience": 1, "check_every": 1, "reductions": 2, "decay": "constant", "learning_rate": 0.3},
}
SHORT_RUNS = {
    "plain": {},
    "scaled-linear": {"scale": 3.0, "noise": 0.1, "data_noise": 0.2, "decay": "linear", "langevin_steps": 2},
}
SELECTIONS = {
    "plain": {},
    "restarts": {"largest_fall": 0.0, "restarts": 2},
    "patient": {"patience": 2, "check_every": 1},
}
OPTIONS = {
    "selected": SELECTIONS,
    "training": TRAININGS,
    "refit": REFITS,
    "likelihood": LIKELIHOODS,
    "short-run": SHORT_RUNS,
}


def noisy(batch: Tensor, generator: torch.Generator) -> Tensor:
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


def build(kind: str, objective: str, options: dict[str, Any], seed: int) -> Phase:
    torch.manual_seed(seed)
    if kind == "likelihood":
        rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(100))
        likelihood = MaximumLikelihoodSettings(
            **{"steps": STEPS, "batch_size": 16, "check_every": 2, "learning_rate": 0.02} | options
        )
        order, generator = (torch.Generator().manual_seed(seed + shift) for shift in (1, 2))
        flow = build_flow(FLOWS[objective], 3)
        return MaximumLikelihood(flow, DataStream(rows[:40], 16, order), rows[40:], generator, likelihood)
    data = torch.randn(30, 2, generator=torch.Generator().manual_seed(100))
    prior = UniformPrior(3) if objective == "kale-learned" else GaussianPrior(3)
    base, energy = Base(MLPGenerator(3, (2,), [8]), prior), MLPDiscriminator((2,), [8])
    if objective == "dropout":
        base, energy = build_flow(FLOWS["dropout"], 2), nn.Sequential(nn.Dropout(0.3), energy)
    stream = DataStream(data, 8, torch.Generator().manual_seed(seed + 1), noisy)
    generator = torch.Generator().manual_seed(seed + 2)
    if kind == "short-run":
        defaults = {"steps": STEPS, "batch_size": 8, "langevin_steps": 4, "learning_rate": 1e-2}
        return ShortRunTraining(energy, stream, generator, ShortRunSettings(**defaults | options))
    if kind == "selected":
        flow = build_flow(FLOWS[objective], 2)
        settings = TrainingSettings(base_steps=STEPS, batch_size=8, learning_rate=1e-2, ema=0.5)
        training = AlternatingTraining(flow, energy, Kale(), stream, generator, settings)
        chosen = SelectionSettings(**{"check_every": 2, "partition_samples": 32} | options)
        return SelectedTraining(training, data + 0.1, torch.Generator().manual_seed(seed + 3), chosen)
    if kind == "training":
        settings = TrainingSettings(**{"base_steps": STEPS, "batch_size": 8, "learning_rate": 1e-2} | options)
        return AlternatingTraining(base, energy, OBJECTIVES[objective](), stream, generator, settings)
    torch.manual_seed(7)
    frozen = Base(MLPGenerator(3, (2,), [8]), prior).eval()  # the base is not part of a refit's state
    refit = RefitSettings(
        **{"steps": STEPS, "batch_size": 8, "check_every": 3, "partition_samples": 16, "learning_rate": 1e-2} | options
    )
    return EnergyRefit(frozen, energy, OBJECTIVES[objective](), stream, data + 0.1, generator, refit)


def run(phase: Phase, until: int) -> list[dict[str, Tensor]]:
    losses = []
    while phase.done < min(phase.total, until):
        losses.append(phase.step())
    return losses


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def assert_same(a: Any, b: Any, where: str = "state") -> None:
    """Equal to the last bit, all the way down."""
    assert type(a) is type(b), where
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


CASES = [  # two of the options with each objective, each option with several
    ("training", objective, list(TRAININGS)[(number + shift) % len(TRAININGS)])
    for number, objective in enumerate(OBJECTIVES)
    for shift in (0, 2)
]
CASES += [("refit", objective, options) for objective in OBJECTIVES for options in REFITS]
CASES += [("likelihood", flow, options) for flow in FLOWS for options in LIKELIHOODS]
CASES += [("selected", flow, options) for flow in ("plain", "dropout", "act") for options in SELECTIONS]
CASES += [("short-run", energy, options) for energy in ("plain", "dropout") for options in SHORT_RUNS]


@pytest.mark.parametrize(("kind", "objective", "options"), CASES)
def test_a_restored_phase_goes_on_bit_for_bit(kind: str, objective: str, options: str) -> None:
    chosen = OPTIONS[kind][options]
    whole = build(kind, objective, chosen, seed=0)
    expected = run(whole, STEPS)
    stops = sorted(random.Random(f"{kind} {objective} {options}").sample(range(STEPS), 2))

    phase = build(kind, objective, chosen, seed=0)
    losses = run(phase, stops[0])
    for number, stop in enumerate([stops[1], STEPS], start=1):
        state = through_a_file(phase.state_dict())
        phase = build(kind, objective, chosen, seed=1000 * number)
        phase.load_state_dict(state)
        losses += run(phase, stop)
    assert_same(losses, expected, "losses")
    assert_same(phase.state_dict(), whole.state_dict())
    assert_same(phase.finish().state_dict(), whole.finish().state_dict(), "result")


@pytest.mark.parametrize(
    ("kind", "what", "options"),
    [
        ("training", "pcd-ula", {"ema": 0.9}),
        ("refit", "pcd-ula", {}),
        ("likelihood", "batch", {"ema": 0.5}),
        ("short-run", "plain", {}),
        ("selected", "plain", SELECTIONS["restarts"]),
    ],
)
def test_a_snapshot_stays_as_it_was_and_restores_twice(kind: str, what: str, options: dict[str, Any]) -> None:
    phase = build(kind, what, options, seed=0)
    run(phase, 5)
    state = phase.state_dict()
    kept = copy.deepcopy(state)
    expected = run(phase, STEPS)
    assert_same(state, kept, "after going on")
    for seed in (1, 2):
        other = build(kind, what, options, seed=seed)
        other.load_state_dict(state)
        assert_same(run(other, STEPS), expected, "losses")
        assert_same(state, kept, "after restoring")


def test_a_base_taken_in_between_leaves_training_as_it_was() -> None:
    plain, looked_at = (build("training", "kale", {"ema": 0.9}, seed=0) for _ in range(2))
    run(plain, 5)
    run(looked_at, 5)
    assert not looked_at.finish().training
    assert_same(run(looked_at, STEPS), run(plain, STEPS), "losses")
    assert_same(looked_at.state_dict(), plain.state_dict())


@pytest.mark.parametrize("kind", OPTIONS)
def test_dropout_follows_from_the_generator_of_the_training_alone(kind: str) -> None:
    """Whatever torch's global generator has been used for: two trainings of one seed are the same, and leave it as it was."""
    first, second = (build(kind, "dropout", {}, seed=0) for _ in range(2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    expected = run(first, STEPS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert_same(run(second, STEPS), expected, "losses")
    assert_same(second.state_dict(), first.state_dict())


def test_mala_chains_that_are_not_persistent_leave_no_state() -> None:
    phase = build("training", "cd", {}, seed=0)
    phase.energy_steps.negatives.chains = ContrastiveDivergence(MALA(0.1), 1).negatives
    run(phase, 2)
    assert phase.state_dict()["energy_steps"]["negatives"] == {"latents": None, "velocity": None}
