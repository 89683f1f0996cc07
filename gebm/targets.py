"""GEBMs out of what one has: a log-density, whatever wrote it, or two networks that were made for something else.

Every sampler and every estimator of log Z then works on them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior, Prior, evaluation_mode
from gebm.model import GEBM

__all__ = ["from_log_density", "from_networks"]

Function = Callable[[Tensor], Tensor]


class _Tilt(nn.Module):
    """E(z) = log η(z) − log p(z), the energy that makes p of the prior."""

    def __init__(self, log_density: Function, prior: Prior) -> None:
        super().__init__()
        self.log_density, self.prior = log_density, prior

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        return self.prior.log_prob(z) - self.log_density(z)


class _Called(nn.Module):
    """A function as a module; a network that it calls is not one of its parts."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _OneValue(nn.Module):
    """A critic of shape (batch, 1, …) as an energy of shape (batch,)."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, x: Tensor) -> Float[Tensor, " batch"]:
        values: Tensor = self.critic(x)
        return values.reshape(x.shape[0])


def from_log_density(log_density: Function, prior: Prior | int, dtype: torch.dtype = torch.float32) -> GEBM:
    """Return the GEBM whose law is proportional to exp(log_density(z)): the base is the identity, the energy log η − log_density.

    Its log Z is the logarithm of ∫ exp(log_density), over the prior's support. Samplers that use the prior (pCN, independent
    Metropolis–Hastings, i-SIR, tempering) do as well as the prior covers the law: at β = 0 they draw from η.

    Arguments:
        log_density: z (batch, d) → one value per row, up to a constant; a module or any function, differentiable by torch where a
            sampler needs gradients. −inf is a place of zero density.
        prior: η, or the dimension d of N(0, I_d).
        dtype: precision of the latents that the function is given.

    Raises:
        ValueError: if the function does not return one floating-point value per row, or cannot be given latents of that precision.

    Example:
        >>> import torch
        >>> from gebm.partition import importance_sampling
        >>> model = from_log_density(lambda z: -(z[:, 0] ** 4) - z[:, 1].abs(), 2)  # ∫ is 2Γ(5/4) · 2, whose logarithm is 1.288
        >>> round(importance_sampling(model.potential(), 100_000, torch.Generator().manual_seed(0)).estimate, 2)
        1.29
    """
    prior = GaussianPrior(prior) if isinstance(prior, int) else prior
    model = GEBM(Base(nn.Identity(), prior), _Tilt(log_density, prior))
    model.base.latent_dtype = dtype
    values = _tried(model, "log_density", log_density, _two_latents(model))
    if values.shape != (2,):
        raise ValueError(f"log_density must return one value per row; of 2 rows it made shape {tuple(values.shape)}")
    return model


def from_networks(generator: Function, energy: Function, prior: Prior | int) -> GEBM:
    """Return the GEBM of two networks, after trying them on two latents in evaluation mode.

    Modules become parts of the model: they follow `.eval()`, `.to()`, and are folded for sampling. A plain function is called as it is,
    and a network hidden in it must be put in evaluation mode by whoever wrote it. A discriminator whose logit is *high* on data is an
    energy with its sign turned, `lambda x: -discriminator(x)`.

    Arguments:
        generator: latents (batch, d) → samples (batch, *shape). One that wants (batch, d, 1, 1): put `nn.Unflatten(1, (d, 1, 1))` first.
        energy: samples → (batch,), or (batch, 1, …) as critics often have it; low on data.
        prior: η, or the dimension d of N(0, I_d).

    Raises:
        ValueError: in one line, if the two differ in precision, or if a shape is not such.

    Example:
        >>> import gebm
        >>> from gebm.samplers import ULA
        >>> generator = nn.Sequential(nn.Unflatten(1, (8, 1, 1)), nn.ConvTranspose2d(8, 3, 4))
        >>> critic = nn.Conv2d(3, 1, 4)  # (batch, 1, 1, 1)
        >>> gebm.sample(from_networks(generator, critic, 8), ULA(0.1), n=16, steps=20).x.shape
        torch.Size([16, 3, 4, 4])
    """
    prior = GaussianPrior(prior) if isinstance(prior, int) else prior
    parts = [part if isinstance(part, nn.Module) else _Called(part) for part in (generator, energy)]
    precisions = [{p.dtype for p in part.parameters() if p.is_floating_point()} for part in parts]
    if all(precisions) and precisions[0] != precisions[1]:
        words = [" and ".join(sorted(map(str, each))) for each in precisions]
        raise ValueError(
            f"the generator's weights are {words[0]}, the energy's {words[1]}; convert one, as energy.to({words[0]}) does"
        )
    model = GEBM(Base(parts[0], prior), _OneValue(parts[1]))
    x = _tried(model, "generator", model.base.network, _two_latents(model))
    if x.shape[:1] != (2,):
        raise ValueError(f"generator must return one sample per latent; of 2 latents it made shape {tuple(x.shape)}")
    values = _tried(model, "energy", parts[1], x)
    if values.shape[:1] != (2,) or values.numel() != 2:
        raise ValueError(f"energy must return one value per sample; of 2 samples it made shape {tuple(values.shape)}")
    return model


def _two_latents(model: GEBM) -> Float[Tensor, "2 latent"]:
    """Two latents on the device of the model."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return model.base.prior.sample(2, torch.Generator(device).manual_seed(0), model.base.dtype)


def _tried(model: GEBM, name: str, function: Function, x: Tensor) -> Tensor:
    """Return what a part of the model makes of x in evaluation mode, and say in words what it cannot be given or must not return."""
    try:
        with evaluation_mode(model), torch.no_grad():
            values = function(x)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} cannot be given {x.dtype} of shape {tuple(x.shape)}: {reason}") from error
    if not values.is_floating_point():
        raise ValueError(f"{name} must return floating-point numbers, it returned {values.dtype}")
    return values
