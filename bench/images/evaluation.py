"""What is read out of a trained model of images: its base, latent chains at several lengths, exact samples, the energy's temperature.

All models of a comparison start from the same evaluation latents. Each readout becomes one result: rows of scores with their key and
cost, and a few images for the eye.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from typing import Any

import torch
from torch import Tensor

from bench.components.settings import make
from bench.core.model import Samples
from bench.core.readout import Context, Result, log_partition_facts, result_row
from bench.core.session import InterruptedRunError
from bench.data.images import PixelCodec
from bench.images.energies import Energies, beta_rule, energies_of, judge_target
from bench.images.models import AT_ONCE, HeldOutData
from bench.images.scoring import as_bytes, result, scored_row
from bench.images.suite import CALIBRATED, BaseReadout, ChainReadout, ExactReadout, TemperatureReadout
from gebm.samplers import Cost, InvalidEnergyWarning, StepDecay, chain
from gebm.temperature import gain

__all__ = ["read_base", "read_chain", "read_exact", "read_temperature"]

TRACE = 8  # draws of each chain's energy, from the second half of its length


@torch.no_grad()
def read_base(readout: BaseReadout, context: Context) -> Result:
    """Score samples without a chain, from the evaluation latents; of real data in a model's place, held-out images.

    Raises:
        TypeError: for a model that cannot be sampled.
    """
    start, model = time.monotonic(), context.model
    if isinstance(model, HeldOutData):
        images = PixelCodec(model.dataset.levels).to_bytes(model.real(readout.reference)[: readout.samples]).cpu()
        name, start = "data", time.monotonic()
    elif isinstance(model, Samples):
        images, name = (
            as_bytes(model.sample(readout.samples, model.random_stream("evaluation-latents")), context),
            "base",
        )
    else:
        raise TypeError(f"{model.spec.model} cannot be sampled")
    sampled = time.monotonic()
    row = scored_row(images, readout, context, 0, Cost())
    return result(name, None, None, [row], [images], start, sampled)


def read_chain(readout: ChainReadout, context: Context) -> Result:
    """Score images along one latent chain, which starts at the evaluation latents, and say whether it has reached its target.

    Raises:
        TypeError: for a model without an energy.
        InterruptedRunError: if asked to stop.
    """
    model, asked = context.model, readout.chain
    energies = energies_of(context, readout)
    beta, start = energies.beta(asked.beta), time.monotonic()  # what the energies took is not the chain's
    latents = energies.gebm.base.prior.sample(readout.samples, model.random_stream("evaluation-latents"))
    pictures, traces, costs, invalid = run_chains(readout, context, energies, beta, latents)
    sampled = time.monotonic()
    rows = []
    for length, images in pictures.items():
        found = judge_target(
            traces[length], energies.energy[: energies.first], energies.mean_energy(beta), invalid[length]
        )
        facts = {"beta": beta, "beta_rule": beta_rule(asked.beta), "target": found.verdict, "chain": found.facts}
        rows.append(scored_row(images, readout, context, length, costs[length], **facts))
    return result(asked.sampler, beta, asked.step_size, rows, [*pictures.values()], start, sampled)


def run_chains(
    readout: ChainReadout, context: Context, energies: Energies, beta: float, latents: Tensor
) -> tuple[dict[int, Tensor], dict[int, Tensor], dict[int, Cost], dict[int, int]]:
    """Return, by length: images of all chains, energies along the second half of some, the cost per chain, and invalid moves so far."""
    asked, fast = readout.chain, energies.gebm
    potential, decay = fast.potential(beta), StepDecay(asked.decay_factor, asked.decay_every)
    noise, batches = context.model.random_stream("chain-noise"), torch.split(latents, AT_ONCE)
    halves = {length: traced_lengths(length) for length in asked.lengths}
    looks = sorted({*itertools.chain.from_iterable(halves.values())})
    pictures: dict[int, list[Tensor]] = {length: [] for length in asked.lengths}
    traces: dict[int, list[Tensor]] = {look: [] for look in looks}
    costs: dict[int, Cost] = {}
    refused = dict.fromkeys(asked.lengths, 0)
    done, total = itertools.count(1), len(batches) * max(asked.lengths)
    counted = torch.zeros((), dtype=torch.int64, device=latents.device)

    def on_step(_step: int, info: Any) -> None:
        nonlocal counted
        counted = counted + info.invalid.sum()
        if (step := next(done)) % 10 == 0:
            context.progress({"phase": f"{asked.sampler} β={beta:.3g}", "step": step, "total": total})
        if context.should_stop():
            raise InterruptedRunError("stopped while sampling")

    for z in batches:
        sampler = make("samplers", asked.sampler, asked.settings | {"step_size": asked.step_size})
        counted = torch.zeros_like(counted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InvalidEnergyWarning)  # counted in the row
            for look, state, cost in chain(sampler, potential, z, looks, noise, decay, on_step):
                traces[look].append(state.position.energy)
                if look in pictures:
                    costs[look], refused[look] = cost, refused[look] + int(counted)
                    with torch.no_grad():
                        pictures[look].append(as_bytes(fast.base(state.position.z), context))
    energy = {look: torch.cat(found) for look, found in traces.items()}
    trace = {length: torch.stack([energy[look] for look in half]) for length, half in halves.items()}
    return {length: torch.cat(found) for length, found in pictures.items()}, trace, costs, refused


def traced_lengths(length: int) -> list[int]:
    """Return at most `TRACE` lengths in the second half of a chain, the last its own."""
    return sorted({length - (length * i) // (2 * TRACE) for i in range(TRACE)})


@torch.no_grad()
def read_exact(readout: ExactReadout, context: Context) -> Result:
    """Score samples of the density itself: base draws resampled by their weights, or annealed particles where those fall short.

    Where neither can be trusted the row has no score and says why.

    Raises:
        TypeError: for a model without an energy.
    """
    start, model, energies = time.monotonic(), context.model, energies_of(context, readout)
    beta = energies.beta(readout.beta)
    found = energies.draw(beta, readout.samples, readout.pool, model.random_stream("exact"))
    about: dict[str, Any] = {"beta": beta, "beta_rule": beta_rule(readout.beta)}
    about["exact"] = {name: value for name, value in found._asdict().items() if name != "z"}
    about["target"] = None if found.z is None else "at its target"
    sampled, cost = time.monotonic(), Cost(0, math.ceil(found.pool / readout.samples))
    if found.z is None:
        row = result_row(0, {}, f"no exact samples: {found.why_not}", (0, cost.forward_evaluations), **about)
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
    test, pool = energies.of_data("test"), energies.energy[: energies.first]
    read = gain(test, pool, beta)
    sure, log_z, value = read.reportable, read.log_partition, read.value
    if not sure and (level := energies.annealed(beta)) is not None:
        sure, log_z = True, level.log_partition
        value = -beta * float(test.mean()) - log_z.estimate
    method = log_z.method.partition(" (")[0]
    facts: dict[str, Any] = {"train_gain": -beta * float(energies.of_data("train").mean()) - log_z.estimate}
    if rule == CALIBRATED:
        chosen = energies.temperature
        error = chosen.standard_error if math.isfinite(chosen.standard_error) else None
        facts["temperature"] = {"beta": chosen.beta, "error": error, "at_edge": chosen.at_edge, "text": str(chosen)}
        facts["temperature"]["validation_gain"] = chosen.gain.value
    return result_row(
        0,
        ({"likelihood-gain": value} if sure else {}) | {"ess-fraction": log_z.effective_fraction},
        f"test split, n={len(test)}; log Z: {method}, M={log_z.draws}",
        beta=beta,
        beta_rule=rule,
        gain_error=math.hypot(read.points_error, log_z.standard_error),
        log_partition=log_partition_facts(log_z),
        **facts,
    )
