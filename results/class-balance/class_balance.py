"""Is it the shares of classes that make samples at β̂ score worse? The same weighted base draws, with the real shares put back.

    python results/class-balance/class_balance.py --store runs RUN [RUN ...]

RUNs are trained GEBMs of one dataset, by any part of their ids. Of every run, base draws are weighted by exp(−βE) at β = 0 (the base),
1 and β̂, as they are and with every predicted class brought to its share among real images; from either, images are resampled ten times
and scored. Printed are means over runs, with 95 % t intervals, and of the paired differences from the base, weighted alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import bench
from bench.core.store import Store
from bench.data import load_dataset
from bench.data.images import PixelCodec
from bench.metrics.extractors import Features, load_extractor
from bench.metrics.samples import class_shift
from bench.metrics.scores import FeatureSets, Reference, reference
from bench.report.text import estimate_text
from bench.results.models import find_trained
from bench.stats import mean_interval

POOL, AT_ONCE, SCORED, TIMES = 30_000, 1000, 1000, 10
SHARES = ", real shares of classes"


@torch.no_grad()
def pool(run: str, store: Path, real: Reference, levels: int) -> tuple[Features, Tensor]:
    """Return base draws of a run as the extractor sees them, and their energies in double precision."""
    gebm, codec, noise = (
        bench.load_model(run, store).for_sampling(),
        PixelCodec(levels),
        torch.Generator().manual_seed(0),
    )
    seen, energies = [], []
    for _ in range(POOL // AT_ONCE):
        x = gebm.base.sample(AT_ONCE, noise)
        energies.append(gebm.energy(x).double())
        seen.append(real.extractor.features(codec.to_bytes(codec.quantise(x))))
    embedding, logits = (torch.cat([getattr(each, part) for each in seen]) for part in ("embedding", "logits"))
    return Features(embedding, logits), torch.cat(energies)


def balanced(weights: Tensor, drawn: Features, real: Features) -> Tensor:
    """Return the weights with the shares of predicted classes that real images have."""
    classes, wanted = drawn.logits.argmax(1), torch.bincount(real.logits.argmax(1), minlength=real.logits.shape[1])
    present = torch.zeros(len(wanted), dtype=weights.dtype).index_add(0, classes, weights)
    return weights * (wanted / len(real) / present)[classes]


def scored(weights: Tensor, drawn: Features, real: Reference) -> tuple[float, float]:
    """Return the Fréchet distance and the class shift of images drawn by these weights, means over ten times."""
    found, noise = [], torch.Generator().manual_seed(1)
    for _ in range(TIMES):
        rows = torch.multinomial(weights, SCORED, replacement=True, generator=noise)
        sets = FeatureSets(Features(drawn.embedding[rows], drawn.logits[rows]), real)
        found.append((sets.curve[-1][1], class_shift(sets)))
    distances, shifts = zip(*found, strict=True)
    return sum(distances) / TIMES, sum(shifts) / TIMES


def main() -> None:
    """Score every run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--data", type=Path, help="folder of downloaded data, as BENCH_DATA")
    options = parser.parse_args()
    trained = [find_trained(run, options.store)[0] for run in options.runs]
    cache = Store(options.store).cache
    dataset = load_dataset(trained[0].spec["dataset"], options.data, cache)
    extractor = load_extractor("in-domain", dataset, cache, None)
    images = PixelCodec(dataset.levels).to_bytes(torch.from_numpy(dataset.splits["train"]))
    real = reference(images, extractor, dataset.name, "train", cache)
    found: dict[str, list[tuple[float, float]]] = {}
    for run, about in zip(options.runs, trained, strict=True):
        drawn, energies = pool(run, options.store, real, dataset.levels)
        for name, beta in (("base alone", 0.0), ("β = 1", 1.0), ("β̂", about.temperature)):
            weights = torch.softmax(-beta * energies, 0)
            for how, each in (("", weights), (SHARES, balanced(weights, drawn, real.features))):
                found.setdefault(name + how, []).append(scored(each, drawn, real))
                print(f"{run} {name}{how}: {found[name + how][-1]}", flush=True)
    print("\n| weights | distance | minus that of the base, weighted alike | class shift |\n|---|---:|---:|---:|")
    for name, values in found.items():
        distances, shifts = zip(*values, strict=True)
        like = found["base alone" + SHARES * name.endswith(SHARES)]
        less = [one - other for one, (other, _) in zip(distances, like, strict=True)]
        texts = (estimate_text(mean_interval(each)) for each in (distances, less, shifts))
        print("|", " | ".join([name, *texts]), "|")


if __name__ == "__main__":
    main()
