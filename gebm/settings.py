"""Settings of the two training phases, complained about when they are made rather than when they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gebm.checks import decay_of_average, one_of, pair_of_betas, positive, weight, whole
from gebm.optimisation import DECAYS, Decay
from gebm.precision import PRECISIONS, Precision

__all__ = ["PenaltyPoints", "RefitSettings", "TrainingSettings"]

PenaltyPoints = Literal["interpolates", "data", "both"]


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the alternating phase.

    Arguments:
        base_steps: number of base (generator) steps.
        batch_size: data and base samples a step.
        n_critic: energy steps before each base step.
        burst: energy steps instead of `n_critic` before the first base step and before every `burst_every`-th; 0 for none.
        burst_every: see `burst`.
        learning_rate: Adam's, for the base.
        energy_learning_rate: Adam's, for the energy.
        log_partition_learning_rate: Adam's, for the objective's own parameters (the c of KALE).
        betas: Adam's, for both networks.
        decay: learning rates constant, or decayed to 0 over the base steps, linearly or along a half cosine.
        clip_norm: largest gradient norm of a network; 0 for no clipping.
        penalty: weight of the gradient penalty; 0 for none.
        penalty_every: apply the penalty at every k-th energy step with k times its weight.
        penalty_points: where it is taken: on interpolates, on data, or on both.
        penalty_norm: the gradient norm that it pulls to: 0, or 1 as in WGAN-GP.
        energy_l2: weight of mean E² over data and base samples, which keeps energies near 0.
        ema: decay of the moving average of the base's weights; 0 for none.
        weight_decay: weight of ½‖ψ‖² over the energy's weights (Adam's L2); 0 for none.
        precision: of forward and backward passes, see `gebm.precision`.

    Raises:
        ValueError: for a value that no run could have, naming the argument and what would be right.

    Example:
        >>> TrainingSettings(base_steps=0)
        Traceback (most recent call last):
        ...
        ValueError: base_steps must be a whole number >= 1, got 0
    """

    base_steps: int
    batch_size: int = 64
    n_critic: int = 1
    burst: int = 0
    burst_every: int = 500
    learning_rate: float = 1e-4
    energy_learning_rate: float = 1e-4
    log_partition_learning_rate: float = 1e-2
    betas: tuple[float, float] = (0.5, 0.999)
    decay: Decay = "constant"
    clip_norm: float = 0.0
    penalty: float = 1.0
    penalty_every: int = 1
    penalty_points: PenaltyPoints = "interpolates"
    penalty_norm: float = 0.0
    energy_l2: float = 0.0
    ema: float = 0.0
    weight_decay: float = 0.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        whole(self, 1, "base_steps", "batch_size", "n_critic", "burst_every", "penalty_every")
        whole(self, 0, "burst")
        positive(self, "learning_rate", "energy_learning_rate", "log_partition_learning_rate")
        weight(self, "clip_norm", "penalty", "penalty_norm", "energy_l2", "weight_decay")
        pair_of_betas(self.betas)
        one_of("decay", self.decay, DECAYS)
        one_of("penalty_points", self.penalty_points, ("interpolates", "data", "both"))
        one_of("precision", self.precision, PRECISIONS)
        decay_of_average(self.ema)


@dataclass(frozen=True)
class RefitSettings:
    """Settings of the energy's refit on the frozen, evaluation-mode base.

    Arguments:
        steps: energy steps; 0 for no refit.
        batch_size: data and base samples a step.
        learning_rate: Adam's.
        log_partition_learning_rate: Adam's, for the objective's own parameters: on another base, c has to move first.
        penalty: weight of the gradient penalty.
        penalty_every: apply it at every k-th step with k times its weight.
        energy_l2: weight of mean E² over data and base samples.
        check_every: steps between two looks at the held-out likelihood gain; the best energy seen is kept.
        partition_samples: base samples for the log-partition of the held-out gain.
        patience: looks without a better gain after which the refit ends; 0 for all steps.
        betas: Adam's.
        decay: learning rate constant, or decayed to 0 over the steps.
        clip_norm: largest gradient norm of the energy; 0 for no clipping.
        penalty_points: where the penalty is taken.
        penalty_norm: the gradient norm that it pulls to.
        weight_decay: weight of ½‖ψ‖² over the energy's weights.
        precision: of forward and backward passes, see `gebm.precision`.

    Raises:
        ValueError: for a value that no run could have, naming the argument and what would be right.
    """

    steps: int
    batch_size: int = 128
    learning_rate: float = 1e-4
    log_partition_learning_rate: float = 1e-2
    penalty: float = 1.0
    penalty_every: int = 1
    energy_l2: float = 0.0
    check_every: int = 100
    partition_samples: int = 2048
    patience: int = 0
    betas: tuple[float, float] = (0.5, 0.999)
    decay: Decay = "linear"
    clip_norm: float = 0.0
    penalty_points: PenaltyPoints = "interpolates"
    penalty_norm: float = 0.0
    weight_decay: float = 0.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        whole(self, 1, "batch_size", "penalty_every", "check_every", "partition_samples")
        whole(self, 0, "steps", "patience")
        positive(self, "learning_rate", "log_partition_learning_rate")
        weight(self, "clip_norm", "penalty", "penalty_norm", "energy_l2", "weight_decay")
        pair_of_betas(self.betas)
        one_of("decay", self.decay, DECAYS)
        one_of("penalty_points", self.penalty_points, ("interpolates", "data", "both"))
        one_of("precision", self.precision, PRECISIONS)
