"""Calibration of a discriminator on a held-out balanced split, so that its logit d = −E estimates log dP/dG.

A calibration maps energies to energies; `CalibratedEnergy` puts it behind an energy network. Logistic calibration keeps
gradients; isotonic calibration is piecewise and serves acceptance rules only (Turner et al., 2019, arXiv 1811.11357).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from gebm.model import energies

__all__ = ["CalibratedEnergy", "Isotonic", "Logistic", "calibration_z", "isotonic", "logistic"]

DataEnergies = Float[Tensor, " data"]
BaseEnergies = Float[Tensor, " base"]
Array = np.ndarray[Any, np.dtype[np.float64]]


class Logistic(nn.Module):
    """Platt scaling, E′ = slope · E − offset: the calibrated logit is slope · d + offset.

    Arguments:
        slope: the factor of the logit.
        offset: what is added to it.
    """

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self.slope, self.offset = slope, offset

    def forward(self, energy: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return self.slope * energy - self.offset


class Isotonic(nn.Module):
    """A monotone map of the logit to a probability, linear between knots and constant beyond them.

    Differentiating through it raises RuntimeError: a chain that followed what is left of the potential's gradient would be silently wrong.

    Arguments:
        logits: knots, increasing.
        probabilities: of being data at the knots, nondecreasing, in (0, 1).
    """

    logits: Tensor
    probabilities: Tensor

    def __init__(self, logits: Float[Tensor, " knots"], probabilities: Float[Tensor, " knots"]) -> None:
        super().__init__()
        self.register_buffer("logits", logits)
        self.register_buffer("probabilities", probabilities)

    def forward(self, energy: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        calibrated: Tensor = _Interpolation.apply(energy, self.logits, self.probabilities)
        return calibrated


class _Interpolation(torch.autograd.Function):
    """−logit of the interpolated probability at the logit −E; no way back."""

    @staticmethod
    def forward(_context: Any, energy: Tensor, knots: Tensor, probabilities: Tensor) -> Tensor:
        logit = (-energy).to(knots.dtype).clamp(knots[0], knots[-1])
        right = torch.searchsorted(knots, logit.contiguous()).clamp(1, len(knots) - 1)
        width = (knots[right] - knots[right - 1]).clamp(min=torch.finfo(knots.dtype).tiny)
        share = (logit - knots[right - 1]) / width
        probability = torch.lerp(probabilities[right - 1], probabilities[right], share)
        return -torch.logit(probability).to(energy.dtype)

    @staticmethod
    def backward(_context: Any, *_gradients: Tensor) -> Any:
        raise RuntimeError(
            "isotonic calibration has no gradient; calibrate samplers that follow gradients by `logistic`"
        )


class CalibratedEnergy(nn.Module):
    """An energy network behind a calibration: x ↦ E′(x), minus the calibrated logit.

    Arguments:
        energy: x (batch, *shape) → E (batch,).
        calibration: E (batch,) → E′ (batch,), what `logistic` or `isotonic` returned.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> CalibratedEnergy(network, Logistic(2.0, 0.1))(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, energy: nn.Module, calibration: nn.Module) -> None:
        super().__init__()
        self.energy = energy
        self.calibration = calibration

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        calibrated: Tensor = self.calibration(energies(self.energy, x))
        return calibrated


def logistic(energy_data: DataEnergies, energy_base: BaseEnergies) -> Logistic:
    """Fit scale and offset of the logit by logistic regression without regularisation (Platt, 1999).

    Arguments:
        energy_data: energies of held-out data.
        energy_base: energies of as many samples of the base.

    Raises:
        ValueError: if the split is empty or not balanced, an energy is not finite, or one threshold separates the two sides, so that the
            likelihood has no maximum.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> data, base = torch.randn(500, generator=generator) - 1, torch.randn(500, generator=generator)
        >>> logistic(data, base).slope > 0
        True
    """
    logits, labels = _examples(energy_data, energy_base)
    real, fake = logits[labels == 1], logits[labels == 0]
    scale = logits.std()
    if scale > 0 and (real.min() >= fake.max() or fake.min() >= real.max()):
        raise ValueError(
            "a threshold on the energy separates data and base: logistic calibration needs overlap, use more samples"
        )
    centre, unit = logits.mean(), scale if scale > 0 else 1.0
    fit = LogisticRegression(C=math.inf, tol=1e-8, max_iter=1000).fit(((logits - centre) / unit)[:, None], labels)
    slope = float(fit.coef_[0, 0] / unit)
    return Logistic(slope, float(fit.intercept_[0]) - slope * float(centre))


def isotonic(energy_data: DataEnergies, energy_base: BaseEnergies) -> Isotonic:
    """Fit the probability of being data as a nondecreasing function of the logit (Zadrozny & Elkan, 2002).

    Beyond the most convincing sample of the base only data is left, m examples with a probability of 1. It is taken as 1 − 1/(2(m + 1)),
    so that no calibrated logit is infinite and the tail gets odds that m examples can carry; likewise at the other end. A clip by the
    number of all examples, as is usual, gives it odds far above dP/dG, which exact rules follow (MH-GAN on N(1, 1) from N(0, 1), 5,000
    examples a side: means up to 2.0 by that clip, 0.9 to 1.3 by this one).

    Arguments:
        energy_data: energies of held-out data.
        energy_base: energies of as many samples of the base.

    Raises:
        ValueError: if the split is empty or not balanced, or an energy is not finite.
    """
    logits, labels = _examples(energy_data, energy_base)
    fit = IsotonicRegression().fit(logits, labels)
    fitted = fit.predict(logits)
    low, high = (1 / (2 * (int((fitted == end).sum()) + 1)) for end in (0.0, 1.0))
    knots, probabilities = fit.X_thresholds_, np.clip(fit.y_thresholds_, low, 1 - high)
    if len(knots) == 1:  # all energies are equal
        knots, probabilities = knots.repeat(2), probabilities.repeat(2)
    return Isotonic(
        torch.as_tensor(knots).to(energy_data.device), torch.as_tensor(probabilities).to(energy_data.device)
    )


def calibration_z(energy_data: DataEnergies, energy_base: BaseEnergies) -> float:
    """Z = Σ(y − D)/√ΣD(1 − D) with D = σ(−E): about N(0, 1) where D is calibrated; |Z| > 2 is bad (Turner et al., 2019).

    It sees D too high or too low on average, and nothing else: a slope that is wrong around a right mean escapes it.

    Arguments:
        energy_data: energies of held-out data.
        energy_base: energies of as many samples of the base, none of them used in the fit.

    Raises:
        ValueError: if the split is empty or not balanced, or an energy is not finite.

    Example:
        >>> calibration_z(torch.zeros(50), torch.zeros(50))
        0.0
    """
    logits, labels = (torch.from_numpy(each) for each in _examples(energy_data, energy_base))
    probability = torch.sigmoid(logits)
    variance = (probability * torch.sigmoid(-logits)).sum().clamp(min=torch.finfo(torch.float64).tiny)
    return float((labels - probability).sum() / variance.sqrt())


def _examples(energy_data: DataEnergies, energy_base: BaseEnergies) -> tuple[Array, Array]:
    """The logits of a balanced split, data first, and their labels: 1 for data, 0 for the base."""
    if len(energy_data) != len(energy_base) or not len(energy_data):
        raise ValueError(
            f"calibration needs as many energies of data as of the base, got {len(energy_data)} and {len(energy_base)}"
        )
    logits = -torch.cat([energy_data, energy_base]).detach().double().cpu().numpy()
    if bad := int((~np.isfinite(logits)).sum()):
        raise ValueError(f"calibration needs finite logits, {bad} of {len(logits)} are not")
    return logits, np.repeat([1.0, 0.0], len(energy_data))
