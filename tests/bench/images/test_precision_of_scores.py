"""Training in bfloat16 gives the scores of float32: short trainings of the SNGAN ConvNet of width 16 on mnist-10k, paired by seed.

Minutes of one core, so only when asked for, with so many seeds:

    BENCH_DATA=… PRECISION=6 python -m pytest -s tests/bench/images/test_precision_of_scores.py
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.data import load_dataset
from bench.data.images import PixelCodec
from bench.metrics.frechet import Moments, frechet_distance
from bench.stats import Estimate, paired_difference
from gebm.base import Base, GaussianPrior
from gebm.networks.sngan import SNGAN
from gebm.objectives import Kale
from gebm.settings import Precision
from gebm.training import AlternatingTraining, DataStream, TrainingSettings

SEEDS = int(os.environ.get("PRECISION", "0"))
STEPS, BATCH, LATENT, WIDTH, SAMPLES = 200, 16, 100, 16, 1000


def moments(images: torch.Tensor) -> Moments:
    """Of 8×8 blocks of pixels, which need no classifier."""
    return Moments.of(torch.nn.functional.avg_pool2d(images.double(), 4).flatten(1))


def rounded(*networks: nn.Module) -> None:
    """Keep weights in eight bits."""
    for network in networks:
        for parameter in network.parameters():
            parameter.data = parameter.data.to(torch.float8_e4m3fn).float()


class Trial:
    """Log Fréchet distances to the training images after one short training."""

    def __init__(self, folder: Path) -> None:
        data = load_dataset("mnist-10k", folder)
        self.images, self.codec, self.shape = (
            torch.from_numpy(data.splits["train"]),
            PixelCodec(data.levels),
            data.shape,
        )
        self.real = moments(self.images)

    def score(self, precision: Precision, seed: int, spoiled: bool = False) -> float:
        torch.manual_seed(seed)
        family = SNGAN(LATENT, WIDTH)
        base = Base(family.generator(self.shape), GaussianPrior(LATENT)).to(memory_format=torch.channels_last)
        energy = family.discriminator(self.shape).to(memory_format=torch.channels_last)
        data, noise, latents = (torch.Generator().manual_seed(3 * seed + n) for n in range(3))
        settings = TrainingSettings(
            base_steps=STEPS,
            batch_size=BATCH,
            learning_rate=1e-3,
            energy_learning_rate=1e-3,
            betas=(0.0, 0.9),
            penalty=2.0,
            penalty_every=4,
            clip_norm=1.0,
            decay="linear",
            ema=0.95,
            precision=precision,
        )
        stream = DataStream(self.images, BATCH, data, self.codec.dequantise)
        training = AlternatingTraining(base, energy, Kale(), stream, noise, settings)
        while training.done < training.total:
            training.step()
            if spoiled:
                rounded(base, energy)
        with torch.no_grad():
            samples = training.finish().sample(SAMPLES, latents)
        return math.log(frechet_distance(moments(self.codec.quantise(samples)), self.real))


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial(Path(os.environ["BENCH_DATA"]))


@pytest.fixture(scope="module")
def scores(trial: Trial) -> dict[str, dict[int, float]]:
    """Of each kind of training, by seed: in float32, in bfloat16 and, three times, in float32 with weights of eight bits."""
    found: dict[str, dict[int, float]] = {"float32": {}, "bf16": {}, "eight bits": {}}
    for seed in range(SEEDS):
        for name in ("float32", "bf16", "eight bits")[: 3 if seed < 3 else 2]:
            start = time.process_time()
            score = trial.score("bf16" if name == "bf16" else "float32", seed, name == "eight bits")
            found[name][seed] = score
            print(f"| {seed} | {name} | {score:.3f} | {time.process_time() - start:.0f} |", flush=True)
    return found


def difference(one: dict[int, float], other: dict[int, float]) -> Estimate:
    estimate = paired_difference(one, other).estimate
    assert estimate is not None
    print(f"| {estimate.mean:+.3f} | {estimate.ci_low:+.3f} to {estimate.ci_high:+.3f} | {estimate.p_value:.2g} |")
    return estimate


pytestmark = [
    pytest.mark.skipif(SEEDS < 3, reason="minutes of training: PRECISION=6"),
    pytest.mark.skipif("BENCH_DATA" not in os.environ, reason="BENCH_DATA is not set: no real files here"),
]


def test_bfloat16_gives_the_scores_of_float32(scores: dict[str, dict[int, float]]) -> None:
    """No difference at the level of 1 %, and none beyond a half of the distance itself."""
    found = difference(scores["bf16"], scores["float32"])
    assert found.at(0.99).side() == "unclear"
    assert max(abs(found.ci_low or 0), abs(found.ci_high or 0)) < math.log(1.5)


def test_a_precision_that_is_too_low_is_seen(scores: dict[str, dict[int, float]]) -> None:
    assert difference(scores["eight bits"], scores["float32"]).at(0.99).side() == "above"
