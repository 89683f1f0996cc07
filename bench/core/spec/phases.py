"""Settings of the phases of training."""

from __future__ import annotations

from typing import Literal

from bench.core.spec.fields import BatchSize, Count, Frozen, Moment, Positive, Rate, Weight

__all__ = ["Likelihood", "Refit", "Training"]


class _EnergySteps(Frozen):
    """What both phases that train an energy have, with the same defaults."""

    learning_rate: Rate = 1e-4
    log_partition_learning_rate: Rate = 1e-2
    betas: tuple[Moment, Moment] = (0.5, 0.999)
    clip_norm: Weight = 0.0
    penalty: Weight = 1.0
    penalty_every: Positive = 1
    penalty_points: Literal["interpolates", "data", "both"] = "interpolates"
    penalty_norm: Weight = 0.0
    energy_l2: Weight = 0.0
    weight_decay: Weight = 0.0


class Training(_EnergySteps):
    """Settings of the alternating phase; see `gebm.training.TrainingSettings` for each."""

    base_steps: Positive
    batch_size: BatchSize = 64
    n_critic: Positive = 1
    burst: Count = 0
    burst_every: Positive = 500
    energy_learning_rate: Rate = 1e-4
    decay: Literal["constant", "linear", "cosine"] = "constant"
    ema: Moment = 0.0


class Refit(_EnergySteps):
    """Settings of the energy's refit; see `gebm.training.RefitSettings` for each."""

    steps: Count
    batch_size: BatchSize = 128
    check_every: Positive = 100
    partition_samples: Positive = 2048
    patience: Count = 0
    decay: Literal["constant", "linear", "cosine"] = "linear"


class Likelihood(Frozen):
    """Settings of training by maximum likelihood; see `baselines.flows.MaximumLikelihoodSettings` for each."""

    steps: Positive
    batch_size: BatchSize = 256
    learning_rate: Rate = 1e-3
    betas: tuple[Moment, Moment] = (0.9, 0.999)
    weight_decay: Weight = 0.0
    decay: Literal["constant", "linear", "cosine", "plateau"] = "cosine"
    plateau_patience: Positive = 5
    clip_norm: Weight = 5.0
    noise: Weight = 0.0
    check_every: Positive = 100
    patience: Count = 0
    ema: Moment = 0.0
    most_skipped: Count = 20
