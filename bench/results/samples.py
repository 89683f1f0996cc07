"""Samples of a trained model: of its base, or by a latent chain aimed at its density at an inverse temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.components.settings import make
from bench.core.model import LatentChains, Model, Samples
from bench.data.images import PixelCodec
from bench.results.models import Trained
from gebm.samplers import Sampler, StepDecay, chain

__all__ = ["CALIBRATED", "Drawn", "Plan", "SamplingError", "draw", "plan"]

CALIBRATED = "calibrated"
AT_ONCE = 2000  # samples that networks make together


class SamplingError(ValueError):
    """Samples that a model cannot be asked for."""


@dataclass(frozen=True)
class Plan:
    """How samples are drawn.

    Arguments:
        sampler: the chain's rule; None draws from the base alone.
        name: of the sampler, or "base".
        beta: inverse temperature of the chain's target; None for the base alone.
        steps: length of the chain.
        decay: its schedule of step sizes.
    """

    sampler: Sampler | None
    name: str
    beta: float | None
    steps: int
    decay: StepDecay

    def __str__(self) -> str:
        """As a reader is told: "ula, 100 steps of 0.01 at β=1"."""
        if self.sampler is None:
            return "the base alone"
        size = getattr(self.sampler, "step_size", None)
        return f"{self.name}, {self.steps:,} steps{'' if size is None else f' of {size:g}'} at β={self.beta:.4g}"


@dataclass(frozen=True)
class Drawn:
    """Samples, and of a chain where it ended.

    Arguments:
        samples: images as bytes, uint8 (n, channels, height, width); anything else as the networks see it, float32 (n, d).
        latents: float32 (n, latent), or None for samples of the base alone.
        energy: E(G(z)) of each without β, (n,), or None likewise.
    """

    samples: NDArray[Any]
    latents: NDArray[np.float32] | None = None
    energy: NDArray[np.float64] | None = None


def plan(
    model: Model, trained: Trained, sampler: str, beta: float | str | None, steps: int, step_size: float | None
) -> Plan:
    """Resolve what was asked for; a chain that the run was read out by is set up as it was there.

    Arguments:
        model: the model.
        trained: what is stored of it.
        sampler: registered name.
        beta: β >= 0, "calibrated" for β̂, or None for β̂ where it was read out and 1 where not.
        steps: length of the chain; 0 for the base alone.
        step_size: instead of the chain's, or of the sampler's own.

    Raises:
        SamplingError: if the model has no energy, β̂ is not known, or the sampler needs a calibration or another setting.
        UnknownNameError: for a sampler that does not exist.
    """
    name = trained.spec["model"]
    if steps == 0:
        if beta is not None:
            raise SamplingError("a temperature is of a chain; leave out --beta, or give --steps")
        return Plan(None, "base", None, 0, StepDecay())
    if not isinstance(model, LatentChains):
        raise SamplingError(f"{name} has no energy that a chain could follow; --steps 0 draws from it")
    asked: Any = (CALIBRATED if trained.temperature is not None else 1.0) if beta is None else beta
    if asked == CALIBRATED and trained.temperature is None:
        raise SamplingError(f"no β̂ of this {name} was read out; give --beta a number, 1 is the model")
    known = _known_chain(trained, sampler, asked)
    settings = dict(known.get("settings", {}))
    size = known.get("step_size") if step_size is None else step_size
    try:
        made: Sampler = make("samplers", sampler, settings | ({} if size is None else {"step_size": size}))
    except ValueError as error:
        raise SamplingError(str(error)) from error
    if made.calibration not in ("none", "invariant"):
        raise SamplingError(
            f"{sampler} calibrates its own logit on held-out data, which `bench run` does, and not this"
        )
    decay = StepDecay(known.get("decay_factor", 1.0), known.get("decay_every", 200))
    value = trained.temperature if asked == CALIBRATED else asked
    return Plan(made, sampler, float(value or 0.0), steps, decay if step_size is None else StepDecay())


def draw(model: Model, planned: Plan, count: int, seed: int) -> Drawn:
    """Draw samples, the same on one machine for one seed; latents are fresh ones, not those that the run was scored by.

    Raises:
        SamplingError: for a model that cannot be sampled.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    if planned.sampler is None:
        with torch.no_grad():
            return Drawn(_as_data(_from_base(model, count, generator), model))
    if not isinstance(model, LatentChains):
        raise SamplingError(f"{model.spec.model} has no energy that a chain could follow")
    gebm = model.gebm.for_sampling()
    potential = gebm.potential(planned.beta or 0.0)
    parts = []
    for z in torch.split(gebm.base.prior.sample(count, generator), AT_ONCE):
        for _, state, _ in chain(planned.sampler, potential, z, [planned.steps], generator, planned.decay):
            at = state.position
            with torch.no_grad():
                parts.append((_as_data(gebm.base(at.z), model), at.z.cpu().numpy(), at.energy.double().cpu().numpy()))
    return Drawn(*map(np.concatenate, zip(*parts, strict=True)))


def _known_chain(trained: Trained, sampler: str, beta: float | str) -> Mapping[str, Any]:
    """Return the settings of the run's own chain by that sampler at that temperature; none if it has none."""
    same = (each for each in trained.chains if each["sampler"] == sampler and each["beta"] == beta)
    return next(same, {})


def _from_base(model: Model, count: int, generator: torch.Generator) -> Tensor:
    if isinstance(model, Samples):
        return model.sample(count, generator)
    if isinstance(model, LatentChains):
        return model.gebm.base.sample(count, generator)
    raise SamplingError(f"{model.spec.model} cannot be sampled")


def _as_data(x: Tensor, model: Model) -> NDArray[Any]:
    if model.dataset.kind != "image":
        return x.float().cpu().numpy()
    codec = PixelCodec(model.dataset.levels)
    return codec.to_bytes(codec.quantise(x)).cpu().numpy()
