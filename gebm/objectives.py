"""What the energy and the base are trained on: functions of energies on data and on base samples.

Energies are low on data. An `Objective` is a pair of losses to be minimised, one for the energy and one for the base, and the parameters
they share (the learned log-partition of KALE); it says which negatives it wants. Penalties live in `gebm.penalties`, adversarial
objectives of the GANs that a GEBM is compared with in `baselines.gan`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.components import component
from gebm.negatives import LatentChains
from gebm.samplers import ULA, Sampler

__all__ = [
    "ContrastiveDivergence",
    "DonskerVaradhan",
    "Kale",
    "MovingAverageDonskerVaradhan",
    "Objective",
    "Weighting",
    "donsker_varadhan",
    "importance_weights",
    "kale",
    "likelihood_gain",
    "log_mean_exp",
    "persistent_contrastive_divergence",
]

Energies = Float[Tensor, " batch"]
DataEnergies = Float[Tensor, " data"]
BaseEnergies = Float[Tensor, " base"]
Scalar = Float[Tensor, ""]
Weighting = Literal["self-normalised", "log-partition"]


def log_mean_exp(values: Energies) -> Scalar:
    """Return log((1/n) Σ exp(v_i)), without overflow.

    Example:
        >>> log_mean_exp(torch.tensor([1000.0, 1000.0])).item()
        1000.0
    """
    return torch.logsumexp(values, 0) - math.log(values.shape[0])


def kale(energy_data: DataEnergies, energy_base: BaseEnergies, log_partition: Scalar) -> Scalar:
    """Return F(E, c) = −E_P[E + c] − E_G[exp(−(E + c))] + 1 <= L(E), with equality iff c = A (Arbel et al., 2021)."""
    return 1 - (energy_data.mean() + log_partition) - torch.exp(-(energy_base + log_partition)).mean()


def donsker_varadhan(energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
    """Return −E_P[E] − log E_G[exp(−E)], with the log-partition of the batch: biased upwards on small batches."""
    return -energy_data.mean() - log_mean_exp(-energy_base)


def likelihood_gain(energy_data: DataEnergies, log_partition: Scalar | float) -> Scalar:
    """Return L(E) = −E_P[E] − A, the generalized log-likelihood: nats gained over the base (Arbel et al., 2021)."""
    return -energy_data.mean() - log_partition


def importance_weights(energy_base: BaseEnergies, weighting: Weighting, log_partition: Scalar) -> Energies:
    """Return the weights of base samples in the base gradient, detached; they sum to about 1.

    `self-normalised` is softmax(−E) over the batch; `log-partition` is exp(−(E + c))/n with the learned c.
    """
    energy_base = energy_base.detach()
    if weighting == "self-normalised":
        return torch.softmax(-energy_base, 0)
    return torch.exp(-(energy_base + log_partition.detach())) / energy_base.shape[0]


class Objective(nn.Module, ABC):
    """Losses, to be minimised, of the energy and of the base.

    `negatives` says what the energy is contrasted with: None for base samples, or the latent chains that give model samples.
    """

    negatives: LatentChains | None = None

    def initialise_log_partition(self, log_partition: Scalar) -> None:
        """Start at an estimate of log E_G[exp(−E)] under the initial networks; an objective that learns no log-partition ignores it."""

    @abstractmethod
    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        """Return the loss of the energy network (and of this objective's own parameters); `energy_base` are energies of the negatives."""

    @abstractmethod
    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        """Return the loss of the base, through the energies of its samples."""


@component("objectives", "kale", "KL approximate lower-bound estimate with a learned log-partition")
class Kale(Objective):
    """KL approximate lower-bound estimate with a learned log-partition c.

    The base gradient is the envelope one, E_η[exp(−(E + A)) ∇E ∂G] (Arbel et al., 2021).

    Arguments:
        weighting: how base samples are weighted in the base gradient; see `importance_weights`.

    Raises:
        ValueError: for another weighting.
    """

    def __init__(self, weighting: Weighting = "self-normalised") -> None:
        super().__init__()
        self.weighting: Weighting = _known(weighting)
        self.log_partition = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def initialise_log_partition(self, log_partition: Scalar) -> None:
        self.log_partition.copy_(log_partition)

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        return -kale(energy_data, energy_base, self.log_partition)

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return (importance_weights(energy_base, self.weighting, self.log_partition) * energy_base).sum()


@component("objectives", "donsker-varadhan", "Donsker–Varadhan with the log-partition of the batch")
class DonskerVaradhan(Objective):
    """The Donsker–Varadhan form: the log-partition is that of the batch, which biases the energy's gradient on small batches."""

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        return -donsker_varadhan(energy_data, energy_base)

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return _self_normalised(energy_base)


@component(
    "objectives", "moving-average-donsker-varadhan", "Donsker–Varadhan with a moving average of Z in the gradient"
)
class MovingAverageDonskerVaradhan(Objective):
    """Donsker–Varadhan with a moving average of Z in the denominator of the gradient (Belghazi et al., 2018, MINE).

    The batch's own log-mean-exp puts the same noise into numerator and denominator of ∇A = −E_G[exp(−E) ∇E]/Z, which biases it; an
    average over many steps hardly depends on the batch. The loss is −F(E, c) with c = log Ẑ held fixed, so its gradient is that
    corrected one and its value a bound for every c, as KALE's. Averages are kept as logarithms: Z neither overflows nor underflows.

    Arguments:
        average: decay of the moving average, in [0, 1); 0 is the batch's own Z, the plain form.
        weighting: how base samples are weighted in the base gradient; `log-partition` takes the average.

    Raises:
        ValueError: for a decay outside [0, 1) or another weighting.
    """

    log_partition: Tensor
    started: Tensor

    def __init__(self, average: float = 0.99, weighting: Weighting = "self-normalised") -> None:
        super().__init__()
        if not 0 <= average < 1:
            raise ValueError(f"average must be a decay in [0, 1), got {average}")
        self.average, self.weighting = average, _known(weighting)
        self.register_buffer("log_partition", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def initialise_log_partition(self, log_partition: Scalar) -> None:
        """Start the average at this estimate, so that the first batch moves it instead of replacing it."""
        self.log_partition.copy_(log_partition)
        self.started.fill_(True)

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        if self.training:
            self.update(log_mean_exp(-energy_base.detach()))
        return -kale(
            energy_data, energy_base, self.log_partition.clone()
        )  # the buffer changes before some backward passes

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return (importance_weights(energy_base, self.weighting, self.log_partition) * energy_base).sum()

    def update(self, batch: Scalar) -> None:
        """Move the average towards a batch's log-partition; the first batch replaces it."""
        batch = batch.to(self.log_partition.dtype)
        old = self.log_partition + math.log(self.average) if self.average else torch.full_like(batch, -math.inf)
        moved = torch.logaddexp(old, batch + math.log1p(-self.average))
        self.log_partition.copy_(torch.where(self.started, moved, batch))
        self.started.fill_(True)


@component(
    "objectives", "contrastive-divergence", "contrastive divergence, 10 steps of ULA per energy step from base draws"
)
class ContrastiveDivergence(Objective):
    """Contrastive divergence: E_P[E] − E_Q[E], with samples of the model Q from short latent chains.

    Its gradient is that of −L(E) where the chains have converged. Chains start at base draws, since an implicit base has no latents of
    data to start at (Hinton, 2002, starts there), or go on from the last step (persistent: Tieleman, 2008). The base is trained as under
    Donsker–Varadhan, by self-normalised weights on its own samples.

    Arguments:
        sampler: rule of the chains.
        steps: k, chain steps before each energy step.
        persistent: continue the chains of the previous energy step.
        restart: probability that a persistent chain is restarted from the prior.

    Raises:
        ValueError: as `gebm.negatives.LatentChains`.

    Example:
        >>> ContrastiveDivergence(ULA(0.05), steps=20).negatives
        LatentChains(sampler=ULA(step_size=0.05), steps=20, persistent=False, restart=0.0)
    """

    def __init__(
        self, sampler: Sampler = ULA(1e-2), steps: int = 10, persistent: bool = False, restart: float = 0.0
    ) -> None:
        super().__init__()
        self.negatives = LatentChains(sampler, steps, persistent, restart)

    def energy_loss(self, energy_data: DataEnergies, energy_base: BaseEnergies) -> Scalar:
        return energy_data.mean() - energy_base.mean()

    def base_loss(self, energy_base: BaseEnergies) -> Scalar:
        return _self_normalised(energy_base)


@component(
    "objectives", "persistent-contrastive-divergence", "contrastive divergence, chains of ULA that go on, 1 % restarts"
)
def persistent_contrastive_divergence() -> ContrastiveDivergence:
    """Return contrastive divergence whose chains are long in all: 2 steps of ULA per energy step, 1 % of them restarted."""
    return ContrastiveDivergence(ULA(0.05), steps=2, persistent=True, restart=0.01)


def _self_normalised(energy_base: BaseEnergies) -> Scalar:
    return (torch.softmax(-energy_base.detach(), 0) * energy_base).sum()


def _known(weighting: Weighting) -> Weighting:
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting must be 'self-normalised' or 'log-partition', got {weighting!r}")
    return weighting
