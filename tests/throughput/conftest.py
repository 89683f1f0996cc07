"""What the throughput tests share: the samplers as one writes them first, and the number of threads.

Timed tests use pytest-benchmark and run only when asked for (`--benchmark-only`), on the CPU or the `BENCH_DEVICE` named ("cuda").
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gebm import GEBM
from gebm.samplers import HMC, MALA, ULA, Sampler

DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
STEPS = 20 if DEVICE == "cuda" else 1
"""Steps of a path in each round: on a GPU one takes milliseconds."""


@dataclass(frozen=True)
class Plain:
    """The samplers as one writes them first: weights that require gradients, the layout they came in, spectral norm computed at each
    call, `backward` through everything, and a gradient wherever the formula has one. Each step returns (z′, acceptance).
    """

    model: GEBM
    beta: float

    @staticmethod
    def gradient_evaluations(sampler: Sampler) -> int:
        """Per step; the library needs one per proposal or leapfrog step."""
        return 1 if isinstance(sampler, ULA) else 2 * leaps(sampler)

    def step(self, sampler: Sampler, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A step of the library's ULA, MALA or HMC."""
        if isinstance(sampler, HMC):
            return self.hmc(z, sampler.step_size, sampler.leapfrog_steps, generator)
        assert isinstance(sampler, ULA | MALA)
        return (self.ula if isinstance(sampler, ULA) else self.mala)(z, sampler.step_size, generator)

    def gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.detach().requires_grad_(True)
        potential = self.beta * self.model.energy(self.model.base(z)) - self.model.base.prior.log_prob(z)
        self.model.zero_grad(set_to_none=True)
        potential.sum().backward()
        assert z.grad is not None
        return potential.detach(), z.grad

    def ula(self, z: Tensor, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        _, gradient = self.gradient(z)
        moved = z - step * gradient + math.sqrt(2 * step) * torch.randn(z.shape, generator=generator, device=z.device)
        return moved, torch.ones_like(z[:, 0])

    def mala(self, z: Tensor, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        here, gradient = self.gradient(z)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        proposal = z - step * gradient + math.sqrt(2 * step) * noise
        there, back = self.gradient(proposal)
        backward = (z - proposal + step * back).square().sum(1) / (4 * step)
        return self.accept(z, proposal, here - there + 0.5 * noise.square().sum(1) - backward, generator)

    def hmc(self, z: Tensor, step: float, leaps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        start, momentum = z, torch.randn(z.shape, generator=generator, device=z.device)
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
        accepted = torch.rand(log_alpha.shape, generator=generator, device=z.device).log() < log_alpha
        return torch.where(accepted[:, None], proposal, z), log_alpha.clamp(max=0).exp()


def leaps(sampler: Sampler) -> int:
    """Leapfrog steps or proposals per step."""
    return sampler.leapfrog_steps if isinstance(sampler, HMC) else 1


@pytest.fixture
def all_threads() -> Iterator[int]:
    """As many threads as this process may use, or as `BENCH_THREADS` says; the other tests run on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0)))))
    yield torch.get_num_threads()
    torch.set_num_threads(before)
