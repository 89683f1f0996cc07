"""What is read out of a trained model of images: samples, latent chains scored at several lengths, the likelihood gain of the energy.

All models of a comparison start from the same evaluation latents. Each readout becomes one result: rows of scores with their key and
cost, and a few images for the eye.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.components.settings import make
from bench.core.model import Samples, gebm_of, tensors
from bench.core.readout import Context, Result, log_partition_facts, result_row
from bench.core.session import InterruptedRunError
from bench.data.images import PixelCodec
from bench.images.models import AT_ONCE, HeldOutData, prepared
from bench.images.suite import BaseReadout, ChainReadout, GainReadout, ScoredReadout
from bench.metrics.extractors import Extractor, load_extractor
from bench.metrics.scores import FeatureSets, Reference, reference
from gebm.objectives import likelihood_gain
from gebm.partition import importance_sampling
from gebm.samplers import Cost, StepDecay, chain

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
        images, name = (
            as_bytes(model.sample(readout.samples, model.random_stream("evaluation-latents")), context),
            "base",
        )
    else:
        raise TypeError(f"{model.spec.model} cannot be sampled")
    sampled = time.monotonic()
    row = scored_row(images, readout, context, 0, model.sampling_cost())
    return result(name, None, None, [row], [images], start, sampled)


def read_chain(readout: ChainReadout, context: Context) -> Result:
    """Score images along one latent chain, which starts at the evaluation latents.

    Raises:
        TypeError: for a model without an energy.
        InterruptedRunError: if asked to stop.
    """
    start, model, asked = time.monotonic(), context.model, readout.chain
    gebm, noise = gebm_of(model), model.random_stream("chain-noise")
    latents = gebm.base.prior.sample(readout.samples, model.random_stream("evaluation-latents"))
    batches, fast = torch.split(latents, AT_ONCE), gebm.for_sampling()
    potential, decay = fast.potential(asked.beta), StepDecay(asked.decay_factor, asked.decay_every)
    recorded: dict[int, list[Tensor]] = {length: [] for length in asked.lengths}
    costs: dict[int, Cost] = {}
    done, total = itertools.count(1), len(batches) * max(asked.lengths)

    def on_step(_step: int, _info: Any) -> None:
        if (step := next(done)) % 10 == 0:
            context.progress({"phase": f"{asked.sampler} β={asked.beta:g}", "step": step, "total": total})
        if context.should_stop():
            raise InterruptedRunError("stopped while sampling")

    for z in batches:
        sampler = make("samplers", asked.sampler, asked.settings | {"step_size": asked.step_size})
        for length, state, cost in chain(sampler, potential, z, asked.lengths, noise, decay, on_step):
            costs[length] = cost
            with torch.no_grad():
                recorded[length].append(as_bytes(fast.base(state.position.z), context))
    sampled = time.monotonic()
    pictures = {length: torch.cat(batch) for length, batch in recorded.items()}
    rows = [scored_row(images, readout, context, length, costs[length]) for length, images in pictures.items()]
    return result(asked.sampler, asked.beta, asked.step_size, rows, [*pictures.values()], start, sampled)


@torch.no_grad()
def read_gain(readout: GainReadout, context: Context) -> Result:
    """Read out L(E) on train and test split: what the energy adds to the base, in nats, with the log-partition's own error.

    Raises:
        TypeError: for a model without an energy.
    """
    start, model, gebm = time.monotonic(), context.model, gebm_of(context.model)
    found = importance_sampling(gebm.potential(), readout.samples, model.random_stream("log-partition"))
    gains = {}
    for split in ("train", "test"):
        energies = torch.cat([gebm.energy(batch) for batch in torch.split(prepared(model, split), AT_ONCE)])
        gains[split] = likelihood_gain(energies, found.estimate).item()
    scores = {"likelihood-gain": gains["test"]} if found.reportable else {}
    row = result_row(
        0,
        scores | {"ess-fraction": found.effective_fraction},
        f"test split, n={len(model.dataset.splits['test'])}; log Z: {found.method}, M={found.draws}",
        train_gain=gains["train"],
        log_partition=log_partition_facts(found),
    )
    return result("likelihood", 1.0, None, [row], [], start, start)


def as_bytes(x: Tensor, context: Context) -> Tensor:
    """Return what a network generated as bytes: the exact inverse of what data went through."""
    codec = PixelCodec(context.dataset.levels)
    return codec.to_bytes(codec.quantise(x)).cpu()


def scored_row(images: Tensor, readout: ScoredReadout, context: Context, steps: int, cost: Cost) -> dict[str, Any]:
    """Return what the readout asks for of a set of images, as a row."""
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
    """Return the extractor, and the real images that everything is compared with, as it sees them."""
    dataset, name, split = context.dataset, readout.extractor, readout.reference

    def load() -> Extractor:
        context.progress({"phase": "scoring"})
        return load_extractor(name, dataset, context.cache, context.weights).to(context.model.device)

    def refer() -> Reference:
        images = PixelCodec(dataset.levels).to_bytes(tensors(dataset, split, torch.device("cpu")))
        return reference(images, extractor, dataset.name, split, context.cache)

    extractor = context.once(name, load)
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
    """Return head and rows together with a few images of each row; scoring is what came after `sampled`."""
    pairs = zip(rows, pictures, strict=False)
    arrays = {f"{row['steps']:06}": images[:SHOWN].numpy() for row, images in pairs}
    values = {"sampler": sampler, "beta": beta, "step_size": step_size, "rows": list(rows)}
    return Result(values, {"sampling": sampled - start, "scoring": time.monotonic() - sampled}, arrays)
