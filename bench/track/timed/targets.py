"""Models whose chains are timed: an untrained SNGAN, a Gaussian posterior in closed form, and a flow base with a small energy.

Weights are drawn with fixed seeds. How hot a chain is does not change what a step costs; it is chosen so that the energy matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from baselines.flows import FlowSettings, build_flow
from gebm import GEBM, Base, GaussianPrior
from gebm.base import recompute_normalisation
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator

__all__ = ["SMALL", "TARGETS", "beta_for", "fast_copy", "gaussian_log_partition", "target"]

SCALES, OBSERVED, TOY_LATENT = (1.0, 0.5), (1.0, -1.0), 10
FLOW_DIMENSION, FLOW_HIDDEN, FLOW_NOISE = 6, 64, 0.02
SPREAD = 1.0  # nats: standard deviation of βE under the prior


def sngan(width: int, latent: int, shape: Sequence[int] = (3, 32, 32)) -> GEBM:
    """Return an SNGAN ConvNet with settled batch-norm statistics and spectral norms."""
    torch.manual_seed(0)
    generator = SNGANGenerator(latent, shape, width)
    model = GEBM(Base(generator, GaussianPrior(latent)), SNGANDiscriminator(shape, width))
    stream = torch.Generator().manual_seed(0)
    recompute_normalisation(model.base, stream, batches=4, batch_size=32)
    with torch.no_grad():
        for _ in range(20):
            model.energy(model.base.sample(2, stream))
    return model


class Scaled(nn.Module):
    """x = s ⊙ z[:k]."""

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("scales", torch.tensor(scales))

    def forward(self, z: Tensor) -> Tensor:
        return self.get_buffer("scales") * z[:, : len(self.get_buffer("scales"))]


class Quadratic(nn.Module):
    """E(x) = ½‖x − y‖²."""

    def __init__(self, observed: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("observed", torch.tensor(observed))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x - self.get_buffer("observed")).square().sum(1)


def toy() -> GEBM:
    """Return a linear base and a quadratic energy: at β the latent posterior is Gaussian with variances 1/(1 + βs²)."""
    return GEBM(Base(Scaled(SCALES), GaussianPrior(TOY_LATENT)), Quadratic(OBSERVED))


def gaussian_log_partition(beta: float) -> float:
    """Return log E_η[exp(−βE)] of `toy`, in closed form."""
    terms = [
        -0.5 * math.log1p(beta * s**2) - 0.5 * beta * y**2 / (1 + beta * s**2)
        for s, y in zip(SCALES, OBSERVED, strict=True)
    ]
    return sum(terms)


def flow() -> GEBM:
    """Return a RealNVP base, its last layers moved away from 0 where they start, with a fully connected energy."""
    torch.manual_seed(0)
    base = build_flow(FlowSettings("realnvp", layers=4, hidden=FLOW_HIDDEN), FLOW_DIMENSION)
    with torch.no_grad():
        for weights in base.parameters():
            weights.add_(FLOW_NOISE * torch.randn_like(weights))
    energy = nn.Sequential(nn.Linear(FLOW_DIMENSION, FLOW_HIDDEN), nn.SiLU(), nn.Linear(FLOW_HIDDEN, 1), nn.Flatten(0))
    return GEBM(base, energy)


TARGETS: dict[str, Callable[[], GEBM]] = {
    "sngan-w16": lambda: sngan(16, 100),
    "sngan-w64": lambda: sngan(64, 100),
    "flow": flow,
    "toy": toy,
    "sngan-tiny": lambda: sngan(4, 8, (3, 8, 8)),
}
SMALL = {"sngan-w16": "sngan-tiny", "sngan-w64": "sngan-tiny"}
"""Where the law of a target's chains is checked if not on itself: the same layers, so small that a thousand chains take a second."""


def target(name: str, device: str) -> tuple[GEBM, float]:
    """Return the model of that name in evaluation mode on the device, and a β at which its energy matters."""
    model = TARGETS[name]().eval().to(device)
    return model, beta_for(model, SPREAD, device)


def fast_copy(model: GEBM, precision: str) -> GEBM:
    """Return the copy for sampling, in "float32" or with matrix products in "bfloat16"."""
    return model.for_sampling(dtype=torch.bfloat16 if precision == "bfloat16" else None)


@torch.no_grad()
def beta_for(model: GEBM, spread: float, device: str) -> float:
    """Return the β at which βE(G(z)) has the given standard deviation, in nats, under the prior."""
    z = model.base.prior.sample(256, torch.Generator(device).manual_seed(1))
    return spread / float(model.energy(model.base(z)).std())
