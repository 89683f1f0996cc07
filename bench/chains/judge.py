"""Latent chains judged against the truth: error, R-hat, effective samples for what they cost; and the law that an energy learned.

Every sampler of a readout aims at one β and gets one budget, in gradient evaluations a chain (`FORWARD_COST` says what
a forward evaluation counts), after a warm-up of its own budget, from the same starts. Budgets are judged as prefixes of one trace.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.chains.cost import FORWARD_COST, gradient_equivalents
from bench.chains.models import ToyModel
from bench.chains.suite import LawReadout, TraceReadout
from bench.chains.truth import Truth, closed_form, energies_at, importance_truth, quadrature, quadrature_truth
from bench.components.settings import make
from bench.core.model import LatentChains, Model
from bench.core.readout import Context, Result, result_row
from bench.data.toys import GaussianPosterior
from gebm.diagnostics import Trace, bulk_ess, record, rhat
from gebm.model import LatentPotential
from gebm.objectives import likelihood_gain
from gebm.partition import importance_sampling
from gebm.samplers import Cost, ParallelTempering, Sampler, StepSizeAdaptation, chain

__all__ = ["ChainJudge", "read_law", "read_trace", "sliced_wasserstein"]

MOST_DRAWS = 1000  # kept a chain; longer traces are thinned
FEWEST_DRAWS = 8
COORDINATES = 6  # the first latents, whose R-hat and ESS are judged; errors are of all
PROJECTIONS = 64
TRUE_POINTS = 20000


@dataclass(frozen=True)
class Recorded:
    """A sampler's trace, what a step and the warm-up cost, steps a draw, seconds a step, and the step size after tuning."""

    trace: Trace
    step: Cost
    warmup: Cost
    thin: int
    seconds: float
    tuned: float | None


def read_trace(readout: TraceReadout, context: Context) -> Result:
    """Judge one sampler's chains at several budgets.

    Raises:
        TypeError: for a model without an energy.
        ValueError: if a budget is too small for a trace to be judged.
    """
    context.progress({"phase": f"chains: {readout.sampler}"})
    start, judge = time.monotonic(), context.once("judge", lambda: ChainJudge(context.model))
    head, rows = judge.trace(readout)
    return Result(head | {"rows": rows}, {"sampling": time.monotonic() - start, "scoring": 0.0})


def read_law(readout: LawReadout, context: Context) -> Result:
    """Judge a law without a chain.

    Raises:
        TypeError: for a model without an energy.
    """
    context.progress({"phase": f"chains: {readout.law}"})
    start, judge = time.monotonic(), context.once("judge", lambda: ChainJudge(context.model))
    head, rows = judge.law(readout)
    return Result(head | {"rows": rows}, {"sampling": time.monotonic() - start, "scoring": 0.0})


class ChainJudge:
    """Judges chains on one trained model.

    Arguments:
        model: one with an energy.

    Raises:
        TypeError: for a model without one.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model, LatentChains):
            raise TypeError(f"{model.spec.model} has no energy that a chain could follow")
        self.model: Any = model
        self.truths: dict[tuple[float, int], Truth] = {}

    def truth(self, beta: float, samples: int) -> Truth:
        """The truth at β: closed form, quadrature, or importance sampling with so many samples."""
        place = (beta, samples)
        if place not in self.truths:
            self.truths[place] = self.find_truth(beta, samples)
        return self.truths[place]

    def find_truth(self, beta: float, samples: int) -> Truth:
        """The truth, not remembered."""
        model = self.model
        if not isinstance(model, ToyModel):
            return importance_truth(model.gebm.potential(beta), samples, self.generator("truth"))
        if isinstance(model.toy, GaussianPosterior) and "network" not in model.spec.config:
            return closed_form(model.toy, beta)
        return quadrature_truth(model.gebm.potential(beta), quadrature(model.toy))

    def generator(self, stream: str) -> torch.Generator:
        """A random stream of the run."""
        found: torch.Generator = self.model.streams.generator(stream, self.model.device)
        return found

    def trace(self, readout: TraceReadout) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """One sampler at several budgets."""
        recorded = self.record(readout)
        truth = self.truth(readout.beta, readout.reference_samples)
        price = gradient_equivalents(recorded.step)
        key = (
            f"β={readout.beta:g}; {readout.chains} chains from the prior, warm-up {readout.warmup} gradient evaluations, a forward one "
            f"counts {FORWARD_COST:g}; truth: {truth.source}; R-hat and ESS of E and up to {COORDINATES} latents"
        )
        rows = []
        for budget in readout.budgets:
            steps = int(budget / price) // recorded.thin * recorded.thin
            draws = steps // recorded.thin
            scores = self.scores(recorded, draws, steps * price, truth)
            if readout.law_samples and all(map(math.isfinite, scores.values())):
                scores["sliced-wasserstein"] = self.distance(
                    recorded.trace.z[:draws].flatten(0, 1), readout.law_samples
                )
            spent = Cost(*(each * steps + before for each, before in zip(recorded.step, recorded.warmup, strict=True)))
            rows.append(finite_row(steps, spent, scores, key) | {"budget": budget})
        size = None if recorded.tuned is not None else readout.settings.get("step_size")
        return {"sampler": readout.sampler, "beta": readout.beta, "step_size": size}, rows

    def record(self, readout: TraceReadout) -> Recorded:
        """Warm up, tune where that can be, freeze, and record.

        Raises:
            ValueError: if a budget is too small for a trace to be judged.
        """
        sampler = make("samplers", readout.sampler, readout.settings)
        potential = self.model.gebm.potential(readout.beta)
        z = potential.prior.sample(readout.chains, self.generator("evaluation-latents"))
        step = cost_of_a_step(sampler, potential, z)
        price = gradient_equivalents(step)
        if int(min(readout.budgets) / price) < FEWEST_DRAWS:
            raise ValueError(
                f"a budget of {min(readout.budgets)} is under {FEWEST_DRAWS} steps of {readout.sampler}, at {price:g} each"
            )
        thin = min(
            math.ceil(max(readout.budgets) / price / MOST_DRAWS), int(min(readout.budgets) / price) // FEWEST_DRAWS
        )
        draws = int(max(readout.budgets) / price) // thin
        noise, tuned, left, spent = self.generator("chain-noise"), None, float(readout.warmup), Cost()
        if readout.adapt:
            sampler, z, tuned, spent = tune(sampler, potential, z, left, noise)
            left -= gradient_equivalents(spent)
        warmup = max(0, math.ceil(left / price))
        start = time.monotonic()
        trace = record(sampler, potential, z, draws, noise, warmup=warmup, thin=thin)
        seconds = (time.monotonic() - start) / (warmup + draws * thin)
        spent = Cost(*(a + b for a, b in zip(spent, trace.warmup_cost, strict=True)))
        return Recorded(trace, step, spent, thin, seconds, tuned)

    def scores(self, recorded: Recorded, draws: int, cost: float, truth: Truth) -> dict[str, float]:
        """What the first draws of a trace are worth."""
        energy, z = recorded.trace.energy[:draws].double(), recorded.trace.z[:draws].double()
        shift = (z.mean((0, 1)) - truth.latent_mean) / truth.latent_variance.sqrt()
        stretch = z.flatten(0, 1).var(0, correction=0) / truth.latent_variance - 1
        followed = [z[:, :, i] for i in range(min(COORDINATES, z.shape[2]))]
        ess = {"E": bulk_ess(energy), "z": min(bulk_ess(values) for values in followed)}
        chains, seconds = energy.shape[1], draws * recorded.thin * recorded.seconds
        scores = {
            "mean-error[E]": abs(float(energy.mean()) - truth.energy_mean) / math.sqrt(truth.energy_variance),
            "mean-error[z]": float(shift.square().mean().sqrt()),
            "variance-error[E]": abs(float(energy.var(correction=0)) / truth.energy_variance - 1),
            "variance-error[z]": float(stretch.square().mean().sqrt()),
            "rhat": max(rhat(values) for values in (energy, *followed)),
            "acceptance": float(recorded.trace.acceptance.mean()),
        }
        scores |= {f"ess-per-cost[{name}]": value / (chains * cost) for name, value in ess.items()}
        scores |= {f"ess-per-second[{name}]": value / seconds for name, value in ess.items()}
        return scores | ({} if recorded.tuned is None else {"step-size": recorded.tuned})

    def law(self, readout: LawReadout) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The base, the learned density, or how well the truth itself is known."""
        count, generator = readout.samples, self.generator("law")
        if readout.law == "reference":
            truth = self.truth(readout.beta, count)
            scores = dict(zip(("mean-error[E]", "mean-error[z]"), truth.standard_error, strict=True))
            if readout.beta == 1 and truth.ess_fraction is not None:
                scores["ess-fraction"] = truth.ess_fraction
            if truth.pareto_k is not None and math.isfinite(truth.pareto_k):
                scores["pareto-k"] = truth.pareto_k
            key = f"standard error of the reference; {truth.source}"
            return law_head("reference", readout.beta), [row(0, Cost(0, count), scores, key)]
        potential = self.model.gebm.potential(readout.beta)
        key = f"{count:,} samples; truth: law of the data's coordinate on the base's support"
        if readout.law == "base":
            scores = {"sliced-wasserstein": self.distance(potential.prior.sample(count, generator), count)}
            return law_head("base", None), [row(0, Cost(0, 0), scores, key)]
        z = potential.prior.sample(50 * count, generator)
        chosen = torch.multinomial(
            torch.softmax(-readout.beta * energies_at(potential, z), 0), count, True, generator=generator
        )
        scores = {"sliced-wasserstein": self.distance(z[chosen], count)}
        if readout.beta == 1:
            scores |= self.density(potential, count)
        return law_head("resampled", readout.beta), [row(0, Cost(0, 50 * count), scores, key)]

    def density(self, potential: LatentPotential, count: int) -> dict[str, float]:
        """How far the learned density is from the truth, on the base's support by quadrature, and its gain on held-out data."""
        model, nodes = self.toy_model, quadrature(self.toy_model.toy)
        energy = energies_at(potential, nodes.z)
        known = energies_at(LatentPotential(model.gebm.base, model.known), nodes.z)
        log_q, log_p = (torch.log_softmax(nodes.log_weights - each, 0) for each in (energy, known))
        log_z = float((nodes.log_weights - energy).logsumexp(0))
        p = log_p.exp()
        estimate = importance_sampling(potential, count, self.generator("log-partition"))
        with torch.no_grad():
            held_out = torch.from_numpy(model.dataset.splits["test"]).to(model.device)
            gain = float(likelihood_gain(model.gebm.energy(held_out).double(), log_z))
        return {
            "likelihood-gain": gain,
            "possible-gain": float((p * (log_p - nodes.log_weights)).sum()),
            "kl-divergence": float((p * (log_p - log_q)).sum()),
            "total-variation": float(0.5 * (log_q.exp() - p).abs().sum()),
            "log-partition-error": abs(estimate.estimate - log_z),
        }

    @property
    def toy_model(self) -> ToyModel:
        """The model, which must be a toy's."""
        if not isinstance(self.model, ToyModel):
            raise TypeError(f"the law of data is known for toys only, not for {self.model.spec.dataset}")
        return self.model

    @torch.no_grad()
    def distance(self, z: Tensor, count: int) -> float:
        """Sliced Wasserstein distance from `count` of the latents' points to the truth."""
        chosen = torch.randperm(len(z), generator=self.generator("law"), device=z.device)[:count]
        points = self.model.gebm.base(z[chosen]).double().cpu().numpy()
        return sliced_wasserstein(points, self.true_points)

    @cached_property
    def true_points(self) -> np.ndarray:
        """Draws of the truth on the base's support, other than the data."""
        toy = self.toy_model.toy
        return toy.on_support(toy.coordinates(TRUE_POINTS, np.random.default_rng(1)))


def tune(
    sampler: Sampler, potential: LatentPotential, z: Tensor, budget: float, noise: torch.Generator
) -> tuple[Sampler, Tensor, float | None, Cost]:
    """The sampler with its step size tuned and frozen, where the warm-up ends, the step size, and what it took.

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
    """What one step costs a chain, from a step of two chains."""
    generator = torch.Generator(z.device).manual_seed(0)
    _, info = sampler.step(potential, sampler.init(potential, z[:2]), generator)
    return Cost().after(info)


def sliced_wasserstein(points: np.ndarray, truth: np.ndarray) -> float:
    """Mean 1-Wasserstein distance over fixed random directions of two point sets (n, k), (m, k); the larger one's quantiles are used."""
    directions = np.random.default_rng(0).standard_normal((PROJECTIONS, truth.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    levels = (np.arange(len(points)) + 0.5) / len(points)
    expected = np.quantile(truth @ directions.T, levels, axis=0)
    return float(np.abs(np.sort(points @ directions.T, axis=0) - expected).mean())


def law_head(name: str, beta: float | None) -> dict[str, Any]:
    """The head of a result that is no chain's."""
    return {"sampler": name, "beta": beta, "step_size": None}


def finite_row(steps: int, cost: Cost, scores: dict[str, float], key: str) -> dict[str, Any]:
    """One line of a chain's result; a chain that ran away keeps what is a number and says so."""
    kept = {name: value for name, value in scores.items() if math.isfinite(value)}
    lost = "diverged: energies or latents beyond all bounds" if len(kept) < len(scores) else ""
    return row(steps, cost, kept, key, lost)


def row(steps: int, cost: Cost, scores: dict[str, float], key: str, collapsed: str = "") -> dict[str, Any]:
    """One line of a result."""
    return result_row(steps, scores, key, (cost.gradient_evaluations, cost.forward_evaluations), collapsed)
