"""Latent chains judged against the truth: error, R-hat, effective samples for what they cost; and the law that an energy learned.

Every sampler of a readout has the same target (one β), the same starts, warm-up and budgets, in gradient evaluations per chain
(`FORWARD_COST` says what a forward evaluation counts). Smaller budgets are judged as prefixes of the trace of the largest.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.chains.cost import FORWARD_COST, gradient_equivalents
from bench.chains.models import ToyModel
from bench.chains.suite import LawReadout, TraceReadout
from bench.chains.truth import Truth, closed_form, energies_at, importance_truth, quadrature, quadrature_truth
from bench.components.settings import make
from bench.core.model import gebm_of, tensors
from bench.core.readout import Context, Result, result_row
from bench.data.toys import GaussianPosterior
from gebm.diagnostics import Trace, bulk_ess, record, rhat
from gebm.model import LatentPotential
from gebm.objectives import likelihood_gain
from gebm.partition import importance_sampling
from gebm.samplers import Cost, ParallelTempering, Sampler, StepSizeAdaptation, chain

__all__ = ["read_law", "read_trace", "sliced_wasserstein"]

FEWEST_DRAWS = 8
COORDINATES = 6  # the first latents, whose R-hat and ESS are judged; errors are of all
PROJECTIONS = 64
TRUE_POINTS = 20000


def read_trace(readout: TraceReadout, context: Context) -> Result:
    """Judge one sampler's chains at several budgets: warm up, tune where that can be, freeze, record.

    Raises:
        TypeError: for a model without an energy.
        ValueError: if a budget is too small for a trace to be judged.
    """
    context.progress({"phase": f"chains: {readout.sampler}"})
    start, potential = time.monotonic(), gebm_of(context.model).potential(readout.beta)
    sampler = make("samplers", readout.sampler, readout.settings)
    z = potential.prior.sample(readout.chains, context.model.random_stream("evaluation-latents"))
    step = cost_of_a_step(sampler, potential, z)
    price = gradient_equivalents(step)
    fewest, most = (int(budget / price) for budget in (min(readout.budgets), max(readout.budgets)))
    if fewest < FEWEST_DRAWS:
        least = f"{math.ceil(FEWEST_DRAWS * price)}, {FEWEST_DRAWS} steps of {readout.sampler} at {price:g} each"
        raise ValueError(f"a budget of {min(readout.budgets)} is too small; the least is {least}")
    noise, tuned, spent = context.model.random_stream("chain-noise"), None, Cost()
    if readout.adapt:
        sampler, z, tuned, spent = tune(sampler, potential, z, readout.warmup, noise)
    warmup = max(0, math.ceil((readout.warmup - gradient_equivalents(spent)) / price))
    begun = time.monotonic()
    trace = record(sampler, potential, z, most, noise, warmup=warmup)
    seconds = (time.monotonic() - begun) / (warmup + most)
    before = [a + b for a, b in zip(spent, trace.warmup_cost, strict=True)]
    truth = truth_at(readout.beta, readout.reference_samples, context)
    key = (
        f"β={readout.beta:g}; {readout.chains} chains from the prior, warm-up {readout.warmup} gradient evaluations, a forward one "
        f"counts {FORWARD_COST:g}; truth: {truth.source}; R-hat and ESS of E and up to {COORDINATES} latents"
    )
    rows = []
    for budget in readout.budgets:
        steps = int(budget / price)
        scores = scores_of(trace, steps, truth, steps * price, steps * seconds)
        if tuned is not None:
            scores["step-size"] = tuned
        if readout.law_samples and all(map(math.isfinite, scores.values())):
            scores["sliced-wasserstein"] = distance(trace.z[:steps].flatten(0, 1), readout.law_samples, context)
        kept = {name: value for name, value in scores.items() if math.isfinite(value)}
        lost = "diverged: energies or latents beyond all bounds" if len(kept) < len(scores) else ""
        gradients, forwards = (each * steps + first for each, first in zip(step, before, strict=True))
        rows.append(result_row(steps, kept, key, (gradients, forwards), lost, budget=budget))
    size = readout.settings.get("step_size") if tuned is None else None
    head = {"sampler": readout.sampler, "beta": readout.beta, "step_size": size}
    return Result(head | {"rows": rows}, {"sampling": time.monotonic() - start, "scoring": 0.0})


def read_law(readout: LawReadout, context: Context) -> Result:
    """Judge a law without a chain: the base, the learned density resampled from the base, or how well the truth itself is known.

    Raises:
        TypeError: for a model without an energy.
    """
    context.progress({"phase": f"chains: {readout.law}"})
    start, potential = time.monotonic(), gebm_of(context.model).potential(readout.beta)
    count, generator, forwards, beta = readout.samples, context.model.random_stream("law"), 0, readout.beta
    key = f"{count:,} samples; truth: law of the data's coordinate on the base's support"
    if readout.law == "base":
        z = potential.prior.sample(count, generator)
        scores = {"sliced-wasserstein": distance(z, count, context)}
    elif readout.law == "resampled":
        forwards = 50 * count
        z = potential.prior.sample(forwards, generator)
        weights = torch.softmax(-beta * energies_at(potential, z), 0)
        chosen = torch.multinomial(weights, count, True, generator=generator)
        scores = {"sliced-wasserstein": distance(z[chosen], count, context)}
        if beta == 1:
            scores |= density_scores(potential, count, context)
    else:
        forwards, truth = count, truth_at(beta, count, context)
        key = f"standard error of the reference; {truth.source}"
        scores = dict(zip(("mean-error[E]", "mean-error[z]"), truth.standard_error, strict=True))
        if beta == 1 and truth.ess_fraction is not None:
            scores["ess-fraction"] = truth.ess_fraction
        if truth.pareto_k is not None and math.isfinite(truth.pareto_k):
            scores["pareto-k"] = truth.pareto_k
    head = {"sampler": readout.law, "beta": None if readout.law == "base" else beta, "step_size": None}
    rows = [result_row(0, scores, key, (0, forwards))]
    return Result(head | {"rows": rows}, {"sampling": time.monotonic() - start, "scoring": 0.0})


def truth_at(beta: float, samples: int, context: Context) -> Truth:
    """Return the truth at β, found once: in closed form, by quadrature, or by importance sampling with that many samples."""
    model: Any = context.model

    def find() -> Truth:
        if not isinstance(model, ToyModel):
            return importance_truth(model.gebm.potential(beta), samples, context.model.random_stream("truth"))
        if isinstance(model.toy, GaussianPosterior) and "network" not in model.spec.config:
            return closed_form(model.toy, beta)
        return quadrature_truth(model.gebm.potential(beta), quadrature(model.toy))

    return context.once(("truth", beta, samples), find)


def scores_of(trace: Trace, draws: int, truth: Truth, cost: float, seconds: float) -> dict[str, float]:
    """Return what the first draws of a trace are worth: errors, R-hat, and effective samples for their cost and seconds.

    Every step is a draw: in a thinned trace a chain that mixes within a step would be worth no more than its draws.
    """
    energy, z = trace.energy[:draws].double(), trace.z[:draws].double()
    shift = (z.mean((0, 1)) - truth.latent_mean) / truth.latent_variance.sqrt()
    stretch = z.flatten(0, 1).var(0, correction=0) / truth.latent_variance - 1
    followed = [z[:, :, i] for i in range(min(COORDINATES, z.shape[2]))]
    ess = {"E": bulk_ess(energy), "z": min(bulk_ess(values) for values in followed)}
    scores = {
        "mean-error[E]": abs(float(energy.mean()) - truth.energy_mean) / math.sqrt(truth.energy_variance),
        "mean-error[z]": float(shift.square().mean().sqrt()),
        "variance-error[E]": abs(float(energy.var(correction=0)) / truth.energy_variance - 1),
        "variance-error[z]": float(stretch.square().mean().sqrt()),
        "rhat": max(rhat(values) for values in (energy, *followed)),
        "acceptance": float(trace.acceptance.mean()),
    }
    scores |= {f"ess-per-cost[{name}]": value / (energy.shape[1] * cost) for name, value in ess.items()}
    return scores | {f"ess-per-second[{name}]": value / seconds for name, value in ess.items()}


def toy_model(context: Context) -> ToyModel:
    """Return the model, which must be a toy's."""
    if not isinstance(context.model, ToyModel):
        raise TypeError(f"the law of data is known for toys only, not for {context.model.spec.dataset}")
    return context.model


def density_scores(potential: LatentPotential, count: int, context: Context) -> dict[str, float]:
    """Return how far the learned density is from the truth, on the base's support by quadrature, and its gain on held-out data."""
    model = toy_model(context)
    nodes = quadrature(model.toy)
    energy = energies_at(potential, nodes.z)
    known = energies_at(LatentPotential(model.gebm.base, model.known), nodes.z)
    log_q, log_p = (torch.log_softmax(nodes.log_weights - each, 0) for each in (energy, known))
    log_z = float((nodes.log_weights - energy).logsumexp(0))
    p = log_p.exp()
    estimate = importance_sampling(potential, count, context.model.random_stream("log-partition"))
    with torch.no_grad():
        held_out = tensors(model.dataset, "test", model.device)
        gain = float(likelihood_gain(model.gebm.energy(held_out).double(), log_z))
    return {
        "likelihood-gain": gain,
        "possible-gain": float((p * (log_p - nodes.log_weights)).sum()),
        "kl-divergence": float((p * (log_p - log_q)).sum()),
        "total-variation": float(0.5 * (log_q.exp() - p).abs().sum()),
        "log-partition-error": abs(estimate.estimate - log_z),
    }


@torch.no_grad()
def distance(z: Tensor, count: int, context: Context) -> float:
    """Return the sliced Wasserstein distance from `count` of the latents' points to draws of the truth, other than the data."""
    model = toy_model(context)

    def draw() -> np.ndarray:
        return model.toy.on_support(model.toy.coordinates(TRUE_POINTS, np.random.default_rng(1)))

    chosen = torch.randperm(len(z), generator=context.model.random_stream("law"), device=z.device)[:count]
    points = model.gebm.base(z[chosen]).double().cpu().numpy()
    return sliced_wasserstein(points, context.once("true points", draw))


def tune(
    sampler: Sampler, potential: LatentPotential, z: Tensor, budget: float, noise: torch.Generator
) -> tuple[Sampler, Tensor, float | None, Cost]:
    """Return the sampler with its step size tuned and frozen, the latents after tuning, the step size, and the cost.

    A sampler without a target acceptance stays as it is. Parallel tempering has its moves tuned, at the coldest level, on half of the
    budget; the rest is for its hotter levels.
    """
    tempering = isinstance(sampler, ParallelTempering)
    moves: Any = sampler.sampler if isinstance(sampler, ParallelTempering) else sampler
    if moves.target_acceptance is None:
        return sampler, z, None, Cost()
    price = gradient_equivalents(cost_of_a_step(moves, potential, z))
    steps = math.ceil(budget / price / (2 if tempering else 1))
    tuning = StepSizeAdaptation(moves, steps)
    for _, state, spent in chain(tuning, potential, z, [steps], noise):
        frozen: Any = tuning.current(state)
        z, cost = state.position.z, spent
    whole = replace(sampler, sampler=frozen) if isinstance(sampler, ParallelTempering) else frozen
    return whole, z, float(frozen.step_size), cost


def cost_of_a_step(sampler: Sampler, potential: LatentPotential, z: Tensor) -> Cost:
    """Return the cost of one step per chain, measured on two chains."""
    generator = torch.Generator(z.device).manual_seed(0)
    _, info = sampler.step(potential, sampler.init(potential, z[:2]), generator)
    return Cost().after(info)


def sliced_wasserstein(points: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean 1-Wasserstein distance over fixed random directions of points (n, k) and truth (m, k), by the truth's quantiles."""
    directions = np.random.default_rng(0).standard_normal((PROJECTIONS, truth.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    levels = (np.arange(len(points)) + 0.5) / len(points)
    expected = np.quantile(truth @ directions.T, levels, axis=0)
    return float(np.abs(np.sort(points @ directions.T, axis=0) - expected).mean())
