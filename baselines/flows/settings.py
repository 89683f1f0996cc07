"""What a flow is built from, complained about when it is written down rather than when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from gebm.checks import one_of, positive, whole

__all__ = ["Activation", "Backend", "Family", "FlowSettings", "Linear", "Normalisation"]

Family = Literal["gaussian", "realnvp", "maf", "iaf", "nsf-coupling", "nsf-ar"]
Backend = Literal["nflows", "zuko"]
Activation = Literal["relu", "tanh", "elu", "silu"]
Normalisation = Literal["none", "batch", "act"]
Linear = Literal["none", "reverse", "permutation", "lu"]

SPLINES = ("nsf-coupling", "nsf-ar")


@dataclass(frozen=True)
class FlowSettings:
    """Architecture of a flow; each family reads the settings it has a use for.

    Arguments:
        family: `gaussian` is a Gaussian with full covariance; `realnvp` affine couplings (Dinh et al., 2017); `maf` affine
            autoregressive layers, x → z in one pass and z → x in d (Papamakarios et al., 2017); `iaf` the same layers the other way
            round (Kingma et al., 2016); `nsf-coupling` and `nsf-ar` rational-quadratic splines with linear tails, RQ-NSF (C) and
            (AR) (Durkan et al., 2019).
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
        ValueError: for a value no flow could have, or a combination the backend does not have, saying what would be right.

    Example:
        >>> FlowSettings("realnvp", layers=0)
        Traceback (most recent call last):
        ...
        ValueError: layers must be a whole number >= 1, got 0
    """

    family: Family
    backend: Backend = "nflows"
    layers: int = 5
    hidden: int = 100
    blocks: int = 1
    residual: bool = False
    activation: Activation = "relu"
    dropout: float = 0.0
    normalisation: Normalisation = "none"
    linear: Linear = "none"
    log_scale_bound: float = 3.0
    bins: int = 8
    tail_bound: float = 3.0

    def __post_init__(self) -> None:
        one_of("family", self.family, get_args(Family))
        one_of("backend", self.backend, get_args(Backend))
        one_of("activation", self.activation, get_args(Activation))
        one_of("normalisation", self.normalisation, get_args(Normalisation))
        one_of("linear", self.linear, get_args(Linear))
        whole(self, 1, "layers", "hidden", "blocks")
        whole(self, 2, "bins")
        positive(self, "log_scale_bound", "tail_bound")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be a probability in [0, 1), got {self.dropout!r}")
        if self.backend == "zuko":
            self._check_zuko()

    @property
    def is_spline(self) -> bool:
        """Whether its layers are splines, else they are affine."""
        return self.family in SPLINES

    def _check_zuko(self) -> None:
        lacking: list[tuple[bool, str]] = [
            (self.family in ("gaussian", "iaf"), f"family={self.family!r}"),
            (self.normalisation != "none", f"normalisation={self.normalisation!r}"),
            (self.residual, "residual=True"),
        ]
        for wanted, what in lacking:
            if wanted:
                raise ValueError(f"{what} is not there with backend='zuko'; use backend='nflows' or leave it out")
