"""What is read out of a trained model of tables: its log-likelihood on held-out rows, exact or with what log Z is uncertain by.

A likelihood is typed. A flow's is exact. A GEBM's is estimated: log q(x) = log g(x) − E(x) − A with A from draws that neither training nor
the choice of the model has seen; by importance sampling, or where that is refused by annealing. What admits an estimate is a second run
with draws of its own, as large as the first, and the horizon: no more than 0.5 % of the held-out rows, though one row of a few, may have
a lower energy than any draw. The value reported is the upper end of the bracket [LL_c, LL_IS] (`gebm.partition.likelihood_bracket`), the
other end stands beside it.

Reverse annealing from held-out rows is a second opinion on log Z. It would bound it from above in expectation if the rows were the
model's; they are the data's, moved towards the model by 50 steps at β = 1, so it is a check and no end of a bracket. Where rows lie far
from the model, few of them carry all the weight, and the opinion is refused as any estimate is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.core.model import LatentChains, LogProb, Samples, tensors
from bench.core.readout import Context, Result, log_partition_facts, result_row
from bench.data import Dataset
from bench.data.known_density import known_density
from bench.densities.suite import LikelihoodReadout
from gebm.diagnostics import usable_log_weights
from gebm.partition import (
    LogPartition,
    adaptive_schedule,
    annealed_importance_sampling,
    importance_sampling,
    likelihood_bracket,
    reverse_annealing,
)
from gebm.samplers import MALA, chain

__all__ = ["read_likelihood"]

ROWS_AT_ONCE = 8192
LATENT_STEP = 0.05  # of MALA under a standard normal prior; where a pilot begins to tune it
MOVES = 50
PILOT, LEVEL_MOVES = 512, 5  # particles that find the schedule and its step sizes; moves a level, in the pilot too
LEAST_CHAINS = 256
REVERSED_ROWS = 1000  # held-out rows that the second opinion starts from, and as many that admit it
RESAMPLED_FROM = 20
MOST_LOST = 1.0  # nats by which joint training may end below its warm start


def read_likelihood(readout: LikelihoodReadout, context: Context) -> Result:
    """Read out one row: the mean test log-likelihood and all that it depends on; the log-density of every test row; samples for the eye.

    Raises:
        TypeError: for a model without a density.
    """
    context.progress({"phase": "likelihood"})
    start, model, dataset = time.monotonic(), context.model, context.dataset
    if not isinstance(model, LogProb):
        raise TypeError(f"{model.spec.model} has no density that could be evaluated")
    rows = tensors(dataset, "test", model.device)
    points = base = batched(model.log_prob, rows)
    scores, partition = {"log-likelihood": float(points.mean())}, None
    held: dict[str, Tensor] = {}
    if isinstance(model, LatentChains):
        scores, partition, points = estimated(context, readout, base, rows)
        held = {"base": base}
    if dataset.table and dataset.table.truth and "log-likelihood" in scores:
        known = known_density(dataset.table.truth).log_prob(rows.double().cpu().numpy()).mean()
        scores["gap-to-truth"] = float(known) - scores["log-likelihood"]
    lost, start_facts = since_warm_start(model, rows, points)
    scored = time.monotonic()
    held |= {"points": points, "data": rows[: readout.shown_samples]} | samples(context, readout.shown_samples)
    row = result_row(
        0,
        scores,
        f"test split, n={len(rows)}; {dataset.protocol}",
        collapsed=lost,
        log_partition=partition,
        likelihood={
            "exact": partition is None,
            "rows": len(rows),
            "points_error": standard_error(points),
            "gain_points_error": 0.0 if partition is None else standard_error(points - base),
            **start_facts,
            **about_the_data(dataset),
        },
    )
    values = {"sampler": "likelihood", "beta": 1.0, "step_size": None, "rows": [row]}
    arrays = {name: tensor.float().cpu().numpy() for name, tensor in held.items()}
    return Result(values, {"sampling": time.monotonic() - scored, "scoring": scored - start}, arrays)


def since_warm_start(model: Any, rows: Tensor, points: Tensor) -> tuple[str, dict[str, Any]]:
    """Return what joint training has lost of the flow it started from, if more than `MOST_LOST` nats, and what is known of its course."""
    start = getattr(model, "warm_start", None)
    if start is None:
        return "", {}
    before, after = float(batched(start.flow.log_prob, rows).mean()), float(points.mean())
    lost = f"{before - after:.1f} nats below its own warm start" if before - after > MOST_LOST else ""
    return lost, {"warm_start": {"test": before, **start.facts()}}


def about_the_data(dataset: Dataset) -> dict[str, Any]:
    """Return what is reported beside every likelihood on these data."""
    table = dataset.table
    if table is None:
        return {"log_det": 0.0, "features": [f"x{i}" for i in range(dataset.shape[0])], "remarks": []}
    remarks = [f"Data: {dataset.provenance}."]
    if total := table.duplicates.total:
        shared = f"{table.duplicates.in_train.get('test', 0)} of {len(dataset.splits['test'])} test rows"
        remarks.append(f"{total} rows equal an earlier one; {shared} equal a training row.")
    remarks += [f"Allowed, though a density means little there: {each.text}." for each in table.concerns]
    return {"log_det": table.log_det, "features": list(table.features), "remarks": remarks}


def estimated(
    context: Context, readout: LikelihoodReadout, base: Tensor, rows: Tensor
) -> tuple[dict[str, float], dict[str, Any], Tensor]:
    """Return scores, facts about log Z, and log q of each row; without a usable log Z there is no likelihood among the scores."""
    model: Any = context.model
    energy = batched(model.gebm.energy, rows)
    found = log_partition(context, readout.partition_samples, energy, rows)
    bracket = likelihood_bracket(base, energy, found)
    facts = log_partition_facts(found) | {
        "method": found.method,
        "draws": found.draws,
        "known": getattr(model, "known_log_partition", None),
        "mass_beyond": model.mass_beyond(found.lowest_energy) if hasattr(model, "mass_beyond") else None,
        "bracket": [bracket.lower, bracket.upper] if found.reportable else None,
    }
    scores = {"base-log-likelihood": bracket.base, "ess-fraction": found.judge.effective_fraction}
    if found.reportable:
        scores |= {"log-likelihood": bracket.upper, "log-likelihood-lower": bracket.lower}
        scores["likelihood-gain"] = bracket.gain[1]
    return scores, facts, base - energy - found.estimate


def log_partition(context: Context, draws: int, energy: Tensor, rows: Tensor) -> LogPartition:
    """Return log Ẑ by importance sampling, or where that is refused by annealing; with the second opinion from held-out rows.

    Costs 2·draws forward evaluations, then 512 particles' pilot and the second opinion; annealing about 4·draws gradient evaluations more.

    Arguments:
        context: the model.
        draws: M of importance sampling.
        energy: E of the held-out rows.
        rows: the held-out rows.
    """
    model: Any = context.model
    potential, sampler = model.gebm.potential(), MALA(LATENT_STEP)
    stream, generator = model.random_stream("log-partition"), model.random_stream("annealing")
    plain, plain_judge = (importance_sampling(potential, draws, stream) for _ in range(2))
    found = plain.admitted_by(plain_judge).held_against(energy)
    schedule = adaptive_schedule(potential, sampler, PILOT, generator, moves=LEVEL_MOVES, tune=True)
    if not found.reportable:
        chains = max(2 * draws // (LEVEL_MOVES * (len(schedule.fractions) - 1)), LEAST_CHAINS)
        annealed, annealed_judge = (
            annealed_importance_sampling(potential, sampler, schedule, chains, generator, moves=LEVEL_MOVES)
            for _ in range(2)
        )
        second = annealed.admitted_by(annealed_judge).held_against(energy)
        found = second if second.reportable else found
    latents, _ = model.flow.network.inverse(rows[:: math.ceil(len(rows) / (2 * REVERSED_ROWS))])
    latents = latents[latents.isfinite().all(1)]
    opinion, opinion_judge = (
        reverse_annealing(potential, sampler, schedule, half, generator, moves=LEVEL_MOVES, warmup=MOVES)
        for half in (latents[::2], latents[1::2])
    )
    return found.compared_with(opinion.admitted_by(opinion_judge))


@torch.no_grad()
def samples(context: Context, wanted: int) -> dict[str, Tensor]:
    """Return draws of the model, if any are wanted and it can be sampled; of a GEBM by latent MCMC at β = 1: resampled prior draws, moved
    by MALA, so that equal ones part.
    """
    if not wanted:
        return {}
    model, generator = context.model, context.model.random_stream("shown-samples")
    if not isinstance(model, LatentChains):
        return {"samples": model.sample(wanted, generator)} if isinstance(model, Samples) else {}
    gebm = model.gebm
    potential, sampler = gebm.potential(), MALA(LATENT_STEP)
    pool = gebm.base.prior.sample(RESAMPLED_FROM * wanted, generator)
    weights = usable_log_weights(-batched(potential.energy, pool)).softmax(0)
    z = pool[torch.multinomial(weights, wanted, replacement=True, generator=generator)]
    for _, state, _ in chain(sampler, potential, z, (MOVES,), generator):
        z = state.position.z
    return {"samples": batched(gebm.base, z)}


@torch.no_grad()
def batched(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return the values of a function at rows, in double precision."""
    return torch.cat([function(part).double() for part in torch.split(rows, ROWS_AT_ONCE)])


def standard_error(values: Tensor) -> float:
    """Return the standard error of the mean of independent values."""
    return float(values.std()) / math.sqrt(len(values))
