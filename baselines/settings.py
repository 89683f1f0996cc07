"""Settings of baselines that are no flows, checked when they are made; torch is not needed for them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from gebm.checks import Moment, Positive, Rate, Settings, StepSize, Weight
from gebm.settings import BatchSize, Decay

__all__ = ["ShortRunSettings"]


@dataclass(frozen=True)
class ShortRunSettings(Settings):
    """Settings of a data-space energy-based model trained by short-run Langevin chains; the defaults are the source's, but for `scale`.

    Arguments:
        steps: training steps; the source takes 100,000.
        batch_size: data and chains per step.
        langevin_steps: K, steps of every chain, in training and in sampling.
        scale: s of f = −s E(x), whose gradient moves the chains by a whole unit step. The source has a free network and no factor;
            a spectral-normalised one is 1-Lipschitz, so that K steps reach no further than s K.
        noise: standard deviation of the noise in each chain step.
        data_noise: standard deviation of the Gaussian noise on data.
        learning_rate: Adam's.
        betas: Adam's.
        decay: whether the learning rate stays constant or decays to 0, linearly or along a half cosine.

    Raises:
        ValueError: for a value out of range, naming the field, the range and the value.
    """

    steps: Positive
    _: KW_ONLY
    batch_size: BatchSize = 64
    langevin_steps: Positive = 100
    scale: StepSize = 1.0
    noise: Weight = 0.01
    data_noise: Weight = 0.03
    learning_rate: Rate = 1e-4
    betas: tuple[Moment, Moment] = (0.9, 0.999)
    decay: Decay = "constant"
