"""The base of a GEBM: a latent prior η and a map z → x whose law is G.

A base may be implicit (a GAN generator, from which one can only sample) or a flow, which can also say `log_prob`. What reweights
the base lives in `gebm.model`; how it is trained in `gebm.training`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

__all__ = [
    "Base",
    "FlowBase",
    "GaussianPrior",
    "Prior",
    "UniformPrior",
    "evaluation_mode",
    "frozen",
    "has_dropout",
    "recompute_normalisation",
    "seeded_dropout",
]


class Prior(ABC):
    """The latent law η on R^d."""

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise ValueError(f"a prior needs dimension >= 1, got {dimension}")
        self.dimension = dimension

    @abstractmethod
    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "batch latent"]:
        """Draw `count` latents on the generator's device."""

    @abstractmethod
    def log_prob(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        """Return log η(z) in nats, normalised; −inf outside the support."""


class GaussianPrior(Prior):
    """η = N(0, I_d)."""

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "batch latent"]:
        return torch.randn(count, self.dimension, generator=generator, device=generator.device, dtype=dtype)

    def log_prob(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        return -0.5 * z.square().sum(1) - 0.5 * self.dimension * math.log(2 * math.pi)


class UniformPrior(Prior):
    """η = U([−1, 1]^d)."""

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "batch latent"]:
        uniform = torch.rand(count, self.dimension, generator=generator, device=generator.device, dtype=dtype)
        return 2 * uniform - 1

    def log_prob(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        inside = (z.abs() <= 1).all(1)
        constant = torch.full_like(z[:, 0], -self.dimension * math.log(2.0))
        return torch.where(inside, constant, -math.inf)


class Base(nn.Module):
    """A map `network: z → x` under a latent prior; its law G can be sampled, its density need not exist.

    Arguments:
        network: maps latents (batch, d) to samples (batch, *shape).
        prior: the latent law η.

    Example:
        >>> base = Base(nn.Linear(2, 3), GaussianPrior(2))
        >>> base.sample(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 3])
    """

    latent_dtype: torch.dtype | None = None
    """Precision of the latents where it is not that of the first weight, as in a copy with lowered convolutions."""

    def __init__(self, network: nn.Module, prior: Prior) -> None:
        super().__init__()
        self.network = network
        self.prior = prior

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch ..."]:
        x: Tensor = self.network(z)
        return x

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the latents: `latent_dtype` if set, else that of the first weight, single precision without one."""
        if self.latent_dtype is not None:
            return self.latent_dtype
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "batch ..."]:
        """Draw `count` samples of G in the mode (train or eval) the base is in."""
        x: Tensor = self(self.prior.sample(count, generator, self.dtype))
        return x


class FlowBase(Base, ABC):
    """A base whose density is known: G = law of an invertible network. It is trained like any other base.

    Example:
        >>> class Shift(FlowBase):
        ...     def log_prob(self, x: Tensor) -> Tensor:
        ...         return self.prior.log_prob(x - self.network(torch.zeros_like(x)))
        >>> translation = nn.Linear(1, 1)
        >>> translation.weight.data.fill_(1.0).shape
        torch.Size([1, 1])
        >>> Shift(translation, GaussianPrior(1)).log_prob(torch.zeros(4, 1)).shape
        torch.Size([4])
    """

    @abstractmethod
    def log_prob(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        """Return log g(x) in nats."""


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Freeze the parameters of modules inside the block, and restore their flags afterwards."""
    flags = [(parameter, parameter.requires_grad) for module in modules for parameter in module.parameters()]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Put modules in evaluation mode with frozen parameters, and restore both afterwards, of every submodule."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    with frozen(*modules):
        try:
            for module in modules:
                module.eval()
            yield
        finally:
            for part, training in modes:
                part.training = training


def has_dropout(*modules: nn.Module) -> bool:
    """Whether one of the modules has dropout in training mode."""
    parts = (part for module in modules for part in module.modules())
    return any(isinstance(part, _DropoutNd) and part.training and part.p > 0 for part in parts)


@contextmanager
def seeded_dropout(generator: torch.Generator, *modules: nn.Module) -> Iterator[None]:
    """Make dropout follow `generator` inside the block: it draws from torch's global generators, which are seeded, then restored.

    Unless one of the modules has dropout in training mode, nothing is drawn from `generator`.
    """
    if not has_dropout(*modules):
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    on_gpu = generator.device.type == "cuda"
    with torch.random.fork_rng([generator.device] if on_gpu else []):
        if on_gpu:
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield


@torch.no_grad()
def recompute_normalisation(base: Base, generator: torch.Generator, batches: int = 64, batch_size: int = 128) -> None:
    """Replace batch-norm running statistics by plain averages over fresh prior draws, in place.

    Averaged weights (EMA) never saw a batch, so the running statistics of the trained network do not belong to them; sampling in
    evaluation mode with foreign statistics is a different base. Leaves the base in evaluation mode, and everything but the batch norms is
    in it already while their statistics are taken.

    Arguments:
        base: changed in place.
        generator: source of the latents.
        batches: batches to average over.
        batch_size: latents per batch, at least 2: one has no variance.

    Raises:
        ValueError: if `batches` < 1 or `batch_size` < 2.
    """
    if batches < 1:
        raise ValueError(f"batches must be >= 1, got {batches}")
    if batch_size < 2:
        raise ValueError(f"batch_size must be >= 2, got {batch_size}")
    norms = [m for m in base.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    base.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    if norms:
        for _ in range(batches):
            base.sample(batch_size, generator)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    base.eval()
