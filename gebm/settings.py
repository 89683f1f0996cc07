"""Settings of the training phases, checked when they are made rather than when they are used."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

from gebm.checks import Count, Flag, Moment, Positive, Range, Rate, Settings, Weight

__all__ = [
    "BatchSize",
    "Decay",
    "EnergySettings",
    "Mode",
    "PenaltyPoints",
    "Precision",
    "RefitSettings",
    "SelectionSettings",
    "SteppedDecay",
    "TrainingSettings",
]

BatchSize = Annotated[int, Range(2, 10**6)]
Decay = Literal["constant", "linear", "cosine"]
SteppedDecay = Literal["constant", "linear", "cosine", "exponential"]
Factor = Annotated[float, Range(0, 1, "low")]
Mode = Literal["training", "evaluation"]
PenaltyPoints = Literal["interpolates", "data", "both"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class EnergySettings(Settings):
    """Settings that both phases have, since both train an energy.

    Arguments:
        batch_size: data and base samples per step.
        learning_rate: Adam's, for the base in the alternating phase, for the energy in the refit.
        log_partition_learning_rate: Adam's, for the objective's own parameters (the c of KALE).
        betas: Adam's.
        decay: whether learning rates stay constant, decay to 0, linearly or along a half cosine, or, in the alternating phase only,
            shrink by a factor at regular intervals (`exponential`).
        clip_norm: largest gradient norm of a network; 0 for no clipping.
        penalty: weight of the gradient penalty; 0 for none.
        penalty_every: apply the penalty at every k-th energy step, with k times its weight.
        penalty_points: where it is taken: on interpolates, on data, or on both.
        penalty_norm: the gradient norm that it pulls to: 0, or 1 as in WGAN-GP.
        weight_decay: weight of ½‖ψ‖² over the energy's weights (Adam's L2); 0 for none.
        precision: of forward and backward passes, see `gebm.precision`.
    """

    batch_size: BatchSize = 64
    learning_rate: Rate = 1e-4
    log_partition_learning_rate: Rate = 1e-2
    betas: tuple[Moment, Moment] = (0.5, 0.999)
    decay: SteppedDecay = "constant"
    clip_norm: Weight = 0.0
    penalty: Weight = 1.0
    penalty_every: Positive = 1
    penalty_points: PenaltyPoints = "interpolates"
    penalty_norm: Weight = 0.0
    weight_decay: Weight = 0.0
    precision: Precision = "float32"


@dataclass(frozen=True)
class TrainingSettings(EnergySettings):
    """Settings of the alternating phase, beside those of `EnergySettings`.

    Arguments:
        base_steps: number of base (generator) steps.
        n_critic: energy steps before each base step.
        burst: energy steps instead of `n_critic` before the first base step and before every `burst_every`-th; 0 for none.
        burst_every: see `burst`.
        energy_learning_rate: Adam's, for the energy.
        ema: decay of the moving average of the base's weights; 0 for none.
        decay_factor: with `decay="exponential"`, what all learning rates are multiplied by after every `decay_every` base steps. The
            authors' code has 0.8 and 5,000.
        decay_every: see `decay_factor`.
        initialise_log_partition: start the objective's own log-partition (the c of KALE) at its value for the initial networks
            instead of at 0, as the authors' `initialize_log_partition`.
        energy_base_mode: mode in which the base makes samples for energy steps; base steps are taken in training mode. Batch norm
            then uses its running statistics, which base steps alone update. The authors' code has `evaluation`.
        train_base: False leaves the base at its initial weights, the control that shows what the base contributes: base steps are
            counted and not taken, the energy steps between them are.

    Raises:
        ValueError: for a value out of range, naming the field, the range and the value; for a factor or an interval of a decay that
            has none.

    Example:
        >>> TrainingSettings(base_steps=0)
        Traceback (most recent call last):
        ...
        ValueError: base_steps must be a whole number from 1 to 1,000,000,000, got 0
    """

    base_steps: Positive
    _: KW_ONLY
    n_critic: Positive = 1
    burst: Count = 0
    burst_every: Positive = 500
    energy_learning_rate: Rate = 1e-4
    ema: Moment = 0.0
    decay_factor: Factor = 0.8
    decay_every: Positive = 5000
    initialise_log_partition: Flag = False
    energy_base_mode: Mode = "training"
    train_base: Flag = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, default in (("decay_factor", 0.8), ("decay_every", 5000)):
            if self.decay != "exponential" and getattr(self, name) != default:
                raise ValueError(f"{name} is for decay 'exponential', got it with decay {self.decay!r}; leave it out")


@dataclass(frozen=True, kw_only=True)
class SelectionSettings(Settings):
    """Settings of the selection that watches an alternating phase on a flow.

    Arguments:
        check_every: base steps between two looks at the validation log-likelihood; the best state seen is kept.
        patience: looks without a better state after which training ends; 0 to take all steps.
        partition_samples: base samples for the log-partition, fresh at every look.
        largest_fall: nats below the best state from which training goes back to its last good state.
        restarts: times that it may go back, each time with half the learning rates; then it ends.

    Raises:
        ValueError: for a value out of range, naming the field, the range and the value.
    """

    check_every: Positive = 25
    patience: Count = 0
    partition_samples: Annotated[int, Range(4, 10**9)] = 8192
    largest_fall: Weight = 5.0
    restarts: Count = 3


@dataclass(frozen=True)
class RefitSettings(EnergySettings):
    """Settings of the energy's refit on the frozen, evaluation-mode base, beside those of `EnergySettings`.

    Arguments:
        steps: energy steps at most; 0 for no refit.
        check_every: steps between two looks at the held-out likelihood gain; the best energy seen is kept.
        partition_samples: base samples for the log-partition of the held-out gain.
        patience: looks without a better gain after which the refit ends: the gain has stopped rising; 0 to take all steps.
        calibrated: learn a positive scale along with the energy, and end at the temperature that is best on the held-out data, where
            it can be estimated, so that β = 1 is calibrated (`gebm.temperature`).
        scale_learning_rate: Adam's, for the logarithm of that scale.

    Raises:
        ValueError: for a value out of range, naming the field, the range and the value.
    """

    steps: Count
    _: KW_ONLY
    batch_size: BatchSize = 128
    decay: Decay = "linear"
    check_every: Positive = 100
    partition_samples: Positive = 2048
    patience: Count = 10
    calibrated: bool = False
    scale_learning_rate: Rate = 1e-2
