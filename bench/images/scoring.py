"""Images as bytes, and what the metrics say of them: what all readouts of samples end with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.core.model import tensors
from bench.core.readout import Context, Result, result_row
from bench.data.images import PixelCodec
from bench.images.suite import ScoredReadout
from bench.metrics.extractors import Extractor, load_extractor
from bench.metrics.scores import FeatureSets, Reference, reference
from gebm.samplers import Cost

__all__ = ["SHOWN", "as_bytes", "references", "result", "scored_row"]

SHOWN = 64  # images kept for the eye


def as_bytes(x: Tensor, context: Context) -> Tensor:
    """Return what a network generated as bytes: the exact inverse of what data went through."""
    codec = PixelCodec(context.dataset.levels)
    return codec.to_bytes(codec.quantise(x)).cpu()


def scored_row(
    images: Tensor, readout: ScoredReadout, context: Context, steps: int, cost: Cost, **facts: Any
) -> dict[str, Any]:
    """Return what the readout asks for of a set of images, as a row with whatever else is known of them."""
    extractor, real = references(readout, context)
    sets = FeatureSets(extractor.features(images), real)
    return result_row(
        steps,
        sets.scores(readout.metrics),
        sets.key,
        (cost.gradient_evaluations, cost.forward_evaluations),
        sets.collapse,
        frechet_curve=[list(point) for point in sets.curve],
        **facts,
    )


def references(readout: ScoredReadout, context: Context) -> tuple[Extractor, Reference]:
    """Return the extractor, and the real images that everything is compared with, as it sees them."""
    dataset, name, split = context.dataset, readout.extractor, readout.reference

    def load() -> Extractor:
        context.progress({"phase": "scoring"})
        return load_extractor(name, dataset, context.cache, context.weights).to(context.model.device)

    def refer() -> Reference:
        seen = tensors(dataset, "train" if split == "half" else split, torch.device("cpu"))
        images = PixelCodec(dataset.levels).to_bytes(seen[1::2] if split == "half" else seen)
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
