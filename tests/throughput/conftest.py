"""What the throughput tests share: an SNGAN GEBM, the samplers as one writes them first, a clock and this machine's peak.

Timed tests use pytest-benchmark and run only when asked for (`--benchmark-only`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from gebm import GEBM, Base, GaussianPrior
from gebm.base import recompute_normalisation
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator


def sngan(width: int, latent: int) -> GEBM:
    """An untrained SNGAN GEBM at 32×32 with settled batch-norm statistics and spectral norms, in evaluation mode."""
    torch.manual_seed(0)
    model = GEBM(Base(SNGANGenerator(latent, width=width), GaussianPrior(latent)), SNGANDiscriminator(width=width))
    stream = torch.Generator().manual_seed(0)
    recompute_normalisation(model.base, stream, batches=4, batch_size=32)
    with torch.no_grad():
        for _ in range(20):
            model.energy(model.base.sample(2, stream))
    return model.eval()


@torch.no_grad()
def beta_for(model: GEBM, spread: float) -> float:
    """β at which βE(G(z)) has the given standard deviation (in nats) under the prior."""
    z = model.base.prior.sample(128, torch.Generator().manual_seed(1))
    return spread / float(model.potential().at(z).energy.std())


@dataclass(frozen=True)
class Plain:
    """The samplers as one writes them first: weights that require gradients, the layout they came in, spectral norm computed at each
    call, `backward` through everything, and a gradient wherever the formula has one. Each step returns (z′, acceptance).
    """

    model: GEBM
    beta: float
    gradient_evaluations: ClassVar[dict[str, int]] = {"ULA": 1, "MALA": 2, "HMC": 2}
    """A step; HMC's a leapfrog step."""

    def gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.detach().requires_grad_(True)
        potential = self.beta * self.model.energy(self.model.base(z)) - self.model.base.prior.log_prob(z)
        self.model.zero_grad(set_to_none=True)
        potential.sum().backward()
        assert z.grad is not None
        return potential.detach(), z.grad

    def ula(self, z: Tensor, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        _, gradient = self.gradient(z)
        moved = z - step * gradient + math.sqrt(2 * step) * torch.randn(z.shape, generator=generator)
        return moved, torch.ones_like(z[:, 0])

    def mala(self, z: Tensor, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        here, gradient = self.gradient(z)
        noise = torch.randn(z.shape, generator=generator)
        proposal = z - step * gradient + math.sqrt(2 * step) * noise
        there, back = self.gradient(proposal)
        backward = (z - proposal + step * back).square().sum(1) / (4 * step)
        return self.accept(z, proposal, here - there + 0.5 * noise.square().sum(1) - backward, generator)

    def hmc(self, z: Tensor, step: float, leaps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        start, momentum = z, torch.randn(z.shape, generator=generator)
        hamiltonian = []
        for _ in range(leaps):
            potential, gradient = self.gradient(z)
            hamiltonian.append(potential + 0.5 * momentum.square().sum(1))
            momentum = momentum - 0.5 * step * gradient
            z = z + step * momentum
            potential, gradient = self.gradient(z)
            momentum = momentum - 0.5 * step * gradient
        end = potential + 0.5 * momentum.square().sum(1)
        return self.accept(start, z, hamiltonian[0] - end, generator)

    @staticmethod
    def accept(z: Tensor, proposal: Tensor, log_alpha: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        accepted = torch.rand(log_alpha.shape, generator=generator).log() < log_alpha
        return torch.where(accepted[:, None], proposal, z), log_alpha.clamp(max=0).exp()


def clock(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matmul_peak(dtype: torch.dtype, size: int = 1024, repeats: int = 30) -> float:
    """The best of many short square matrix products in FLOP/s, in this process with its threads."""
    a = torch.randn(size, size).to(dtype)
    return 2 * size**3 / min(clock(lambda: a @ a) for _ in range(repeats + 1))


@dataclass(frozen=True)
class Throughput:
    """What the tests of this folder share."""

    sngan = staticmethod(sngan)
    beta_for = staticmethod(beta_for)
    plain = Plain
    clock = staticmethod(clock)
    matmul_peak = staticmethod(matmul_peak)


@pytest.fixture(scope="session")
def throughput() -> Throughput:
    return Throughput()


@pytest.fixture
def all_threads() -> Iterator[int]:
    """As many threads as this process may use, or as `BENCH_THREADS` says; the other tests run on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0)))))
    yield torch.get_num_threads()
    torch.set_num_threads(before)
