"""Two-sample tests of the fast chains' samples against draws of the latent posterior that no sampler of the library made.

Chains start at the prior and run until a right sampler has arrived at ν(z) ∝ η(z) exp(−βE(G(z))). The other sample is drawn from the prior
and resampled with weights exp(−βE) of the *plain* model: no folded weights, no layout, no lower precision, no chain. A sampler that skips
its correction, its gradient or its move, and a copy of other energies, end elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy import stats
from torch import Tensor

from gebm import GEBM
from gebm.samplers import Sampler, chain

__all__ = ["differing", "mean_gradient", "statistics", "unequal"]

LEVEL = 1e-4
"""False-alarm rate of one comparison, all statistics together (Bonferroni), were the seeds drawn anew; they are fixed."""

CHAINS, POOL, ROWS = 1000, 40_000, 8192


def differing(sampler: Sampler, steps: int, fast: GEBM, plain: GEBM, beta: float, device: str) -> list[str]:
    """Return the statistics in which chains on the fast model differ from ν at `LEVEL`: the plain energy, ‖z‖², the latents along the
    energy's mean gradient, and the first two coordinates.
    """
    generator = torch.Generator(device).manual_seed(2)
    start = plain.base.prior.sample(CHAINS, generator)
    ((_, state, _),) = chain(sampler, fast.potential(beta), start, [steps], generator)
    draws = resampled(plain, beta, device)
    slope = mean_gradient(plain, draws)
    return unequal(statistics(plain, state.position.z, slope), statistics(plain, draws, slope), LEVEL)


def unequal(first: Mapping[str, Tensor], second: Mapping[str, Tensor], level: float) -> list[str]:
    """Return the statistics whose laws differ by Kolmogorov–Smirnov, at `level` over all of them; not finite is different."""
    return [
        name
        for name in second
        if not bool(first[name].isfinite().all())
        or stats.ks_2samp(first[name].numpy(), second[name].numpy()).pvalue < level / len(second)
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
    """Return what is compared, one value per row, on the CPU."""
    values = {"energy": plain.energy(plain.base(z)), "norm": z.square().sum(1), "slope": z @ slope}
    values |= {f"z{index}": z[:, index] for index in range(2)}
    return {name: value.double().cpu() for name, value in values.items()}
