"""MH-GAN: independent Metropolis–Hastings from the base, started at the energies of real samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from gebm.components import component
from gebm.model import LatentPotential
from gebm.samplers.kernel import Calibration, State, start
from gebm.samplers.metropolis import IndependentMH

__all__ = ["MHGAN"]


@component("samplers", "mh-gan", "MH-GAN: independent Metropolis–Hastings from the base, started at real samples")
@dataclass(frozen=True)
class MHGAN(IndependentMH):
    """MH-GAN (Turner et al., 2019, arXiv 1811.11357): z′ ~ η, accepted with α = min(1, e^{d(G(z′)) − d(G(z))}), d = −βE.

    The rule is that of `IndependentMH`; what is the paper's own is the start (`start_at`), the chain length (640 steps) and the isotonic
    calibration. Where E = −log dP/dG, chains that start at energies of P are stationary from the start, up to those that never
    accept. One forward evaluation per step.

    Example:
        >>> import gebm
        >>> normal = gebm.from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)  # N(1, 0.5²)
        >>> z = gebm.sample(normal, MHGAN(), n=1000, steps=100).trace.z
        >>> print(f"{z.mean():.1f} ± {z.std():.1f}")
        1.0 ± 0.5
    """

    temperable: ClassVar[bool] = False
    calibration: ClassVar[Calibration] = "isotonic"

    def start_at(
        self, potential: LatentPotential, z: Float[Tensor, "batch latent"], energy_data: Float[Tensor, " data"]
    ) -> State:
        """Return the state of chains that start at real samples, which have an energy but no latent.

        A chain keeps its row of z until it first accepts. Draw z from the prior: a chain that never accepts then ends in a sample of the
        base, which is the paper's restart. Until then its `energy` is that of the real sample, not of G(z).

        Arguments:
            potential: the target.
            z: prior draws, one per chain.
            energy_data: calibrated energies of real samples, one per chain.

        Raises:
            ValueError: if z does not fit the prior, or `energy_data` is not one finite number per row of z.
        """
        position = start(potential, z, gradient=False).position
        if energy_data.shape != z.shape[:1] or not bool(energy_data.isfinite().all()):
            bad = int((~energy_data.isfinite()).sum())
            raise ValueError(
                f"energy_data must have one finite energy per chain, {z.shape[0]} in all, got {energy_data.numel()}, {bad} not finite"
            )
        energy = energy_data.detach().to(position.energy)
        potentials = potential.inverse_temperature * energy - potential.prior.log_prob(position.z)
        return State(position._replace(energy=energy, potential=potentials))
