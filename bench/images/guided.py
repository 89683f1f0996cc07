"""Guided samplers (`baselines.guided`) on a trained model: its energy calibrated on the validation split, as their authors calibrate it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from baselines.guided import CalibratedEnergy, Logistic, calibration_z, isotonic, logistic
from bench.images.energies import Energies
from gebm.model import GEBM, LatentPotential
from gebm.samplers import Sampler, State

__all__ = ["Aim", "aim"]

SPARE = 1.25  # lanes per image of a sampler that rejects: more than any budget that is worth scoring leaves empty


@dataclass(frozen=True)
class Aim:
    """What a chain is aimed at, and how it begins.

    Arguments:
        potential: its target.
        beta: inverse temperature of the model's energy in it; None where a calibration leaves no such number.
        begin: makes the first state, if not the sampler's own `init`.
        facts: about the calibration, for the result's row.
    """

    potential: LatentPotential
    beta: float | None
    begin: Callable[[LatentPotential, Tensor], State] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@torch.no_grad()
def aim(sampler: Sampler, energies: Energies, asked: float | str) -> Aim:
    """Return where a sampler is aimed: the model's density at β, or for one with a calibration of its own at the calibrated logit.

    Raises:
        ValueError: if the energy cannot be calibrated: it is not finite, or separates validation data from base samples.
    """
    if sampler.calibration in ("none", "invariant"):
        beta = energies.beta(asked)
        return Aim(energies.gebm.potential(beta), beta)
    fit = {"isotonic": isotonic, "logistic": logistic}[sampler.calibration]
    real, held_out = energies.of_data("validation"), energies.of_data("test")
    drawn, others = energies.energy[: len(real)], energies.energy[len(real) : len(real) + len(held_out)]
    calibration = fit(real, drawn)
    z_score = calibration_z(calibration(held_out), calibration(others))
    facts = {"calibration": {"method": sampler.calibration, "z": z_score}}
    slope = calibration.slope if isinstance(calibration, Logistic) else None
    energy = CalibratedEnergy(energies.gebm.energy, calibration.float())
    potential = GEBM(energies.gebm.base, energy).potential()
    begin = getattr(sampler, "start_at", None)
    if begin is not None:
        begin = partial(_at_data, begin, calibration(energies.of_data("train").float()), energies)
    return Aim(potential, slope, begin, facts)


def _at_data(
    start_at: Callable[..., State], real: Tensor, energies: Energies, potential: LatentPotential, z: Tensor
) -> State:
    """Return chains that start at real images of the training split, drawn for this batch."""
    generator = energies.model.random_stream("guided-starts")
    rows = torch.randint(len(real), (len(z),), generator=generator, device=z.device)
    return start_at(potential, z, real[rows])
