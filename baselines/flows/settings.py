"""What a flow is built from and how it is trained, checked when it is written down rather than when it is used."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

from gebm.checks import Count, Flag, Moment, Positive, Range, Rate, Settings, Weight
from gebm.settings import BatchSize, Decay

__all__ = ["FlowSettings", "MaximumLikelihoodSettings"]

Width = Annotated[int, Range(1, 10**5)]
Bound = Annotated[float, Range(0, 1000, "low")]


@dataclass(frozen=True)
class FlowSettings(Settings):
    """Architecture of a flow; each family reads the settings it has a use for.

    Arguments:
        family: `gaussian` is a Gaussian with full covariance; `realnvp` affine couplings (Dinh et al., 2017); `maf` affine
            autoregressive layers, x → z in one pass and z → x in d (Papamakarios et al., 2017); `nsf-coupling` and `nsf-ar`
            rational-quadratic splines with linear tails, RQ-NSF (C) and (AR) (Durkan et al., 2019).
        backend: the library whose layers are used.
        layers: couplings or autoregressive layers.
        hidden: width of the networks in the layers.
        blocks: hidden layers of a plain network, or residual blocks of two layers each.
        residual: residual networks instead of plain ones.
        activation: of the networks.
        dropout: probability within the networks, in training.
        normalisation: a layer after each coupling or autoregressive layer: `batch` norm, or `act` norm, whose scale and shift are
            taken from the first batch and then learned.
        linear: before each of these layers: nothing, the features `reverse`d, a random `permutation` of them, or `lu`, such a
            permutation followed by a learned matrix LU, and one more of these at the end.
        log_scale_bound: s of the scale exp(s tanh(a/s)) that an affine layer gives a feature.
        bins: of a spline.
        tail_bound: splines act on [−tail_bound, tail_bound] and are the identity outside.

    Raises:
        ValueError: for a value out of range, or a combination the backend does not have, saying what would be right.

    Example:
        >>> FlowSettings("realnvp", layers=0)
        Traceback (most recent call last):
        ...
        ValueError: layers must be a whole number from 1 to 100,000, got 0
    """

    family: Literal["gaussian", "realnvp", "maf", "nsf-coupling", "nsf-ar"]
    backend: Literal["nflows", "zuko"] = "nflows"
    layers: Width = 5
    hidden: Width = 100
    blocks: Width = 1
    residual: Flag = False
    activation: Literal["relu", "tanh", "elu", "silu"] = "relu"
    dropout: Moment = 0.0
    normalisation: Literal["none", "batch", "act"] = "none"
    linear: Literal["none", "reverse", "permutation", "lu"] = "none"
    log_scale_bound: Bound = 3.0
    bins: Annotated[int, Range(2, 1000)] = 8
    tail_bound: Bound = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        lacking = {
            f"family={self.family!r}": self.family == "gaussian",
            f"normalisation={self.normalisation!r}": self.normalisation != "none",
            "residual=True": self.residual,
        }
        for what, wanted in lacking.items():
            if wanted and self.backend == "zuko":
                raise ValueError(f"{what} is not there with backend='zuko'; use backend='nflows' or leave it out")

    @property
    def is_spline(self) -> bool:
        """Whether its layers are splines, else they are affine."""
        return self.family in ("nsf-coupling", "nsf-ar")


@dataclass(frozen=True)
class MaximumLikelihoodSettings(Settings):
    """Settings of maximum-likelihood training.

    Arguments:
        steps: optimizer steps at most.
        batch_size: rows per step.
        learning_rate: Adam's.
        betas: Adam's.
        weight_decay: decoupled (AdamW); 0 for none.
        decay: whether the learning rate stays constant or decays to 0 over the steps, linearly or along a half cosine.
        clip_norm: largest gradient norm; 0 for no clipping.
        noise: standard deviation of Gaussian noise added to the training rows, fresh at every step; 0 for none.
        check_every: steps between two looks at the validation rows; the best weights seen are kept.
        patience: looks without a better value after which training ends; 0 to take all steps.
        reductions: times that instead of ending it goes back to the best weights with a third of the learning rate.
        ema: decay of the moving average of the weights, which is then what is looked at and kept; 0 for none.
        most_skipped: steps that may be skipped because loss or gradient was not finite.

    Raises:
        ValueError: for a value out of range, naming the field, the range and the value; for reductions without patience.
    """

    steps: Positive
    _: KW_ONLY
    batch_size: BatchSize = 256
    learning_rate: Rate = 1e-3
    betas: tuple[Moment, Moment] = (0.9, 0.999)
    weight_decay: Weight = 0.0
    decay: Decay = "cosine"
    clip_norm: Weight = 5.0
    noise: Weight = 0.0
    check_every: Positive = 100
    patience: Count = 0
    reductions: Count = 0
    ema: Moment = 0.0
    most_skipped: Count = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reductions and not self.patience:
            raise ValueError(
                f"reductions follow when patience is out, got {self.reductions} without patience; give one"
            )
