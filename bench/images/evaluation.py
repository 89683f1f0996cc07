"""What is read out of a trained model of images: its base, latent chains at several lengths, exact samples, the energy's temperature.

All models of a comparison start from the same evaluation latents. Each readout becomes one result: rows of scores with their key and
cost, and a few images for the eye.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.guided import DRS, accepted
from bench.components.settings import make
from bench.core.model import Samples
from bench.core.readout import Context, Result, log_partition_facts, result_row
from bench.core.session import InterruptedRunError
from bench.data.images import PixelCodec
from bench.images.energies import Energies, beta_rule, energies_of, judge_target
from bench.images.exact import draw
from bench.images.guided import SPARE, Aim, aim
from bench.images.models import AT_ONCE, HeldOutData, LatentModel, sample_base
from bench.images.scoring import as_bytes, result, scored_row
from bench.images.suite import (
    CALIBRATED,
    BaseReadout,
    ChainReadout,
    ExactReadout,
    TemperatureReadout,
    TrainingCurveReadout,
)
from gebm.samplers import Cost, Info, InvalidEnergyWarning, Sampler, StepDecay, chain

__all__ = ["read_base", "read_chain", "read_exact", "read_temperature", "read_training_curve"]

TRACE = 8  # draws of each chain's energy, from the second half of its length


@torch.no_grad()
def read_base(readout: BaseReadout, context: Context) -> Result:
    """Score samples without a chain, from the evaluation latents; of real data in a model's place, as many held-out images.

    Raises:
        TypeError: for a model that cannot be sampled.
    """
    start, model = time.monotonic(), context.model
    if isinstance(model, HeldOutData):
        images = PixelCodec(model.dataset.levels).to_bytes(model.real(readout.reference)[: readout.samples]).cpu()
        sampled = time.monotonic()
        if len(images) < readout.samples:  # the distance of fewer images is another score
            row = result_row(0, {}, "", why_not=f"{len(images):,} held-out images, {readout.samples:,} are scored")
        else:
            row = scored_row(images, readout, context, 0, Cost())
        return result("data", None, None, [row], [images], start, sampled)
    if not isinstance(model, Samples):
        raise TypeError(f"{model.spec.model} cannot be sampled")
    images = as_bytes(model.sample(readout.samples, model.random_stream("evaluation-latents")), context)
    sampled = time.monotonic()
    row = scored_row(images, readout, context, 0, model.sampling_cost())
    return result("base", None, None, [row], [images], start, sampled)


@torch.no_grad()
def read_training_curve(readout: TrainingCurveReadout, context: Context) -> Result:
    """Score the base at earlier steps of its training, from the evaluation latents; of an unfinished model as many as it has reached.

    Raises:
        TypeError: for a model that keeps no earlier base.
        InterruptedRunError: if asked to stop.
    """
    start, model, rows, sampling = time.monotonic(), context.model, [], 0.0
    if not isinstance(model, LatentModel):
        raise TypeError(f"{model.spec.model} keeps no base of earlier steps")
    for step, base in model.snapshots.items():
        if context.should_stop():
            raise InterruptedRunError("stopped between bases of the training curve")
        began = time.monotonic()
        images = as_bytes(sample_base(base, readout.samples, model.random_stream("evaluation-latents")), context)
        sampling += time.monotonic() - began
        rows.append(scored_row(images, readout, context, step, model.sampling_cost()))
    return result("training", None, None, rows, [], start, start + sampling)


def read_chain(readout: ChainReadout, context: Context) -> Result:
    """Score images along one latent chain, which starts at the evaluation latents, and say whether it has reached its target.

    A length at which a sampler that rejects has not accepted enough has a row without scores, with the reason; so have all lengths of one
    whose calibration failed.

    Raises:
        TypeError: for a model without an energy.
        InterruptedRunError: if asked to stop.
    """
    asked, energies, start = readout.chain, energies_of(context, readout), time.monotonic()
    sampler = make("samplers", asked.sampler, asked.all_settings)
    about: dict[str, Any] = {"beta_rule": beta_rule(asked.beta)}
    try:
        found = aim(sampler, energies, asked.beta)
    except ValueError as error:
        rows = [result_row(n, {}, "", why_not=f"not calibrated: {error}", beta=None, **about) for n in asked.lengths]
        return result(asked.sampler, None, asked.step_size, rows, [], start, time.monotonic())
    looks = run_chains(readout, context, energies, sampler, found)
    sampled, rows = time.monotonic(), []
    for length, look in looks.items():
        here = about | found.facts | {"beta": found.beta, "target": None}
        if sampler.calibration == "none" and found.beta is not None:
            target = energies.mean_energy(found.beta)
            verdict = judge_target(look.trace, energies.energy[: energies.first], target, look.invalid)
            here |= {"target": verdict.verdict, "chain": verdict.facts}
        cost = Cost(*(math.ceil(each * look.lanes / max(len(look.images), 1)) for each in look.cost))
        if len(look.images) < readout.samples:
            why = f"{len(look.images):,} of {look.lanes:,} lanes had accepted a draw, {readout.samples:,} wanted"
            rows.append(result_row(length, {}, "", cost, why_not=why, **here))
        else:
            rows.append(scored_row(look.images[: readout.samples], readout, context, length, cost, **here))
    pictures = [look.images for look in looks.values()]
    return result(asked.sampler, found.beta, asked.step_size, rows, pictures, start, sampled)


@dataclass
class Look:
    """Chains at one length.

    Arguments:
        images: of all chains that have something to show, as bytes.
        trace: energies of all chains along the second half of their length, (draws, chains).
        cost: per chain.
        invalid: moves refused so far because an energy was not a number.
        lanes: chains in all.
    """

    images: Tensor
    trace: Tensor
    cost: Cost
    invalid: int
    lanes: int


def run_chains(
    readout: ChainReadout, context: Context, energies: Energies, sampler: Sampler, found: Aim
) -> dict[int, Look]:
    """Run the chains batch by batch, and return what there is at each length asked for."""
    asked, prior = readout.chain, energies.gebm.base.prior
    lanes = math.ceil(readout.samples * (SPARE if isinstance(sampler, DRS) else 1))
    latents = prior.sample(lanes, context.model.random_stream("evaluation-latents"))
    noise, decay = context.model.random_stream("chain-noise"), StepDecay(asked.decay_factor, asked.decay_every)
    halves = {length: traced_lengths(length) for length in asked.lengths}
    places = sorted({*itertools.chain.from_iterable(halves.values())})
    images: dict[int, list[Tensor]] = {length: [] for length in asked.lengths}
    traces: dict[int, list[Tensor]] = {place: [] for place in places}
    costs, refused = dict.fromkeys(asked.lengths, Cost()), dict.fromkeys(asked.lengths, 0)
    batches = torch.split(latents, AT_ONCE)
    steps = Steps(context, f"{asked.sampler} β={'calibrated' if found.beta is None else f'{found.beta:.3g}'}")
    steps.total = len(batches) * max(asked.lengths)
    for z in batches:
        steps.invalid = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InvalidEnergyWarning)  # counted in the row
            for place, state, cost in chain(sampler, found.potential, z, places, noise, decay, steps, found.begin):
                traces[place].append(state.position.energy)
                if place in images:
                    costs[place], refused[place] = cost, refused[place] + int(steps.invalid)
                    latent = state.position.z[accepted(state)] if isinstance(sampler, DRS) else state.position.z
                    with torch.no_grad():
                        images[place].append(as_bytes(energies.gebm.base(latent), context))
    energy = {place: torch.cat(each) for place, each in traces.items()}
    return {
        length: Look(
            torch.cat(images[length]),
            torch.stack([energy[place] for place in half]),
            costs[length],
            refused[length],
            lanes,
        )
        for length, half in halves.items()
    }


class Steps:
    """What is done after each step of a chain: invalid moves counted, progress told, and an order to stop obeyed."""

    def __init__(self, context: Context, phase: str) -> None:
        self.context, self.phase, self.total, self.done = context, phase, 0, 0
        self.invalid: Tensor | int = 0

    def __call__(self, _step: int, info: Info) -> None:
        self.done += 1
        self.invalid = self.invalid + info.invalid.sum()
        if self.done % 10 == 0:
            self.context.progress({"phase": self.phase, "step": self.done, "total": self.total})
        if self.context.should_stop():
            raise InterruptedRunError("stopped while sampling")


def traced_lengths(length: int) -> list[int]:
    """Return at most `TRACE` lengths in the second half of a chain, the last its own."""
    return sorted({length - (length * i) // (2 * TRACE) for i in range(TRACE)})


@torch.no_grad()
def read_exact(readout: ExactReadout, context: Context) -> Result:
    """Score samples of the density itself: base draws accepted or resampled by their weights, or annealed particles where those fall short.

    Where neither can be trusted the row has no score and says why.

    Raises:
        TypeError: for a model without an energy.
    """
    start, model, energies = time.monotonic(), context.model, energies_of(context, readout)
    beta = energies.beta(readout.beta)
    found = draw(energies, beta, readout.samples, readout.pool, model.random_stream("exact"))
    about: dict[str, Any] = {"beta": beta, "beta_rule": beta_rule(readout.beta)}
    about["exact"] = {name: getattr(found, name) for name in ("method", "pool", "ess", "distinct")}
    about["target"] = None if found.z is None else "at its target"
    sampled, cost = time.monotonic(), Cost(0, math.ceil(found.pool / readout.samples))
    if found.z is None:
        row = result_row(0, {}, "", (0, cost.forward_evaluations), why_not=found.why_not, **about)
        return result("exact", beta, None, [row], [], start, sampled)
    images = torch.cat([as_bytes(energies.gebm.base(z), context) for z in torch.split(found.z, AT_ONCE)])
    row = scored_row(images, readout, context, 0, cost, **about)
    return result("exact", beta, None, [row], [images], start, sampled)


@torch.no_grad()
def read_temperature(readout: TemperatureReadout, context: Context) -> Result:
    """Read out L(βE) on held-out data over a grid of β, and at β̂, which the validation split chooses.

    log Z is estimated by importance sampling, and by annealing where that is not reliable; where neither is, the row has no gain.

    Raises:
        TypeError: for a model without an energy.
    """
    start, energies = time.monotonic(), energies_of(context, readout)
    found = energies.temperature
    asked = [*((beta, "fixed") for beta in sorted({1.0, *readout.betas})), (found.beta, CALIBRATED)]
    rows = [gain_row(energies, beta, rule) for beta, rule in asked]
    return result("likelihood", 1.0, None, rows, [], start, start)


def gain_row(energies: Energies, beta: float, rule: str) -> dict[str, Any]:
    """Return the gain at one β as a row, with all that is known of its log Z."""
    test, read = energies.of_data("test"), energies.gain(beta)
    sure, log_z, value = read.reportable, read.log_partition, read.value
    if not sure and (level := energies.annealed(beta)) is not None and level.trustworthy:
        sure, log_z = True, level.log_partition
        value = -beta * float(test.mean()) - log_z.estimate
    scores = {"ess-fraction": log_z.effective_fraction}
    if sure:
        scores["likelihood-gain"] = value
        if (mean := energies.mean_energy(beta)) is not None:
            scores["kl-from-base"] = -beta * mean[0] - log_z.estimate
    facts: dict[str, Any] = {"train_gain": -beta * float(energies.of_data("train").mean()) - log_z.estimate}
    if rule == CALIBRATED:
        chosen = energies.temperature
        error = chosen.standard_error if math.isfinite(chosen.standard_error) else None
        facts["temperature"] = {"beta": chosen.beta, "error": error, "at_edge": chosen.at_edge, "text": str(chosen)}
        facts["temperature"]["validation_gain"] = chosen.gain.value
    return result_row(
        0,
        scores,
        f"test split, n={len(test)}",
        beta=beta,
        beta_rule=rule,
        gain_error=math.hypot(read.points_error, log_z.standard_error),
        log_partition=log_partition_facts(log_z) | {"method": log_z.method, "draws": log_z.draws},
        **facts,
    )
