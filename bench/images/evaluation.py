"""What is read out of a trained model of images: samples, latent chains scored at several lengths, the likelihood gain of the energy.

All models of a comparison start from the same evaluation latents. Each readout becomes one result: rows of scores with their key and
cost, and a few images for the eye.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.components.settings import make
from bench.core.model import LatentChains, Samples, tensors
from bench.core.readout import Context, Result, result_row
from bench.core.session import InterruptedRunError
from bench.data.images import PixelCodec
from bench.images.models import AT_ONCE, HeldOutData, prepared
from bench.images.suite import BaseReadout, Chain, ChainReadout, GainReadout, ScoredReadout
from bench.metrics.extractors import Extractor, load_extractor
from bench.metrics.scores import FeatureSets, Reference, reference
from gebm.model import GEBM
from gebm.objectives import likelihood_gain
from gebm.partition import importance_sampling
from gebm.samplers import Cost, Sampler, StepDecay, chain

__all__ = ["read_base", "read_chain", "read_gain"]

SHOWN = 64  # images kept for the eye


@torch.no_grad()
def read_base(readout: BaseReadout, context: Context) -> Result:
    """Score samples without a chain, from the evaluation latents; of real data in a model's place, held-out images.

    Raises:
        TypeError: for a model that cannot be sampled.
    """
    start, model = time.monotonic(), context.model
    if isinstance(model, HeldOutData):
        images = PixelCodec(model.dataset.levels).to_bytes(model.real(readout.reference)[: readout.samples]).cpu()
        name, start = "data", time.monotonic()
    elif isinstance(model, Samples):
        generator = model.streams.generator("evaluation-latents", model.device)
        images, name = as_bytes(model.sample(readout.samples, generator), context), "base"
    else:
        raise TypeError(f"{model.spec.model} cannot be sampled")
    sampled = time.monotonic()
    row = scored_row(images, readout, context, 0, Cost())
    return result(name, None, None, [row], [images], start, sampled)


def read_chain(readout: ChainReadout, context: Context) -> Result:
    """Score images along one latent chain, which starts at the evaluation latents.

    Raises:
        TypeError: for a model without an energy.
        InterruptedRunError: if asked to stop.
    """
    start, model, asked = time.monotonic(), context.model, readout.chain
    if not isinstance(model, LatentChains):
        raise TypeError(f"{model.spec.model} has no energy that a chain could follow")
    noise = model.streams.generator("chain-noise", model.device)
    latents = model.gebm.base.prior.sample(readout.samples, model.streams.generator("evaluation-latents", model.device))
    batches, fast = torch.split(latents, AT_ONCE), model.gebm.for_sampling()
    recorded: dict[int, list[Tensor]] = {length: [] for length in asked.lengths}
    costs: dict[int, Cost] = {}
    for number, z in enumerate(batches):
        for length, images, cost in run_chain(fast, asked, z, noise, context, (number, len(batches))):
            recorded[length].append(images)
            costs[length] = cost
    sampled = time.monotonic()
    pictures = [torch.cat(recorded[length]) for length in asked.lengths]
    rows = [
        scored_row(images, readout, context, length, costs[length])
        for length, images in zip(asked.lengths, pictures, strict=True)
    ]
    return result(asked.sampler, asked.beta, asked.step_size, rows, pictures, start, sampled)


def run_chain(
    gebm: GEBM, asked: Chain, z: Tensor, noise: torch.Generator, context: Context, place: tuple[int, int]
) -> Iterator[tuple[int, Tensor, Cost]]:
    """One batch of chains, the `place[0]`-th of `place[1]`: (length, images, cost) at each recorded length."""
    sampler: Sampler = make("samplers", asked.sampler, asked.settings | {"step_size": asked.step_size})
    total, (number, batches) = max(asked.lengths), place

    def on_step(done: int, _info: Any) -> None:
        if done % 10 == 0:
            step = number * total + done
            context.progress({"phase": f"{asked.sampler} β={asked.beta:g}", "step": step, "total": batches * total})
        if context.should_stop():
            raise InterruptedRunError("stopped while sampling")

    decay = StepDecay(asked.decay_factor, asked.decay_every)
    for length, state, cost in chain(sampler, gebm.potential(asked.beta), z, asked.lengths, noise, decay, on_step):
        with torch.no_grad():
            yield length, as_bytes(gebm.base(state.position.z), context), cost


@torch.no_grad()
def read_gain(readout: GainReadout, context: Context) -> Result:
    """L(E) on train and test split: what the energy adds to the base, in nats, with the log-partition's own error.

    Raises:
        TypeError: for a model without an energy.
    """
    start, model = time.monotonic(), context.model
    if not isinstance(model, LatentChains):
        raise TypeError(f"{model.spec.model} has no energy, and so no gain over its base")
    gebm = model.gebm
    generator = model.streams.generator("log-partition", model.device)
    estimate = importance_sampling(gebm.potential(), readout.samples, generator)
    gains = {}
    for split in ("train", "test"):
        energies = torch.cat([gebm.energy(batch) for batch in torch.split(prepared(model, split), AT_ONCE)])
        gains[split] = likelihood_gain(energies, estimate.estimate).item()
    scores = {"likelihood-gain": gains["test"]} if estimate.reportable else {}
    row = result_row(
        0,
        scores | {"ess-fraction": estimate.effective_fraction},
        f"test split, n={len(model.dataset.splits['test'])}; log Z: {estimate.method}, M={estimate.draws}",
        train_gain=gains["train"],
        log_partition={
            "estimate": estimate.estimate,
            "standard_error": estimate.standard_error,
            "reportable": estimate.reportable,
            "warnings": list(estimate.warnings),
            "pareto_k": estimate.pareto_k if math.isfinite(estimate.pareto_k or 0.0) else None,
        },
    )
    return result("likelihood", 1.0, None, [row], [], start, start)


def as_bytes(x: Tensor, context: Context) -> Tensor:
    """What a network generated, as bytes: the exact inverse of what data went through."""
    codec = PixelCodec(context.dataset.levels)
    return codec.to_bytes(codec.quantise(x)).cpu()


def scored_row(images: Tensor, readout: ScoredReadout, context: Context, steps: int, cost: Cost) -> dict[str, Any]:
    """What the readout asks for of a set of images, as a row."""
    extractor, real = references(readout, context)
    sets = FeatureSets(extractor.features(images), real)
    return result_row(
        steps,
        sets.scores(readout.metrics),
        sets.key,
        (cost.gradient_evaluations, cost.forward_evaluations),
        sets.collapse,
        frechet_curve=[list(point) for point in sets.curve],
    )


def references(readout: ScoredReadout, context: Context) -> tuple[Extractor, Reference]:
    """The extractor, and the real images that everything is compared with, as it sees them."""
    dataset, name, split = context.dataset, readout.extractor, readout.reference

    def load() -> Extractor:
        context.progress({"phase": "scoring"})
        return load_extractor(name, dataset, context.cache, context.weights).to(context.model.device)

    extractor = context.once(name, load)

    def refer() -> Reference:
        images = PixelCodec(dataset.levels).to_bytes(tensors(dataset, split, torch.device("cpu")))
        return reference(images, extractor, dataset.name, split, context.cache)

    return extractor, context.once((name, split), refer)


def result(
    sampler: str,
    beta: float | None,
    step_size: float | None,
    rows: Sequence[dict[str, Any]],
    pictures: Sequence[Tensor],
    start: float,
    sampled: float,
) -> Result:
    """Head and rows together with a few images of each row; scoring is what came after `sampled`."""
    arrays: dict[str, np.ndarray] = {
        f"{row['steps']:06}": images[:SHOWN].numpy() for row, images in zip(rows, pictures, strict=False)
    }
    values = {"sampler": sampler, "beta": beta, "step_size": step_size, "rows": list(rows)}
    return Result(values, {"sampling": sampled - start, "scoring": time.monotonic() - sampled}, arrays)
