"""Fréchet distance along a short training of the SNGAN ConvNet: which rates and penalty make an objective learn, and which undo it.

python results/images-standard/trials.py FOLDER [--objective kale] [--rate 1e-3] [--betas 0 0.9] [--penalty 2] [--steps 1000]

FOLDER has mnist/t10k-images-idx3-ubyte.gz and its labels, as BENCH_DATA.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from baselines.gan import Hinge, NonSaturating
from bench.data import load_dataset
from bench.data.images import PixelCodec
from bench.metrics.extractors import load_extractor
from bench.metrics.scores import FeatureSets, reference
from gebm.base import Base, GaussianPrior
from gebm.networks.sngan import SNGAN
from gebm.objectives import Kale
from gebm.training import AlternatingTraining, DataStream, TrainingSettings

OBJECTIVES = {"kale": Kale, "non-saturating": NonSaturating, "hinge": Hinge}
LOOKS, SAMPLES, LATENT, WIDTH = 200, 2000, 100, 16


def main() -> None:
    """Train, and print the distance every 200 steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--objective", choices=OBJECTIVES, default="kale")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--betas", type=float, nargs=2, default=(0.0, 0.9))
    parser.add_argument("--penalty", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset("mnist-10k", asked.folder)
    extractor = load_extractor("in-domain", data, asked.folder / "extractors", None)
    images, codec = torch.from_numpy(data.splits["train"]), PixelCodec(data.levels)
    real = reference(images, extractor, data.name, "train", asked.folder / "extractors")
    torch.manual_seed(0)
    family = SNGAN(LATENT, WIDTH)
    base = Base(family.generator(data.shape), GaussianPrior(LATENT)).to(memory_format=torch.channels_last)
    energy = family.discriminator(data.shape).to(memory_format=torch.channels_last)
    settings = TrainingSettings(
        base_steps=asked.steps,
        batch_size=asked.batch,
        learning_rate=asked.rate,
        energy_learning_rate=asked.rate,
        betas=tuple(asked.betas),
        penalty=asked.penalty,
        penalty_every=4,
        clip_norm=1.0,
        decay="linear",
        ema=0.995,
        precision="bf16",
    )
    stream = DataStream(images, asked.batch, torch.Generator().manual_seed(1), codec.dequantise)
    noise = torch.Generator().manual_seed(2)
    training = AlternatingTraining(base, energy, OBJECTIVES[asked.objective](), stream, noise, settings)
    seconds = 0.0
    while training.done < training.total:
        start = time.process_time()
        losses = training.step()
        seconds += time.process_time() - start
        if training.done % LOOKS == 0:
            with torch.no_grad():
                samples = training.finish().sample(SAMPLES, torch.Generator().manual_seed(100))
            sets = FeatureSets(extractor.features(codec.to_bytes(codec.quantise(samples))), real)
            (distance,) = sets.scores(("fid",)).values()
            print(
                f"{training.done:6} steps  {seconds:5.0f} s  {distance:8.2f}  loss {losses['energy_loss']:.3g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
