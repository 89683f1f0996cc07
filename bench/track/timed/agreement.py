"""Two-sample tests of the fast chains' samples against draws of the latent posterior that no sampler of the library made.

Chains start at the prior and run until a right sampler has arrived at ν(z) ∝ η(z) exp(−βE(G(z))). The other sample is drawn from the prior
and resampled with weights exp(−βE) of the *plain* model: no folded weights, no layout, no lower precision, no chain. A sampler that skips
its correction, its gradient or its move, and a copy of other energies, end elsewhere.
"""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from gebm import GEBM
from gebm.samplers import Sampler, chain

__all__ = ["CHAINS", "LEVEL", "differing"]

LEVEL = 1e-4
"""False-alarm rate of one comparison, all statistics together (Bonferroni), were the seeds drawn anew; they are fixed."""

CHAINS = 1000
POOL, ROWS = 40_000, 8192


def differing(sampler: Sampler, steps: int, fast: GEBM, plain: GEBM, beta: float, device: str) -> list[str]:
    """Return the statistics in which chains on the fast model differ from ν at `LEVEL` by Kolmogorov–Smirnov: the plain energy, ‖z‖², the
    latents along the energy's mean gradient, and the first two coordinates.
    """
    generator = torch.Generator(device).manual_seed(2)
    start = plain.base.prior.sample(CHAINS, generator)
    ((_, state, _),) = chain(sampler, fast.potential(beta), start, [steps], generator)
    samples = {"chains": state.position.z, "draws": resampled(plain, beta, device)}
    slope = mean_gradient(plain, samples["draws"])
    seen = {name: statistics(plain, z, slope) for name, z in samples.items()}
    count = len(seen["draws"])
    return [
        name
        for name in seen["draws"]
        if not bool(seen["chains"][name].isfinite().all())
        or stats.ks_2samp(seen["chains"][name].numpy(), seen["draws"][name].numpy()).pvalue < LEVEL / count
    ]


@torch.no_grad()
def resampled(plain: GEBM, beta: float, device: str) -> Tensor:
    """Return draws of ν by importance resampling from many draws of the prior."""
    generator = torch.Generator(device).manual_seed(3)
    pool = plain.base.prior.sample(POOL, generator)
    energy = torch.cat([plain.energy(plain.base(part)) for part in torch.split(pool, ROWS)])
    weights = (-beta * (energy.double() - energy.double().min())).exp()
    return pool[torch.multinomial(weights, CHAINS, replacement=True, generator=generator)]


def mean_gradient(plain: GEBM, z: Tensor) -> Tensor:
    """Return the mean of ∂E/∂z over the rows, the direction in which the energy moves its law."""
    z = z.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(plain.energy(plain.base(z)).sum(), z)
    return gradient.mean(0)


@torch.no_grad()
def statistics(plain: GEBM, z: Tensor, slope: Tensor) -> dict[str, Tensor]:
    """Return what is compared, one value per row."""
    values = {"energy": plain.energy(plain.base(z)), "norm": z.square().sum(1), "slope": z @ slope}
    values |= {f"z{index}": z[:, index] for index in range(2)}
    return {name: value.double().cpu() for name, value in values.items()}
