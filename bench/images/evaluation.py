"""What is read out of a trained model of images: base samples, latent chains scored at several lengths, the likelihood gain of the energy.

All models of a comparison start from the same evaluation latents. Each readout becomes one result: rows of scores with their key and
cost, and a few images for the eye.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.chains.samplers import make_sampler
from bench.core.session import InterruptedRunError, Progress
from bench.core.spec import ChainSpec, ImageReadout
from bench.data import Dataset
from bench.data.images import PixelCodec
from bench.images.models import HeldOutData, LatentModel, Model
from bench.metrics import INCEPTION
from bench.metrics.extractors import Extractor, inception, load_or_train
from bench.metrics.scores import Reference, Scores, reference, score
from gebm.model import GEBM
from gebm.objectives import likelihood_gain
from gebm.partition import importance_sampling
from gebm.samplers import Cost, StepDecay, chain

__all__ = ["Evaluator", "Result", "load_extractor"]

CHAIN_BATCH = 2000  # latents that move together
SHOWN = 64  # images kept for the eye


@dataclass(frozen=True)
class Result:
    """What one readout found: JSON-able values with their rows, some images (n, C, H, W) uint8 of each row, if it has any, and arrays by
    name.
    """

    values: dict[str, Any]
    images: list[np.ndarray]
    seconds: dict[str, float]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def load_extractor(name: str, dataset: Dataset, cache: Path, weights: Path | None) -> Extractor:
    """The extractor of that name: Inception from the folder of weights, or the dataset's own classifier."""
    if name == INCEPTION:
        found = inception(weights) if weights else None
        if found is None:
            raise FileNotFoundError(f"the weights of {INCEPTION} are no longer in {weights}")
        return found
    pixels = torch.from_numpy(dataset.splits["train"])
    images = PixelCodec(dataset.levels).to_bytes(pixels)
    labels = torch.from_numpy(dataset.labels["train"])
    held_out = PixelCodec(dataset.levels).to_bytes(torch.from_numpy(dataset.splits["test"]))
    known = torch.from_numpy(dataset.labels["test"])
    return load_or_train(cache, dataset.name, dataset.digest, images, labels, seed=0, held_out=(held_out, known))


class Evaluator:
    """Reads out trained models on one dataset with one extractor.

    Arguments:
        dataset: real data.
        extractor: images to features.
        cache: folder for reference statistics.
        progress: called with what is being done.
        should_stop: asked between steps of a chain; a readout is short and starts anew after an interruption.
    """

    def __init__(
        self, dataset: Dataset, extractor: Extractor, cache: Path, progress: Progress, should_stop: Any
    ) -> None:
        self.dataset, self.extractor, self.cache = dataset, extractor, cache
        self.codec = PixelCodec(dataset.levels)
        self.progress, self.should_stop = progress, should_stop
        self.references: dict[str, Reference] = {}

    def read(self, model: Model, readout: ImageReadout) -> Result:
        """One readout of one model.

        Raises:
            InterruptedRunError: if asked to stop.
            TypeError: for a model that cannot be read out like this.
        """
        if isinstance(model, HeldOutData):
            return self.held_out(readout)
        if not isinstance(model, LatentModel):
            raise TypeError(f"do not know how to read out a {type(model).__name__}")
        if readout.kind == "likelihood":
            return self.likelihood(model, readout)
        if readout.kind == "chain" and readout.chain is not None:
            return self.chain(model, readout, readout.chain)
        return self.base(model, readout)

    def held_out(self, readout: ImageReadout) -> Result:
        """Scores of real data that are not the reference: the test split, or where that is the reference the validation split."""
        start = time.monotonic()
        split = "validation" if readout.reference == "test" else "test"
        images = self.codec.to_bytes(torch.from_numpy(self.dataset.splits[split][: readout.samples]))
        row = self.row(self.scores(images, readout), 0, Cost())
        return self.result({"sampler": "data", "beta": None, "step_size": None}, [row], [images], 0.0, start)

    @torch.no_grad()
    def base(self, model: LatentModel, readout: ImageReadout) -> Result:
        """Scores of the base alone, from the evaluation latents."""
        start = time.monotonic()
        latents = self.latents(model, readout.samples)
        images = torch.cat([self.images(model.base(z)) for z in torch.split(latents, CHAIN_BATCH)])
        sampled = time.monotonic()
        row = self.row(self.scores(images, readout), 0, Cost())
        return self.result(
            {"sampler": "base", "beta": None, "step_size": None}, [row], [images], sampled - start, sampled
        )

    def chain(self, model: LatentModel, readout: ImageReadout, spec: ChainSpec) -> Result:
        """Scores along one latent chain, which starts at the evaluation latents."""
        start = time.monotonic()
        recorded: dict[int, list[Tensor]] = {length: [] for length in spec.lengths}
        costs: dict[int, Cost] = {}
        noise = model.streams.generator("chain-noise", model.device)
        batches = torch.split(self.latents(model, readout.samples), CHAIN_BATCH)
        fast = model.gebm.for_sampling()
        for number, z in enumerate(batches):
            for length, images, cost in self.run_chain(fast, spec, z, noise, number, len(batches)):
                recorded[length].append(images)
                costs[length] = cost
        sampled = time.monotonic()
        pictures = [torch.cat(recorded[length]) for length in spec.lengths]
        rows = [
            self.row(self.scores(images, readout), length, costs[length])
            for length, images in zip(spec.lengths, pictures, strict=True)
        ]
        head = {"sampler": spec.sampler, "beta": spec.beta, "step_size": spec.step_size}
        return self.result(head, rows, pictures, sampled - start, sampled)

    def run_chain(
        self, gebm: GEBM, spec: ChainSpec, z: Tensor, noise: torch.Generator, number: int, batches: int
    ) -> Iterator[tuple[int, Tensor, Cost]]:
        """One batch of chains: (length, images, cost) at each recorded length."""
        sampler = make_sampler(spec.sampler, spec.settings | {"step_size": spec.step_size})
        total = max(spec.lengths)

        def on_step(done: int, _info: Any) -> None:
            if done % 10 == 0:
                step = {
                    "phase": f"{spec.sampler} β={spec.beta:g}",
                    "step": number * total + done,
                    "total": batches * total,
                }
                self.progress(step)
            if self.should_stop():
                raise InterruptedRunError("stopped while sampling")

        potential = gebm.potential(spec.beta)
        decay = StepDecay(spec.decay_factor, spec.decay_every)
        for length, state, cost in chain(sampler, potential, z, spec.lengths, noise, decay, on_step):
            with torch.no_grad():
                yield length, self.images(gebm.base(state.position.z)), cost

    @torch.no_grad()
    def likelihood(self, model: LatentModel, readout: ImageReadout) -> Result:
        """L(E) on train and test split: what the energy adds to the base, in nats, with the log-partition's own error."""
        start = time.monotonic()
        generator = model.streams.generator("log-partition", model.device)
        estimate = importance_sampling(model.gebm.potential(), readout.samples, generator)
        gains = {split: likelihood_gain(self.energies(model, split), estimate.estimate) for split in ("train", "test")}
        scores = {"likelihood-gain": gains["test"].item()} if estimate.reportable else {}
        key = f"test split, n={len(self.dataset.splits['test'])}; log Z: {estimate.method}, M={estimate.draws}"
        row = {
            "steps": 0,
            "gradient_evaluations": 0,
            "forward_evaluations": 0,
            "scores": scores | {"ess-fraction": estimate.effective_fraction},
            "key": key,
            "collapsed": "",
            "train_gain": gains["train"].item(),
            "log_partition": {
                "estimate": estimate.estimate,
                "standard_error": estimate.standard_error,
                "reportable": estimate.reportable,
                "warnings": list(estimate.warnings),
                "pareto_k": estimate.pareto_k if math.isfinite(estimate.pareto_k or 0.0) else None,
            },
        }
        return self.result({"sampler": "likelihood", "beta": 1.0, "step_size": None}, [row], [], 0.0, start)

    @staticmethod
    def energies(model: LatentModel, split: str) -> Tensor:
        """E on a whole split, (n,)."""
        return torch.cat([model.energy(batch) for batch in torch.split(model.prepared(split), CHAIN_BATCH)])

    def latents(self, model: LatentModel, count: int) -> Tensor:
        """The evaluation latents, the same for every model of a repeat."""
        return model.base.prior.sample(count, model.streams.generator("evaluation-latents", model.device))

    def images(self, x: Tensor) -> Tensor:
        """What a network generated, as bytes: the exact inverse of what data went through."""
        return self.codec.to_bytes(self.codec.quantise(x)).cpu()

    def scores(self, images: Tensor, readout: ImageReadout) -> Scores:
        """All scores of a set of images."""
        return score(self.extractor.features(images), self.reference(readout.reference))

    def reference(self, split: str) -> Reference:
        """The real images everything is compared with."""
        if split not in self.references:
            images = self.codec.to_bytes(torch.from_numpy(self.dataset.splits[split]))
            self.references[split] = reference(images, self.extractor, self.dataset.name, split, self.cache)
        return self.references[split]

    @staticmethod
    def row(scores: Scores, steps: int, cost: Cost) -> dict[str, Any]:
        """One line of a result."""
        return {
            "steps": steps,
            "gradient_evaluations": cost.gradient_evaluations,
            "forward_evaluations": cost.forward_evaluations,
            "scores": dict(scores.values),
            "frechet_curve": [list(point) for point in scores.curve],
            "key": str(scores.key),
            "collapsed": str(scores.coverage) if scores.coverage.collapsed else "",
        }

    @staticmethod
    def result(
        head: dict[str, Any], rows: list[dict[str, Any]], pictures: list[Tensor], sampling: float, scored_from: float
    ) -> Result:
        """Head and rows together with a few images of each row."""
        shown = [images[:SHOWN].numpy() for images in pictures]
        return Result(head | {"rows": rows}, shown, {"sampling": sampling, "scoring": time.monotonic() - scored_from})
