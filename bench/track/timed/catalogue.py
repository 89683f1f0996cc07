"""The benchmarks: every sampler on every target, and the other hot paths. Names read sampler or work, target, batch, precision.

What a benchmark needs is imported where it is built, so that listing them takes no time. The settings of a sampler are those its law is
checked with; what a step costs does not depend on the step size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from bench.track.timed import Benchmark, Work

__all__ = ["BENCHMARKS", "RULES", "make_sampler"]

RULES: dict[str, tuple[str, dict[str, Any], int]] = {
    "ula": ("ULA", {"step_size": 0.04}, 100),
    "mala": ("MALA", {"step_size": 0.3}, 40),
    "hmc": ("HMC", {"step_size": 0.5, "leapfrog_steps": 3}, 20),
    "kinetic": ("KineticLangevin", {"step_size": 0.05, "friction": 1.0}, 60),
    "kinetic-adjusted": ("AdjustedKineticLangevin", {"step_size": 0.05, "friction": 1.0}, 60),
    "rwm": ("RandomWalk", {"step_size": 0.7}, 120),
    "pcn": ("PreconditionedCrankNicolson", {"step_size": 0.6}, 60),
    "independent": ("IndependentMH", {}, 60),
    "i-sir": ("IteratedSIR", {"candidates": 4}, 30),
    "ex2": ("Ex2MCMC", {"candidates": 4, "step_size": 0.3, "moves": 1}, 20),
    "tempering": ("ParallelTempering", {"ladder": (0.0, 0.5, 1.0)}, 40),
}
"""By name: sampler, its settings, and the steps after which its chains have converged from the prior."""

QUICK_CHAINS = {
    "ula-sngan-w16-b64",
    "ula-sngan-w16-b64-bf16",
    "mala-sngan-w16-b64",
    "hmc-sngan-w16-b64",
    "ula-flow-b256",
    "i-sir-flow-b256",
    "mala-toy-b256",
}
"""One sampler of each kind, on small networks."""


def make_sampler(rule: str) -> Any:
    """Return the sampler of a rule; parallel tempering moves by MALA."""
    from gebm import samplers

    name, settings, _ = RULES[rule]
    moves = (samplers.MALA(0.3),) if name == "ParallelTempering" else ()
    return getattr(samplers, name)(*moves, **settings)


def chain_steps(rule: str, on: str, batch: int, precision: str, device: str) -> Work:
    """Time a chain on the copy for sampling, one transition per step."""
    import torch

    from bench.track.timed.targets import SMALL, fast_copy, target

    model, beta = target(on, device)
    potential = fast_copy(model, precision).potential(beta)
    sampler, generator = make_sampler(rule), torch.Generator(device).manual_seed(0)
    state, info = sampler.step(potential, sampler.init(potential, model.base.prior.sample(batch, generator)), generator)

    def step() -> None:
        nonlocal state
        state, _ = sampler.step(potential, state, generator)

    return Work(
        step,
        batch,
        lambda: wrong_statistics(rule, SMALL.get(on, on), precision, device),
        batch * info.gradient_evaluations,
        batch * info.forward_evaluations,
        precision,
    )


@cache
def wrong_statistics(rule: str, on: str, precision: str, device: str) -> list[str]:
    """Return the statistics in which a sampler's chains on the copy for sampling are wrong; batch and width share it."""
    from bench.track.timed.agreement import differing
    from bench.track.timed.targets import fast_copy, target

    plain, beta = target(on, device)
    return differing(make_sampler(rule), RULES[rule][2], fast_copy(plain, precision), plain, beta, device)


def training_step(width: int, batch: int, device: str) -> Work:
    """Time a round of the alternating loop: an energy step with the gradient penalty, and a base step."""
    import torch

    from bench.track.timed.targets import target
    from gebm.objectives import Kale
    from gebm.training import AlternatingTraining, DataStream, TrainingSettings

    model, _ = target(f"sngan-w{width}", device)
    generator = torch.Generator(device).manual_seed(0)
    data = torch.rand(4 * batch, 3, 32, 32, generator=generator, device=device) * 2 - 1
    settings = TrainingSettings(base_steps=10**9, batch_size=batch, ema=0.999)
    objective = Kale().to(device)
    stream = DataStream(data, batch, generator)
    training = AlternatingTraining(model.base, model.energy, objective, stream, generator, settings)
    return Work(training.step, batch, lambda: slope_learned(device), precision="float32")


def slope_learned(device: str) -> list[str]:
    """Check that energy steps on N(1, 1) against a base N(0, 1) learn KALE's optimum, the energy −x + const, to 0.2 in its slope."""
    import torch
    from torch import nn

    from gebm import Base, GaussianPrior
    from gebm.objectives import Kale
    from gebm.training import DataStream, EnergyRefit, RefitSettings

    generator = torch.Generator(device).manual_seed(0)
    data = torch.randn(4096, 1, generator=generator, device=device) + 1.0
    torch.manual_seed(0)
    energy = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)).to(device)
    settings = RefitSettings(steps=800, batch_size=256, learning_rate=1e-2, penalty=0.0, check_every=200)
    base = Base(nn.Identity(), GaussianPrior(1)).eval()
    stream = DataStream(data[:3072], 256, generator)
    refit = EnergyRefit(base, energy, Kale().to(device), stream, data[3072:], generator, settings)
    while refit.done < refit.total:
        refit.step()
    return [] if abs(next(energy.parameters()).item() + 1) < 0.2 else ["slope of the learned energy"]


def feature_extraction(side: int, count: int, device: str) -> Work:
    """Time features of uint8 images through the in-domain classifier."""
    import torch

    from bench.metrics.extractors import train_classifier

    generator = torch.Generator().manual_seed(0)
    channels = 1 if side == 8 else 3
    images = torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)
    extractor = train_classifier(images[:256], torch.arange(256) % 10, 0, steps=10)
    module: Any = extractor.module.to(device)

    def check() -> list[str]:
        plain = torch.cat([module(image[None].to(device))[0] for image in images[:64]]).float().cpu()
        close = torch.allclose(extractor.features(images).embedding[:64], plain, rtol=1e-3, atol=1e-4)
        return [] if close else ["embedding"]

    return Work(lambda: extractor.features(images), count, check, precision="float32")


def frechet(dimension: int, device: str) -> Work:  # noqa: ARG001 (computed on the CPU whatever the device)
    """Time the Fréchet distance of two sets of moments."""
    import torch

    from bench.metrics.scores import Moments, frechet_distance

    generator = torch.Generator().manual_seed(0)
    first, second = (
        Moments.of(torch.randn(2 * dimension, dimension, generator=generator, dtype=torch.float64)) for _ in range(2)
    )

    def check() -> list[str]:
        """Compare diagonal Gaussians with ‖μ₁ − μ₂‖² + Σ(√a − √b)²."""
        mean = torch.randn(2, dimension, generator=generator, dtype=torch.float64)
        variance = torch.rand(2, dimension, generator=generator, dtype=torch.float64) + 0.5
        truth = (mean[0] - mean[1]).square().sum() + (variance[0].sqrt() - variance[1].sqrt()).square().sum()
        said = frechet_distance(*(Moments(m, v.diag()) for m, v in zip(mean, variance, strict=True)))
        return [] if math.isclose(said, float(truth), rel_tol=1e-6) else ["distance of diagonal Gaussians"]

    return Work(lambda: frechet_distance(first, second), 1, check)


def log_partition(estimator: str, on: str, draws: int, device: str) -> Work:
    """Time an estimate of log Z from fresh draws, by importance sampling or by AIS on ten even levels."""
    import torch

    from bench.track.timed.targets import gaussian_log_partition, target, toy
    from gebm.partition import Schedule, annealed_importance_sampling, importance_sampling
    from gebm.samplers import MALA

    def estimate(potential: Any, draws: int, generator: torch.Generator) -> Any:
        if estimator == "ais":
            levels = Schedule(tuple(level / 10 for level in range(11)))
            return annealed_importance_sampling(potential, MALA(0.3), levels, draws, generator)
        return importance_sampling(potential, draws, generator)

    def check() -> list[str]:
        """Compare with the toy's closed form, to five standard errors."""
        found = estimate(toy().to(device).potential(1.0), 4096, torch.Generator(device).manual_seed(1))
        within = abs(found.estimate - gaussian_log_partition(1.0)) < 5 * found.standard_error
        return [] if within else ["log Z"]

    model, beta = target(on, device)
    potential, generator = model.for_sampling().potential(beta), torch.Generator(device).manual_seed(0)
    cost = estimate(potential, draws, generator)
    counts = cost.gradient_evaluations, cost.forward_evaluations
    return Work(lambda: estimate(potential, draws, generator), draws, check, *counts, "float32")


def all_benchmarks() -> Iterator[Benchmark]:
    """Yield every sampler on every target, then the other hot paths."""
    for rule in RULES:
        for on, batch in (*((f"sngan-w{w}", b) for w in (16, 64) for b in (64, 256)), ("flow", 256), ("toy", 256)):
            for precision in ("float32", "bfloat16") if rule == "ula" and on.startswith("sngan") else ("float32",):
                name = f"{rule}-{on}-b{batch}" + ("-bf16" if precision == "bfloat16" else "")
                settings = {"rule": rule, "on": on, "batch": batch, "precision": precision}
                yield Benchmark(name, "chain-steps", chain_steps, settings, name in QUICK_CHAINS)
    for width, batch in ((16, 64), (64, 128)):
        settings = {"width": width, "batch": batch}
        yield Benchmark(f"training-sngan-w{width}-b{batch}", "images", training_step, settings, quick=width == 16)
    for side in (8, 32):
        settings = {"side": side, "count": 1024}
        yield Benchmark(f"features-{side}x{side}", "images", feature_extraction, settings, quick=side == 8)
    for dimension in (256, 2048):
        yield Benchmark(f"frechet-{dimension}", "distances", frechet, {"dimension": dimension}, quick=dimension == 256)
    for estimator, on, draws in (
        ("importance", "sngan-w16", 1024),
        ("importance", "flow", 16384),
        ("ais", "sngan-w16", 256),
        ("ais", "flow", 1024),
    ):
        settings = {"estimator": estimator, "on": on, "draws": draws}
        yield Benchmark(f"log-z-{estimator}-{on}", "draws", log_partition, settings, quick=on == "flow")


BENCHMARKS = tuple(all_benchmarks())
